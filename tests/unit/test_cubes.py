"""A mesh of cubes: one closed cube for each voxel that can be seen, where that voxel is."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipeline.models.cubes import as_obj, cubes, exposed
from pipeline.types import Volume

IDENTITY = np.eye(4)


def _solid(size: int, border: int) -> Volume:
    """A cube of `size` voxels, as far from the border of the grid."""
    grid = np.pad(np.ones((size, size, size), np.float32), border)
    return Volume(grid, IDENTITY)


@pytest.mark.parametrize(("size", "border", "expected"), [(3, 1, 26), (3, 0, 26), (4, 2, 56)])
def test_the_inside_of_a_solid_is_not_drawn(size: int, border: int, expected: int) -> None:
    mesh = cubes(_solid(size, border))

    assert len(mesh.vertices) == 8 * expected
    assert len(mesh.faces) == 12 * expected


def test_the_number_of_cubes_is_that_of_exposed_voxels_found_one_by_one() -> None:
    occupied = np.random.default_rng(1).random((6, 7, 5)) < 0.95
    expected = np.zeros_like(occupied)
    for z, y, x in np.argwhere(occupied):
        around = occupied[max(z - 1, 0) : z + 2, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
        expected[z, y, x] = not (around.size == 27 and around.all())

    np.testing.assert_array_equal(exposed(occupied), expected)
    assert 0 < expected.sum() < occupied.sum()


def test_a_voxel_is_drawn_above_three_tenths() -> None:
    values = np.array([0.3, 0.30001, 0.9], np.float32).reshape(1, 1, 3)
    assert len(cubes(Volume(values, IDENTITY), level=0.3).faces) == 2 * 12


def test_nothing_makes_an_empty_mesh() -> None:
    mesh = cubes(Volume(np.zeros((4, 4, 4), np.float32), IDENTITY))

    assert mesh.vertices.shape == (0, 3)
    assert mesh.faces.shape == (0, 3)
    assert as_obj(mesh) == ""


PATIENT_FROM_INDEX = np.array(
    [[0, 0, 2.0, -30], [0, 3.0, 0, 40], [5.0, 0, 0, 7], [0, 0, 0, 1]], np.float64
)
"""z, y, x to x, y, z: it turns a right hand into a left one."""


@pytest.mark.parametrize("affine", [IDENTITY, PATIENT_FROM_INDEX])
def test_every_cube_is_closed_outward_and_as_large_as_a_voxel(affine: np.ndarray) -> None:
    values = (np.random.default_rng(2).random((4, 4, 4)) < 0.2).astype(np.float32)

    mesh = cubes(Volume(values, affine), edge=1 / 1.1)
    judged = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    count = int(values.sum())
    assert judged.is_watertight
    assert judged.is_winding_consistent
    assert judged.body_count == count
    voxel = abs(np.linalg.det(affine[:3, :3]))
    assert judged.volume == pytest.approx(count * voxel / 1.1**3)


def test_a_cube_stands_about_the_centre_of_its_voxel() -> None:
    values = np.zeros((3, 4, 5), np.float32)
    values[1, 2, 3] = 1

    vertices = cubes(Volume(values, PATIENT_FROM_INDEX), edge=1.0).vertices
    centre = np.array([3 * 2.0 - 30, 2 * 3.0 + 40, 1 * 5.0 + 7])
    half = np.array([1.0, 1.5, 2.5])
    np.testing.assert_allclose(vertices.min(axis=0), centre - half)
    np.testing.assert_allclose(vertices.max(axis=0), centre + half)


def test_the_text_of_a_mesh_counts_from_one_and_is_read_as_the_same_mesh() -> None:
    mesh = cubes(_solid(2, 1))

    text = as_obj(mesh)
    numbers = [int(n) for line in text.splitlines() if line[0] == "f" for n in line.split()[1:]]
    assert (min(numbers), max(numbers)) == (1, 64)
    read = trimesh.load(trimesh.util.wrap_as_stream(text), file_type="obj", process=False)
    np.testing.assert_allclose(
        np.sort(read.vertices, axis=0), np.sort(mesh.vertices, axis=0), atol=1e-5
    )
