"""The two encoders of the lifting network: one of images, one of the grid in space."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate


class Planar(nn.Module):
    """An image (N, before, h, w) to features (N, C, h, w): a U-Net."""

    def __init__(self, before: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.first = _twice(nn.Conv2d, before, channels[0])
        self.down = nn.ModuleList(_twice(nn.Conv2d, a, b, stride=2) for a, b in pairwise(channels))
        self.up = nn.ModuleList(_once(nn.Conv2d, a + b, a) for a, b in pairwise(channels))

    def forward(self, blocks: Tensor) -> Tensor:
        blocks = blocks.contiguous(memory_format=torch.channels_last)
        levels = [self.first(blocks)]
        for down in self.down:
            levels.append(down(levels[-1]))
        found: Tensor = levels.pop()
        for up in reversed(self.up):
            beside = levels.pop()
            wider = interpolate(found, size=beside.shape[2:], mode="bilinear", align_corners=False)
            found = up(torch.cat([beside, wider], dim=1))
        return found


class Spatial(nn.Module):
    """Grid (N, before, D, D, D) to features (N, C, D, D, D): a U-Net, its steps summed.

    At the full size there is no norm: its gradient alone would take an eighth of a step.
    """

    def __init__(self, before: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv3d(before, channels[0], 1), nn.SiLU())
        self.down = nn.ModuleList(_twice(nn.Conv3d, a, b, stride=2) for a, b in pairwise(channels))
        self.narrow = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairwise(channels))
        last = nn.Sequential(nn.Conv3d(channels[0], channels[0], 3, padding=1), nn.SiLU())
        self.up = nn.ModuleList([last, *(_once(nn.Conv3d, a, a) for a in channels[1:-1])])

    def forward(self, grid: Tensor) -> Tensor:
        levels = [self.first(grid.contiguous(memory_format=torch.channels_last_3d))]
        for down in self.down:
            levels.append(down(levels[-1]))
        found: Tensor = levels.pop()
        for narrow, up in zip(reversed(self.narrow), reversed(self.up), strict=True):
            beside = levels.pop()
            wider = interpolate(
                narrow(found), size=beside.shape[2:], mode="trilinear", align_corners=False
            )
            found = up(beside + wider)
        return found


def _once(
    convolution: type[nn.Conv2d] | type[nn.Conv3d],
    before: int,
    after: int,
    stride: int = 1,
) -> nn.Sequential:
    return nn.Sequential(
        convolution(before, after, 3, stride=stride, padding=1),
        nn.GroupNorm(8, after),
        nn.SiLU(),
    )


def _twice(
    convolution: type[nn.Conv2d] | type[nn.Conv3d], before: int, after: int, stride: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        _once(convolution, before, after, stride), _once(convolution, after, after)
    )
