"""How far a surface that was found is from the true one, within the cube that both could show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.measure import marching_cubes
from torch import Tensor

from pipeline.metrics import SAMPLES, one_way_distances
from pipeline.training.pose import rigid_fit
from pipeline.training.posing import Pose
from pipeline.types import Mesh

FEWEST_POINTS = 100
"""Of a surface: with fewer there is nothing to be laid on."""
MARGIN_MM = 6.0
"""A surface this near to a face of the cube is cut off, and not judged."""


def isosurface(distance: NDArray[np.float32], cube_mm: float) -> Mesh | None:
    """The zero of a signed distance (Z, Y, X) over the cube, open at its faces."""
    if distance.min() >= 0 or distance.max() <= 0:
        return None
    vertices, faces, _, _ = marching_cubes(distance, 0.0)
    voxel = cube_mm / distance.shape[-1]
    points = (vertices[:, ::-1] + 0.5) * voxel - cube_mm / 2
    return Mesh(points.astype(np.float64), faces[:, ::-1].astype(np.int64))


def in_scene(vertices: Tensor, pose: Pose, channel: int) -> NDArray[np.float64]:
    """Vertices of a target of the region in the scene; a rigid pose has no displacement."""
    affine = torch.linalg.inv(pose.region_from_scene.double())
    if pose.moves is not None:
        affine = pose.moves[channel].double() @ affine
    return _moved(vertices.double().numpy(), affine.numpy())


def _moved(points: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(points @ affine[:3, :3].T + affine[:3, 3])


def laid_on(made: Mesh | None, true: Mesh, reach: float) -> Mesh | None:
    """The surface, moved as a whole to where all but its worst tenth fits the true one best."""
    if made is None:
        return None
    inside = [one.vertices[(np.abs(one.vertices) < reach).all(axis=1)] for one in (made, true)]
    if min(len(points) for points in inside) < FEWEST_POINTS:
        return made
    thin = inside[0][:: max(1, len(inside[0]) // 4000)]
    return replace(
        made, vertices=_moved(made.vertices, rigid_fit(thin, inside[1], start=np.eye(4)))
    )


def apart(
    made: Mesh | None, true: Mesh, reach: float, *, samples: int = SAMPLES
) -> tuple[float, float]:
    """ASSD and HD95, mm, of the parts whose points lie within the cube of half edge `reach`.

    Of each surface, `samples` points are drawn evenly by area.
    """
    if made is None:
        # a bone that was not found is as far away as the cube is long
        return 2 * reach, 2 * reach
    sides = []
    for one, other in ((made, true), (true, made)):
        points, distances = one_way_distances(one, other, samples=samples)
        sides.append(distances[(np.abs(points) < reach).all(axis=1)])
    both = np.concatenate(sides)
    hd95 = max(float(np.percentile(side, 95)) for side in sides if len(side))
    return float(both.mean()), hd95
