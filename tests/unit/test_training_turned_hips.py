"""Turned thighs, on hips made of balls and rods, whose places are known."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from pipeline.training.bending import Bend, bent, moved
from pipeline.training.joints import HIP
from pipeline.training.parting import parted
from pipeline.training.posing import STILL, Pose, Scene, draw, posed
from pipeline.training.regions import Region, region_named
from tests.rods import Rod, at, fields

HEAD_MM = 22.0
RODS: dict[str, list[Rod]] = {
    "femur": [
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.1), HEAD_MM),
        ((0.0, 0.0, 0.0), (-38.0, 0.0, -28.0), 12.0),
        ((-40.0, 0.0, -20.0), (-30.0, 0.0, -300.0), 14.0),
    ],
    "hip_bone": [
        ((12.0, 0.0, 48.0), (0.0, 20.0, 120.0), 14.0),
        ((36.0, 20.0, 0.0), (30.0, 40.0, -60.0), 4.0),
        # a socket two millimetres from the head
        ((-8.0, 0.0, 29.0), (8.0, 0.0, 29.0), 5.0),
        ((29.0, -8.0, 0.0), (29.0, 8.0, 0.0), 5.0),
        ((20.5, -8.0, 20.5), (20.5, 8.0, 20.5), 5.0),
    ],
    "sacrum": [((80.0, 40.0, 20.0), (90.0, 40.0, 90.0), 20.0)],
    "other_hip_bone": [((160.0, 0.0, 40.0), (170.0, 20.0, 120.0), 14.0)],
    "other_femur": [((205.0, 0.0, -20.0), (200.0, 0.0, -300.0), 14.0)],
}
NAMES = ("hip", "proximal_femur", "acetabulum")


def _small(name: str) -> Region:
    return replace(region_named(name), voxels=48)


@cache
def _fields(region: Region) -> tuple[Tensor, Tensor]:
    return fields(region, RODS, 96)


def _bend(flexion_deg: float, tilt_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Bend:
    count = len(HIP.bodies)
    tilts = torch.zeros(count, 3)
    tilts[0] = torch.deg2rad(torch.tensor(tilt_deg))
    return Bend(
        HIP, math.radians(flexion_deg), 0.0, tilts, torch.zeros(count, 3), torch.zeros(count)
    )


def _scenes(region: Region, bend: Bend) -> tuple[Scene, Scene]:
    near, far = _fields(region)
    pose = _still(region)
    straight = posed(near, region.cube_mm, far, pose)
    return straight, bent(region, near, far, pose, bend)[0]


def _still(region: Region) -> Pose:
    return draw(STILL, region.far_mm, torch.Generator())


def _moves(region: Region, bend: Bend) -> Tensor:
    """Of the femur, the pelvis and the rest."""
    return moved(region, parted(region, *_fields(region), HIP), _still(region), bend)


def _taken(move: Tensor, points: Tensor) -> Tensor:
    """Points (..., 3), moved."""
    return points @ move[:3, :3].T + move[:3, 3]


def _along(region: Region, rod: Rod, first: float, last: float) -> Tensor:
    """(N, 3) mm in the region, on the axis of a rod, between two shares of it."""
    share = torch.linspace(first, last, 12)[:, None]
    ends = torch.tensor(rod[0]), torch.tensor(rod[1])
    return ends[0] * (1 - share) + ends[1] * share + torch.tensor(region.pivot)


@pytest.mark.parametrize("name", NAMES)
def test_flexion_brings_the_knee_to_the_front(name: str) -> None:
    region = _small(name)

    femur, base, _ = _moves(region, _bend(25.0))

    knee = torch.tensor([-30.0, 0.0, -400.0]) + torch.tensor(region.pivot)
    there = _taken(torch.linalg.inv(base) @ femur, knee)
    # y runs backwards
    assert float(there[1] - knee[1]) == pytest.approx(-400 * math.sin(math.radians(25)), abs=3)
    assert torch.allclose(base[:3, :3], torch.eye(3), atol=1e-6), "nobody leans"


@pytest.mark.parametrize("name", ["hip", "acetabulum"])
def test_a_hip_bone_that_is_wanted_stays_in_its_cube(name: str) -> None:
    region = _small(name)

    base = _moves(region, _bend(25.0))[1]

    assert torch.allclose(base, torch.eye(4), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tilt", [(0.0, 20.0, 0.0), (0.0, -20.0, 0.0), (0.0, 0.0, 25.0)])
def test_a_thigh_turns_about_the_centre_of_the_head(
    name: str, tilt: tuple[float, float, float]
) -> None:
    region = _small(name)

    femur, base, _ = _moves(region, _bend(10.0, tilt))

    centre = torch.tensor(region.pivot)
    assert (_taken(torch.linalg.inv(base) @ femur, centre) - centre).norm() < 2


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_femur_turns_and_the_pelvis_does_not(name: str) -> None:
    region = _small(name)
    bend = _bend(20.0, (0.0, 12.0, 0.0))
    move, base, _ = _moves(region, bend)
    straight, turned = _scenes(region, bend)

    shaft = _along(region, RODS["femur"][2], 0.0, 0.6)
    there = _taken(move, shaft)
    assert (at(turned.far, there, region.far_mm) < -5).all()
    inside = there[(there.abs() < region.cube_mm / 2 - 4).all(dim=-1)]
    assert len(inside) > 3 or name == "acetabulum"
    assert (at(turned.near.amin(dim=0), inside, region.cube_mm) < -5).all()
    left = _taken(base, shaft[-4:])
    assert (at(turned.far, left, region.far_mm) > 5).all(), "none of it is left where it was"
    for bone in ("hip_bone", "sacrum", "other_hip_bone", "other_femur"):
        points = _along(region, RODS[bone][0], 0.0, 0.6)
        before = at(straight.far, points, region.far_mm)
        after = at(turned.far, _taken(base, points), region.far_mm)
        # it was looked up twice in voxels of 5 mm
        assert torch.allclose(before, after, atol=3.5), bone


@pytest.mark.parametrize("name", NAMES)
def test_the_head_stays_whole_in_its_socket(name: str) -> None:
    region = _small(name)
    bend = _bend(25.0, (4.0, 15.0, 15.0))
    femur = _moves(region, bend)[0]
    _, turned = _scenes(region, bend)
    middle = _taken(femur, torch.tensor(region.pivot))
    towards = torch.nn.functional.normalize(
        torch.randn(60, 3, generator=torch.Generator().manual_seed(1)), dim=-1
    )
    ball = middle + towards * torch.linspace(0, HEAD_MM - 5, 60)[:, None]

    assert (at(turned.near.amin(dim=0), ball, region.cube_mm) < 0).all()
    assert (at(turned.far, ball, region.far_mm) < 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_parts_together_are_all_bones(name: str) -> None:
    region = _small(name)
    near, far = _fields(region)

    parts = parted(region, near, far, HIP)

    fars = torch.stack([part.far for part in parts])
    assert torch.equal(fars.amin(dim=0) < 0, far < 0)
    beside = torch.stack([part.near[-1] for part in parts])
    assert torch.equal(beside.amin(dim=0) < 0, near[-1] < 0)
