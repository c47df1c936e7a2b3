"""Scenes: bones in a pose, what they leave on a detector, and the pool that keeps them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.projection import project
from pipeline.training.archive import Archive
from pipeline.training.batches import Conditions, assembled, told
from pipeline.training.exposure import CLEAN, Exposure, exposed
from pipeline.training.judging import standard
from pipeline.training.pool import Simulated, fill, load, save, simulate
from pipeline.training.posing import RIGID, STILL, PoseRange, draw, posed
from pipeline.training.shots import draw_shots
from tests.toy_region import CENTRES, OTHER, REGION, radius, toy_archive

SIZE = 64


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return toy_archive(tmp_path_factory.mktemp("toy") / "toy.npz")


def _random(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _simulated(archive: Archive, pose: PoseRange, *, is_alone: bool, seed: int = 1) -> Simulated:
    generator = _random(seed)
    shots = [standard(view, 120.0, SIZE, is_alone, generator) for view in "FL"]
    return simulate(
        archive.cases[0], archive, image_size=SIZE, pose=pose, shots=shots, generator=generator
    )[0]


def _centre_of(inside: Tensor) -> Tensor:
    index = inside.nonzero().float().mean(dim=0).flip(-1)
    return (index + 0.5) / inside.shape[-1] * 120 - 60


def test_a_pose_that_moves_nothing_leaves_the_bones_where_they_are(archive: Archive) -> None:
    case = archive.cases[0]
    near = archive.near(case)
    scene = posed(near, 120.0, archive.far(case), draw(STILL, 256.0, _random()))
    assert torch.allclose(scene.near, near, atol=0.02)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_bones_stand_where_the_pose_takes_them(archive: Archive, seed: int) -> None:
    case = archive.cases[0]
    pose = draw(replace(RIGID, shift_mm=4.0), 256.0, _random(seed))
    scene = posed(archive.near(case), 120.0, archive.far(case), pose)
    scene_from_region = torch.linalg.inv(pose.region_from_scene)
    for bone, centre in zip(scene.near, CENTRES.values(), strict=False):
        moved = scene_from_region @ torch.tensor([*centre, 1.0])
        assert torch.linalg.norm(_centre_of(bone < 0) - moved[:3]) < 0.5


def test_a_rigid_pose_keeps_every_length() -> None:
    affine = draw(RIGID, 256.0, _random()).region_from_scene[:3, :3]
    assert torch.allclose(affine @ affine.T, torch.eye(3), atol=1e-5)


def test_a_ball_leaves_its_thickness_where_its_camera_sees_it(archive: Archive) -> None:
    scene = _simulated(archive, STILL, is_alone=True)
    for shot, image in zip(scene.shots, scene.thickness, strict=True):
        for bone, centre in CENTRES.items():
            row, column = np.round(project(shot.camera(SIZE), centre)).astype(int)
            # cortical bone at both ends, softer between
            assert 3 < image[row, column] < 2 * radius(0, bone) + 1


def test_the_other_leg_is_in_the_lateral_view_unless_it_is_out_of_the_way(
    archive: Archive,
) -> None:
    both = _simulated(archive, STILL, is_alone=False)
    alone = _simulated(archive, STILL, is_alone=True)
    row, column = np.round(project(both.shots[1].camera(SIZE), OTHER)).astype(int)
    assert both.thickness[1, row, column] > alone.thickness[1, row, column] + 2


def test_the_shadow_of_a_ball_is_a_disc_where_its_camera_sees_it(archive: Archive) -> None:
    scene = _simulated(archive, STILL, is_alone=True)
    for shot, shadows in zip(scene.shots, scene.shadows, strict=True):
        camera = shot.camera(SIZE // 2)
        spacing = 2 * shot.spacing
        half = replace(shot, spacing=spacing).camera(SIZE // 2)
        assert (camera.rows, camera.columns) == shadows.shape[-2:]
        for shadow, (bone, centre) in zip(shadows, CENTRES.items(), strict=True):
            at = shadow.nonzero().double().mean(dim=0).numpy()
            assert np.linalg.norm(at - project(half, centre)) < 0.5
            enlarged = shot.source_to_detector / shot.source_to_patient
            area = float(shadow.sum()) * (spacing / enlarged) ** 2
            # a voxel of 2.5 mm blurs the ball
            assert radius(0, bone) - 0.5 < np.sqrt(area / np.pi) < radius(0, bone) + 2.5


def test_points_know_their_distance(archive: Archive) -> None:
    scene = _simulated(archive, STILL, is_alone=True)
    for channel, (bone, centre) in enumerate(CENTRES.items()):
        away = (scene.points - torch.tensor(centre)).norm(dim=-1) - radius(0, bone)
        near = away.abs() < 3
        assert (scene.distances[near, channel] - away[near]).abs().max() < 0.35
        assert near.float().mean() > 0.2


def test_a_pool_that_was_interrupted_is_continued_with_the_same_scenes(
    archive: Archive, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    fill(archive, archive.cases, whole, 3, image_size=SIZE, seed=4)
    answers = iter([False, True])
    fill(
        archive,
        archive.cases,
        broken,
        3,
        image_size=SIZE,
        seed=4,
        is_over=lambda: next(answers),
    )
    assert len(list(broken.glob("*.npz"))) == 1
    fill(archive, archive.cases, broken, 3, image_size=SIZE, seed=4, part=(0, 2))
    fill(archive, archive.cases, broken, 3, image_size=SIZE, seed=4, part=(1, 2))
    for path in sorted(whole.glob("*.npz")):
        one, other = load(path), load(broken / path.name)
        assert torch.equal(one.thickness, other.thickness)
        assert torch.equal(one.points, other.points)
        assert torch.equal(one.shadows, other.shadows)
        assert one.shots == other.shots


def test_shots_are_a_frontal_a_lateral_and_any_view() -> None:
    for seed in range(20):
        frontal, lateral, _ = draw_shots(240.0, 256, _random(seed))
        assert frontal.name in ("AP", "PA")
        assert lateral.name in ("LL", "RL")
        for shot in (frontal, lateral):
            assert 900 <= shot.source_to_detector <= 1800
            assert shot.source_to_patient < shot.source_to_detector
            assert max(abs(shot.primary_deg), abs(shot.secondary_deg)) <= 14


def test_a_tube_beside_the_isocentre_moves_the_principal_point_and_not_the_image() -> None:
    shot = replace(standard("F", 120.0, SIZE, True, _random()), along=20.0, down=-10.0)
    seen, middle = shot.camera(SIZE), (SIZE - 1) / 2
    straight_on = seen.source + 1150 * seen.patient_from_detector[:3, 2]
    # the rays from the tube to the isocentre and on to the detector: 1150 mm of 950 mm
    row, column = 10 * 1150 / 950 / shot.spacing, -20 * 1150 / 950 / shot.spacing

    assert project(seen, (0.0, 0.0, 0.0)) == pytest.approx((middle, middle))
    assert project(seen, straight_on) == pytest.approx((middle - row, middle - column))


def test_shots_stand_beside_the_isocentre_by_no_more_than_three_centimetres() -> None:
    shots = [shot for seed in range(20) for shot in draw_shots(240.0, 256, _random(seed))]
    beside = [abs(mm) for shot in shots for mm in (shot.along, shot.down)]
    assert 5 < np.mean(beside) < 20
    assert max(beside) <= 30


def test_a_pool_of_before_tubes_stood_beside_is_still_read(
    archive: Archive, tmp_path: Path
) -> None:
    scene = _simulated(archive, STILL, is_alone=True)
    save(scene, tmp_path / "now.npz")
    with np.load(tmp_path / "now.npz") as stored:
        entries = dict(stored)
    entries["shots"] = entries["shots"][:, :7]
    np.savez(tmp_path / "before.npz", **entries)
    assert load(tmp_path / "before.npz").shots == scene.shots == load(tmp_path / "now.npz").shots


def test_a_clean_exposure_rises_with_the_bone_and_loses_nothing() -> None:
    thickness = torch.linspace(0, 60, 400).reshape(1, 20, 20)
    image, valid = exposed(thickness, CLEAN, _random())
    assert valid.all()
    assert (image.flatten().diff() > 0).all()


def test_a_beam_hardens_in_thick_bone() -> None:
    thickness = torch.linspace(0, 60, 400).reshape(1, 20, 20)
    image, _ = exposed(thickness, CLEAN, _random())
    assert (image.flatten().diff().diff() < 1e-5).all()


def test_no_exposure_brings_what_is_no_number() -> None:
    for seed in range(30):
        image, valid = exposed(torch.rand(2, SIZE, SIZE) * 80, Exposure(), _random(seed))
        assert torch.isfinite(image).all()
        assert valid.float().mean() > 0.3


def test_a_wrong_sid_keeps_the_spacing_and_the_distance_of_the_detector() -> None:
    shot = standard("F", 120.0, SIZE, True, _random())
    wrong = told(shot, Conditions(), _random(4))
    assert wrong.spacing == shot.spacing
    assert wrong.source_to_detector != shot.source_to_detector
    gap = shot.source_to_detector - shot.source_to_patient
    assert wrong.source_to_detector - wrong.source_to_patient == pytest.approx(gap)


def test_half_of_the_samples_have_one_view_and_none_has_none(archive: Archive) -> None:
    scene = _simulated(archive, STILL, is_alone=True)
    again = [0, 1, 0]
    scene = replace(
        scene,
        thickness=scene.thickness[again],
        shots=tuple(scene.shots[n] for n in again),
        shadows=scene.shadows[again],
    )
    draws = _random()
    counts = []
    for _ in range(60):
        batch = assembled([scene] * 2, Conditions(exposure=CLEAN, points=8), draws)
        views = batch.seen.is_present.shape[1]
        assert batch.seen.is_present.all()
        assert batch.points.shape == (2, 8, 3)
        assert batch.shadows.shape[:3] == (2, views, 2)
        assert batch.has.all()
        counts.append(views)
    assert min(counts) == 1
    assert 18 < counts.count(1) < 42


def test_a_scene_of_two_shots_gives_both_or_one(archive: Archive) -> None:
    scene, draws = _simulated(archive, STILL, is_alone=True), _random()
    how = Conditions(exposure=CLEAN, points=8)
    counts = {assembled([scene], how, draws).seen.is_present.shape[1] for _ in range(30)}
    assert counts == {1, 2}


def test_an_image_is_of_the_true_camera_and_the_batch_of_the_told_one(archive: Archive) -> None:
    scene = _simulated(archive, STILL, is_alone=True)
    wrong = Conditions(exposure=CLEAN, one_view=1.0, three_views=0.0, wrong=1.0, points=8)
    right = replace(wrong, wrong=0.0)
    one, other = (assembled([scene], how, _random(2)) for how in (wrong, right))
    assert torch.equal(one.seen.images, other.seen.images)
    assert not torch.allclose(one.seen.projections, other.seen.projections)


def test_the_toy_region_is_judged_in_the_cube_it_says(archive: Archive) -> None:
    assert archive.region == REGION
