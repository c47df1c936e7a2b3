"""Signed distances on a grid: made-up meshes, closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.training.signed_distance import EXACT, Cube, Surface, is_inside, signed_distance

CUBE = Cube(80.0, 48)
LIMIT = 15.875


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> Surface:
    mesh = trimesh.creation.box(bounds=[low, high])
    return Surface(np.array(mesh.vertices, np.float64), np.array(mesh.faces, np.int64))


def ball(radius: float, centre: tuple[float, float, float]) -> Surface:
    mesh = trimesh.creation.icosphere(subdivisions=5, radius=radius)
    return Surface(np.array(mesh.vertices) + centre, np.array(mesh.faces, np.int64))


def grid(cube: Cube) -> NDArray[np.float64]:
    """(Z, Y, X, 3) centres, from the definition in the issue's words."""
    at = np.array(
        [-cube.edge / 2 + (i + 0.5) * cube.edge / cube.voxels for i in range(cube.voxels)]
    )
    z, y, x = np.meshgrid(at, at, at, indexing="ij")
    return np.stack([x, y, z], axis=-1)


def to_box(
    points: NDArray[np.float64], low: tuple[float, ...], high: tuple[float, ...]
) -> NDArray[np.float64]:
    """Closed form, after Quilez: outside the norm of the excess, inside the nearest face."""
    middle, half = (np.add(low, high)) / 2, (np.subtract(high, low)) / 2
    excess = np.abs(points - middle) - half
    outside = np.linalg.norm(np.maximum(excess, 0), axis=-1)
    return np.asarray(outside + np.minimum(excess.max(axis=-1), 0))


def test_the_distance_to_a_box_is_that_of_the_closed_form() -> None:
    low, high = (-20.0, -7.0, -11.0), (13.0, 18.0, 22.0)
    truth = to_box(grid(CUBE), low, high)
    found = signed_distance([box(low, high)], CUBE, LIMIT)
    near = np.abs(truth) < EXACT
    assert np.abs(found - truth)[near].max() < 0.001
    beyond = (np.abs(truth) >= EXACT) & (truth < LIMIT)
    error = np.abs(found - truth)
    assert error[beyond & (truth > 0)].max() < 1.0
    assert error[beyond].max() < CUBE.step, "the ridge in the middle of the box is worn off"
    assert error[beyond].mean() < 0.2


def test_the_distance_to_a_ball_is_negative_inside_and_clipped_on_both_sides() -> None:
    centre = (3.0, -5.0, 7.0)
    truth = np.linalg.norm(grid(CUBE) - centre, axis=-1) - 24.0
    found = signed_distance([ball(24.0, centre)], CUBE, LIMIT)
    error = np.abs(found - np.clip(truth, -LIMIT, LIMIT))
    assert error.max() < 0.8
    assert error[np.abs(truth) < EXACT].max() < 0.02, "the facets of the ball"
    assert found.min() == -LIMIT
    assert found.max() == LIMIT


def test_axes_are_z_y_x() -> None:
    found = signed_distance([box((10, -5, -35), (30, 5, -15))], CUBE, LIMIT)
    inside = np.argwhere(found < 0).mean(axis=0)
    z, y, x = inside * CUBE.step - CUBE.edge / 2 + CUBE.step / 2
    assert (x, y, z) == pytest.approx((20, 0, -25), abs=0.7)


def test_two_bones_are_their_union() -> None:
    first, second = ((-30.0, -9.0, -9.0), (-6.0, 9.0, 9.0)), ((7.0, -9.0, -9.0), (31.0, 9.0, 9.0))
    truth = np.minimum(to_box(grid(CUBE), *first), to_box(grid(CUBE), *second))
    found = signed_distance([box(*first), box(*second)], CUBE, LIMIT)
    near = np.abs(truth) < EXACT
    assert np.abs(found - truth)[near].max() < 0.001


def test_a_bone_that_runs_out_of_the_cube_is_cut_by_it_and_nothing_else() -> None:
    low, high = (-8.0, -8.0, -90.0), (8.0, 8.0, 90.0)
    truth = to_box(grid(CUBE), low, high)
    found = signed_distance([box(low, high)], CUBE, LIMIT)
    assert ((found < 0) == (truth < 0)).all()
    assert np.abs(found - truth)[np.abs(truth) < EXACT].max() < 0.001


def test_a_bone_just_outside_the_cube_is_felt_inside_and_a_far_one_is_not() -> None:
    beside = signed_distance([box((45, -9, -9), (60, 9, 9))], CUBE, LIMIT)
    assert beside.min() == pytest.approx(45 - (40 - CUBE.step / 2), abs=0.3)
    assert (signed_distance([box((60, -9, -9), (70, 9, 9))], CUBE, LIMIT) == LIMIT).all()
    assert (signed_distance([], CUBE, LIMIT) == LIMIT).all()


def test_a_bone_around_the_whole_cube_is_inside_everywhere() -> None:
    around = box((-900, -900, -900), (900, 900, 900))
    assert (signed_distance([around], CUBE, LIMIT) == -LIMIT).all()


@pytest.mark.parametrize("missing", range(12))
def test_one_missing_triangle_flips_no_sign(missing: int) -> None:
    whole = box((-21, -17, -13), (11, 15, 23))
    torn = Surface(whole.vertices, np.delete(whole.faces, missing, axis=0))
    assert (is_inside(torn, CUBE) == is_inside(whole, CUBE)).all()


def test_a_mesh_whose_vertices_lie_on_the_lines_of_the_grid_has_no_streaks() -> None:
    step = CUBE.step
    low, high = (-8.5 * step,) * 3, (7.5 * step,) * 3
    found = is_inside(box(low, high), CUBE)
    deep = to_box(grid(CUBE), low, high)
    assert found[deep < -0.1].all()
    assert not found[deep > 0.1].any()


@given(st.integers(0, 2**32 - 1))
def test_a_turned_box_has_the_volume_of_the_box(seed: int) -> None:
    turn = trimesh.transformations.random_rotation_matrix(np.random.default_rng(seed).random(3))
    upright = box((-14, -10, -18), (14, 10, 18))
    turned = Surface(upright.vertices @ turn[:3, :3].T, upright.faces)
    counted = is_inside(turned, Cube(64.0, 48)).sum() * (64 / 48) ** 3
    assert counted == pytest.approx(28 * 20 * 36, rel=0.04)
