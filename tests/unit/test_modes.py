"""Shapes between people, on balls: what lies between two balls is a ball between them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import label
from torch import Tensor

from pipeline.training import archive as archives
from pipeline.training.archive import Archive
from pipeline.training.modes import displacement, drawn, least_volume, registered
from pipeline.training.pool import fill
from pipeline.training.posing import STILL, centres, draw, looked_up, posed, reshaped
from tests.toy_region import CENTRES, radii, radius, toy_archive

EDGE, SIZE = 120.0, 48


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return toy_archive(tmp_path_factory.mktemp("toy") / "toy.npz")


@pytest.fixture(scope="module")
def people(toy: Archive) -> dict[str, Tensor]:
    return registered(toy, toy.cases)


def _random(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _balls(*balls: tuple[float, float, float, float]) -> Tensor:
    """Signed distances of balls x, y, z, r, mm, clipped as an archive clips them."""
    points = centres(SIZE, EDGE, torch.device("cpu"))
    away = [(points - torch.tensor(ball[:3])).norm(dim=-1) - ball[3] for ball in balls]
    return torch.stack(away).clamp(-15.875, 15.875)


def _between(toy: Archive, people: dict[str, Tensor], seed: int) -> Tensor:
    """(T + 1, N, N, N) of the first case, in a drawn shape."""
    case, far_mm, generator = toy.cases[0], toy.region.far_mm, _random(seed)
    shape = drawn(people, case, toy.cases, far_mm, generator)
    pose = reshaped(draw(STILL, far_mm, generator), shape)
    return posed(toy.near(case), EDGE, toy.far(case), pose).near


def test_bones_are_found_in_another_person_where_the_displacement_leads() -> None:
    fixed = _balls((-10, 5, -20, 14), (15, -8, 22, 20))
    moving = _balls((-4, 1, -14, 16), (19, -12, 25, 23))

    found = displacement(fixed, moving, torch.tensor([True, True]), EDGE)

    points = centres(SIZE, EDGE, fixed.device)
    led = looked_up(found, points, EDGE).permute(1, 2, 3, 0)
    off = (looked_up(moving, points + led, EDGE) - fixed)[fixed.abs() < 2]
    before = (moving - fixed)[fixed.abs() < 2]
    assert before.abs().mean() > 3
    assert off.abs().mean() < 0.25 * before.abs().mean()


def test_a_bone_that_is_not_known_pushes_nothing() -> None:
    fixed = _balls((-10, 5, -20, 14), (15, -8, 22, 20))
    moving = torch.stack([fixed[0], torch.full_like(fixed[1], 15.875)])

    found = displacement(fixed, moving, torch.tensor([True, False]), EDGE)

    assert found.abs().max() < 0.3


def test_a_person_has_the_own_shape_at_a_way_of_nothing(toy: Archive) -> None:
    alone = toy.cases[:1]

    shape = drawn(registered(toy, alone), alone[0], alone, toy.region.far_mm, _random())

    assert not shape.any()


def test_a_shape_leads_from_the_new_bones_to_those_of_the_case(toy: Archive) -> None:
    case, far_mm = toy.cases[0], toy.region.far_mm
    shape = torch.zeros(3, 33, 33, 33)
    shape[0] = 6.0

    pose = reshaped(draw(STILL, far_mm, _random()), shape)
    near = posed(toy.near(case), EDGE, toy.far(case), pose).near

    for bone, centre in zip(near, CENTRES.values(), strict=False):
        middle = centres(SIZE, EDGE, near.device)[bone < 0].mean(dim=0)
        assert middle.tolist() == pytest.approx([centre[0] - 6, *centre[1:]], abs=0.4)


@pytest.mark.parametrize("seed", range(4))
def test_a_drawn_shape_lies_between_people_or_a_third_beyond(
    toy: Archive, people: dict[str, Tensor], seed: int
) -> None:
    near = _between(toy, people, seed)

    for found, bone in zip(radii(near), CENTRES, strict=True):
        least, most = radius(0, bone), radius(2, bone)
        assert least - 0.3 * (most - least) - 0.4 < found < most + 0.4


def test_drawn_shapes_differ_and_each_comes_again(toy: Archive, people: dict[str, Tensor]) -> None:
    one, again, other = (_between(toy, people, seed) for seed in (1, 1, 2))

    assert torch.equal(one, again)
    assert radii(one) != pytest.approx(radii(other), abs=0.05)


@pytest.mark.parametrize("seed", range(2))
def test_every_bone_of_a_drawn_shape_is_closed_and_in_one_piece(
    toy: Archive, people: dict[str, Tensor], seed: int
) -> None:
    for bone in _between(toy, people, seed)[:-1].numpy():
        assert label(bone < 0)[1] == 1
        assert all((np.take(bone, face, axis) > 0).all() for axis in range(3) for face in (0, -1))


def test_no_drawn_shape_folds(toy: Archive, people: dict[str, Tensor]) -> None:
    far_mm = toy.region.far_mm
    violent = {name: -40 * shape for name, shape in people.items()}
    assert least_volume(violent[toy.cases[2].name], far_mm) < 0.25

    for seed in range(8):
        shape = drawn(violent, toy.cases[2], toy.cases, far_mm, _random(seed))
        assert least_volume(shape, far_mm) >= 0.25


def test_the_least_volume_is_that_of_the_map() -> None:
    along = torch.linspace(-100, 100, 9)
    z, y, x = torch.meshgrid(along, along, along, indexing="ij")
    points = torch.stack([x, y, z])

    assert least_volume(torch.zeros_like(points), 200.0) == pytest.approx(1.0)
    assert least_volume(0.1 * points, 200.0) == pytest.approx(1.1**3, rel=1e-4)
    mirror = points * torch.tensor([-2.0, 0.0, 0.0])[:, None, None, None]
    assert least_volume(mirror, 200.0) == pytest.approx(-1.0, rel=1e-4)


def test_the_bones_of_those_who_are_judged_are_not_even_read(toy: Archive, tmp_path: Path) -> None:
    with np.load(toy.path) as file:
        judged = {case.name for case in toy.judged_in(0)}
        kept = {name: file[name] for name in file.files if name.split("/")[0] not in judged}
    np.savez_compressed(tmp_path / "without.npz", **kept)
    without = archives.load(tmp_path / "without.npz")

    fill(without, without.trained_in(0), tmp_path / "pool", 2, image_size=32, seed=1, between=1.0)

    assert len(list((tmp_path / "pool").glob("*.npz"))) == 2
    with pytest.raises(KeyError):
        without.near(without.judged_in(0)[0])
