"""The first half of two residual networks: an image to features of an eighth of its size.

ResNet-18 and ResNet-50 up to and with their second stage (`layer2`). Modules carry the names that
the published ImageNet weights use, so that these fit as they are. The middle convolution of a
bottleneck carries the stride, as in those weights; the paper puts it in the first.

Source: He et al. 2016 (CVPR), arXiv:1512.03385, table 1. Imports torch alone.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor, nn

Depth = Literal[18, 50]
REDUCTION = 8
"""Edge of the image over edge of the features."""


class ResidualStem(nn.Module):
    """Images (N, C, H, W) to features (N, `features`, H / 8, W / 8), none negative.

    Args:
        depth: Whose stem.
        channels: C.
        width: Channels after the first convolution; 64 is published.
    """

    def __init__(self, depth: Depth, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        block, counts, wider = _PLANS[depth]
        first, self.features = wider * width, 2 * wider * width
        self.layer1 = _stage(block, width, first, counts[0], stride=1)
        self.layer2 = _stage(block, first, self.features, counts[1], stride=2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        found = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features: Tensor = self.layer2(self.layer1(found))
        return features


class _Basic(nn.Module):
    """(N, before, H, W) to (N, after, H / stride, W / stride): two convolutions of 3 x 3."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = _shortcut(before, after, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, before: Tensor) -> Tensor:
        found = self.relu(self.bn1(self.conv1(before)))
        after: Tensor = self.relu(self.bn2(self.conv2(found)) + self.downsample(before))
        return after


class _Bottleneck(nn.Module):
    """(N, before, H, W) to (N, after, H / stride, W / stride): 3 x 3 at a quarter of `after`."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        narrow = after // 4
        self.conv1 = nn.Conv2d(before, narrow, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(narrow)
        self.conv2 = nn.Conv2d(narrow, narrow, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(narrow)
        self.conv3 = nn.Conv2d(narrow, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        self.downsample = _shortcut(before, after, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, before: Tensor) -> Tensor:
        found = self.relu(self.bn1(self.conv1(before)))
        found = self.relu(self.bn2(self.conv2(found)))
        after: Tensor = self.relu(self.bn3(self.conv3(found)) + self.downsample(before))
        return after


def _shortcut(before: int, after: int, stride: int) -> nn.Module:
    if before == after and stride == 1:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
    )


def _stage(
    block: type[_Basic] | type[_Bottleneck], before: int, after: int, count: int, stride: int
) -> nn.Sequential:
    rest = (block(after, after, 1) for _ in range(count - 1))
    return nn.Sequential(block(before, after, stride), *rest)


class _Plan(NamedTuple):
    block: type[_Basic] | type[_Bottleneck]
    counts: tuple[int, int]
    """Blocks of the first and of the second stage."""
    wider: int
    """Channels after the first stage over those after the first convolution."""


_PLANS: dict[Depth, _Plan] = {18: _Plan(_Basic, (2, 2), 1), 50: _Plan(_Bottleneck, (3, 4), 4)}
