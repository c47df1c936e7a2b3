"""Renderings of the published data sets as their authors show them to a network.

Each image is changed on its own. Nothing here is applied to radiographs: a mirrored image of an
anatomy is of the other side.

Source: Choy 2016 (cut, mirror, background); Xie 2020 (jitter, colour noise, order of colours);
Krizhevsky 2012, "ImageNet classification with deep convolutional neural networks" (the principal
colours).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from pipeline.training.published_layout import Published
from pipeline.training.settings import RunFault

COLOUR_DEVIATIONS = (0.2175, 0.0188, 0.0045)
COLOURS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
"""Principal colours of photographs, red, green and blue in rows, a component in each column."""
GREY = (0.299, 0.587, 0.114)


def read(path: Path) -> Tensor:
    """(4, H, W) float32, 0 to 1: red, green, blue and opacity.

    Raises:
        RunFault: the file is no image.
    """
    try:
        with Image.open(path) as image:
            values = np.asarray(image.convert("RGBA"), np.float32)
    except (OSError, ValueError) as fault:
        raise RunFault(f"{path} cannot be read: {fault}") from fault
    return torch.from_numpy(values / 255).permute(2, 0, 1)


def learned(rgba: Tensor, of: Published, size: int, generator: torch.Generator) -> Tensor:
    """(3, size, size) float32, 0 to 1: on a drawn background, cut and changed at random.

    Args:
        rgba: (4, H, W), of no fewer rows and columns than `of.crop`.
        of: How much of each change.
        size: Of the network.
        generator: Of all that is drawn.
    """
    u = torch.rand(9, generator=generator)
    low, high = (value / 255 for value in of.background)
    image = on_background(rgba, low + (high - low) * u[:3])
    rows, columns = (int(u[3 + axis] * (image.shape[1 + axis] - of.crop + 1)) for axis in range(2))
    image = image[:, rows : rows + of.crop, columns : columns + of.crop]
    if u[5] < of.flip:
        image = image.flip(-1)
    image = _jittered(image, of.jitter * (2 * u[6:9] - 1))
    if of.colour_noise:
        share = of.colour_noise * torch.randn(3, generator=generator)
        image = (
            image
            + (torch.tensor(COLOURS) @ (share * torch.tensor(COLOUR_DEVIATIONS)))[:, None, None]
        )
    if of.permuted:
        image = image[torch.randperm(3, generator=generator)]
    return _sized(image, size).clamp(0, 1)


def judged(rgba: Tensor, of: Published, size: int) -> Tensor:
    """(3, size, size) float32, 0 to 1: the middle of the image, always on the same background."""
    image = on_background(rgba, torch.full((3,), of.judged_background / 255))
    rows, columns = ((length - of.crop) // 2 for length in image.shape[1:])
    return _sized(image[:, rows : rows + of.crop, columns : columns + of.crop], size)


def on_background(rgba: Tensor, colour: Tensor) -> Tensor:
    """(3, H, W): `colour` (3,) where nothing is; an edge that is there in part keeps its colour."""
    return torch.where(rgba[3:] == 0, colour[:, None, None], rgba[:3])


def _jittered(image: Tensor, by: Tensor) -> Tensor:
    """Brightness, contrast and saturation, each times 1 + `by` (3,), in this order."""
    brightness, contrast, saturation = (1 + by).tolist()
    weights = torch.tensor(GREY)[:, None, None]
    image = image * brightness
    mean = (image * weights).sum(dim=0).mean()
    image = mean + (image - mean) * contrast
    grey = (image * weights).sum(dim=0, keepdim=True)
    saturated: Tensor = grey + (image - grey) * saturation
    return saturated


def _sized(image: Tensor, size: int) -> Tensor:
    if image.shape[-2:] == (size, size):
        return image
    return interpolate(image[None], (size, size), mode="bilinear", antialias=True)[0]
