"""Single-image tomography: a density volume from one radiograph, its depth planes as channels.

A two-dimensional hourglass of residual blocks looks at the radiograph and answers with one channel
for each depth plane before the detector, at half the detector's resolution: rows and columns of
the answer are those of the radiograph, and nothing in it turns. So a volume must be stored in the
frame of its detector (`pipeline.frustum`), and what leaves the network is not a cube of the
patient: there is no `occupancy` here as in the other families, because where a plane lies is known
to the camera alone. `fused` then brings the volume to the detail of the radiograph: along every
ray it is scaled until its line integral is the one that was measured.

A radiograph that a console displays has no line integrals: its scale is the console's, and soft
tissue is in it. `rescaled` shows it to the network, and `guided` makes of it the line integrals
that `fused` needs: amounts from the network, edges from the radiograph.

The network is that of Henzler, Rasche, Ropinski, Ritschel 2018 (Computer Graphics Forum 37:377,
arXiv:1710.04867), layer by layer; its fusion is not published, and ours is a ray-wise one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, max_pool2d, mse_loss, relu

from pipeline.models.lifting import normalised

LEAST_RATIO, LARGEST_RATIO = 0.25, 4.0
"""By which one pass of the fusion may scale a ray."""
TINY = 0.01
"""Share of an image's largest line integral, below which a ray's own ratio is mostly noise."""
EVEN = 1e-4
"""Variance around a pixel of a radiograph from 0 to 1, below which what is there is no edge."""


@dataclass(frozen=True, slots=True)
class TomographyShape:
    """The size of the network; the default is the published one, 4,153,280 parameters."""

    planes: int = 128
    """Depth planes of the volume."""
    width: int = 64
    """Channels of the first layer; the hourglass has four times as many."""
    blocks: tuple[int, ...] = (3, 3, 3, 5)
    """Residual blocks after each halving; their number is that of the halvings."""

    @property
    def multiple(self) -> int:
        """Rows and columns of a radiograph must be a multiple of it."""
        return int(2 ** (len(self.blocks) + 1))


class Density(NamedTuple):
    """What the network makes of B radiographs."""

    volume: Tensor
    """(B, planes, H / 2, W / 2) density in the frame of the detector: plane k counted from the
    source, row and column of the radiograph binned by two. Linear: it may be negative."""


class Tomography(nn.Module):
    """The hourglass; see the module."""

    def __init__(self, shape: TomographyShape | None = None) -> None:
        super().__init__()
        self.shape = shape or TomographyShape()
        width, wide = self.shape.width, 4 * self.shape.width
        self.stem = _normed(nn.Conv2d(1, width, 7, stride=2, padding=3, bias=False))
        self.top = nn.Sequential(
            _Block(width, 2 * width),
            _Block(2 * width, 2 * width),
            _Block(2 * width, 2 * width),
            _Block(2 * width, wide),
        )
        self.down = nn.ModuleList(
            nn.Sequential(*(_Block(wide, wide) for _ in range(count)))
            for count in self.shape.blocks
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(wide, wide, 4, stride=2, padding=1, groups=wide, bias=False)
            for _ in self.shape.blocks
        )
        # at the full resolution of the hourglass there is none
        self.beside = nn.ModuleList(_Block(wide, wide) for _ in self.shape.blocks[1:])
        self.tail = nn.Sequential(
            _normed(nn.Conv2d(wide, wide, 1, bias=False)),
            nn.ReLU(),
            nn.Conv2d(wide, self.shape.planes, 1, bias=False),
        )
        self.apply(_begin)

    def forward(self, images: Tensor) -> Density:
        """The density behind radiographs.

        Args:
            images: (B, 1, 1, H, W), one view of one channel, line integrals scaled to [0, 1] by
                one constant for all images: scaled each on its own, they have lost the density.

        Raises:
            ValueError: there is more than one view or channel, or a size that cannot be halved.
        """
        _refuse(images, self.shape.multiple)
        found = self.top(relu(self.stem(images[:, 0])))
        levels = []
        for down in self.down:
            levels.append(found)
            found = down(max_pool2d(found, 2))
        for number, up in enumerate(self.up):
            found = up(found) + levels.pop()
            if number < len(self.beside):
                found = self.beside[number](found)
        return Density(self.tail(found))

    def loss(self, images: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """What is minimised, "total": the mean squared error of a voxel.

        "relative" is for show: the error's norm over that of what was wanted.

        Args:
            images: (B, 1, 1, H, W), as for `forward`.
            wanted: (B, planes, H / 2, W / 2) density in the frame of the detector.
        """
        volume = self(images).volume
        return {"total": mse_loss(volume, wanted), "relative": relative_error(volume, wanted)}


def relative_error(volume: Tensor, wanted: Tensor) -> Tensor:
    """The norm of what is wrong in a volume over the norm of what was wanted; 1 for nothing."""
    norm = torch.linalg.vector_norm
    share: Tensor = norm(volume - wanted) / norm(wanted).clamp(min=1e-12)
    return share


def fused(volume: Tensor, integrals: Tensor, path: Tensor, *, passes: int = 3) -> Tensor:
    """The volume at the detail of its radiograph: its sum along each ray is what was measured.

    Each pass scales all voxels of a ray by the ratio of the measured to the present line integral,
    so that what is empty stays empty. Where the present one is tiny its ratio would be noise;
    there it is the slope of measured against present over the 3 x 3 rays around, which is the
    guided filter of He 2013 (IEEE TPAMI 35:1397) without its offset.

    Args:
        volume: (B, D, h, w) density in the frame of the detector; what is negative counts as none.
        integrals: (B, H, W) measured line integrals of the same density, mm times its unit.
        path: (H, W) or (B, H, W) mm that a ray runs from one plane to the next.
        passes: One to three.

    Returns:
        (B, D, H, W), nowhere negative.
    """
    fine = interpolate(
        volume.clamp(min=0), size=integrals.shape[1:], mode="bilinear", align_corners=False
    )
    measured = integrals.clamp(min=0)
    tiny = TINY * measured.amax(dim=(1, 2), keepdim=True)
    least = torch.finfo(fine.dtype).tiny
    for _ in range(passes):
        present = fine.sum(dim=1) * path
        own = measured / present.clamp(min=least)
        around = _around(measured * present) / _around(present * present).clamp(min=least)
        ratio = torch.where(present > tiny, own, around).clamp(LEAST_RATIO, LARGEST_RATIO)
        fine = fine * ratio[:, None]
    return fine


def rescaled(images: Tensor, is_valid: Tensor) -> Tensor:
    """Radiographs (N, 1, 1, H, W) in [0, 1] of images of any scale (N, H, W), each by itself.

    As `normalised` sees them by what is valid (N, H, W), from -1.5 to 2; what is not is 0.
    """
    scaled = (normalised(images, is_valid) + 1.5) / 3.5 * is_valid
    return scaled[:, None, None]


def integrals_of(volume: Tensor, path: Tensor) -> Tensor:
    """Line integrals (B, H, W) of a volume (B, D, h, w) at the pixels of `path`, as `fused`."""
    summed = volume.clamp(min=0).sum(dim=1, keepdim=True)
    size = path.shape[-2:]
    return interpolate(summed, size=size, mode="bilinear", align_corners=False)[:, 0] * path


def guided(images: Tensor, is_valid: Tensor, present: Tensor, *, reach: int) -> Tensor:
    """Line integrals with the fine detail of a radiograph of unknown scale, and else as they were.

    Around each pixel the radiograph is taken for bone, times the console's contrast, over an even
    background: so soft tissue, which changes slowly, adds no bone. The contrast is the slope of the
    guided filter of He 2013 (IEEE TPAMI 35:1397), nowhere negative, bone being light, and found
    between images that are both blurred: a sharp one follows a soft one by too small a slope.

    Args:
        images: (B, H, W), 0 to 1, light where more is lost.
        is_valid: (B, H, W) bool; elsewhere `present` stays as it is.
        present: (B, H, W) line integrals that the coarse volume has.
        reach: Pixels around each that are taken together, on either side.
    """
    around, soft = _means(is_valid, reach), _means(is_valid, max(1, reach // 3))
    image, bone = soft(images), soft(present)
    mean, mean_bone = around(image), around(bone)
    together = around(image * bone) - mean * mean_bone
    slope = (together / (around(image.square()) - mean.square() + EVEN)).clamp(min=0)
    lines = present + around(slope) * (images - image)
    return torch.where(is_valid, lines.clamp(min=0), present)


def detailed(
    volume: Tensor, images: Tensor, is_valid: Tensor, path: Tensor, *, reach: int
) -> Tensor:
    """`fused` with a radiograph of unknown scale: (B, D, H, W), nothing where it shows nothing.

    Args:
        volume: (B, D, h, w) density in the frame of the detector.
        images: As for `guided`, with the rest.
        is_valid: The same.
        path: (H, W) mm that a ray runs from one plane to the next.
        reach: As for `guided`.
    """
    lines = guided(images, is_valid, integrals_of(volume, path), reach=reach)
    return fused(volume, lines, path) * is_valid[:, None]


def agreement(images: Tensor, is_valid: Tensor, present: Tensor, *, reach: int) -> Tensor:
    """(B,) how far a radiograph has its light and dark where a volume's line integrals have them.

    Pearson's correlation of what is left of both when the mean within `reach` pixels is taken off;
    1 is the same, 0 nothing in common. The arguments are those of `guided`.
    """
    around = _means(is_valid, reach)
    image, bone = ((one - around(one)) * is_valid for one in (images, present))
    both = (image * bone).sum(dim=(1, 2))
    scale = (image.square().sum(dim=(1, 2)) * bone.square().sum(dim=(1, 2))).sqrt()
    return both / scale.clamp(min=torch.finfo(scale.dtype).tiny)


def _means(is_valid: Tensor, reach: int) -> Callable[[Tensor], Tensor]:
    """Of images (B, H, W): means of what is valid within `reach` pixels around each."""
    edge = 2 * reach + 1

    def summed(values: Tensor) -> Tensor:
        return avg_pool2d(values[:, None], edge, stride=1, padding=reach)[:, 0]

    valid = is_valid.float()
    share = summed(valid).clamp(min=1e-6)
    return lambda values: summed(values * valid) / share


class _Block(nn.Module):
    """Narrow, look around, widen, add: 1 x 1, 3 x 3 and 1 x 1, and the last ReLU after the sum."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        middle = after // 2
        self.inner = nn.Sequential(
            _normed(nn.Conv2d(before, middle, 1, bias=False)),
            nn.ReLU(),
            _normed(nn.Conv2d(middle, middle, 3, padding=1, bias=False)),
            nn.ReLU(),
            _normed(nn.Conv2d(middle, after, 1, bias=False)),
        )
        self.past = (
            nn.Identity() if before == after else _normed(nn.Conv2d(before, after, 1, bias=False))
        )

    def forward(self, found: Tensor) -> Tensor:
        return relu(self.inner(found) + self.past(found))


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels))


def _begin(module: nn.Module) -> None:
    """Xavier's beginning, which keeps the variance from layer to layer."""
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
    elif isinstance(module, nn.ConvTranspose2d):
        # each channel is a map of its own, of one channel to one
        bound = math.sqrt(6 / (2 * module.weight[0, 0].numel()))
        nn.init.uniform_(module.weight, -bound, bound)


def _refuse(images: Tensor, multiple: int) -> None:
    if images.dim() != 5 or images.shape[1] != 1 or images.shape[2] != 1:
        raise ValueError(f"one view of one channel is wanted, not {tuple(images.shape)}")
    if images.shape[3] % multiple or images.shape[4] % multiple:
        raise ValueError(
            f"rows and columns must be a multiple of {multiple}, not {tuple(images.shape[3:])}"
        )


def _around(images: Tensor) -> Tensor:
    """Means (B, H, W) of 3 x 3 pixels; beyond the border there are none."""
    return avg_pool2d(images[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
