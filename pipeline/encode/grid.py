"""The one grid that the model volume and the segmentation share.

A series of slices can only say orthogonal axes and even spacing (PS3.3 C.7.6.2), so what is
sheared, or lies on several grids, is refused here instead of being bent silently.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np

from pipeline.errors import PipelineError
from pipeline.types import Bone, Float, Image, Mask, Volume

SURFACE = 0.5
"""The occupancy at the surface of a bone."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Voxels in patient space, as DICOM slices say them; indices run k (slice), j, i."""

    shape: tuple[int, int, int]
    patient_from_index: Float
    """(4, 4) voxel centre (k, j, i, 1) to LPS mm."""

    @property
    def spacing(self) -> Float:
        """(3,) distance of neighbouring centres along k, j, i, mm."""
        return np.asarray(np.linalg.norm(self.patient_from_index[:3, :3], axis=0))

    @property
    def image_orientation_patient(self) -> list[float]:
        """The direction of a row of pixels (rising i), then of a column (rising j)."""
        axes = self.patient_from_index[:3, :3] / self.spacing
        return [float(value) for value in (*axes[:, 2], *axes[:, 1])]

    def image_position_patient(self, k: int) -> list[float]:
        """The centre of the upper left voxel of slice `k`, LPS mm."""
        position = self.patient_from_index @ np.array([k, 0, 0, 1])
        return [float(value) for value in position[:3]]


def standing(volume: Volume) -> Volume:
    """`volume` with k towards the head, j towards the back, i to the left, as nearly as can be.

    No value and no place changes: axes are exchanged and turned round. Some viewers show a grid
    whose axes run the other way mirrored. Of a grid that lies askew the nearest right-handed order
    of its axes is taken.

    Source: PS3.3 C.7.6.2.1.1; in LPS, x runs to the left, y to the back, z to the head.
    """
    axes = volume.patient_from_index[:3, :3] / np.linalg.norm(
        volume.patient_from_index[:3, :3], axis=0
    )
    order = max(_right_handed(axes), key=lambda one: float(np.trace(axes[::-1] @ one)))
    if np.array_equal(order, np.eye(3)):
        return volume
    steps = np.abs(order).argmax(axis=0)
    is_turned = order[steps, range(3)] < 0
    index_from_standing = np.eye(4)
    index_from_standing[:3, :3] = order
    last = np.array(volume.array.shape)[steps] - 1
    index_from_standing[steps, 3] = np.where(is_turned, last, 0)
    turned = tuple(int(axis) for axis in np.flatnonzero(is_turned))
    array = np.flip(volume.array.transpose(steps), turned)
    return Volume(np.ascontiguousarray(array), volume.patient_from_index @ index_from_standing)


def _right_handed(axes: Float) -> list[Float]:
    """The matrices of 0, 1 and -1 that turn k, j, i into axes of which k is i x j."""
    found = []
    for steps in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            order = np.zeros((3, 3))
            order[steps, range(3)] = signs
            # columns k, j, i: i x j = k is a negative determinant
            if np.linalg.det(axes @ order) < 0:
                found.append(order)
    return found


def common_grid(bones: tuple[Bone, ...]) -> Grid:
    """The grid of all bones.

    Raises:
        PipelineError: there is no bone, the bones have several grids, a grid is sheared or
            degenerate, a value is no probability, or no voxel of a bone is inside it.
    """
    if not bones:
        raise PipelineError("A result without bones cannot be encoded")
    grids = [_grid(bone) for bone in bones]
    for grid, bone in zip(grids, bones, strict=True):
        same = np.allclose(grid.patient_from_index, grids[0].patient_from_index, atol=1e-6, rtol=0)
        if grid.shape != grids[0].shape or not same:
            raise PipelineError(f"{bone.name} lies on another grid than {bones[0].name}")
    return grids[0]


def require_on(grid: Grid, density: Volume) -> None:
    """Nothing, if a density lies on the grid of the bones.

    Raises:
        PipelineError: it does not, or holds what is no number.
    """
    same = np.allclose(density.patient_from_index, grid.patient_from_index, atol=1e-6, rtol=0)
    if density.array.shape != grid.shape or not same:
        raise PipelineError("The density lies on another grid than the bones")
    if not np.isfinite(density.array).all():
        raise PipelineError("The density holds values that are no numbers")


def _grid(bone: Bone) -> Grid:
    array, affine = bone.probability.array, np.asarray(bone.probability.patient_from_index)
    if array.ndim != 3 or 0 in array.shape or max(array.shape) > 0xFFFF:
        raise PipelineError(f"The volume of {bone.name} has the shape {array.shape}")
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise PipelineError(f"The affine of {bone.name} is not a finite 4 x 4 matrix")
    grid = Grid((array.shape[0], array.shape[1], array.shape[2]), affine)
    if (grid.spacing < 1e-6).any():
        raise PipelineError(f"The grid of {bone.name} has no extent along an axis")
    axes = affine[:3, :3] / grid.spacing
    if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-4):
        raise PipelineError(f"The axes of the grid of {bone.name} are not orthogonal")
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1):
        raise PipelineError(f"The probability of {bone.name} leaves 0 to 1: {low} to {high}")
    if high < SURFACE:
        raise PipelineError(f"No voxel of {bone.name} reaches {SURFACE}")
    return grid


def inside(bone: Bone) -> Mask:
    """(Z, Y, X); True where the occupancy is at least that of the surface."""
    return np.asarray(bone.probability.array >= SURFACE)


def any_bone(bones: tuple[Bone, ...]) -> Image:
    """(Z, Y, X) float32; the greatest occupancy over all bones."""
    return np.asarray(np.maximum.reduce([bone.probability.array for bone in bones]), np.float32)
