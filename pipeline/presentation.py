"""From counts to the pixels that a console stores: what a radiographer sees of a beam.

Collimator leaves and lead letters stand in the beam; the console takes the logarithm, sharpens,
chooses a window, bends the grey values as a film would, turns the polarity and rounds.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from pipeline.physics import blurred

GLYPHS: Final = {
    "L": ("#....", "#....", "#....", "#....", "#....", "#....", "#####"),
    "R": ("####.", "#...#", "#...#", "####.", "#.#..", "#..#.", "#...#"),
    "O": (".###.", "#...#", "#...#", "#...#", "#...#", "#...#", ".###."),
    "I": (".###.", "..#..", "..#..", "..#..", "..#..", "..#..", ".###."),
    "|": ("..#..",) * 7,
}
"""Letters of lead, five by seven."""


def collimated(
    size: tuple[int, int],
    edges: Tensor,
    *,
    turn_deg: float | Tensor = 0.0,
    penumbra_px: float | Tensor = 1.5,
    leak: float = 0.003,
) -> Tensor:
    """Shares of the beam that a rectangle of straight leaves lets through, (N, H, W).

    Args:
        size: Rows and columns.
        edges: (N, 4) first row, last row, first column, last column that lie half in the light,
            pixels; beyond the image for an open side.
        turn_deg: Of the rectangle about the middle of the image; (N,) or one for all.
        penumbra_px: Standard deviation of the edge, pixels; (N,) or one for all.
        leak: Share that passes the leaves and comes from around the patient.
    """
    turn = torch.deg2rad(_of_each(turn_deg, edges))
    middle = torch.tensor([(size[0] - 1) / 2, (size[1] - 1) / 2]).to(edges)
    rows = torch.arange(size[0]).to(edges)[:, None] - middle[0]
    columns = torch.arange(size[1]).to(edges) - middle[1]
    down = torch.cos(turn) * rows + torch.sin(turn) * columns + middle[0]
    along = torch.cos(turn) * columns - torch.sin(turn) * rows + middle[1]
    width = _of_each(penumbra_px, edges) * math.sqrt(2)
    top, bottom, left, right = (edges[:, n, None, None] for n in range(4))
    light = torch.ones_like(down)
    for inside in (down - top, bottom - down, along - left, right - along):
        light = light * 0.5 * (1 + torch.erf(inside / width))
    return leak + (1 - leak) * light


def lettered(
    size: tuple[int, int],
    letter: str,
    *,
    centre: tuple[float, float],
    height_px: float,
    turn_deg: float = 0.0,
    is_mirrored: bool = False,
    lead_mm: float = 1.5,
) -> Tensor:
    """Lengths of lead, mm, (H, W), of a letter on the detector; one of `GLYPHS`.

    Args:
        size: Rows and columns.
        letter: Which.
        centre: Row and column of its middle.
        height_px: Of the letter.
        turn_deg: Counter-clockwise as seen.
        is_mirrored: As on a radiograph that is looked at from behind.
        lead_mm: Its thickness.

    Raises:
        KeyError: there is no such letter.
    """
    glyph = torch.tensor([[mark == "#" for mark in row] for row in GLYPHS[letter]]).float()
    turn, unit = math.radians(turn_deg), height_px / 7
    rows = (torch.arange(size[0])[:, None] - centre[0]) / unit
    columns = (torch.arange(size[1]) - centre[1]) / unit
    down = math.cos(turn) * rows + math.sin(turn) * columns
    along = math.cos(turn) * columns - math.sin(turn) * rows
    grid = torch.stack([along / 2.5 * (-1 if is_mirrored else 1), down / 3.5], dim=-1)
    fine = glyph.repeat_interleave(8, 0).repeat_interleave(8, 1)[None, None]
    return lead_mm * grid_sample(fine, grid[None], align_corners=False)[0, 0]


def presented(
    signal: Tensor,
    *,
    window: Tensor | None = None,
    region: Tensor | None = None,
    contrast: float | Tensor = 0.0,
    sharpening: float | Tensor = 0.0,
    sharpening_px: float | Tensor = 3.0,
    is_inverted: bool | Tensor = False,
    darkest: float = 1e-5,
) -> Tensor:
    """Grey values 0 to 1 of signals (N, H, W) in shares of the open beam; bone is light.

    Args:
        signal: Counted, above zero but for starved pixels.
        window: (N, 2) values of -log(signal) shown as 0 and as 1; by default percentiles 0.5 and
            99.5 of each image within `region`.
        region: (N, H, W) bool, what the console takes for anatomy; by default everything.
        contrast: How far the look-up table is bent: c / tanh(c) is its slope at middle grey, so
            that 0 is straight, 1 has 1.3 and 2 has 2.1; (N,) or one for all.
        sharpening: Share of the details finer than `sharpening_px` that is added; (N,) or one.
        sharpening_px: Their standard deviation.
        is_inverted: Bone is dark, as MONOCHROME1 shows it; (N,) or one for all.
        darkest: Share of the open beam that counts as no signal.
    """
    attenuation = -torch.log(signal.clamp(min=darkest))
    amount = _of_each(sharpening, attenuation)
    if bool((amount != 0).any()):
        attenuation = attenuation + amount * (attenuation - blurred(attenuation, sharpening_px))
    if window is None:
        window = percentiles(attenuation, 0.005, 0.995, region)
    low, high = window.to(attenuation)[:, :, None, None].unbind(dim=1)
    grey = ((attenuation - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    bent = _sigmoid(grey, _of_each(contrast, attenuation))
    return torch.where(_of_each(is_inverted, attenuation) != 0, 1 - bent, bent)


def percentiles(images: Tensor, low: float, high: float, region: Tensor | None = None) -> Tensor:
    """(N, 2) of images (N, H, W), from at most some ten thousand pixels of each.

    An image of which `region` (N, H, W) picks nothing is judged by all of it.
    """
    step = max(1, images[0].numel() // 16384)
    flat = images.flatten(1)[:, ::step]
    if region is not None:
        inside = region.flatten(1)[:, ::step]
        inside = inside | ~inside.any(dim=1, keepdim=True)
        flat = torch.where(inside, flat, torch.nan)
    at = torch.tensor([low, high]).to(images)
    return torch.nanquantile(flat, at, dim=1).T


def stored(grey: Tensor, bits: int = 12) -> NDArray[np.uint16]:
    """Grey values 0 to 1 as stored pixel values of so many bits."""
    values: NDArray[np.uint16] = (
        torch.round(grey.detach().cpu().clamp(0, 1) * (2**bits - 1)).numpy().astype(np.uint16)
    )
    return values


def _sigmoid(grey: Tensor, contrast: Tensor) -> Tensor:
    """From 0 to 1 through (0.5, 0.5), there steeper than a straight line; straight at 0."""
    steepness = contrast.clamp(min=0.02) * 4
    low, high = torch.sigmoid(-steepness / 2), torch.sigmoid(steepness / 2)
    bent = (torch.sigmoid(steepness * (grey - 0.5)) - low) / (high - low)
    return torch.where(contrast < 0.02, grey, bent)


def _of_each(value: float | Tensor, images: Tensor) -> Tensor:
    """(N, 1, 1)."""
    return torch.as_tensor(value).to(images).expand(len(images))[:, None, None]
