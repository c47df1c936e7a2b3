"""The node's own visual hull as a peer: one for each bone, from its true outlines.

No hospital has the true outline of one bone, with its neighbours taken away: this is more than the
hull could reach.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pipeline.models.visual_hull import visual_hull
from pipeline.segment import Silhouette
from pipeline.training.given import Given, Reconstruct
from pipeline.training.posing import centres, looked_up
from pipeline.types import Float, View, ViewName


def hull_engine(*, cube_mm: float, size: int) -> Reconstruct:
    """The visual hull as an engine to be judged; it needs two views.

    Args:
        cube_mm: Edge of the cube.
        size: The archive's voxels along it.
    """

    def reconstruct(given: Given) -> Tensor:
        outlines = given.outlines
        rows, columns = outlines.shape[-2:]
        cameras = [
            camera_of(projection.double().numpy(), rows, columns)
            for projection in given.seen.projections[0]
        ]
        bones = [
            _hull(outlines[:, bone], cameras, cube_mm, size) for bone in range(len(outlines[0]))
        ]
        return torch.stack(bones)

    return reconstruct


def camera_of(projection: Float, rows: int, columns: int) -> View:
    """The camera of a projection as in `Seen`, its detector moved to the isocentre.

    Args:
        projection: (3, 4).
        rows: Of the image.
        columns: Of the image.
    """
    ray, depth = projection[2, :3], projection[2, 3]
    centre = projection[:2, :3] @ ray
    axes = projection[:2, :3] - centre[:, None] * ray
    focal = np.linalg.norm(axes, axis=1)
    source: Float = -np.linalg.solve(projection[:, :3], projection[:, 3]).astype(np.float64)
    patient_from_detector = np.eye(4)
    patient_from_detector[:3, :2] = (axes / focal[:, None]).T
    patient_from_detector[:3, 2] = ray
    patient_from_detector[:3, 3] = source + depth * ray
    counts = np.array([columns, rows])
    spacing = 2 * depth / (counts * focal)
    detector_from_index = np.zeros((4, 4))
    detector_from_index[0, 1], detector_from_index[1, 0] = spacing
    detector_from_index[:2, 3] = spacing / 2 - (1 + centre) * depth / focal
    detector_from_index[2, 2] = detector_from_index[3, 3] = 1.0
    # no name is told, and none is asked for: the hull looks at the matrices
    name = ViewName.AP if abs(ray[1]) > abs(ray[0]) else ViewName.LL
    return View(name, source, patient_from_detector, detector_from_index, rows, columns)


def _hull(outlines: Tensor, cameras: list[View], cube_mm: float, size: int) -> Tensor:
    """(N, N, N) mm about, negative inside, of one bone's outlines (V, H, W)."""
    if not outlines.any(dim=2).any(dim=1).all():
        return torch.full((size, size, size), cube_mm)
    masks = [outline.numpy() for outline in outlines]
    made = visual_hull(
        [
            Silhouette(mask, np.zeros(mask.shape, np.float32), np.ones_like(mask), camera)
            for mask, camera in zip(masks, cameras, strict=True)
        ],
        size=size,
    )
    voxel = float(np.linalg.norm(made.patient_from_index[:3, 0]))
    everywhere = centres(size, cube_mm, outlines.device)
    edge = voxel * size
    occupancy = looked_up(torch.from_numpy(made.array)[None], everywhere, edge)[0]
    # what the hull did not look at is not bone
    occupancy = occupancy.masked_fill((everywhere.abs() > edge / 2).any(dim=-1), 0.0)
    return (0.5 - occupancy) * voxel
