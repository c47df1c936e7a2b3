"""The layers of the recurrent network: what looks at a view, what remembers it, what grows a bone.

A grid of cells remembers. Each cell hears a dense map of its own of the view's features, and its
neighbours through a convolution. Both kinds of unit are one rule, state' = kept * state + written,
so that the last state is a sum in which every view has its term.

Sizes, orders and shortcuts are those of Choy, Xu, Gwak, Chen, Savarese 2016 (3D-R2N2, ECCV,
arXiv:1604.00449) and of its code; where another choice was made, it stands there. Imports torch
alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu, max_pool2d

LAST_SIZE = 3
"""Rows and columns of an image after the last stage."""
FIRST_BIAS = 0.1


class Unit(StrEnum):
    """What a cell of the grid is."""

    LSTM = "LSTM"
    GRU = "GRU"


class Unpool(StrEnum):
    """How a grid is doubled before a convolution."""

    ZEROS = "zeros"
    """A value goes to the first of its eight new places, the others are 0: the authors' way."""
    NEAREST = "nearest"
    """A value goes to all of its eight new places."""


class Encoder(nn.Module):
    """Images (N, C, S, S) to features (N, F)."""

    def __init__(
        self, in_channels: int, channels: Sequence[int], features: int, *, is_residual: bool
    ) -> None:
        super().__init__()
        stages = enumerate(pairwise((in_channels, *channels)), start=1)
        self.stages = nn.ModuleList(
            _ResidualStage(number, before, after)
            if is_residual
            else _PlainStage(number, before, after)
            for number, (before, after) in stages
        )
        self.last = nn.Linear(channels[-1] * LAST_SIZE**2, features)

    def forward(self, images: Tensor) -> Tensor:
        found = images
        for stage in self.stages:
            found = stage(found)
        return leaky_relu(self.last(found.flatten(1)))


class _PlainStage(nn.Module):
    """One convolution; S rows and columns become floor(S / 2) + 1."""

    def __init__(self, number: int, before: int, after: int) -> None:
        super().__init__()
        self.seen = _first_convolution(number, before, after)

    def forward(self, found: Tensor) -> Tensor:
        return leaky_relu(_pooled(self.seen(found)))


class _ResidualStage(nn.Module):
    """Two convolutions and a way past them; S rows and columns become floor(S / 2) + 1."""

    def __init__(self, number: int, before: int, after: int) -> None:
        super().__init__()
        self.seen = _first_convolution(number, before, after)
        self.again = nn.Conv2d(after, after, 3, padding=1)
        self.past = _past(number, before, after)

    def forward(self, found: Tensor) -> Tensor:
        seen = leaky_relu(self.again(leaky_relu(self.seen(found))))
        return _pooled(seen if self.past is None else seen + self.past(found))


def _first_convolution(number: int, before: int, after: int) -> nn.Conv2d:
    size = 7 if number == 1 else 3
    return nn.Conv2d(before, after, size, padding=size // 2)


def _past(number: int, before: int, after: int) -> nn.Module | None:
    """The authors give the first stage no way past it, nor the fourth, though it could have one."""
    if number in {1, 4}:
        return None
    if number in {2, 3, 5} or before != after:
        return nn.Conv2d(before, after, 1)
    return nn.Identity()


def _pooled(found: Tensor) -> Tensor:
    return max_pool2d(found, 2, stride=2, padding=1)


class Step(NamedTuple):
    """What one view does to the state: state' = kept * state + written."""

    kept: Tensor
    """(B, C, n, n, n), 0 to 1: the update gate of a GRU, the forget gate of an LSTM."""
    written: Tensor
    """(B, C, n, n, n)."""


class _Gate(nn.Module):
    """What the cells hear of a view (B, F) and of a grid (B, C, n, n, n): (B, C, n, n, n)."""

    def __init__(self, features: int, hidden: int, cells: int, kernel: int) -> None:
        super().__init__()
        self.view = nn.Linear(features, hidden * cells**3, bias=False)
        self.grid = nn.Conv3d(hidden, hidden, kernel, padding=kernel // 2)

    def forward(self, view: Tensor, grid: Tensor) -> Tensor:
        heard: Tensor = self.view(view).view_as(grid) + self.grid(grid)
        return heard


class GRU(nn.Module):
    """The state is what the decoder sees.

    The paper writes the complement of its code's update gate; this one is the code's, which keeps.
    """

    def __init__(self, features: int, hidden: int, cells: int, kernel: int) -> None:
        super().__init__()
        self.update = _Gate(features, hidden, cells, kernel)
        self.reset = _Gate(features, hidden, cells, kernel)
        self.candidate = _Gate(features, hidden, cells, kernel)

    def forward(self, view: Tensor, state: Tensor) -> Step:
        kept = torch.sigmoid(self.update(view, state))
        reset = torch.sigmoid(self.reset(view, state))
        return Step(kept, (1 - kept) * torch.tanh(self.candidate(view, reset * state)))

    def shown(self, state: Tensor) -> Tensor:
        """What the decoder sees of a state."""
        return state


class LSTM(nn.Module):
    """Without an output gate: what the decoder and the neighbours see is tanh of the state."""

    def __init__(self, features: int, hidden: int, cells: int, kernel: int) -> None:
        super().__init__()
        self.forget = _Gate(features, hidden, cells, kernel)
        self.accept = _Gate(features, hidden, cells, kernel)
        self.candidate = _Gate(features, hidden, cells, kernel)

    def forward(self, view: Tensor, state: Tensor) -> Step:
        hidden = self.shown(state)
        kept = torch.sigmoid(self.forget(view, hidden))
        accepted = torch.sigmoid(self.accept(view, hidden))
        return Step(kept, accepted * torch.tanh(self.candidate(view, hidden)))

    def shown(self, state: Tensor) -> Tensor:
        """What the decoder sees of a state."""
        return torch.tanh(state)


class Decoder(nn.Module):
    """A hidden grid (B, C, n, n, n) to logits (B, 2, D, D, D), empty and occupied.

    Every width but the last doubles the grid.
    """

    def __init__(
        self, hidden: int, widths: Sequence[int], unpool: Unpool, *, is_residual: bool
    ) -> None:
        super().__init__()
        self.unpool = unpool
        block = _ResidualGrowth if is_residual else _PlainGrowth
        self.growing = nn.ModuleList(block(a, b) for a, b in pairwise((hidden, *widths[:-1])))
        finest = _ResidualEnd if is_residual else _PlainGrowth
        self.end = finest(widths[-2], widths[-1])
        self.answer = nn.Conv3d(widths[-1], 2, 3, padding=1)

    def forward(self, grid: Tensor) -> Tensor:
        for growth in self.growing:
            grid = growth(unpooled(grid, self.unpool))
        logits: Tensor = self.answer(self.end(grid))
        return logits


class _PlainGrowth(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.seen = nn.Conv3d(before, after, 3, padding=1)

    def forward(self, grid: Tensor) -> Tensor:
        return leaky_relu(self.seen(grid))


class _ResidualGrowth(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.seen = nn.Conv3d(before, after, 3, padding=1)
        self.again = nn.Conv3d(after, after, 3, padding=1)
        self.past = nn.Identity() if before == after else nn.Conv3d(before, after, 1)

    def forward(self, grid: Tensor) -> Tensor:
        past: Tensor = self.past(grid)
        return past + leaky_relu(self.again(leaky_relu(self.seen(grid))))


class _ResidualEnd(nn.Module):
    """The way past its second convolution is a convolution of 3 cells, as in the authors' code."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.seen = nn.Conv3d(before, after, 3, padding=1)
        self.again = nn.Conv3d(after, after, 3, padding=1)
        self.past = nn.Conv3d(after, after, 3, padding=1)

    def forward(self, grid: Tensor) -> Tensor:
        seen = leaky_relu(self.seen(grid))
        past: Tensor = self.past(seen)
        return past + leaky_relu(self.again(seen))


def unpooled(grid: Tensor, unpool: Unpool) -> Tensor:
    """A grid (B, C, n, n, n) of twice as many cells along each axis."""
    if unpool == Unpool.ZEROS:
        sizes = [2 * size for size in grid.shape[2:]]
        made = grid.new_zeros(*grid.shape[:2], *sizes)
        made[:, :, ::2, ::2, ::2] = grid
        return made
    return interpolate(grid, scale_factor=2, mode="nearest")


def begin(module: nn.Module) -> None:
    """Weights and biases before anything is learned.

    The dense maps of the gates begin like all other weights; the authors' deviation of 0.17 there,
    whatever the number of features, closes or opens most gates before anything is learned.
    """
    if isinstance(module, nn.Linear | nn.Conv2d | nn.Conv3d):
        nn.init.xavier_normal_(module.weight, gain=math.sqrt(2))
        if module.bias is not None:
            nn.init.constant_(module.bias, FIRST_BIAS)
