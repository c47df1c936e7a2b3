"""Digitally reconstructed radiographs (DRR): what a detector would have seen of a volume.

`project` is linear in the volume and differentiable with respect to it, so that the same function
makes phantoms, training images and the residuals of a fit. Rays are marched with trilinear
interpolation rather than followed through the faces of voxels (Siddon 1985, Med. Phys. 12:252):
the result is smooth in the geometry, and it runs as one gather on any device.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from pipeline.errors import DegenerateView
from pipeline.projection import patient_from_pixel
from pipeline.types import View

SAMPLES_AT_ONCE = 1 << 21
"""Points interpolated in one step: 24 bytes each, small enough to stay near the cache."""


def project(
    volume: Tensor, patient_from_index: Tensor, view: View, *, step: float | None = None
) -> Tensor:
    """Line integrals of `volume` along the rays of `view`.

    The volume is interpolated between voxel centres and falls to zero over one voxel around it.

    Args:
        volume: Linear attenuation, 1/mm, shape (Z, Y, X), float32.
        patient_from_index: (4, 4) float64; voxel centre (k, j, i, 1) to LPS mm.
        view: Source and detector, LPS mm.
        step: Largest distance of samples along a ray, mm; by default the shortest edge of a
            voxel.

    Returns:
        Shape (H, W), dimensionless, row 0 at the top of the detector.

    Raises:
        DegenerateView: the source lies inside the volume.

    Source: geometry PS3.3 C.8.7.5; marching Levoy 1988, IEEE CG&A 8(3):29.
    """
    index_from_patient = torch.linalg.inv(patient_from_index.double())
    source, towards = _rays_in_index(index_from_patient, view)
    source, towards = source.to(volume.device), towards.to(volume.device)
    last = torch.tensor(volume.shape, dtype=torch.float64, device=volume.device)
    if bool(((source > -1) & (source < last)).all()):
        raise DegenerateView(f"the source of the view {view.name} lies inside the volume")
    entry, leave = _box(source, towards, last)
    edges = torch.linalg.norm(patient_from_index[:3, :3].double(), dim=0)
    step = step or float(edges.min())
    lengths = (leave - entry) * _lengths_in_mm(towards, patient_from_index.to(volume.device))
    count = max(1, math.ceil(float(lengths.max()) / step))
    chunks = [
        _integrals(volume, source, towards[part], entry[part], leave[part], count)
        for part in torch.split(torch.arange(len(towards)), max(1, SAMPLES_AT_ONCE // count))
    ]
    per_ray = torch.cat(chunks) * (lengths / count).to(volume.dtype)
    return per_ray.reshape(view.rows, view.columns)


def radiograph_pixels(
    line_integrals: Tensor,
    *,
    seed: int,
    photons: float = 3e5,
    bits: int = 12,
    window: tuple[float, float] | None = None,
) -> NDArray[np.uint16]:
    """Presentation values of the radiograph with these line integrals, MONOCHROME2: bone is light.

    The counts behind the patient are Poisson distributed around Beer-Lambert; their logarithm is
    stretched over all values. The same seed gives the same pixels.

    Args:
        line_integrals: Shape (H, W), dimensionless.
        seed: Of the noise.
        photons: Expected count of one pixel in the open beam.
        bits: Bits stored.
        window: Line integrals shown as 0 and as the largest value; by default 0 and the
            99.9th percentile.
    """
    expected = photons * torch.exp(-line_integrals.detach().double().cpu())
    counts = torch.poisson(expected, generator=torch.Generator().manual_seed(seed))
    measured = (math.log(photons) - torch.log(counts.clamp(min=1))).numpy()
    low, high = window or (0.0, float(np.percentile(measured, 99.9)))
    span = max(high - low, np.finfo(np.float64).tiny)
    shown = np.clip((measured - low) / span, 0, 1) * (2**bits - 1)
    pixels: NDArray[np.uint16] = np.round(shown).astype(np.uint16)
    return pixels


def _rays_in_index(index_from_patient: Tensor, view: View) -> tuple[Tensor, Tensor]:
    """Source (3,) and the way to each pixel centre (H * W, 3), in units of voxels (k, j, i)."""
    to_index = index_from_patient.cpu().numpy()
    from_pixel = to_index @ patient_from_pixel(view)
    source = to_index[:3, :3] @ view.source + to_index[:3, 3]
    rows, columns = np.indices((view.rows, view.columns), dtype=np.float64).reshape(2, -1)
    pixels = np.stack([rows, columns, np.ones_like(rows)], axis=-1) @ from_pixel[:3, [0, 1, 3]].T
    return torch.from_numpy(source), torch.from_numpy(pixels - source)


def _box(source: Tensor, towards: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """Where each ray enters and leaves, as shares of the way; equal where it misses."""
    safe = torch.where(towards.abs() < 1e-12, 1e-12, towards)
    first, second = (-1 - source) / safe, (last - source) / safe
    entry = torch.minimum(first, second).amax(dim=1).clamp(min=0, max=1)
    leave = torch.maximum(first, second).amin(dim=1).clamp(min=0, max=1)
    return entry, torch.maximum(entry, leave)


def _lengths_in_mm(towards: Tensor, patient_from_index: Tensor) -> Tensor:
    in_mm: Tensor = torch.linalg.norm(towards @ patient_from_index[:3, :3].double().T, dim=1)
    return in_mm


def _integrals(
    volume: Tensor, source: Tensor, towards: Tensor, entry: Tensor, leave: Tensor, count: int
) -> Tensor:
    """Sums of `count` samples at the midpoints of equal pieces of each ray."""
    shares = (torch.arange(count, device=volume.device, dtype=torch.float64) + 0.5) / count
    size = torch.tensor(volume.shape, device=volume.device)
    scale = 2 / (size - 1).clamp(min=1).double()
    start = ((source + entry[:, None] * towards) * scale - 1).flip(-1).to(volume.dtype)
    across = ((leave - entry)[:, None] * towards * scale).flip(-1).to(volume.dtype)
    points = start + shares.to(volume.dtype)[:, None, None] * across
    sampled = grid_sample(
        volume[None, None], points[None, None], padding_mode="zeros", align_corners=True
    )
    return sampled[0, 0, 0].sum(dim=0)
