"""Overlap and distance of bodies whose answers can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipeline.metrics import dice, surface_distance
from pipeline.types import Mesh


def a_mesh(made: trimesh.Trimesh) -> Mesh:
    return Mesh(np.asarray(made.vertices, float), np.asarray(made.faces, np.int64))


def a_sphere(radius: float) -> Mesh:
    return a_mesh(trimesh.creation.icosphere(subdivisions=4, radius=radius))


def test_dice_of_half_overlapping_boxes_is_one_half() -> None:
    a, b = np.zeros((2, 4, 8), bool)
    a[:, 0:4], b[:, 2:6] = True, True

    assert dice(a, b) == 0.5


def test_dice_is_one_for_equal_and_zero_for_disjoint_masks() -> None:
    a = np.array([True, True, False])

    assert dice(a, a) == 1.0
    assert dice(a, ~a) == 0.0
    assert dice(np.zeros(3), np.zeros(3)) == 1.0


def test_dice_of_different_grids_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        dice(np.ones((2, 3)), np.ones((3, 2)))


def test_concentric_spheres_are_the_difference_of_their_radii_apart() -> None:
    apart = surface_distance(a_sphere(30), a_sphere(33))

    assert apart.assd == pytest.approx(3.0, abs=0.03)
    assert apart.hd95 == pytest.approx(3.0, abs=0.06)


def test_equal_surfaces_are_nothing_apart() -> None:
    apart = surface_distance(a_sphere(30), a_sphere(30))

    assert apart.assd == pytest.approx(0, abs=1e-3)
    assert apart.hd95 == pytest.approx(0, abs=1e-3)


def test_the_distance_does_not_depend_on_the_order() -> None:
    a, b = a_sphere(10), a_mesh(trimesh.creation.box((20, 20, 20)))

    assert surface_distance(a, b).assd == pytest.approx(surface_distance(b, a).assd, rel=1e-9)


def test_a_cube_shifted_by_a_tenth_has_the_distance_worked_out_by_hand() -> None:
    # edge 20, shift 2 along x: the two faces across x are 2 apart; of the four faces along x
    # only the strip of 2 that sticks out is away, by 0 to 2, 1 on average
    a = a_mesh(trimesh.creation.box((20, 20, 20)))
    b = Mesh(a.vertices + np.array([2.0, 0.0, 0.0]), a.faces)

    apart = surface_distance(a, b, samples=40_000)

    # the face that lies inside the other cube is 2 from the parallel face, or nearer to a side
    rng = np.random.default_rng(0)
    y, z = rng.uniform(-10, 10, (2, 200_000))
    inner = np.minimum(2.0, np.minimum(10 - np.abs(y), 10 - np.abs(z))).mean()
    expected = (400 * 2.0 + 400 * inner + 4 * 40 * 1.0) / 2400
    assert apart.assd == pytest.approx(expected, rel=0.01)


def test_a_far_speck_moves_the_mean_but_hd95_little() -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=30)
    speck = trimesh.creation.icosphere(subdivisions=1, radius=2)
    speck.apply_translation([100, 0, 0])

    apart = surface_distance(a_mesh(trimesh.util.concatenate([ball, speck])), a_mesh(ball))

    assert 0 < apart.assd < 1
    assert apart.hd95 < 0.01
