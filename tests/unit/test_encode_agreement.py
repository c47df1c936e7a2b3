"""Surface, STL and segmentation of one bone show one shape: each read back by other means."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from scipy.spatial import cKDTree

from pipeline.encode.write import write
from pipeline.surface import surface
from pipeline.types import Bone, ObjectKind, Side, Volume
from tests.results import (
    FEMUR,
    affine,
    centres,
    of_kind,
    radiographs,
    reconstruction,
    turned,
)
from tests.results import request as requested
from tests.surface_reader import ReadSurface, has_no_rim, read_surfaces, volume_inside

SHAPE = (48, 52, 56)
SPACING = 1.5
"""mm, the same along each axis, so that half a voxel is one length."""
KINDS = (ObjectKind.SEGMENTATION, ObjectKind.SURFACE_SEGMENTATION, ObjectKind.STL)
Points = NDArray[np.float64]


@pytest.fixture(scope="module", params=[0, 25], ids=["axial", "oblique"])
def egg(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[ObjectKind, Path]:
    """An egg with a bump at its left front, in the files of a result."""
    turn = turned(request.param)
    matrix = affine(SHAPE, (SPACING, SPACING, SPACING), turn)
    values = Volume(_egg_with_a_bump(centres(matrix, SHAPE)), matrix)
    bone = Bone("Egg", FEMUR, Side.LEFT, values, surface(values))
    wanted = requested(tmp_path_factory.mktemp("egg"), kinds=KINDS, side=Side.LEFT)
    written = write(reconstruction(bone), radiographs(), wanted)
    return {kind: of_kind(written, kind)[0] for kind in KINDS}


def _egg_with_a_bump(points: Points) -> NDArray[np.float32]:
    """Half-axes 22, 18 and 26 mm, and a ball of 7 mm at its edge; a voxel wide at the surface."""
    half = np.array([22.0, 18.0, 26.0])
    egg = (np.linalg.norm(points / half, axis=-1) - 1) * half.min()
    bump = np.linalg.norm(points - np.array([18.0, -12.0, 4.0]), axis=-1) - 7
    return np.clip(0.5 - np.minimum(egg, bump) / SPACING, 0, 1).astype(np.float32)


def _is_inside(ds: Dataset) -> tuple[set[tuple[int, int, int]], Points]:
    """Indices (frame, row, column) of the set voxels, and (4, 4) from these to LPS mm.

    Source: PS3.3 C.7.6.2.1.1; the frames are one behind the other.
    """
    shared, frames = ds.SharedFunctionalGroupsSequence[0], ds.PerFrameFunctionalGroupsSequence
    row, column = np.array(
        shared.PlaneOrientationSequence[0].ImageOrientationPatient, float
    ).reshape(2, 3)
    down, right = (float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing)
    first, second = (
        np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float) for frame in frames[:2]
    )
    patient_from_index = np.eye(4)
    patient_from_index[:3] = np.stack([second - first, column * down, row * right, first], axis=1)
    return {(k, j, i) for k, j, i in np.argwhere(ds.pixel_array).tolist()}, patient_from_index


def _distances(points: Points, ds: Dataset) -> Points:
    """mm from each point to the boundary of the segment: the faces between inside and outside."""
    inside, patient_from_index = _is_inside(ds)
    steps = [s * np.eye(3, dtype=int)[axis] for axis in range(3) for s in (1, -1)]
    faces = np.array(
        [
            (np.array(v) + step / 2, abs(step))
            for v in inside
            for step in steps
            if tuple(v + step) not in inside
        ]
    )
    middles, axes = faces[:, 0], faces[:, 1]
    index = (points - patient_from_index[:3, 3]) @ np.linalg.inv(patient_from_index[:3, :3]).T
    _, near = cKDTree(middles).query(index, k=12)
    away = np.abs(index[:, None] - middles[near])
    beyond = np.maximum(away - np.where(axes[near] == 1, 0, 0.5), 0)
    return np.asarray(np.linalg.norm(beyond, axis=-1).min(axis=1) * SPACING)


def _surface(egg: dict[ObjectKind, Path]) -> ReadSurface:
    (read,) = read_surfaces(egg[ObjectKind.SURFACE_SEGMENTATION])
    return read


def test_the_surface_is_closed_and_looks_outwards(egg: dict[ObjectKind, Path]) -> None:
    read = _surface(egg)

    assert has_no_rim(read)
    assert volume_inside(read) > 0
    assert len(read.normals) == len(read.points)


def test_the_surface_is_within_half_a_voxel_of_the_boundary_of_the_segment(
    egg: dict[ObjectKind, Path],
) -> None:
    points = np.array(_surface(egg).points)

    distances = _distances(points, dcmread(egg[ObjectKind.SEGMENTATION]))

    assert distances.max() <= SPACING / 2


def test_the_volumes_of_surface_and_segment_agree_within_one_percent(
    egg: dict[ObjectKind, Path],
) -> None:
    inside, _ = _is_inside(dcmread(egg[ObjectKind.SEGMENTATION]))

    assert volume_inside(_surface(egg)) == pytest.approx(len(inside) * SPACING**3, rel=0.01)


def test_the_stl_document_is_the_surface(egg: dict[ObjectKind, Path]) -> None:
    points = np.array(_surface(egg).points)
    document = dcmread(egg[ObjectKind.STL]).EncapsulatedDocument

    loaded = trimesh.load(io.BytesIO(document), file_type="stl")

    assert loaded.is_watertight
    np.testing.assert_array_equal(loaded.bounds, [points.min(axis=0), points.max(axis=0)])
    assert loaded.volume == pytest.approx(volume_inside(_surface(egg)), rel=1e-5)


def test_the_bump_is_at_the_left_front(egg: dict[ObjectKind, Path]) -> None:
    """LPS: x rises to the left, y to the back."""
    bump = np.array([18.0, -12.0, 4.0])
    tip = bump + 6.5 * bump / np.linalg.norm(bump)

    away, _ = cKDTree(np.array(_surface(egg).points)).query(
        [tip, tip * (-1, 1, 1), tip * (1, -1, 1)]
    )

    assert away[0] < 1.5
    assert away[1:].min() > 3
