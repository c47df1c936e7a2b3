"""Recurrent networks small enough for a test, and pictures to show them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pipeline.models.recurrent import VARIANTS, Recurrent, RecurrentShape

SMALL = {
    "image_size": 15,
    "planar": (24, 32, 64),
    "features": 256,
    "hidden": 32,
    "spatial": (32, 16),
}
"""A quarter of the width, 15 pixels, 8 x 8 x 8 voxels; still 4 x 4 x 4 cells."""


def small(name: str = "Res3D-GRU-3", **changed: object) -> RecurrentShape:
    """A published network, narrow and coarse."""
    return replace(VARIANTS[name], **{**SMALL, **changed})  # type: ignore[arg-type]


def made(shape: RecurrentShape) -> Recurrent:
    """A network that has learned nothing, always the same one."""
    torch.manual_seed(3)
    return Recurrent(shape).eval()


def pictures(samples: int, views: int, size: int = 15, channels: int = 3) -> Tensor:
    """(samples, views, channels, size, size) noise, always the same."""
    generator = torch.Generator().manual_seed(5)
    return torch.rand(samples, views, channels, size, size, generator=generator)
