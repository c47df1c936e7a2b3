"""Digitally reconstructed radiographs (DRR): what a detector would have seen of a volume.

`line_integrals` takes any number of materials and views at once, on any device; it is linear in
the volumes and differentiable in them and in the beams, so that the same function makes phantoms,
training images and the residuals of a fit of bones or of cameras.

A ray is followed from slice to slice along the axis of the volume that it crosses fastest, and
the volume is interpolated in each slice (Joseph 1982, IEEE Trans. Med. Imaging 1:192). These are
the samples that trilinear marching would take where it meets the planes of voxel centres. They
need one bilinear look-up each, which reads memory slice by slice: on two cores several times as
fast as trilinear look-ups along the rays. Empty borders of a volume and rays that pass beside it
cost nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from pipeline.beam import Beam, beam, lengths, over_pixels, ways
from pipeline.errors import DegenerateView
from pipeline.types import View

SAMPLES_AT_ONCE = 1 << 20
"""Points interpolated in one step on a processor: their coordinates stay near the cache."""
SAMPLES_AT_ONCE_ON_DEVICE = 1 << 26
"""The same on an accelerator, where a step should be large."""
LONGEST_STEP = 1.5
"""Voxels along any axis, where no step in mm is asked for."""


def project(
    volume: Tensor, patient_from_index: Tensor, view: View, *, step: float | None = None
) -> Tensor:
    """Line integrals of `volume` along the rays of `view`: `line_integrals` of one of each.

    Args:
        volume: Linear attenuation, 1/mm, shape (Z, Y, X), float32.
        patient_from_index: (4, 4) float64; voxel centre (k, j, i, 1) to LPS mm.
        view: Source and detector, LPS mm.
        step: Largest distance of samples along a ray, mm; by default as in `line_integrals`.

    Returns:
        Shape (H, W), dimensionless, row 0 at the top of the detector.

    Raises:
        DegenerateView: the source lies inside the volume.
    """
    try:
        seen = line_integrals(
            volume[None], patient_from_index, beam([view], volume.device), step=step
        )
    except DegenerateView as fault:
        raise DegenerateView(f"{fault}, in the view {view.name}") from fault
    return seen[0, 0]


def line_integrals(
    volumes: Tensor, patient_from_index: Tensor, beams: Beam, *, step: float | None = None
) -> Tensor:
    """Line integrals of every channel of `volumes` along the rays of every beam.

    Volumes are interpolated between voxel centres and fall to zero over one voxel around them.
    Rays do not end at the detector; nothing behind a source counts. Channels are usually
    materials, as shares of each voxel; the integrals then are thicknesses.

    Args:
        volumes: (C, Z, Y, X), seen by all N beams, or (N, C, Z, Y, X), one for each.
        patient_from_index: (4, 4), or (N, 4, 4); voxel centre (k, j, i, 1) to LPS mm.
        beams: Sources and detectors.
        step: Largest distance of samples along a ray, mm; by default a sample in each slice, and
            more where a ray would leave out voxels within them.

    Returns:
        (N, C, H, W) in mm times the unit of the volumes, row 0 at the top of the detector.

    Raises:
        DegenerateView: a source lies inside its volume, or sees it under too wide an angle.

    Source: geometry PS3.3 C.8.7.5; Joseph 1982, IEEE Trans. Med. Imaging 1:192.
    """
    count = len(beams.source)
    affines = patient_from_index.to(beams.source).expand(count, 4, 4)
    index_from_patient = torch.linalg.inv(affines)
    sources = _moved(index_from_patient, beams.source)
    in_index = index_from_patient[:, :3, :3] @ ways(beams)
    in_mm = lengths(beams)
    shared = _occupied(volumes) if volumes.dim() == 4 else None
    seen = [
        _seen(shared or _occupied(volumes[n]), _Rays(sources[n], in_index[n], in_mm[n]), step)
        for n in range(count)
    ]
    return torch.stack(seen)


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


@dataclass(frozen=True, slots=True)
class _Rays:
    """The rays of one beam, in units of voxels (k, j, i)."""

    source: Tensor
    """(3,) float64."""
    ways: Tensor
    """(3, 3) float64; (row, column, 1) to the way from the source to that pixel."""
    lengths: Tensor
    """(H, W) float64, mm, of those ways."""


@dataclass(frozen=True, slots=True)
class _Box:
    """The part of a volume that is not empty."""

    values: Tensor
    """(C, z, y, x)."""
    first: tuple[int, ...]
    """Index of its first voxel in the whole volume, (k, j, i)."""
    shape: tuple[int, ...]
    """Of the whole volume."""


@dataclass(frozen=True, slots=True)
class _Window:
    """Pixels that can see the box: rows [top, bottom), columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int


def _moved(affine: Tensor, points: Tensor) -> Tensor:
    moved: Tensor = (affine[:, :3, :3] @ points[..., None])[..., 0] + affine[:, :3, 3]
    return moved


def _occupied(volume: Tensor) -> _Box:
    """The box around all that is not zero; all of a volume whose gradient is wanted."""
    shape = tuple(volume.shape[1:])
    if volume.requires_grad:
        return _Box(volume, (0, 0, 0), shape)
    is_occupied = (volume != 0).any(dim=0)
    cut = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        where = is_occupied.any(dim=others[1]).any(dim=others[0]).nonzero()[:, 0].tolist()
        cut.append(slice(where[0], where[-1] + 1) if where else slice(0, 0))
    return _Box(volume[(slice(None), *cut)], tuple(part.start for part in cut), shape)


def _seen(box: _Box, rays: _Rays, step: float | None) -> Tensor:
    """(C, H, W) line integrals of one volume in one beam."""
    rows, columns = rays.lengths.shape
    _refuse_inside(rays.source, box.shape)
    empty = box.values.new_zeros(len(box.values), rows, columns)
    if box.values.numel() == 0:
        return empty
    first = torch.tensor(box.first).to(rays.source)
    near = _Rays(rays.source - first, rays.ways, rays.lengths)
    window = _window(near, box.values.shape[1:])
    if window is None:
        return empty
    inside = _summed(box.values, near, window, step)
    edges = (window.left, columns - window.right, window.top, rows - window.bottom)
    return pad(inside, edges)


def _refuse_inside(source: Tensor, shape: tuple[int, ...]) -> None:
    where = source.tolist()
    if all(-1 < at < size for at, size in zip(where, shape, strict=True)):
        raise DegenerateView("the source lies inside the volume")


def _window(rays: _Rays, shape: torch.Size) -> _Window | None:
    """The smallest window that holds the shadow of a box of voxels; None if it lies beside."""
    rows, columns = rays.lengths.shape
    ends = [(-1.0, float(size)) for size in shape]
    corners = torch.cartesian_prod(*(torch.tensor(end, dtype=torch.float64) for end in ends))
    pixel_from_way = torch.linalg.inv(rays.ways.detach()).cpu()
    seen = (corners - rays.source.detach().cpu()) @ pixel_from_way.T
    if bool((seen[:, 2] <= 0).any()):
        return _Window(0, rows, 0, columns)
    at = seen[:, :2] / seen[:, 2:]
    (top, left), (bottom, right) = at.amin(0).floor().tolist(), at.amax(0).ceil().tolist()
    top, bottom = max(0, int(top)), min(rows, int(bottom) + 1)
    left, right = max(0, int(left)), min(columns, int(right) + 1)
    return _Window(top, bottom, left, right) if top < bottom and left < right else None


def _summed(values: Tensor, rays: _Rays, window: _Window, step: float | None) -> Tensor:
    """(C, h, w) of the pixels of the window: the sum over slices, times the way between them."""
    height, width = window.bottom - window.top, window.right - window.left
    shift = torch.eye(3).to(rays.ways)
    shift[:2, 2] = torch.tensor([window.top, window.left]).to(shift)
    way = over_pixels((rays.ways @ shift)[None], height, width)[0]
    axis = _fastest(way.detach())
    across = [other for other in range(3) if other != axis]
    slopes = way[..., across] / way[..., axis, None]
    mm_per_slice = (
        rays.lengths[window.top : window.bottom, window.left : window.right] / way[..., axis].abs()
    )
    between = _between(slopes.detach(), mm_per_slice.detach(), step)
    slices, positions = _slices(values.movedim(1 + axis, 0), between)
    origin, direction = float(rays.source[axis].detach()), float(way[0, 0, axis].detach())
    is_ahead = (positions - origin) * direction > 0
    slices, positions = slices[is_ahead.to(slices.device)], positions[is_ahead]
    if len(slices) == 0:
        return values.new_zeros(len(values), height, width)
    middle = float(positions.mean())
    base = rays.source[across] + (middle - rays.source[axis]) * slopes
    size = torch.tensor(slices.shape[2:]).to(base)
    # grid_sample wants the last axis first, and the outer faces of the voxels at -1 and 1
    base = ((2 * base + 1) / size - 1).flip(-1).to(values.dtype)
    slopes = (2 * slopes / size).flip(-1).to(values.dtype)
    ways_in = (positions - middle).to(values)
    limit = SAMPLES_AT_ONCE if values.device.type == "cpu" else SAMPLES_AT_ONCE_ON_DEVICE
    total = values.new_zeros(len(values), height, width)
    for part in torch.split(torch.arange(len(slices)), max(1, limit // (height * width))):
        first, last = int(part[0]), int(part[-1]) + 1
        grid = torch.addcmul(base, ways_in[first:last, None, None, None], slopes)
        total = total + grid_sample(slices[first:last], grid, align_corners=False).sum(dim=0)
    return total * (mm_per_slice / between).to(values.dtype)


def _fastest(way: Tensor) -> int:
    """The axis along which even the ray that follows it least makes good way.

    Raises:
        DegenerateView: along each axis some rays run one way and some the other.
    """
    corners = way[:: max(1, way.shape[0] - 1), :: max(1, way.shape[1] - 1)].reshape(-1, 3)
    share = corners / corners.abs().amax(dim=1, keepdim=True)
    least = torch.maximum(share.amin(dim=0), (-share).amin(dim=0))
    axis = int(least.argmax())
    if float(least[axis]) <= 0:
        raise DegenerateView("the source sees the volume under more than a right angle")
    return axis


def _between(slopes: Tensor, mm_per_slice: Tensor, step: float | None) -> int:
    """Steps from one slice to the next."""
    if step is None:
        return max(1, math.ceil(float(slopes.abs().max()) / LONGEST_STEP))
    return max(1, math.ceil(float(mm_per_slice.max()) / step))


def _slices(slices: Tensor, between: int) -> tuple[Tensor, Tensor]:
    """Slices (S, C, A, B) with those interpolated between them, and their positions (S,)."""
    count = len(slices)
    if between == 1:
        return slices.contiguous(), torch.arange(count, dtype=torch.float64)
    padded = pad(slices, (0, 0, 0, 0, 0, 0, 1, 1))
    shares = torch.arange(between).to(slices) / between
    parts = torch.lerp(padded[:-1, None], padded[1:, None], shares[:, None, None, None])
    positions = torch.arange((count + 1) * between, dtype=torch.float64) / between - 1
    return parts.flatten(0, 1), positions
