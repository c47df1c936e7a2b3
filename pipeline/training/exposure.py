"""From the thickness of bone to an image as a detector and its processing would show it.

Drawn anew each time a scene is used: soft tissue, a spectrum that hardens, scatter, blur, noise,
a monotone presentation curve, collimation and markers. Nothing here knows which renderer made the
thickness; `Exposure` says how much of each there is, and `CLEAN` has none of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pipeline.physics import blurred

ENERGIES_KEV = (40, 50, 60, 80)
WEIGHTS = (0.2, 0.35, 0.3, 0.15)
"""Of a tube at about 75 kV behind the patient's skin: a coarse spectrum."""
CORTICAL_PER_MM = (0.1277, 0.0814, 0.0605, 0.0428)
"""Linear attenuation of cortical bone, 1.92 g/cm3 (NIST, ICRU-44)."""
SOFT_PER_MM = (0.0282, 0.0238, 0.0215, 0.0193)
"""Of soft tissue, 1.06 g/cm3 (NIST, ICRU-44)."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """What stands between the bones and the image."""

    soft_mm: float = 160.0
    """Largest thickness of soft tissue."""
    lumps: float = 0.25
    """Depth of muscles and gas in it, as a share."""
    scatter: float = 0.8
    """Largest ratio of scattered to primary radiation."""
    blur_pixels: float = 1.0
    noise: float = 0.03
    """Largest deviation of the logarithm."""
    gamma: float = 0.35
    """Deviation of the logarithm of the presentation curve's exponent."""
    collimation: float = 0.18
    """Largest share that each border may lose."""
    markers: float = 0.3
    """How often a lead letter lies on the detector."""


CLEAN = Exposure(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""The bones alone."""


def exposed(
    thickness: Tensor, exposure: Exposure, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Attenuation of any scale (N, H, W) and what of it counts, (N, H, W) bool.

    Args:
        thickness: (N, H, W) mm of cortical bone.
        exposure: How much of each effect.
        generator: Of all that is drawn.
    """
    images, masks = [], []
    for bone in thickness:
        image = _detected(bone, exposure, generator)
        is_valid = _collimated(image.shape, exposure, generator)
        images.append(_marked(image, exposure, generator))
        masks.append(is_valid)
    return torch.stack(images), torch.stack(masks)


def _detected(bone: Tensor, exposure: Exposure, generator: torch.Generator) -> Tensor:
    u = torch.rand(5, generator=generator).tolist()
    soft = _soft_tissue(bone.shape, exposure, generator)
    passed = torch.zeros_like(bone)
    for weight, in_bone, in_soft in zip(WEIGHTS, CORTICAL_PER_MM, SOFT_PER_MM, strict=True):
        # bone takes the place of soft tissue
        passed += weight * torch.exp(-in_bone * bone - in_soft * (soft - bone).clamp(min=0))
    if exposure.scatter:
        passed = passed + exposure.scatter * u[0] * blurred(passed[None], bone.shape[-1] / 10)[0]
    if exposure.blur_pixels:
        passed = blurred(passed[None], exposure.blur_pixels * u[1] + 1e-3)[0]
    image = -torch.log(passed.clamp(min=1e-9))
    if exposure.noise:
        noise = torch.randn(image.shape, generator=generator)
        grain = (0.5 * (image - image.mean())).clamp(-2, 2).exp()
        image = image + exposure.noise * u[2] * grain * noise
    if exposure.gamma:
        low, high = image.min(), image.max()
        exponent = float(torch.exp(exposure.gamma * torch.randn(1, generator=generator)))
        image = ((image - low) / (high - low).clamp(min=1e-6)).clamp(0, 1) ** exponent
        if u[3] < 0.5:
            middle = 0.35 + 0.3 * u[4]
            image = torch.sigmoid((image - middle) * 6)
    return image


def _soft_tissue(size: torch.Size, exposure: Exposure, generator: torch.Generator) -> Tensor:
    """(H, W) mm: a body with lumps, which may end within the image."""
    if not exposure.soft_mm:
        return torch.zeros(size)
    u = torch.rand(6, generator=generator).tolist()
    row, column = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in size), indexing="ij")
    half = 0.6 + 1.4 * u[0]
    chord = (1 - ((column - 0.6 * (u[1] - 0.5)) / half) ** 2).clamp(min=0).sqrt()
    chord = chord * (1 + 0.4 * (u[2] - 0.5) * row)
    lumps = _smooth_noise(size, 5, generator) + 0.5 * _smooth_noise(size, 13, generator)
    deep = exposure.soft_mm * (0.3 + 0.7 * u[3]) * (1 + exposure.lumps * u[4] * lumps)
    thickness: Tensor = (chord * deep).clamp(min=0)
    return thickness


def _smooth_noise(size: torch.Size, knots: int, generator: torch.Generator) -> Tensor:
    coarse = torch.randn(1, 1, knots, knots, generator=generator)
    wide: Tensor = interpolate(coarse, size=tuple(size), mode="bicubic", align_corners=True)
    return wide[0, 0]


def _collimated(size: torch.Size, exposure: Exposure, generator: torch.Generator) -> Tensor:
    """(H, W) bool: each border loses a share, half of the time nothing."""
    is_valid = torch.ones(size, dtype=torch.bool)
    u = torch.rand(8, generator=generator).tolist()
    top, bottom, left, right = (
        exposure.collimation * max(0.0, 2 * u[n] - 1) * u[n + 4] for n in range(4)
    )
    rows, columns = size
    is_valid[: int(top * rows)] = False
    is_valid[rows - int(bottom * rows) :] = False
    is_valid[:, : int(left * columns)] = False
    is_valid[:, columns - int(right * columns) :] = False
    return is_valid


def _marked(image: Tensor, exposure: Exposure, generator: torch.Generator) -> Tensor:
    """With a bright block near the border, as a lead letter leaves it."""
    u = torch.rand(6, generator=generator).tolist()
    if u[0] >= exposure.markers:
        return image
    rows, columns = image.shape
    height, width = int((0.02 + 0.05 * u[1]) * rows), int((0.02 + 0.04 * u[2]) * columns)
    row, column = int(u[3] * (rows - height)), int(0.12 * columns * u[4])
    column = column if u[5] < 0.5 else columns - width - column
    marked = image.clone()
    marked[row : row + height, column : column + width] = image.max()
    return marked
