"""A run of single-image tomography: what it follows, how it goes on, and who is judged."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.training import densities
from pipeline.training.archive import Archive
from pipeline.training.density_judging import evaluate, left_out
from pipeline.training.density_pairs import Sight
from pipeline.training.exposure import CLEAN, Exposure
from pipeline.training.settings import RunFault
from tests.toy_region import toy_archive

CONFIG = Path(__file__).parents[2] / "config"
RUN = """
archive = "toy.npz"
folder = "run"
fold = 0
scenes = 2
steps = {steps}
batch = 2
width = 4
blocks = [1, 1]
checkpoint_every = 1
log_every = 2
[sight]
image_size = 32
planes = 8
shots = 1
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return toy_archive(tmp_path_factory.mktemp("toy") / "toy.npz")


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(
    archive: Archive, tmp_path: Path
) -> None:
    """And there is a row for each answer about the people left out."""
    runs = [a_run(archive, tmp_path / name) for name in ("whole", "killed")]

    assert densities.main(runs[0], say=lambda _: None)
    shutil.copytree(runs[0].parent / "run" / "pairs", runs[1].parent / "run" / "pairs")
    with pytest.raises(KeyboardInterrupt):
        densities.main(runs[1], say=killed_at_step_2)
    assert densities.main(runs[1], say=lambda _: None)

    states = [weights(run.parent) for run in runs]
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    table = evaluate(runs[1], say=lambda _: None).read_text(encoding="utf-8")
    assert "After 4 steps" in table
    assert all(f"| {name} | 2 |" in table for name in ("mean of those learned from", "network"))
    lines = (tmp_path / "whole" / "run" / "curve.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 4]


def test_a_run_out_of_time_stops_with_a_checkpoint(archive: Archive, tmp_path: Path) -> None:
    run_file = a_run(archive, tmp_path / "late")
    settings = densities.read(run_file)
    settings.folder.mkdir()
    run = densities.start(settings)

    is_done = densities.train(run, settings, until=-math.inf, say=lambda _: None)

    assert not is_done
    assert densities.start(settings).step == 0
    assert (settings.folder / "checkpoint.pt").exists()


def test_a_checkpoint_of_another_network_is_refused(archive: Archive, tmp_path: Path) -> None:
    settings = densities.read(a_run(archive, tmp_path / "other"))
    settings.folder.mkdir()
    densities.save(densities.start(settings), settings.folder / "checkpoint.pt")

    with pytest.raises(RunFault, match="another network"):
        densities.start(replace(settings, width=8))


def a_run(archive: Archive, folder: Path) -> Path:
    folder.mkdir()
    (folder / "toy.npz").symlink_to(archive.path)
    (folder / "run.toml").write_text(RUN.format(steps=4), encoding="utf-8")
    return folder / "run.toml"


def killed_at_step_2(line: str) -> None:
    if line.startswith("step 2"):
        raise KeyboardInterrupt


def weights(folder: Path) -> list[Tensor]:
    stored = torch.load(folder / "run" / "checkpoint.pt", weights_only=True)
    return list(stored["net"].values())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("fold = 0", "fold = 0\nfolds = 5"), "folds"),
        (("planes = 8", 'planes = 8\nview = "oblique"'), "sight.view"),
        (("image_size = 32", "image_size = 36"), "image_size"),
        (("planes = 8", 'planes = 8\nbone = "tibia"'), "femur, hip_bone"),
        (('archive = "toy.npz"', 'archive = "other.npz"'), r"other\.npz"),
        (("fold = 0", "fold = = 0"), "run.toml"),
        (("batch = 2", "batch = 0"), "batch"),
    ],
)
def test_a_run_file_that_cannot_be_followed_is_refused_by_name(
    archive: Archive, tmp_path: Path, change: tuple[str, str], fault: str
) -> None:
    (tmp_path / "toy.npz").symlink_to(archive.path)
    text = RUN.format(steps=1).replace(*change)
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")

    with pytest.raises(RunFault, match=fault):
        densities.main(tmp_path / "run.toml", say=lambda _: None)


@pytest.mark.parametrize(
    ("change", "fault"),
    [(("fold = 0", 'fold = "none"'), "nobody"), (("batch = 2", ""), "train first")],
)
def test_nothing_is_judged_without_people_left_out_or_without_a_network(
    archive: Archive, tmp_path: Path, change: tuple[str, str], fault: str
) -> None:
    run_file = a_run(archive, tmp_path / "none")
    run_file.write_text(run_file.read_text().replace(*change))

    with pytest.raises(RunFault, match=fault):
        evaluate(run_file)


def test_nobody_is_judged_who_was_learned_from(archive: Archive, tmp_path: Path) -> None:
    settings = densities.DensityRun(archive.path, tmp_path, fold=1)

    cases = densities.learned_from(archive, settings)

    people = {case.person for case in cases}
    assert people.isdisjoint({case.person for case in archive.judged_in(1)})
    assert densities.learned_from(archive, replace(settings, fold=None)) == archive.cases


def test_the_example_can_be_followed() -> None:
    settings = densities.read(CONFIG / "train-tomography.toml")

    assert settings.archive == CONFIG / "../runs/hip.npz"
    assert settings.shape.planes == 64


def test_the_default_exposure_of_a_run_is_the_bones_alone() -> None:
    assert densities.DensityRun(Path("a"), Path("b")).exposure == CLEAN != Exposure()


def test_who_lacks_the_bone_is_not_learned_from_nor_judged(archive: Archive) -> None:
    without = replace(archive.cases[0], has=(False, True))
    lent = replace(archive.cases[1], has=(False, True), borrowed=(True, False))
    kept = replace(archive, cases=(without, lent, archive.cases[2]))
    settings = densities.DensityRun(archive.path, Path("run"), fold=None, sight=Sight(bone="femur"))

    assert densities.learned_from(kept, settings) == (lent, archive.cases[2])
    assert left_out(kept, replace(settings, fold=1)) == []
    assert left_out(kept, replace(settings, fold=0)) == [archive.cases[2]]


def test_training_needs_torch_and_numpy_alone() -> None:
    foreign = ("pydicom", "scipy", "skimage", "SimpleITK", "trimesh", "highdicom")
    ask = f"import sys, pipeline.training.densities; print({{*sys.modules}} & {{*{foreign}}})"

    answer = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, check=True, timeout=120
    )

    assert answer.stdout.strip() == "set()"
