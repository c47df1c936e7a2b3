"""From what the rays pass to what the detector counts: primary beam, scatter, blur and noise.

All is in shares of the signal of the open beam, batched (N, H, W), float32, on any device, and
differentiable but for the noise. The order of a real chain is `transmitted`, `blurred` by the
focus, plus `scattered`, `counted`, `blurred` by the detector: light spreads in the scintillator
after the photons are counted, so that noise is correlated between neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate, pad

from pipeline.materials import Material, linear_attenuation

STARVED = 1e-3
"""Primary signal below which a pixel is metal or lead rather than body."""
WIDE_PX = 8.0
"""From this width on, images are blurred at a lower resolution."""
FULL_WIDTH_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))


def transmitted(lengths: Tensor, materials: Sequence[Material], spectrum: Tensor) -> Tensor:
    """The primary signal behind these lengths of materials: Beer and Lambert, at each energy.

    Soft energies are lost first, so that each further mm of bone takes away less than the one
    before. Where metal replaces tissue, the length of tissue is to be given without it.

    Args:
        lengths: (N, M, H, W) mm at full density.
        materials: M, in the order of the lengths.
        spectrum: (E,) or (N, E) from `tube.spectrum`.

    Returns:
        (N, H, W), 1 in the open beam.

    Raises:
        ValueError: there are not as many materials as lengths.
    """
    if lengths.shape[1] != len(materials):
        raise ValueError(f"{lengths.shape[1]} lengths of {len(materials)} materials")
    attenuation = linear_attenuation(materials).to(lengths)
    weights = spectrum.to(lengths).expand(len(lengths), -1)
    signal = torch.zeros_like(lengths[:, 0])
    for band in (weights > 0).any(dim=0).nonzero()[:, 0].tolist():
        depth = torch.einsum("m,nmhw->nhw", attenuation[:, band], lengths)
        signal = signal + weights[:, band, None, None] * torch.exp(-depth)
    return signal


def scattered(
    transmission: Tensor,
    ratio: float | Tensor,
    reach_px: float | Tensor,
    *,
    light: Tensor | None = None,
) -> Tensor:
    """Scatter to be added to the primary beam: wide, low, and strongest beside what absorbs.

    Photons scatter where they are attenuated and not yet absorbed: the source is -T log T
    (Ohnesorge 1999, Eur. Radiol. 9:563), spread by a Gaussian. No body, no scatter.

    Args:
        transmission: (N, H, W) of the patient, 1 in the open beam.
        ratio: Scatter over primary in the middle of the body: the geometric mean, weighted by
            -log T, so that the thin edge, where there is little, does not count for much. (N,) or
            one for all. About 0.3 for a knee, 1 for a hip with a grid, 3 and more without.
        reach_px: Standard deviation of the spread, pixels; 40 to 100 mm on the detector. (N,) or
            one for all.
        light: What the collimator lets through, (N, H, W); by default everything.
    """
    primary = transmission if light is None else transmission * light
    depth = -torch.log(transmission.clamp(min=STARVED, max=1))
    spread = blurred(primary * depth, reach_px)
    weights = depth if light is None else depth * light
    share = torch.log(spread.clamp(min=1e-12)) - torch.log(primary.clamp(min=STARVED))
    mean = (weights * share).sum(dim=(1, 2)) / weights.sum(dim=(1, 2)).clamp(min=1e-9)
    scale = _each(ratio, primary) * torch.exp(-mean)
    return scale[:, None, None] * spread


def focus_sigma(focus_mm: Tensor, source_to_detector: Tensor, source_to_patient: Tensor) -> Tensor:
    """Standard deviation, mm on the detector, of the blur by a focus of that width.

    The penumbra of a point is the focus seen through it: focus times (magnification - 1).
    """
    return focus_mm * (source_to_detector / source_to_patient - 1) / FULL_WIDTH_PER_SIGMA


def blurred(images: Tensor, sigma_px: float | Tensor) -> Tensor:
    """Images (N, H, W) under a Gaussian of `sigma_px` (N,) pixels; what is outside goes on.

    Its MTF is exp(-2 pi^2 sigma^2 f^2).
    """
    sigma = _each(sigma_px, images).clamp(min=1e-3)
    factor = min(int(float(sigma.min()) / (WIDE_PX / 2)), min(images.shape[1:]) // 8)
    if factor >= 2:
        return _blurred_coarsely(images, sigma, factor)
    half = max(1, math.ceil(4 * float(sigma.max())))
    offsets = torch.arange(-half, half + 1).to(images)
    kernel = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(dim=1, keepdim=True))[:, None]
    grown = pad(images[None], (half, half, half, half), mode="replicate")
    across = conv2d(grown, kernel[:, :, None, :], groups=len(images))
    smooth: Tensor = conv2d(across, kernel[:, :, :, None], groups=len(images))[0]
    return smooth


def counted(signal: Tensor, photons: float | Tensor, generator: torch.Generator) -> Tensor:
    """`signal` (N, H, W) as so many counted photons show it: Poisson, in shares of the open beam.

    Args:
        signal: Expected shares of the open beam.
        photons: Counted in one pixel of the open beam; (N,) or one for all.
        generator: On the device of the signal; the same state gives the same noise.
    """
    open_beam = _each(photons, signal)[:, None, None]
    return torch.poisson(signal.detach() * open_beam, generator=generator) / open_beam


def _each(value: float | Tensor, images: Tensor) -> Tensor:
    return torch.as_tensor(value).to(images).expand(len(images))


def _blurred_coarsely(images: Tensor, sigma: Tensor, factor: int) -> Tensor:
    rows, columns = (-count % factor for count in images.shape[1:])
    grown = pad(images[:, None], (0, columns, 0, rows), mode="replicate")
    coarse = blurred(avg_pool2d(grown, factor)[:, 0], sigma / factor)
    fine = interpolate(coarse[:, None], size=grown.shape[2:], mode="bilinear")
    return fine[:, 0, : images.shape[1], : images.shape[2]]
