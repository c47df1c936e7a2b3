"""What is made up around a knee that was cut off: shafts, a patella's place, a fibula."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from pipeline.training.donors import (
    CARTILAGE,
    drawn_height,
    drawn_out,
    laid_on_groove,
    made_up_fibula,
)
from pipeline.training.signed_distance import Surface


def bone(*, upwards: bool) -> Surface:
    """A round bone that flares towards the joint at z = 0 and is cut off 95 mm away from it."""
    profile = [[0.0, 0.0], [34.0, 2.0], [38.0, 15.0], [20.0, 45.0], [15.0, 70.0], [14.0, 95.0]]
    turned = trimesh.creation.revolve([*profile, [0.0, 95.0]], sections=48)
    dense = turned.subdivide_to_size(5)
    if not upwards:
        dense.apply_transform(trimesh.transformations.rotation_matrix(np.pi, [1, 0, 0]))
    return Surface(np.array(dense.vertices, np.float64), np.array(dense.faces, np.int64))


def as_trimesh(surface: Surface) -> trimesh.Trimesh:
    return trimesh.Trimesh(surface.vertices, surface.faces, process=True)


@pytest.mark.parametrize(("upwards", "until"), [(True, 256.0), (False, -256.0)])
def test_a_shaft_that_was_cut_off_runs_out_of_the_picture(upwards: bool, until: float) -> None:
    cut = bone(upwards=upwards)
    long = drawn_out(cut, upwards, until)
    reach = long.vertices[:, 2].max() if upwards else long.vertices[:, 2].min()
    assert reach == pytest.approx(until, abs=0.01)
    kept = np.abs(cut.vertices[:, 2]) < 80
    assert (long.vertices[kept] == cut.vertices[kept]).all(), "the cube's bone is as it was drawn"
    assert as_trimesh(long).is_watertight
    assert as_trimesh(long).volume > as_trimesh(cut).volume


def test_the_patella_lies_before_the_trochlea_a_cartilage_away() -> None:
    femur = bone(upwards=True)
    patella = trimesh.creation.icosphere(subdivisions=3).apply_scale([21, 10, 20])
    width = float(np.ptp(femur.vertices[femur.vertices[:, 2] < 30, 0]))
    laid = laid_on_groove(Surface(np.array(patella.vertices), np.array(patella.faces)), femur, 0.5)
    assert laid.vertices[:, 2].mean() == pytest.approx(width / 2, abs=0.5)
    gap = cKDTree(femur.vertices).query(laid.vertices)[0].min()
    assert gap == pytest.approx(CARTILAGE, abs=0.1)
    assert laid.vertices[:, 1].mean() < femur.vertices[:, 1].min(), "it is in front: y runs back"


def test_patellae_lie_as_high_as_those_of_people() -> None:
    heights = [drawn_height(seed) for seed in range(200)]
    assert np.mean(heights) == pytest.approx(0.48, abs=0.02)
    assert min(heights) >= 0.37
    assert max(heights) <= 0.59
    assert drawn_height(3) == drawn_height(3)


@pytest.mark.parametrize("seed", range(4))
def test_a_made_up_fibula_is_closed_outside_behind_and_clear_of_the_tibia(seed: int) -> None:
    tibia = drawn_out(bone(upwards=False), False, -256.0)
    fibula = made_up_fibula(tibia, -256.0, seed)
    mesh = as_trimesh(fibula)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0
    assert cKDTree(tibia.vertices).query(fibula.vertices)[0].min() > 1
    head = fibula.vertices[fibula.vertices[:, 2] > fibula.vertices[:, 2].max() - 15].mean(axis=0)
    assert head[0] < -15, "a right leg: outside is -x"
    assert head[1] > 15
    assert -30 < fibula.vertices[:, 2].max() < -5, "its head stands below the plateau"
    assert fibula.vertices[:, 2].min() < -245


def test_a_made_up_fibula_is_the_same_for_the_same_seed() -> None:
    tibia = drawn_out(bone(upwards=False), False, -256.0)
    first, again = made_up_fibula(tibia, -256.0, 7), made_up_fibula(tibia, -256.0, 7)
    assert (first.vertices == again.vertices).all()
    assert not np.allclose(first.vertices[:40], made_up_fibula(tibia, -256.0, 8).vertices[:40])
