"""From coarse probabilities to one closed bone, and how far its surface may be from the truth."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from pipeline.models.bones import FACES, one_piece
from pipeline.projection import grid
from pipeline.surface import surface
from pipeline.types import Mesh, Volume

FINER = 3
"""Voxels of a result along each of those of the network: a surface that is no flight of steps."""
SURELY = 6.0
"""Largest logit: beyond it a probability says no more about where the surface is."""


@dataclass(frozen=True, slots=True)
class Solid:
    """A bone, its surface at a probability of 0.5."""

    probability: Volume
    mesh: Mesh
    spread_mm: float
    """How far the surface may be from where it was put, mean, if the probabilities are right."""


def solid(
    occupancy: Tensor,
    level: float,
    *,
    cube_mm: float,
    centre: ArrayLike = (0.0, 0.0, 0.0),
    is_mirrored: bool = False,
) -> Solid | None:
    """The largest piece of what a network filled; None where it filled nothing.

    Args:
        occupancy: (D, D, D), 0 to 1, axes z, y, x, of a cube.
        level: The probability at the surface, 0 to 1.
        cube_mm: Edge of the cube.
        centre: (3,) mm, x y z, of the cube.
        is_mirrored: The result is the mirror image about x = 0.
    """
    found = placed(finer(occupancy, level), cube_mm, centre, is_mirrored=is_mirrored)
    cleaned = one_piece(np.float32(0.5) - found.array)
    if cleaned is None:
        return None
    probability = replace(found, array=np.float32(0.5) - cleaned)
    mesh = surface(probability, smallest_share=1.0, max_faces=FACES)
    return Solid(probability, mesh, spread_mm(probability, mesh))


def placed(
    array: NDArray[np.float32], cube_mm: float, centre: ArrayLike, *, is_mirrored: bool
) -> Volume:
    """Voxels (D, D, D) of a cube about `centre` (3,), or their mirror image about x = 0."""
    place = np.asarray(centre, np.float64)
    if is_mirrored:
        array, place = array[..., ::-1], place * (-1, 1, 1)
    return Volume(array, grid(cube_mm, len(array), place))


def finer(occupancy: Tensor, level: float) -> NDArray[np.float32]:
    """(N, N, N), N = `FINER` times D: 0.5 where `occupancy` (D, D, D) is `level`.

    Interpolated as logits, in which a blurred edge is nearly straight.
    """
    logit = torch.special.logit(occupancy.float(), eps=1e-6) - float(np.log(level / (1 - level)))
    found = interpolate(
        logit.clamp(-SURELY, SURELY)[None, None],
        scale_factor=FINER,
        mode="trilinear",
        align_corners=False,
    )
    made: NDArray[np.float32] = found[0, 0].sigmoid().numpy()
    return made


def spread_mm(probability: Volume, mesh: Mesh) -> float:
    """Mean distance, mm, of the true surface from `mesh`, were the probabilities right.

    Across a surface whose place is uncertain the chance to be inside falls from 1 to 0; the
    integral of the smaller of it and its complement is the mean distance from the median.
    """
    chance = probability.array.astype(np.float64)
    voxel = abs(float(np.linalg.det(probability.patient_from_index[:3, :3])))
    corners = mesh.vertices[mesh.faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = float(np.linalg.norm(across, axis=1).sum()) / 2
    return float(np.minimum(chance, 1 - chance).sum()) * voxel / area
