"""A narrow Pix2Vox++ and what it is shown, for tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pipeline.models.pix2vox import Pix2Vox, Pix2VoxShape

NARROW = Pix2VoxShape(
    depth=18,
    channels=1,
    image_size=64,
    stem=8,
    heads=(16, 16, 32),
    decoder=(32, 16, 7),
    refiner=(8, 16),
    hidden=64,
)
"""Of 16 voxels."""


def a_net() -> Pix2Vox:
    """Not trained, but its batch statistics are those of images."""
    torch.manual_seed(3)
    made = Pix2Vox(NARROW)
    for layer in made.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            layer.momentum = 1.0
    made(images_of(4, 3))
    return made.eval()


def images_of(count: int, views: int, shape: Pix2VoxShape = NARROW) -> Tensor:
    """(count, views, C, H, W) in [0, 1]: patches of an eighth, brighter in some than in others.

    The same for the same numbers.
    """
    generator = torch.Generator().manual_seed(views)
    patches = torch.rand(count * views, shape.channels, 8, 8, generator=generator)
    bright = torch.rand(count * views, 1, 1, 1, generator=generator)
    images = interpolate(patches * bright, size=(shape.image_size, shape.image_size))
    return images.unflatten(0, (count, views))
