"""Whoever has the published data gets the papers' tables: by run files, over the same folders.

Small sets in the layouts of ShapeNetRendering with ShapeNetVox32, and of the anatomy completor.
Expected: `published-models.md` 2.5, 3.5, 4.1 and 4.3; views and measures by the issue.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.training import completion_judging, completions
from pipeline.training.completion_layout import write_person
from pipeline.training.removing import without_anatomies
from pipeline.training.volumes import train
from pipeline.training.volumes_evaluating import evaluate
from tests.published_folders import write_model
from tests.tiny_family import NARROW, NARROW_RECURRENT
from tests.toml_text import toml
from tests.toy_region import run_file

VIEWS = [1, 2, 3, 5, 8, 12, 20]
RENDERINGS = 24
PLAN = """
family = "{family}"
folder = "run"
grid = 8
batch = 2
stages = [{{ name = "{stage}", steps = 2, most_views = 3 }}]
[published]
root = "."
crop = 10
"""


def silent(_: object) -> None:
    """Says nothing."""


@pytest.mark.parametrize(
    ("family", "stage", "network"),
    [("pix2vox++/F", "fusion", NARROW), ("Res3D-GRU-3", "whole", NARROW_RECURRENT)],
)
def test_a_table_has_the_views_and_the_measures_of_the_papers(
    family: str, stage: str, network: dict[str, object], tmp_path: Path
) -> None:
    for name in "abcde":
        write_model(tmp_path, "02691156", name, images=RENDERINGS)
    path = run_file(tmp_path, PLAN.format(family=family, stage=stage) + toml({"network": network}))

    assert train(path, silent)
    lines = evaluate(path, silent).read_text(encoding="utf-8").splitlines()

    (head,) = (line for line in lines if "views" in line and "owners" in line)
    for measure in ("IoU at .3", "IoU at .4", "F-score at 1 %"):
        assert measure in head
    for engine in ("network", "mean shape"):
        rows = [line.split(" | ") for line in lines if line.startswith(f"| {engine} |")]
        assert [int(row[1]) for row in rows] == VIEWS
    told = json.loads((tmp_path / "run" / "results.json").read_text())
    judged = [one for one in told["items"] if one["engine"] == "network"]
    # the last fifth of the sorted names is judged
    assert {one["item"] for one in judged} == {"e"}
    for one in judged:
        assert all(0 <= one[measure] <= 1 for measure in ("iou_30", "iou_40", "f_score"))


def a_body(seed: int) -> NDArray[np.uint8]:
    """Three blocks, one of each label, whose sizes differ from person to person."""
    made = np.zeros((16, 16, 16), np.uint8)
    width = 6 + seed % 3
    made[1:7, 1:width, 1:8], made[9:15, 1:width, 1:8], made[4:12, 9:15, 9:15] = 1, 2, 3
    return made


def test_the_folders_of_the_completor_are_learned_from_and_judged(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for part, people in (("train", ("s0001", "s0002")), ("test", ("s0777",))):
        for number, person in enumerate(people):
            full = a_body(number)
            write_person(
                tmp_path / part,
                person,
                full,
                [without_anatomies(full, 0.1, random) for _ in range(10)],
            )
    path = run_file(
        tmp_path,
        'folder = "run"\npublished = "."\nnames = ["a", "b", "c"]\n'
        '[network]\nkind = "plain"\nsize = 16\ndivided_by = 8\n[training]\nsteps = 2\n',
    )

    assert completions.train(path, say=silent)
    found = completion_judging.evaluate(path, say=silent)

    told = json.loads(found.with_suffix(".json").read_text())
    assert {one["person"] for one in told["judgements"]} == {"s0777"}
    assert {one["label"] for one in told["judgements"]} <= {"a", "b", "c"}
    # of ten incomplete maps each lacks one label or more
    assert len(told["judgements"]) >= 10
    assert all(one["copied"] == 0 for one in told["judgements"])
