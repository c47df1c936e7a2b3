"""Pix2Vox++: each view gives a coarse volume, a learned score fuses them, a U-Net refines.

Every image alone passes an encoder (a residual stem and three convolutions) and a decoder, which
reads the flat features as 2 x 2 x 2 cells and doubles them up to the grid. A small network scores
every voxel of every view by what the decoder saw around it; the softmax of the scores over the
views weighs the coarse volumes, so that neither the number nor the order of the views matters.
/A refines the fused volume, /F returns it.

It knows no camera: a view tells of its direction only by what it shows. Source: Xie et al. 2020,
arXiv:2006.12250; the lists of 64 and 128 voxels are ours, the paper gives none. Where we part from
the authors: batch statistics are taken over all views at once and not view by view, since
radiographs come in fixed directions, whose statistics differ. Imports torch alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from pipeline.models.residual_stems import REDUCTION, Depth, ResidualStem

CELLS = 2
"""Voxels along each edge where the decoder begins."""
NARROWEST = 4
"""Voxels along each edge where the refiner is narrowest."""
SLOPE = 0.2
"""Of the leaky rectifiers in merger and refiner."""
LOSS_SCALE = 10.0


@dataclass(frozen=True, slots=True)
class Pix2VoxShape:
    """The size of a network; as it stands it is Pix2Vox++/A at 32 voxels.

    Raises:
        ValueError: the parts do not fit together.
    """

    depth: Depth = 50
    """Of the residual network whose stem sees the images."""
    channels: int = 3
    """Of an image; a grey one is repeated."""
    image_size: int = 224
    """Rows and columns of an image."""
    stem: int = 64
    """Channels of the stem's first convolution."""
    heads: tuple[int, ...] = (512, 256, 256)
    """Channels of the encoder's last convolutions; from the second on each halves the edge."""
    decoder: tuple[int, ...] = (512, 128, 32, 8)
    """Channels of the decoder, each at twice the edge before; the last are the context."""
    refiner: tuple[int, ...] = (32, 64, 128)
    """Channels of the refiner, each at half the edge before; empty: nothing is refined."""
    hidden: int = 2048
    """Of the refiner, at its narrowest."""

    def __post_init__(self) -> None:
        if self.image_size % self._reduction or self._features % CELLS**3:
            raise ValueError(f"an image of {self.image_size} pixels cannot be read as 2 x 2 x 2")
        if self.refiner and NARROWEST * 2 ** len(self.refiner) != self.grid_size:
            raise ValueError(
                f"{self.grid_size} voxels are not refined in {len(self.refiner)} steps"
            )

    @property
    def grid_size(self) -> int:
        """Voxels along each edge of what it returns."""
        return int(CELLS * 2 ** len(self.decoder))

    @property
    def cell(self) -> int:
        """Channels of the 2 x 2 x 2 cells that the decoder begins with."""
        return self._features // CELLS**3

    @property
    def _reduction(self) -> int:
        return int(REDUCTION * 2 ** (len(self.heads) - 1))

    @property
    def _features(self) -> int:
        return self.heads[-1] * (self.image_size // self._reduction) ** 2


_A = Pix2VoxShape()
_F = replace(_A, depth=18, heads=(128, 64, 64), decoder=(128, 64, 32, 8), refiner=())
ACCURATE = {
    32: _A,
    64: replace(_A, decoder=(512, 256, 128, 32, 8), refiner=(16, 32, 64, 128)),
    128: replace(_A, decoder=(512, 256, 128, 64, 32, 8), refiner=(8, 16, 32, 64, 128)),
}
"""Pix2Vox++/A by its grid size."""
FAST = {
    32: _F,
    64: replace(_F, decoder=(128, 64, 32, 16, 8)),
    128: replace(_F, decoder=(128, 64, 32, 16, 16, 8)),
}
"""Pix2Vox++/F by its grid size."""


class Stage(StrEnum):
    """The training runs twice; fusion of one view is that view and could teach no score."""

    SINGLE = "single"
    """The merger stands still and several views, if given, are averaged."""
    FUSION = "fusion"
    """Everything is trained, on several views."""


EPOCHS = {Stage.SINGLE: 250, Stage.FUSION: 100}
BATCH = 64
BETAS = (0.9, 0.999)
"""Of Adam."""
RATE = 1e-3
MERGER_RATE = 1e-4
HALVED_AT = 150


def rate_factor(epoch: int) -> float:
    """What every learning rate is multiplied by in an epoch, counted from 0 in each stage."""
    return 0.5 if epoch >= HALVED_AT else 1.0


class Fusion(NamedTuple):
    """What V views gave: all float32, in [0, 1], axes z, y, x last."""

    coarse: Tensor
    """(B, V, D, D, D): the occupancy by each view alone."""
    weights: Tensor
    """(B, V, D, D, D): which view contributed where; over the views they sum to 1."""
    fused: Tensor
    """(B, D, D, D): the coarse volumes, weighted."""
    refined: Tensor
    """(B, D, D, D): the result; without a refiner it is `fused`."""


class Pix2Vox(nn.Module):
    """Images (B, V, C, H, W) in [0, 1] to a volume (B, D, D, D), for any number of views."""

    def __init__(self, shape: Pix2VoxShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = _encoder(shape)
        self.decoder = _Decoder(shape.cell, shape.decoder)
        self.merger = _Merger(shape.decoder[-1] + 1)
        self.refiner = _Refiner(shape.refiner, shape.hidden) if shape.refiner else None

    def forward(self, images: Tensor, stage: Stage = Stage.FUSION) -> Fusion:
        """The volumes of each view, of all together, and the refined one.

        Raises:
            ValueError: there is no view, or the images are not of the size that was learned.
        """
        size = (self.shape.channels, self.shape.image_size, self.shape.image_size)
        if images.ndim != 5 or images.shape[1] == 0 or images.shape[2:] != size:
            raise ValueError(f"images {tuple(images.shape)} are not (B, at least 1, {size})")
        flat = images.flatten(0, 1)
        # only training needs all at once, for its statistics: at 128 voxels a view takes much room
        parts = flat.split(len(flat) if self.training else len(images))
        found = [self._seen(part, stage) for part in parts]
        coarse, scores = (
            torch.cat(of).unflatten(0, images.shape[:2]) for of in zip(*found, strict=True)
        )
        weights = scores.softmax(dim=1)
        fused = (weights * coarse).sum(dim=1).clamp(0, 1)
        return Fusion(coarse, weights, fused, self.refiner(fused) if self.refiner else fused)

    def occupancy(self, images: Tensor) -> Tensor:
        """(B, D, D, D) in [0, 1]: the probability that a voxel lies in the bone."""
        seen: Fusion = self(images)
        return seen.refined

    def loss(
        self, images: Tensor, wanted: Tensor, stage: Stage = Stage.FUSION
    ) -> dict[str, Tensor]:
        """Ten times the cross-entropy of the fused volume and of the refined one; "total" is both.

        Args:
            images: As in `forward`.
            wanted: (B, D, D, D) float32 in [0, 1], the share of a voxel that is bone.
            stage: Of the training.
        """
        seen: Fusion = self(images, stage)
        volumes = {"fused": seen.fused}
        if self.refiner:
            volumes["refined"] = seen.refined
        with torch.autocast(images.device.type, enabled=False):
            parts = {n: LOSS_SCALE * binary_cross_entropy(v, wanted) for n, v in volumes.items()}
        return {"total": torch.stack(list(parts.values())).sum(), **parts}

    def parameter_groups(self, stage: Stage) -> list[dict[str, Any]]:
        """What Adam moves in a stage, and how fast."""
        merger = {"params": list(self.merger.parameters()), "lr": MERGER_RATE}
        parts = (self.encoder, self.decoder, self.refiner)
        rest = [weight for part in parts if part is not None for weight in part.parameters()]
        groups = [{"params": rest, "lr": RATE}]
        return groups if stage is Stage.SINGLE else [*groups, merger]

    def _seen(self, images: Tensor, stage: Stage) -> tuple[Tensor, Tensor]:
        """Of images (N, C, H, W) the coarse volumes and their scores, (N, D, D, D) both."""
        raw = self.decoder(self.encoder(images * 2 - 1))
        coarse = raw[:, -1]
        # equal scores make the plain mean, and leave the merger's statistics alone too
        scores = torch.zeros_like(coarse) if stage is Stage.SINGLE else self.merger(raw)
        return coarse, scores


def _encoder(shape: Pix2VoxShape) -> nn.Sequential:
    """(N, C, H, W) in [-1, 1] to the cells of the decoder, (N, cell, 2, 2, 2)."""
    stem = ResidualStem(shape.depth, shape.channels, shape.stem)
    layers: list[nn.Module] = []
    for place, (before, after) in enumerate(pairwise((stem.features, *shape.heads))):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        if place > 0:
            layers.append(nn.MaxPool2d(2))
    cells = [nn.Flatten(), nn.Unflatten(1, (shape.cell, CELLS, CELLS, CELLS))]
    return nn.Sequential(stem, *layers, *cells)


class _Decoder(nn.Module):
    """Cells (N, cell, 2, 2, 2) to context and coarse volume, (N, channels[-1] + 1, D, D, D)."""

    def __init__(self, cell: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.up = nn.Sequential(*(_doubled(a, b) for a, b in pairwise((cell, *channels))))
        self.coarse = nn.ConvTranspose3d(channels[-1], 1, 1, bias=False)

    def forward(self, cells: Tensor) -> Tensor:
        context = self.up(cells)
        # in half precision a sigmoid would be exactly 1 where the loss still needs its slope
        return torch.cat([context.float(), self.coarse(context).float().sigmoid()], dim=1)


class _Merger(nn.Module):
    """Context and coarse volume of a view (N, C, D, D, D) to its score (N, D, D, D)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(_scored(channels, channels) for _ in range(4))
        self.score = nn.Sequential(_scored(4 * channels, channels), _scored(channels, 1))

    def forward(self, raw: Tensor) -> Tensor:
        found = [raw]
        for scale in self.scales:
            found.append(scale(found[-1]))
        score: Tensor = self.score(torch.cat(found[1:], dim=1))
        return score[:, 0].float()


class _Refiner(nn.Module):
    """A volume (N, D, D, D) in [0, 1] to its mean with what a U-Net of summed steps makes of it."""

    def __init__(self, channels: tuple[int, ...], hidden: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(_halved(a, b) for a, b in pairwise((1, *channels)))
        narrowest = (channels[-1], NARROWEST, NARROWEST, NARROWEST)
        flat = channels[-1] * NARROWEST**3
        self.dense = nn.Sequential(
            nn.Flatten(),
            nn.Linear(flat, hidden),
            nn.ReLU(),
            nn.Linear(hidden, flat),
            nn.ReLU(),
            nn.Unflatten(1, narrowest),
        )
        self.up = nn.ModuleList(_doubled(b, a) for a, b in reversed(list(pairwise(channels))))
        self.last = nn.ConvTranspose3d(channels[0], 1, 4, stride=2, padding=1, bias=False)

    def forward(self, volume: Tensor) -> Tensor:
        levels = [volume[:, None]]
        for down in self.down:
            levels.append(down(levels[-1]))
        narrowest = levels.pop()
        found: Tensor = narrowest + self.dense(narrowest)
        for up in self.up:
            found = up(found) + levels.pop()
        own: Tensor = self.last(found)[:, 0].float().sigmoid()
        return (volume + own) / 2


def _doubled(before: int, after: int) -> nn.Sequential:
    """(N, before, D, D, D) to (N, after, 2 D, 2 D, 2 D)."""
    up = nn.ConvTranspose3d(before, after, 4, stride=2, padding=1, bias=False)
    return nn.Sequential(up, nn.BatchNorm3d(after), nn.ReLU())


def _halved(before: int, after: int) -> nn.Sequential:
    """(N, before, D, D, D) to (N, after, D / 2, D / 2, D / 2); the even kernel first adds one."""
    convolution = nn.Conv3d(before, after, 4, padding=2)
    return nn.Sequential(convolution, nn.BatchNorm3d(after), nn.LeakyReLU(SLOPE), nn.MaxPool3d(2))


def _scored(before: int, after: int) -> nn.Sequential:
    """(N, before, D, D, D) to (N, after, D, D, D)."""
    convolution = nn.Conv3d(before, after, 3, padding=1)
    return nn.Sequential(convolution, nn.BatchNorm3d(after), nn.LeakyReLU(SLOPE))
