"""Surfaces of balls and boxes, whose volume and shape are known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipeline.errors import NoBone
from pipeline.surface import surface, volume_of
from pipeline.types import Mesh, Volume


def a_volume(array: np.ndarray, spacing: tuple[float, float, float] = (1, 1, 1)) -> Volume:
    patient_from_index = np.zeros((4, 4))
    patient_from_index[[2, 1, 0], [0, 1, 2]] = spacing
    patient_from_index[3, 3] = 1
    return Volume(array.astype(np.float32), patient_from_index)


def a_ball(size: int, radius: float, centre: tuple[float, float, float]) -> np.ndarray:
    k, j, i = np.indices((size, size, size))
    away = np.sqrt((k - centre[0]) ** 2 + (j - centre[1]) ** 2 + (i - centre[2]) ** 2)
    return np.clip(radius - away + 0.5, 0, 1)


def is_closed(mesh: Mesh) -> bool:
    """By trimesh, not by ours."""
    return bool(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).is_watertight)


@pytest.mark.parametrize("smoothing", [0, 12])
def test_the_volume_of_a_ball_is_right_within_one_percent(smoothing: int) -> None:
    mesh = surface(a_volume(a_ball(64, 24, (31, 32, 33))), smoothing=smoothing)

    assert volume_of(mesh) == pytest.approx(4 / 3 * np.pi * 24**3, rel=0.01)
    assert is_closed(mesh)


def test_vertices_are_in_patient_millimetres() -> None:
    ball = a_volume(a_ball(40, 10, (20, 15, 12)), spacing=(2.0, 1.5, 0.5))

    mesh = surface(ball)

    middle = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    assert middle == pytest.approx([12 * 0.5, 15 * 1.5, 20 * 2.0], abs=0.1)


@pytest.mark.parametrize("flipped", [0, 1, 2])
def test_faces_look_outwards_in_grids_of_either_hand(flipped: int) -> None:
    ball = a_volume(a_ball(32, 10, (16, 16, 16)))
    mirrored = ball.patient_from_index.copy()
    mirrored[:, flipped] *= -1

    mesh = surface(Volume(ball.array, mirrored))

    assert volume_of(mesh) > 0
    assert trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).volume > 0


def test_what_touches_the_border_of_the_grid_is_closed_there() -> None:
    array = np.zeros((20, 20, 20))
    array[:, 5:15, 5:15] = 1

    mesh = surface(a_volume(array), smoothing=0)

    assert is_closed(mesh)
    assert np.ptp(mesh.vertices[:, 2]) == pytest.approx(20, abs=0.01)


def test_small_pieces_and_cavities_are_dropped() -> None:
    array = a_ball(64, 24, (32, 32, 32)) - a_ball(64, 8, (32, 32, 32))
    array = np.maximum(array, a_ball(64, 3, (4, 4, 4)))

    mesh = surface(a_volume(array))

    assert trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).body_count == 1
    assert volume_of(mesh) == pytest.approx(4 / 3 * np.pi * 24**3, rel=0.01)


def test_two_large_pieces_are_both_kept() -> None:
    array = np.maximum(a_ball(64, 12, (16, 16, 16)), a_ball(64, 12, (46, 46, 46)))

    mesh = surface(a_volume(array))

    assert volume_of(mesh) == pytest.approx(2 * 4 / 3 * np.pi * 12**3, rel=0.01)


def test_decimation_keeps_the_volume_and_the_closure() -> None:
    mesh = surface(a_volume(a_ball(96, 40, (48, 48, 48))), max_faces=2000)

    assert len(mesh.faces) <= 2000
    assert is_closed(mesh)
    assert volume_of(mesh) == pytest.approx(4 / 3 * np.pi * 40**3, rel=0.01)


def test_a_hard_mask_whose_corners_touch_still_becomes_closed() -> None:
    rng = np.random.default_rng(3)
    array = (rng.random((12, 12, 12)) > 0.5).repeat(3, 0).repeat(3, 1).repeat(3, 2)

    mesh = surface(a_volume(array), smoothing=0)

    assert is_closed(mesh)


def test_values_exactly_on_the_level_make_no_degenerate_mesh() -> None:
    array = np.where(a_ball(32, 10, (16, 16, 16)) > 0, 0.5, 0.0)

    mesh = surface(a_volume(array), smoothing=0)

    assert is_closed(mesh)


def test_an_empty_result_is_refused() -> None:
    with pytest.raises(NoBone):
        surface(a_volume(np.zeros((8, 8, 8))))
