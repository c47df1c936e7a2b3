"""Whose bodies are in the scenes of a training, how often, and what a run says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.training.batches import Conditions, taken_of
from pipeline.training.command import train
from pipeline.training.exposure import CLEAN
from pipeline.training.label_maps import LabelledPerson, write
from pipeline.training.pool import Simulated, fill
from pipeline.training.real_bodies import (
    MUSCLE,
    NAMES,
    ORGANS,
    RealBody,
    body_of,
    drawn,
    load,
)
from pipeline.training.regions import REGIONS, Region, region_named
from pipeline.training.settings import RunFault
from pipeline.training.shots import Shot
from pipeline.types import ViewName
from tests.toy_region import RUN, SIZE, run_file, toy_archive

HIP = region_named("hip")
WITHOUT_HIP = [one for one in REGIONS if "hip_bone" not in one.targets + one.neighbours]
EDGE_MM = 256.0


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_body() -> RealBody:
    labels = torch.zeros(32, 32, 32, dtype=torch.uint8)
    labels[:, 8:24, 6:26] = MUSCLE
    return body_of(labels, EDGE_MM, (0.0, 0.0, 0.0), shown_mm=300.0)


def an_archive(path: Path, names: tuple[str, ...] = NAMES) -> Path:
    """Of three people, the n-th with muscle in n + 1 voxels, both sides, judged in fold n."""
    cases = {}
    for fold in range(3):
        for side in "RL":
            labels = np.zeros((8, 8, 8), np.uint8)
            labels[2:6, 2:6, 2:6] = ORGANS
            labels[3, 3, 3 : 4 + fold] = MUSCLE
            case = LabelledPerson(f"Test{fold}-{side}", f"Test{fold}", "made", "none", fold)
            cases[case] = labels
    write(path, names, (EDGE_MM,) * 3, cases)
    return path


def test_where_there_is_nobody_nothing_is_drawn() -> None:
    untouched, used = seeded(), seeded()

    assert drawn((), 0.5, used) is None
    assert torch.equal(untouched.get_state(), used.get_state())


def test_people_are_drawn_in_turn_as_often_as_asked() -> None:
    people, draws = (a_body(), a_body()), seeded()

    found = [drawn(people, 0.4, draws) for _ in range(300)]

    shares = [sum(one is who for one in found) / 300 for who in people]
    assert shares == pytest.approx([0.2, 0.2], abs=0.08)


@pytest.mark.parametrize("fold", [0, 1, 2])
def test_the_body_of_a_person_who_is_judged_is_in_no_scene(fold: int, tmp_path: Path) -> None:
    found = load(an_archive(tmp_path / "a.npz"), HIP, [fold])

    # the n-th person has n + 1 voxels of muscle
    muscles = [int((one.labels == MUSCLE).sum()) for one in found]
    assert sorted(muscles) == sorted(2 * [n + 1 for n in range(3) if n != fold])


def test_where_nobody_is_judged_everybody_lends_a_body(tmp_path: Path) -> None:
    assert len(load(an_archive(tmp_path / "a.npz"), HIP, [])) == 6


@pytest.mark.parametrize(
    "region", [one for one in REGIONS if "hip_bone" not in one.targets + one.neighbours]
)
def test_a_region_without_a_hip_has_no_bodies(region: Region, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"not about the {region.name}"):
        load(an_archive(tmp_path / "a.npz"), region, [0])


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no bodies about hips but sacrum"):
        load(an_archive(tmp_path / "a.npz", ("sacrum", *NAMES[1:])), HIP, [0])


@pytest.mark.parametrize("name", ["hip", "proximal_femur"])
def test_a_body_stands_about_the_head_of_the_femur(name: str, tmp_path: Path) -> None:
    region = region_named(name)

    one = load(an_archive(tmp_path / "a.npz"), region, [])[0]

    corner = one.region_from_index[:3, 3] - torch.tensor(region.pivot)
    # the body begins at the third of eight voxels of 32 mm
    assert corner.tolist() == pytest.approx([-48.0] * 3)


def a_scene() -> Simulated:
    """A shaft, seen from the front and from the side."""
    shots = tuple(
        Shot(name, 1150.0, 950.0, 0.0, 0.0, 300 * 1150 / 950 / SIZE, True)
        for name in (ViewName.AP, ViewName.LL)
    )
    thickness = torch.zeros(2, SIZE, SIZE)
    thickness[:, :, 12:20] = 20.0
    shadows = torch.zeros(2, 1, SIZE // 2, SIZE // 2, dtype=torch.bool)
    points, distances = torch.zeros(8, 3), torch.zeros(8, 1)
    field, has = torch.zeros(1, 4, 4, 4), torch.ones(1, dtype=torch.bool)
    return Simulated(thickness, shots, shadows, field, points, distances, has)


def test_both_radiographs_of_a_patient_show_the_real_body() -> None:
    def images(share: float) -> Tensor:
        how = Conditions(exposure=replace(CLEAN, soft_mm=150.0), bodies=share)
        return taken_of(
            a_scene(), (0, 1), how, is_wrong=False, generator=seeded(), bodies=(a_body(),)
        ).images

    differs = (images(1.0) - images(0.0)).abs().amax(dim=(1, 2))

    assert (differs > 0.2).all()


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda _: None, "There are no bodies"),
        (lambda path: np.savez(path, meta=np.array("{}")), "no archive of label maps"),
        (lambda path: an_archive(path, ("sacrum", *NAMES[1:])), "holds no bodies about hips"),
    ],
)
def test_a_run_says_what_is_wrong_with_its_bodies_before_it_simulates(
    made: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    toy_archive(tmp_path / "toy.npz", people=1)
    made(tmp_path / "bodies.npz")
    text = RUN.format(fold=1, scenes=1, steps=1, batch=1)

    with pytest.raises(RunFault, match=words):
        train(run_file(tmp_path, f'bodies = "bodies.npz"\n{text}'), lambda _: None)
    assert not (tmp_path / "run" / "pool").exists()


def test_a_run_learns_from_patients_with_real_bodies(tmp_path: Path) -> None:
    toy = toy_archive(tmp_path / "toy.npz")
    an_archive(tmp_path / "bodies.npz")
    curves = []

    for share in (0.0, 1.0):
        text = RUN.format(fold=1, scenes=1, steps=1, batch=1) + f"bodies = {share}\n"
        folder = f"run-{share}"
        fill(toy, toy.cases, tmp_path / folder / "pool", 1, image_size=SIZE, seed=1)
        text = text.replace('"run"', f'"{folder}"').replace("[training]", "[training]\nease = 0.0")
        assert train(run_file(tmp_path, f'bodies = "bodies.npz"\n{text}'), lambda _: None)
        line = json.loads((tmp_path / folder / "curve.jsonl").read_text())
        curves.append(line["occupancy"])

    assert curves[0] != curves[1]
