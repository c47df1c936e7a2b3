"""Densities in the frame of a detector whose truth is known, and what a network makes of them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, avg_pool3d, interpolate


def balls(seed: int, count: int = 1, planes: int = 16, size: int = 16, edge: float = 4.0) -> Tensor:
    """(count, planes, size, size): three soft balls each, 1 inside."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.rand(count, 3, 3, 1, 1, 1, generator=generator) - 0.5
    radii = 0.25 + 0.2 * torch.rand(count, 3, 1, 1, 1, generator=generator)
    along = [(torch.arange(n) + 0.5) / n * 2 - 1 for n in (planes, size, size)]
    places = torch.stack(torch.meshgrid(*along, indexing="ij"))
    depth = radii - (places - centres).square().sum(dim=2).sqrt()
    return (depth * edge + 0.5).clamp(0, 1).amax(dim=1)


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


def grained(volume: Tensor, seed: int) -> Tensor:
    """With grain as of spongy bone, which no coarse volume shows."""
    grain = torch.rand(volume.shape, generator=torch.Generator().manual_seed(seed))
    return volume * (0.7 + 0.3 * grain)


def mistaken(truth: Tensor, seed: int) -> Tensor:
    """What a network of half the resolution would say: blurred, too dense here and too thin there,
    and a little below nothing outside."""
    generator = torch.Generator().manual_seed(seed)
    smooth = avg_pool3d(truth[:, None], 5, 1, 2, count_include_pad=False)[:, 0]
    coarse = avg_pool2d(smooth, 2)
    wave = torch.randn(len(truth), 1, 3, 4, 4, generator=generator) * 0.3
    factor = 1 + interpolate(wave, size=coarse.shape[1:], mode="trilinear")[:, 0]
    return coarse * factor + 0.02 * torch.randn(coarse.shape, generator=generator)
