"""Radiographs as networks for photographs want them: colours from 0 to 1, in one size.

Such networks know no camera and no invalid pixel: what the detector did not record is grey.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate

from pipeline.models.lifting import normalised

DARKEST, BRIGHTEST = -1.5, 2.0
"""What `normalised` limits its result to."""


def pictures(images: Tensor, is_valid: Tensor, size: int, channels: int = 3) -> Tensor:
    """(N, channels, size, size) float32, 0 to 1: each radiograph repeated over the channels.

    Args:
        images: (N, H, W) attenuation of any scale.
        is_valid: (N, H, W) bool.
        size: Rows and columns of the result; averaged where it is smaller.
        channels: Of the network.
    """
    shown = (normalised(images, is_valid) - DARKEST) / (BRIGHTEST - DARKEST)
    if shown.shape[-2:] != (size, size):
        shown = interpolate(shown[:, None], (size, size), mode="bilinear", antialias=True)[:, 0]
    return shown[:, None].expand(-1, channels, -1, -1)
