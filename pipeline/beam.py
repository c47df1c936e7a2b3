"""Cone beams as tensors: the cameras of several views, through which gradients can flow.

A `View` is what the geometry of an instance is told in; a `Beam` is what the simulation needs of
several of them at once: where each source stands and where each pixel lies. A beam on which
gradients are wanted is made by `dataclasses.replace` or by `moved`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pipeline.projection import patient_from_pixel
from pipeline.types import View


@dataclass(frozen=True, slots=True)
class Beam:
    """N point sources, each before a flat detector of the same number of pixels."""

    source: Tensor
    """(N, 3) float64, LPS mm."""
    patient_from_pixel: Tensor
    """(N, 3, 3) float64; pixel centre (row, column, 1) to LPS mm."""
    rows: int
    columns: int


def beam(views: Sequence[View], device: torch.device | str = "cpu") -> Beam:
    """The beams of `views`, in their order.

    Raises:
        ValueError: there is no view, or their detectors differ in their number of pixels.
    """
    if len({(view.rows, view.columns) for view in views}) != 1:
        raise ValueError("a beam needs views, all with the same number of rows and columns")
    source = np.stack([np.asarray(view.source, np.float64) for view in views])
    pixels = np.stack([patient_from_pixel(view)[:3][:, [0, 1, 3]] for view in views])
    return Beam(
        torch.from_numpy(source).to(device),
        torch.from_numpy(pixels).to(device),
        views[0].rows,
        views[0].columns,
    )


def towards_pixels(beams: Beam) -> Tensor:
    """(N, H, W, 3) the ways from each source to its pixel centres, LPS mm."""
    return over_pixels(ways(beams), beams.rows, beams.columns)


def ways(beams: Beam) -> Tensor:
    """(N, 3, 3); (row, column, 1) to the way from the source to that pixel, mm."""
    return beams.patient_from_pixel - beams.source[..., None] * _last(beams)


def lengths(beams: Beam) -> Tensor:
    """(N, H, W) from each source to its pixel centres, mm."""
    in_mm: Tensor = torch.linalg.vector_norm(towards_pixels(beams), dim=-1)
    return in_mm


def source_to_detectors(beams: Beam) -> Tensor:
    """(N,) SID, mm, perpendicular to the detectors."""
    return (_normals(beams) * ways(beams)[..., 2]).sum(dim=-1)


def source_to_isocentres(beams: Beam) -> Tensor:
    """(N,) SOD, mm, along the same perpendicular."""
    return -(_normals(beams) * beams.source).sum(dim=-1)


def pitches(beams: Beam) -> Tensor:
    """(N,) mm between neighbours in a column of pixels."""
    pitch: Tensor = torch.linalg.vector_norm(beams.patient_from_pixel[..., 0], dim=-1)
    return pitch


def moved(beams: Beam, turn: Tensor, shift: Tensor) -> Beam:
    """The beams turned as rigid bodies about the isocentre and then shifted.

    Args:
        beams: Before the move.
        turn: (N, 3) or (3,) rotation vectors, radians; differentiable, also at zero.
        shift: (N, 3) or (3,) mm.
    """
    count = len(beams.source)
    turn, shift = (value.to(beams.source).expand(count, 3) for value in (turn, shift))
    zero = torch.zeros_like(turn[:, 0])
    x, y, z = turn.unbind(-1)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(-1, 3, 3)
    rotation = torch.linalg.matrix_exp(skew)
    source = (rotation @ beams.source[..., None])[..., 0] + shift
    pixels = rotation @ beams.patient_from_pixel + shift[..., None] * _last(beams)
    return Beam(source, pixels, beams.rows, beams.columns)


def _normals(beams: Beam) -> Tensor:
    """(N, 3) units, across the detectors and away from the sources."""
    down, along, first = ways(beams).unbind(dim=-1)
    across = torch.nn.functional.normalize(torch.linalg.cross(down, along), dim=-1)
    return across * (across * first).sum(dim=-1, keepdim=True).sign()


def _last(beams: Beam) -> Tensor:
    """Picks the column of a (3, 3) that (row, column, 1) reaches by its 1."""
    return torch.tensor([0.0, 0.0, 1.0]).to(beams.source)


def over_pixels(matrix: Tensor, rows: int, columns: int) -> Tensor:
    """(N, H, W, 3) of (N, 3, 3) times (row, column, 1)."""
    row = torch.arange(rows, dtype=matrix.dtype, device=matrix.device)[:, None, None]
    column = torch.arange(columns, dtype=matrix.dtype, device=matrix.device)[:, None]
    down, along, first = (matrix[:, None, None, :, axis] for axis in range(3))
    return first + row * down + column * along
