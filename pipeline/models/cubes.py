"""A grid of probabilities as a mesh of cubes, one for each occupied voxel that can be seen.

The mesh that 3D-R2N2 is published with (Choy 2016, arXiv:1604.00449): a picture of what a coarse
network said, voxel by voxel, and no surface of a bone; that is `pipeline.surface`'s. Needs numpy
alone.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from pipeline.types import Mask, Mesh, Volume

LEVEL = 0.3
"""The probability above which the authors draw a cube."""
EDGE = 1 / 1.1
"""Of a cube, in voxels: the authors' cubes of 1 stand 1.1 apart."""
_CORNERS = np.array(list(product((-0.5, 0.5), repeat=3)))
"""(8, 3) from the centre of a cube, in edges; corner 4 a + 2 b + c for the sides a, b, c."""
_TRIANGLES = np.array(
    [
        *((0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5)),
        *((0, 4, 5), (0, 5, 1), (2, 3, 7), (2, 7, 6)),
        *((0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)),
    ]
)
"""(12, 3) corners, counter-clockwise seen from outside where the affine keeps handedness."""


def cubes(probability: Volume, *, level: float = LEVEL, edge: float = EDGE) -> Mesh:
    """A closed cube for every exposed voxel above `level`, LPS mm.

    Args:
        probability: 0 to 1.
        level: Below or at it, nothing is drawn.
        edge: Of a cube, in voxels; with less than 1 the cubes stand apart.

    Returns:
        8 vertices and 12 faces for each exposed voxel, in the order of the grid; both empty where
        there is none.
    """
    centres = np.argwhere(exposed(probability.array > level))
    index = (centres[:, None] + edge * _CORNERS).reshape(-1, 3)
    affine = probability.patient_from_index
    vertices = index @ affine[:3, :3].T + affine[:3, 3]
    triangles = _TRIANGLES if np.linalg.det(affine[:3, :3]) > 0 else _TRIANGLES[:, ::-1]
    faces = np.arange(len(centres))[:, None, None] * len(_CORNERS) + triangles
    return Mesh(vertices, faces.reshape(-1, 3).astype(np.int64))


def exposed(occupied: Mask) -> Mask:
    """The occupied voxels of (Z, Y, X) whose 3 x 3 x 3 neighbourhood is not full.

    Outside the grid nothing is occupied, so that a voxel of its border is always exposed.
    """
    padded = np.pad(occupied, 1)
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3))
    return np.logical_and(occupied, ~around.all(axis=(3, 4, 5)))


def as_obj(mesh: Mesh) -> str:
    """The mesh as the text of a Wavefront OBJ file, whose indices begin at 1."""
    vertices = [f"v {x:.6g} {y:.6g} {z:.6g}" for x, y, z in mesh.vertices]
    faces = [f"f {a} {b} {c}" for a, b, c in mesh.faces + 1]
    return "\n".join([*vertices, *faces, ""])
