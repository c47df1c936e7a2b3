"""Anatomy completion: three networks that fill in what is missing in a map of labels.

A label map in which anatomies are missing goes in, class probabilities of each voxel come out:
of the complete map (many-to-one) or only of what is missing (residual). All three halve the grid
four times, so its edges are multiples of 16. The plain net has no way around its narrowest grid,
the second one passes three encoder maps on, the third is made of inception blocks and passes all.

Source: Li 2023, arXiv:2309.04956. Its public code has the first two nets, without any
normalisation; what it calls GoogLeNet holds no inception and does not run, so the third net is
built here after Szegedy 2015, CVPR. Imports torch alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot, softmax

PUBLISHED_FACTOR = 2e8
"""What the authors' loss multiplies a Dice with, before it is divided by the voxels of the map."""
PUBLISHED_DEVIATION = 0.01
"""Of the truncated normal that the authors draw weights from."""
CROSS_ENTROPY_SHARE = 0.5
EPSILON = 1e-5
"""Of a Dice whose class is absent."""


class Kind(StrEnum):
    """Which of the three networks."""

    PLAIN = "plain"
    SKIP = "skip"
    INCEPTION = "inception"


class Task(StrEnum):
    """What a network answers with."""

    MANY_TO_ONE = "many-to-one"
    """The complete map, whatever was missing."""
    RESIDUAL = "residual"
    """Only what is missing: background wherever the input has a label."""


@dataclass(frozen=True, slots=True)
class CompletionShape:
    """The size of a completion network; the default is the published one, 22,167,776 parameters."""

    kind: Kind = Kind.PLAIN
    classes: int = 12
    """Anatomies and the background. The authors' 12 leave no class for the twelfth anatomy."""
    divided_by: int = 1
    """Of all channels: 8 makes a network of a 64th of the parameters."""
    one_hot: bool = False
    """Whether the input has a channel for each class; published is one with the label numbers."""
    task: Task = Task.MANY_TO_ONE


class Completion(nn.Module):
    """One of the three networks; see the module."""

    def __init__(self, shape: CompletionShape | None = None) -> None:
        super().__init__()
        self.shape = shape = shape if shape is not None else CompletionShape()
        self.net: nn.Module = (
            _Inceptive(shape) if shape.kind is Kind.INCEPTION else _Published(shape)
        )

    def forward(self, labels: Tensor) -> Tensor:
        """Logits (B, classes, Z, Y, X) of label maps (B, Z, Y, X) int64, 0 the background."""
        if not self.shape.one_hot:
            return self.net(labels[:, None].to(torch.float32))  # type: ignore[no-any-return]  # torch
        return self.net(_in_channels(labels, self.shape.classes))  # type: ignore[no-any-return]

    def completed(self, labels: Tensor) -> Tensor:
        """The union of `labels` (B, Z, Y, X) and what the network adds: no label is changed."""
        found = self(labels).argmax(dim=1)
        return torch.where(labels > 0, labels, found)


def start_as_published(net: Completion) -> None:
    """Weights are drawn as the authors draw them, and biases are zero.

    Through the many layers of the published nets a signal all but vanishes so: what the networks
    are built with keeps it, and is the default of the training here.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
            deviation = PUBLISHED_DEVIATION
            nn.init.trunc_normal_(layer.weight, 0.0, deviation, -2 * deviation, 2 * deviation)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def wanted_of(complete: Tensor, incomplete: Tensor, task: Task) -> Tensor:
    """What a network of `task` is to answer to `incomplete`; label maps of any one shape."""
    if task is Task.MANY_TO_ONE:
        return complete
    return torch.where(incomplete > 0, torch.zeros_like(complete), complete)


def loss(logits: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """What is minimised as "total": 1 - Dice of the present classes, and half a cross-entropy.

    Args:
        logits: (B, C, Z, Y, X).
        wanted: (B, Z, Y, X) int64, from 0 to C - 1.
    """
    truth = _in_channels(wanted, logits.shape[1])
    each = soft_dice(softmax(logits.float(), dim=1), truth)
    is_present = truth.flatten(2).any(dim=2)
    dice = 1 - (each * is_present).sum() / is_present.sum()
    entropy = cross_entropy(logits.float(), wanted)
    return {
        "total": dice + CROSS_ENTROPY_SHARE * entropy,
        "dice": dice,
        "cross_entropy": entropy,
    }


def soft_dice(probability: Tensor, truth: Tensor) -> Tensor:
    """(B, C) Dice with squared denominators of maps (B, C, Z, Y, X); about 0 of an absent class."""
    common = (probability * truth).flatten(2).sum(dim=2)
    squares = (probability.square() + truth.square()).flatten(2).sum(dim=2)
    return 2 * common / (squares + EPSILON)


def published_loss(probability: Tensor, truth: Tensor) -> Tensor:
    """The authors' loss, to read their curves: -95.367 times the sum of the classes' Dice at 128^3.

    Args:
        probability: (B, C, Z, Y, X), as the authors' softmax gives it.
        truth: (B, C, Z, Y, X), 0 or 1.
    """
    factor = PUBLISHED_FACTOR / probability[0, 0].numel()
    return -factor * soft_dice(probability, truth).sum(dim=1).mean()


def _in_channels(labels: Tensor, classes: int) -> Tensor:
    """(B, classes, Z, Y, X) float32."""
    return one_hot(labels, classes).movedim(-1, 1).to(torch.float32)


class _Published(nn.Module):
    """The plain net, and the one that passes three encoder maps on."""

    def __init__(self, shape: CompletionShape) -> None:
        super().__init__()
        width = 64 // shape.divided_by
        channels = 1 if not shape.one_hot else shape.classes
        self.skips = shape.kind is Kind.SKIP
        wide = (width, 2 * width, 4 * width, 8 * width)
        before = (channels, *wide[:-1])
        self.down = nn.ModuleList(
            nn.Conv3d(a, b, 3, stride=2, padding=1) for a, b in zip(before, wide, strict=True)
        )
        self.middle = nn.Sequential(
            nn.Conv3d(8 * width, 8 * width, 3, padding=1),
            nn.ReLU(),
            nn.Conv3d(8 * width, 4 * width, 3, padding=1),
            nn.ReLU(),
        )
        came = (4 * width, 2 * width, width, width)
        passed = (8 * width, 4 * width, 2 * width, 0) if self.skips else (0, 0, 0, 0)
        raised = (4 * width, 2 * width, width, width // 2)
        left = (2 * width, width, width, width // 2)
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose3d(a + b, c, 4, stride=2, padding=1, bias=False),
                nn.ReLU(),
                nn.Conv3d(c, d, 3, padding=1),
                nn.ReLU(),
            )
            for a, b, c, d in zip(came, passed, raised, left, strict=True)
        )
        classes = shape.classes
        self.head = nn.Sequential(
            nn.Conv3d(width // 2, classes, 3, padding=1),
            nn.ReLU(),
            *(nn.Conv3d(classes, classes, 3, padding=1) for _ in range(3)),
        )
        _keep_signal(self)

    def forward(self, x: Tensor) -> Tensor:
        maps = []
        for layer in self.down:
            x = torch.relu(layer(x))
            maps.append(x)
        x = self.middle(x)
        for number, layer in enumerate(self.up):
            if self.skips and number < 3:
                x = torch.cat([x, maps[-1 - number]], dim=1)
            x = layer(x)
        answer: Tensor = self.head(x)
        return answer


def _keep_signal(net: nn.Module) -> None:
    """Weights are drawn so that a signal keeps its size through all layers that a ReLU follows.

    Without norms, torch's own start loses it on the way: nothing was learned in 100 steps.
    Source: He 2015, ICCV. A transposed 4^3 with stride 2 sums 2^3 voxels of each channel.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv3d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.ConvTranspose3d):
            nn.init.normal_(layer.weight, 0.0, (2 / (8 * layer.in_channels)) ** 0.5)


class _Inceptive(nn.Module):
    """A U-Net of inception blocks with five widths, which passes the maps of all levels on."""

    def __init__(self, shape: CompletionShape) -> None:
        super().__init__()
        widths = tuple(width // shape.divided_by for width in (32, 64, 128, 256, 320))
        channels = 1 if not shape.one_hot else shape.classes
        self.stem = _normalised(channels, widths[0], 3)
        self.first = _Inception(widths[0], widths[0])
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(
            nn.Sequential(_normalised(a, b, 3, stride=2), _Inception(b, b)) for a, b in pairs
        )
        self.up = nn.ModuleList(nn.ConvTranspose3d(b, a, 2, stride=2) for a, b in reversed(pairs))
        self.joined = nn.ModuleList(_Inception(2 * a, a) for a, _ in reversed(pairs))
        self.head = nn.Conv3d(widths[0], shape.classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.first(self.stem(x))]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        x = maps.pop()
        for raised, joined in zip(self.up, self.joined, strict=True):
            x = joined(torch.cat([raised(x), maps.pop()], dim=1))
        answer: Tensor = self.head(x)
        return answer


class _Inception(nn.Module):
    """Four branches of a quarter of the channels each: 1^3, 3^3, twice 3^3, and a maximum."""

    def __init__(self, came: int, made: int) -> None:
        super().__init__()
        quarter = made // 4

        def narrow() -> nn.Module:
            return _normalised(came, quarter, 1)

        def wide() -> nn.Module:
            return _normalised(quarter, quarter, 3)

        self.branches = nn.ModuleList(
            [
                narrow(),
                nn.Sequential(narrow(), wide()),
                nn.Sequential(narrow(), wide(), wide()),
                nn.Sequential(nn.MaxPool3d(3, stride=1, padding=1), narrow()),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def _normalised(came: int, made: int, edge: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv3d(came, made, edge, stride=stride, padding=edge // 2),
        nn.InstanceNorm3d(made, affine=True),
        nn.LeakyReLU(0.01),
    )
