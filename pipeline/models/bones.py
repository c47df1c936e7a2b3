"""From signed distances on a grid to bones: one closed piece each, no point in two of them.

The surface is cut from the distances themselves, which are straight lines through zero where
probabilities are curves; the probability is the chance that a point is inside, given how far the
network thinks the surface is and how wrong it expects to be (Laplace, as it was trained).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from pipeline.surface import MAX_FACES, surface
from pipeline.types import Float, Mesh, Volume

Array = NDArray[np.float32]

RAMP_VOXELS = 2.0
"""On either side of a surface its distances are kept for the cut; beyond, only the side counts."""
LEAST_SCALE_VOXELS = 0.5
"""Of a probability: a step that is steeper than its grid would show as a flight of steps."""
FACES = 80_000
"""Of all bones of a result together: with more, a set would be larger than a PACS likes."""
SMALLEST_VOXELS = 8
"""Fewer voxels are no bone."""


def apart(distances: Tensor) -> Tensor:
    """(T, N, N, N): the same surfaces, but a point in two bones stays in the one that it lies
    deeper in."""
    if len(distances) < 2:
        return distances
    first, second = distances.topk(2, dim=0, largest=False).values
    others = torch.where(distances == first, second, first)
    return torch.maximum(distances, (distances - others) / 2)


def one_piece(distance: Array) -> Array | None:
    """The largest piece alone, without cavities; None where there is no bone.

    What else is negative is pushed outside, and what is enclosed is drawn in, by as much as it
    was on the other side.
    """
    pieces, _ = ndimage.label(distance < 0)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    if sizes.max(initial=0) < SMALLEST_VOXELS:
        return None
    inside = pieces == sizes.argmax()
    around, _ = ndimage.label(np.pad(~inside, 1, constant_values=True))
    inside = around[1:-1, 1:-1, 1:-1] != around[0, 0, 0]
    tiny = np.finfo(np.float32).tiny
    away = np.maximum(np.abs(distance), tiny)
    return np.where(inside, -away, away).astype(np.float32)


def mesh_of(distance: Array, patient_from_index: Float, *, bones: int = 1) -> Mesh:
    """The surface where `distance` is zero, of a result that has so many bones.

    Raises:
        PipelineError: it could not be made a manifold.
    """
    ramp = 2 * RAMP_VOXELS * _voxel(patient_from_index)
    near = np.clip(0.5 - distance / np.float32(ramp), 0, 1)
    return surface(
        Volume(near, patient_from_index),
        smallest_share=1.0,
        max_faces=min(MAX_FACES, FACES // bones),
    )


def probability_of(distance: Array, error_mm: float, patient_from_index: Float) -> Volume:
    """The chance that each voxel centre is inside, 0 to 1; 0.5 on the surface.

    Args:
        distance: (Z, Y, X) mm, negative inside.
        error_mm: Scale of the Laplace distribution of its error.
        patient_from_index: Of the grid.
    """
    scale = max(error_mm, LEAST_SCALE_VOXELS * _voxel(patient_from_index))
    tail = 0.5 * np.exp(-np.abs(distance) / np.float32(scale))
    values = np.where(distance < 0, 1 - tail, tail).astype(np.float32)
    return Volume(values, patient_from_index)


def _voxel(patient_from_index: Float) -> float:
    return float(np.linalg.norm(patient_from_index[:3, :3], axis=0).mean())
