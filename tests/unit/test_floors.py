"""Where a surface of perfect shape is put, by what is told and known of its cameras."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation
from trimesh.transformations import transform_points

from benchmarks.floors import Plan, drawn, floors, table
from benchmarks.knowing import (
    CLEAN,
    ONE_VIEW,
    STANDARD_DEG,
    WRONG,
    Sight,
    at_own_depth,
    at_usual_depth,
    sharing,
)
from benchmarks.placing import Vote, about_source, along_ray, as_told, likeliest, turned
from pipeline.projection import project, shifted
from pipeline.training.archive import Archive
from pipeline.training.batches import Conditions, told
from pipeline.training.given import Given
from pipeline.training.judging import CONDITIONS, judged, standard
from pipeline.training.posing import RIGID, STILL, Pose, draw
from pipeline.training.shots import Shot
from pipeline.types import Float, View
from tests.toy_region import SIZE, toy_archive

POINTS = np.random.default_rng(3).normal((-30.0, 5.0, -40.0), 25.0, (40, 3))
PIXELS = 400
SHOTS = tuple(standard(v, 240.0, PIXELS, False, torch.Generator().manual_seed(5)) for v in "FL")
SOD = 950.0
LENGTHS = ("source_to_detector", "source_to_patient", "spacing")
angles = st.floats(-12.0, 12.0)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return toy_archive(tmp_path_factory.mktemp("toy") / "toy.npz")


def _cameras(*shots: Shot) -> list[View]:
    return [shot.camera(PIXELS) for shot in shots]


def _under(motion: Float, view: View) -> View:
    """The camera, moved with its detector as a rigid whole."""
    return replace(
        view,
        source=transform_points(view.source[None], motion)[0],
        patient_from_detector=motion @ view.patient_from_detector,
    )


def _pose(seed: int) -> Pose:
    return draw(RIGID, 512.0, torch.Generator().manual_seed(seed))


def _sight(seed: int, **changes: Any) -> Sight:
    generator = torch.Generator().manual_seed(seed)
    wrong = tuple(told(shot, Conditions(), generator) for shot in SHOTS)
    return Sight(POINTS, np.zeros(3), _pose(seed), SHOTS, wrong, PIXELS)._replace(**changes)


@pytest.mark.parametrize("is_scaled", [False, True])
def test_who_is_told_the_truth_puts_the_surface_where_it_is(is_scaled: bool) -> None:
    motion = as_told(POINTS, _cameras(*SHOTS), _cameras(*SHOTS), is_scaled=is_scaled)
    np.testing.assert_allclose(motion, np.eye(4), atol=1e-6)


@settings(max_examples=15)
@given(angles, angles, angles, st.booleans())
def test_cameras_told_turned_as_a_whole_turn_the_surface_as_much(
    x: float, y: float, z: float, is_scaled: bool
) -> None:
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", (x, y, z), degrees=True).as_matrix()
    true = _cameras(*SHOTS)
    motion = as_told(POINTS, true, [_under(turn, view) for view in true], is_scaled=is_scaled)
    np.testing.assert_allclose(motion, turn, atol=1e-4)


@settings(max_examples=15)
@given(angles)
def test_primary_angles_told_larger_by_as_much_turn_the_surface_about_the_long_axis(
    deg: float,
) -> None:
    larger = [replace(shot, primary_deg=shot.primary_deg + deg) for shot in SHOTS]
    motion = as_told(POINTS, _cameras(*SHOTS), _cameras(*larger))
    cosine, sine = np.cos(np.radians(deg)), np.sin(np.radians(deg))
    expected = [[cosine, -sine, 0, 0], [sine, cosine, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(motion, expected, atol=1e-4)
    np.testing.assert_allclose(turned(deg), expected, atol=1e-12)


def test_cameras_told_beside_their_place_shift_the_surface() -> None:
    true = _cameras(*SHOTS)
    motion = as_told(POINTS, true, [shifted(view, (3.0, -4.0, 5.0)) for view in true])
    np.testing.assert_allclose(motion[:3], np.column_stack([np.eye(3), (3, -4, 5)]), atol=1e-5)


def test_only_a_similarity_follows_a_room_that_is_told_larger() -> None:
    larger = [
        replace(shot, **{name: 1.04 * getattr(shot, name) for name in LENGTHS}) for shot in SHOTS
    ]
    true, known = _cameras(*SHOTS), _cameras(*larger)
    motion = as_told(POINTS, true, known, is_scaled=True)
    np.testing.assert_allclose(motion, np.diag([1.04, 1.04, 1.04, 1.0]), atol=1e-5)
    assert np.linalg.det(as_told(POINTS, true, known)[:3, :3]) == pytest.approx(1.0)


@given(st.lists(st.tuples(angles, st.floats(0.5, 9.0)), min_size=1, max_size=5))
def test_the_likeliest_value_is_at_odds_with_all_votes_the_least(
    votes: list[tuple[float, float]],
) -> None:
    def odds(value: float) -> float:
        return sum(((value - v) / deviation) ** 2 for v, deviation in votes)

    best = likeliest([Vote(*vote) for vote in votes])
    assert odds(best) <= min(odds(best - 0.01), odds(best + 0.01))


def _errors_and_motion(unknown: Float) -> tuple[list[View], Float]:
    """Cameras (three errors each: primary, secondary, share of SID), and a surface in a pose."""
    shots = [
        replace(
            shot,
            primary_deg=shot.primary_deg + a,
            secondary_deg=shot.secondary_deg + b,
            source_to_detector=1150 * (1 + c),
            source_to_patient=1150 * (1 + c) - 200,
        )
        for shot, (a, b, c) in zip(SHOTS, unknown[:6].reshape(2, 3), strict=True)
    ]
    turn = Rotation.from_rotvec(unknown[6:9], degrees=True).as_matrix()
    return _cameras(*shots), POINTS @ turn.T + unknown[9:]


def _seen(unknown: Float) -> Float:
    views, points = _errors_and_motion(unknown)
    return np.concatenate([project(view, points).ravel() for view in views])


def test_nothing_but_the_shared_turn_about_the_long_axis_leaves_the_images_of_a_known_shape() -> (
    None
):
    steps = np.array([0.1, 0.1, 1e-3] * 2 + [0.1] * 3 + [0.1] * 3)
    changes = np.array([_seen(step) - _seen(-step) for step in np.diag(steps)]).T
    _, sizes, directions = np.linalg.svd(changes)
    unseen = directions[-1]

    assert sizes[-1] < 1e-4
    assert sizes[-2] > 100 * sizes[-1]
    shared = np.zeros(12)
    shared[[0, 3, 8]] = 1 / np.sqrt(3)
    assert abs(unseen @ shared) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_no_search_over_all_errors_and_poses_knows_more_than_the_vote_over_one_turn(
    seed: int,
) -> None:
    """Errors, angles and pose as likely as can be, under the condition that the images agree."""
    sight = _sight(seed)
    pixels = np.concatenate([project(view, POINTS).ravel() for view in _cameras(*SHOTS)])
    lies = np.linalg.inv(sight.pose.region_from_scene.double().numpy())
    said = np.array([(k.primary_deg, k.secondary_deg) for k in sight.told])
    meant = np.array([(t.primary_deg, t.secondary_deg) for t in sight.true])
    far = np.array([k.source_to_detector for k in sight.told])

    def unlikely(unknown: Float) -> Float:
        errors = unknown[:6].reshape(2, 3)
        turn = Rotation.from_rotvec(unknown[6:9], degrees=True).as_matrix()
        whole = Rotation.from_matrix(turn @ lies[:3, :3]).as_rotvec(degrees=True)
        return np.concatenate(
            [
                1e3 * (_seen(unknown) - pixels),
                ((said - meant - errors[:, :2]) / 5).ravel(),
                (far / (1150 * (1 + errors[:, 2])) - 1) / 0.05,
                ((meant + errors[:, :2]) / 3).ravel(),
                whole / 6,
                (turn @ lies[:3, 3] + unknown[9:]) / 8,
            ]
        )

    found = least_squares(unlikely, np.zeros(12), x_scale=[1, 1, 0.01] * 2 + [1] * 6).x
    put = sharing(sight, knows_patients=True, knows_views=True)
    about_z = Rotation.from_matrix(put[:3, :3]).as_rotvec(degrees=True)[2]
    np.testing.assert_allclose(found[6:9], (0, 0, about_z), atol=0.1)
    np.testing.assert_allclose(found[9:], 0, atol=0.1)


def test_angles_told_rightly_leave_no_doubt_where_they_alone_are_asked() -> None:
    np.testing.assert_allclose(sharing(_sight(1, told=SHOTS)), np.eye(4), atol=1e-12)


def test_standard_exposures_are_as_far_from_nominal_as_is_known_of_them() -> None:
    generator = torch.Generator().manual_seed(0)
    shots = [standard("F", 240.0, PIXELS, False, generator) for _ in range(2000)]
    # of three degrees, cut at twice that
    assert np.std([shot.primary_deg for shot in shots]) == pytest.approx(STANDARD_DEG, rel=0.1)


@given(st.floats(-40.0, 40.0))
def test_a_bone_thought_deeper_is_made_larger_by_as_much_and_looks_the_same(deeper: float) -> None:
    frontal = replace(SHOTS[0], primary_deg=0.0, secondary_deg=0.0)
    middled = POINTS - POINTS.mean(axis=0)
    # the ray of a frontal view runs backwards, towards +y
    sight = _sight(1, points=middled, usual=np.array([9.0, deeper, 9.0]), true=(frontal, SHOTS[1]))
    there = transform_points(middled, at_usual_depth(sight))

    np.testing.assert_allclose(there, middled * (SOD + deeper) / SOD + [0, deeper, 0], atol=1e-9)
    view = frontal.camera(PIXELS)
    np.testing.assert_allclose(project(view, there), project(view, middled), atol=1e-9)


def test_a_bone_of_known_size_slides_along_the_ray_of_its_middle() -> None:
    view = SHOTS[0].camera(PIXELS)
    middle = POINTS.mean(axis=0)
    there = transform_points(POINTS, along_ray(view, middle, 1000.0))

    np.testing.assert_allclose(project(view, there.mean(axis=0)), project(view, middle))
    np.testing.assert_allclose(there - there.mean(axis=0), POINTS - middle)
    ray = -view.source / np.linalg.norm(view.source)
    assert (there.mean(axis=0) - view.source) @ ray == pytest.approx(1000.0)


@pytest.mark.parametrize("seed", range(3))
def test_of_all_sizes_that_look_the_same_the_patient_is_given_that_of_the_least_shift(
    seed: int,
) -> None:
    sight = _sight(seed)
    shift = sight.scene_from_region[:3, 3]
    put = at_own_depth(sight)
    left = np.linalg.norm(transform_points(shift[None], put))
    for scale in np.linspace(0.97, 1.03, 61):
        other = transform_points(shift[None], about_source(sight.frontal, scale))
        assert left <= np.linalg.norm(other) + 1e-9
    np.testing.assert_allclose(
        project(sight.frontal, transform_points(POINTS, put)), project(sight.frontal, POINTS)
    )


def test_a_patient_who_lies_as_usual_is_put_where_they_are() -> None:
    still = draw(STILL, 512.0, torch.Generator().manual_seed(1))
    np.testing.assert_allclose(at_own_depth(_sight(1, pose=still)), np.eye(4), atol=1e-12)


def test_told_cameras_are_those_that_an_engine_is_judged_with(toy: Archive) -> None:
    shown: list[Given] = []

    def engine(sample: Given) -> torch.Tensor:
        shown.append(sample)
        return torch.ones(2, 48, 48, 48)

    (wrong,) = (one for one in CONDITIONS if one.name == WRONG)
    judged(engine, toy, toy.cases[:2], [wrong], image_size=SIZE, seed=11)
    for index, sample in enumerate(shown):
        one = drawn(toy, toy.cases[index], 11 + 1000 * index, 2 * SIZE, is_judged=True)
        for shot, radiograph in zip(one.told, sample.radiographs, strict=True):
            expected, view = radiograph.view, shot.camera(2 * SIZE)
            np.testing.assert_array_equal(view.source, expected.source)
            np.testing.assert_array_equal(
                view.patient_from_detector, expected.patient_from_detector
            )
    assert len(shown) == 2


def test_poses_and_exposures_do_not_depend_on_whether_a_draw_is_judged(toy: Archive) -> None:
    one, other = (
        drawn(toy, toy.cases[0], 5, 64, is_judged=is_judged) for is_judged in (True, False)
    )
    assert one.true == other.true
    assert torch.equal(one.pose.region_from_scene, other.pose.region_from_scene)


def test_all_ways_are_measured_and_told_apart_from_those_beyond_the_evaluation(
    toy: Archive,
) -> None:
    case, *others = toy.cases
    found = list(floors(toy, [case], others, Plan(64, seed=7, judged=1, draws=2, samples=1000)))
    assert {one.condition for one in found} == {CLEAN, WRONG, ONE_VIEW}
    assert all(one.is_judged for one in found if one.condition == CLEAN)
    assert sum(one.is_judged for one in found if one.condition == ONE_VIEW) == 6
    # balls of 14 and 20 mm on voxels of 2.5 mm: a chord is 0.05 mm within its arc
    assert all(one.assd_mm < 0.15 for one in found if one.condition == CLEAN)
    assert "| one view (frontal) | hip bone | true size, usual depth |" in table("hip", found)
