"""Bent knees, on bones made of balls and rods, whose places are known."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from pipeline.training.bending import Bend, bent, draw_bend, moved
from pipeline.training.joints import KNEE
from pipeline.training.parting import parted
from pipeline.training.posing import RIGID, STILL, PoseRange, Scene, centres, draw, posed
from pipeline.training.regions import Region, region_named
from pipeline.training.surfaces import in_scene
from tests.rods import Rod, at, fields


def _small(name: str) -> Region:
    return replace(region_named(name), voxels=48, far_mm=320.0)


REGION = _small("knee")
FEMUR, TIBIA, PATELLA, FIBULA = range(4)
KNEE_RODS: dict[str, list[Rod]] = {
    "femur": [
        ((-24.0, 12.4, 24.5), (24.0, 12.4, 24.5), 21.0),
        ((-15.0, -5.0, 28.0), (15.0, -5.0, 28.0), 20.0),
        ((0.0, 0.0, 30.0), (0.0, 0.0, 400.0), 13.0),
    ],
    "tibia": [
        ((-24.0, 8.0, -10.0), (24.0, 8.0, -10.0), 10.0),
        ((0.0, 5.0, -20.0), (0.0, 5.0, -400.0), 14.0),
    ],
    "patella": [((-4.0, -38.0, 28.0), (4.0, -38.0, 28.0), 9.0)],
    "fibula": [((-30.0, 20.0, -20.0), (-26.0, 16.0, -400.0), 5.0)],
    "other_femur": [((110.0, 0.0, 25.0), (110.0, 0.0, 400.0), 13.0)],
    "other_tibia": [((110.0, 0.0, -20.0), (110.0, 0.0, -400.0), 13.0)],
}


@cache
def _fields(region: Region) -> tuple[Tensor, Tensor]:
    return fields(region, KNEE_RODS, 64)


def _bend(flexion_deg: float, lean: float) -> Bend:
    nothing = torch.zeros(len(KNEE.bodies), 3)
    return Bend(KNEE, math.radians(flexion_deg), lean, nothing, nothing, nothing[:, 0])


@cache
def _bent(flexion_deg: float, lean: float = 0.0, region: Region = REGION) -> Scene:
    near, far = _fields(region)
    pose = draw(STILL, region.far_mm, torch.Generator())
    return bent(region, near, far, pose, _bend(flexion_deg, lean))[0]


@cache
def _straight(region: Region = REGION) -> Scene:
    near, far = _fields(region)
    return posed(near, region.cube_mm, far, draw(STILL, region.far_mm, torch.Generator()))


def _inside(bone: Tensor, edge: float) -> Tensor:
    """(N, 3) mm."""
    return centres(bone.shape[-1], edge, bone.device)[bone < 0]


def _shaft(scene: Scene, upwards: bool) -> Tensor:
    """(3,) unit vector along the part of a leg that is far from the joint."""
    held = _inside(scene.far, scene.far_cube_mm)
    held = held[(held[:, 0] < 60) & ((held[:, 2] > 0) == upwards)]
    length = held.norm(dim=-1)
    lower, upper = ((length - at).abs() < 10 for at in (90, 130))
    away = held[upper].mean(dim=0) - held[lower].mean(dim=0)
    return away / away.norm()


def _volume(bone: Tensor, voxel: float) -> float:
    return float((0.5 - bone / voxel).clamp(0, 1).sum()) * voxel**3


def _gap(one: Tensor, other: Tensor) -> float:
    """mm between two bones: the least sum of distances to both."""
    return float((one + other)[(one > 0) & (other > 0)].amin())


def test_a_region_without_a_joint_draws_nothing_for_one() -> None:
    region = replace(REGION, name="wrist")
    generator = torch.Generator().manual_seed(5)
    before = generator.get_state()

    assert draw_bend(region, PoseRange(), generator) is None
    assert torch.equal(generator.get_state(), before)


def test_judging_draws_nothing_for_a_joint() -> None:
    generator = torch.Generator().manual_seed(5)
    before = generator.get_state()

    assert draw_bend(REGION, RIGID, generator) is None
    assert torch.equal(generator.get_state(), before)


def test_six_of_ten_knees_are_bent_by_up_to_sixty_degrees() -> None:
    generator = torch.Generator().manual_seed(1)
    drawn = [draw_bend(REGION, PoseRange(), generator) for _ in range(300)]
    bends = [bend.flexion for bend in drawn if bend is not None]

    assert 150 < len(bends) < 210
    assert 0 <= min(bends) < math.radians(5)
    assert math.radians(55) < max(bends) <= math.radians(60)


def test_a_bend_by_nothing_is_the_straight_knee() -> None:
    still, straight = _bent(0.0), _straight()

    close = straight.near.abs() < 5
    assert (still.near - straight.near)[close].abs().max() < 0.1
    close = straight.far.abs() < 8
    assert (still.far - straight.far)[close].abs().max() < 0.5


@pytest.mark.parametrize("lean", [0.0, 0.4, 1.0])
def test_shafts_stand_at_the_angle_of_flexion_and_the_femur_at_its_share(lean: float) -> None:
    scene = _bent(50.0, lean)
    thigh, shank = _shaft(scene, True), _shaft(scene, False)

    assert math.degrees(math.acos(float(-thigh @ shank))) == pytest.approx(50, abs=2.5)
    # both go backwards: the knee is before them
    assert math.degrees(math.atan2(thigh[1], thigh[2])) == pytest.approx(50 * lean, abs=2.5)
    assert math.degrees(math.atan2(shank[1], -shank[2])) == pytest.approx(50 * (1 - lean), abs=2.5)


@pytest.mark.parametrize("range_", [STILL, RIGID, PoseRange()])
def test_bones_of_a_bent_knee_move_as_rigid_bodies(range_: PoseRange) -> None:
    near, far = _fields(REGION)
    pose = draw(range_, REGION.far_mm, torch.Generator().manual_seed(3))
    bend = draw_bend(REGION, replace(range_, bent=1.0), torch.Generator().manual_seed(4))
    assert bend is not None

    moves = moved(REGION, parted(REGION, near, far, KNEE), pose, bend)

    turns = moves[:, :3, :3]
    assert torch.allclose(turns @ turns.mT, torch.eye(3).expand_as(turns), atol=1e-5)
    assert torch.allclose(torch.linalg.det(turns), torch.ones(len(turns)), atol=1e-5)
    assert torch.equal(moves[-1], torch.eye(4))


def test_the_patella_keeps_its_volume_when_the_knee_bends() -> None:
    voxel = REGION.cube_mm / REGION.voxels
    before, after = (
        _volume(scene.near[PATELLA], voxel) for scene in (_straight(), _bent(45.0, 0.5))
    )
    assert after == pytest.approx(before, rel=0.05)


@pytest.mark.parametrize("flexion_deg", [20.0, 60.0])
def test_tibia_and_patella_keep_their_gaps_to_the_femur(flexion_deg: float) -> None:
    straight, scene = _straight(), _bent(flexion_deg, 0.5)
    for bone in (TIBIA, PATELLA):
        before = _gap(straight.near[FEMUR], straight.near[bone])
        after = _gap(scene.near[FEMUR], scene.near[bone])
        assert before > 2
        assert after == pytest.approx(before, abs=0.8)


def test_the_patella_turns_by_less_than_the_tibia_and_its_tendon_keeps_its_length() -> None:
    near, far = _fields(REGION)
    pose = draw(STILL, REGION.far_mm, torch.Generator())
    patella, tibia, _, _ = moved(REGION, parted(REGION, near, far, KNEE), pose, _bend(60.0, 0.0))
    tether = KNEE.bodies[0].tether
    assert tether is not None
    start, end = (torch.tensor([*point, 1.0]) for point in (tether.start, tether.end))

    turned = math.degrees(math.acos(float(torch.trace(patella[:3, :3]) - 1) / 2))
    assert turned == pytest.approx(0.65 * 60, abs=0.1)
    stretched = (patella @ start - tibia @ end).norm() - (start - end).norm()
    assert abs(float(stretched)) < 1.0


@pytest.mark.parametrize("name", ["knee", "proximal_tibia"])
def test_the_shaft_of_a_bent_tibia_stays_attached_in_the_near_and_in_the_far(name: str) -> None:
    region = _small(name)
    near, far = _fields(region)
    pose, bend = draw(STILL, region.far_mm, torch.Generator()), _bend(40.0, 0.5)
    tibia = moved(region, parted(region, near, far, KNEE), pose, bend)[1]
    along = torch.arange(-120.0, -20.0, 5.0)[:, None] * torch.tensor([0.0, 0.0, 1.0])
    shaft = along + torch.tensor([0.0, 5.0, 0.0]) + torch.tensor(region.pivot)
    there = shaft @ tibia[:3, :3].T + tibia[:3, 3]

    scene, _ = bent(region, near, far, pose, bend)

    assert (at(scene.far, there, region.far_mm) < -5).all()
    held = there[(there.abs() < region.cube_mm / 2 - 4).all(dim=-1)]
    assert len(held) > 5
    assert (at(scene.near.amin(dim=0), held, region.cube_mm) < -5).all()
    # and none of it is left where it was
    assert (at(scene.far, shaft[:6], region.far_mm) > 5).all()


@pytest.mark.parametrize("name", ["knee", "distal_femur", "proximal_tibia"])
def test_the_other_leg_stays_where_it_is(name: str) -> None:
    region = _small(name)
    before, after = _straight(region), _bent(50.0, 0.5, region)
    points = centres(64, region.far_mm, torch.device("cpu"))
    is_other = points[..., 0] > region.pivot[0] + 80
    assert torch.equal(before.far[is_other] < 0, after.far[is_other] < 0)


@pytest.mark.parametrize("name", ["distal_femur", "proximal_tibia"])
def test_the_bone_of_a_closer_look_stays_in_the_middle_of_its_cube(name: str) -> None:
    region = _small(name)
    before, after = (
        _inside(s.near[0], region.cube_mm) for s in (_straight(region), _bent(40.0, 0.5, region))
    )
    assert (before.mean(dim=0) - after.mean(dim=0)).norm() < 8


@pytest.mark.parametrize("name", ["knee", "distal_femur", "proximal_tibia"])
def test_parts_together_are_all_bones_and_no_two_share_any(name: str) -> None:
    region = _small(name)
    near, far = _fields(region)

    parts = parted(region, near, far, KNEE)

    fars = torch.stack([part.far for part in parts])
    assert torch.equal(fars.amin(dim=0) < 0, far < 0)
    assert ((fars < 0).sum(dim=0) <= 1).all()
    beside = torch.stack([part.near[-1] for part in parts])
    assert torch.equal(beside.amin(dim=0) < 0, near[-1] < 0)
    assert ((beside < 0).sum(dim=0) <= 1).all()


def test_true_surfaces_are_judged_where_the_bend_has_taken_them() -> None:
    near, far = _fields(REGION)
    pose = draw(RIGID, REGION.far_mm, torch.Generator().manual_seed(3))
    heights = torch.arange(-60.0, -25.0, 5.0)[:, None] * torch.tensor([0.0, 0.0, 1.0])
    shin = heights + torch.tensor([0.0, 5.0 - 14.0, 0.0])

    scene, there = bent(REGION, near, far, pose, _bend(30.0, 0.5))

    placed = torch.from_numpy(in_scene(shin, there, TIBIA)).float()
    assert at(scene.near[TIBIA], placed, REGION.cube_mm).abs().max() < 0.6
