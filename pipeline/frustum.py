"""Volumes in the frame of a detector: depth planes before a camera, and the way back to a patient.

Voxel (k, i, j) of such a volume lies on the ray of pixel (i, j), in the k-th of equally spaced
planes parallel to the detector: all planes have the same pixels, so that voxels widen with depth
and the volume is a frustum. Its sum along the first axis, times the way from one plane to the next,
is a line integral: what a network without any notion of a camera can answer with
(`pipeline.models.tomography`).

Planes are counted from the patient's front, or right, whichever way the beam runs. An AP and a PA
radiograph look much alike: counted from the source, a network could not tell whether it is asked
for the front or for the back first, and would answer with the mean of both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from pipeline.beam import beam, lengths
from pipeline.projection import (
    grid,
    pixel_from_patient,
    source_to_detector,
    source_to_isocentre,
    unproject,
)
from pipeline.types import View, ViewName, Volume

TOWARDS_THE_FIRST = (ViewName.PA, ViewName.RL)
"""Views whose rays meet the last plane first: they run to the patient's front, or right."""


@dataclass(frozen=True, slots=True)
class Frustum:
    """Where the voxels of a volume in the frame of a detector lie."""

    view: View
    """Its pixels are the rows and columns of every plane."""
    planes: int
    depth_mm: float
    """From the outer face of the first plane to that of the last, about the isocentre."""

    @property
    def between(self) -> float:
        """mm from one plane to the next, along the central axis."""
        return self.depth_mm / self.planes

    @property
    def step(self) -> float:
        """mm by which a plane is further from the source than the one before it."""
        return -self.between if self.view.name in TOWARDS_THE_FIRST else self.between

    @property
    def depths(self) -> Tensor:
        """(D,) float64, mm from the source to each plane, along the central axis."""
        along = torch.arange(self.planes, dtype=torch.float64) - (self.planes - 1) / 2
        return source_to_isocentre(self.view) + along * self.step


def path(frustum: Frustum) -> Tensor:
    """(H, W) float32, mm that the ray of each pixel runs from one plane to the next."""
    view = frustum.view
    slant = lengths(beam([view]))[0] / source_to_detector(view)
    return (slant * frustum.between).float()


def places(frustum: Frustum) -> Tensor:
    """(D, H, W, 3) float32: x, y, z of the voxel centres, LPS mm."""
    view = frustum.view
    rows, columns = torch.meshgrid(
        torch.arange(view.rows), torch.arange(view.columns), indexing="ij"
    )
    pixels = torch.stack([rows, columns], dim=-1).numpy()
    at = unproject(view, pixels, frustum.depths.numpy()[:, None, None])
    return torch.from_numpy(at).float()


def in_frustum(values: Tensor, frustum: Frustum, points: Tensor) -> Tensor:
    """What a volume in the frame of a detector holds at points of the patient.

    Args:
        values: (D, H, W) in the frame of the frustum.
        frustum: Where they lie.
        points: (..., 3) LPS mm.

    Returns:
        (...), interpolated between voxel centres; 0 outside the frustum.
    """
    view = frustum.view
    matrix = torch.from_numpy(pixel_from_patient(view))
    seen = points.double() @ matrix[:, :3].T + matrix[:, 3]
    depth = seen[..., 2]
    is_before = depth > 0
    pixel = seen[..., :2] / torch.where(is_before, depth, 1.0)[..., None]
    plane = (depth - frustum.depths[0]) / frustum.step
    index = torch.stack([pixel[..., 1], pixel[..., 0], plane], dim=-1)
    size = torch.tensor([view.columns, view.rows, frustum.planes])
    # the outer faces of the voxels at -1 and 1
    at = ((2 * index + 1) / size - 1).float().reshape(1, 1, 1, -1, 3)
    found = grid_sample(values[None, None], at, padding_mode="zeros", align_corners=False)
    inside: Tensor = found.reshape(points.shape[:-1]) * is_before
    return inside


def regular(values: Tensor, frustum: Frustum, *, extent_mm: float, size: int) -> Volume:
    """The same volume on a regular grid along the axes of the patient, about the isocentre.

    Args:
        values: (D, H, W) in the frame of the frustum.
        frustum: Where they lie.
        extent_mm: Edge of the cube.
        size: Voxels along each edge.

    Returns:
        (Z, Y, X) in LPS, as `projection.grid`; 0 where no ray of the detector passes.
    """
    patient_from_index = grid(extent_mm, size)
    affine = torch.from_numpy(patient_from_index)
    along = torch.arange(size, dtype=torch.float64)
    index = torch.stack(torch.meshgrid(along, along, along, indexing="ij"), dim=-1)
    points = index @ affine[:3, :3].T + affine[:3, 3]
    return Volume(in_frustum(values, frustum, points).numpy(), patient_from_index)
