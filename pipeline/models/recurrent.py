"""The recurrent network: a grid of memory cells is shown one radiograph after the other.

Each view passes an encoder without a camera; a grid of 4 x 4 x 4 cells takes of it what it needs,
by gates that it learns, and a decoder grows the last state of the grid to the occupancy of a cube.
Any number of views will do, and their order is not without effect: that it is small is learned from
views in random number and order, and `order_spread` measures it. The gates tell which view each
part of the bone was taken from (`view_shares`).

Choy, Xu, Gwak, Chen, Savarese 2016 (3D-R2N2, ECCV, arXiv:1604.00449), with the parameters of its
five networks to the last one. Imports torch alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

from pipeline.models.recurrent_layers import (
    GRU,
    LAST_SIZE,
    LSTM,
    Decoder,
    Encoder,
    Unit,
    Unpool,
    begin,
)

POSE = 5
"""Numbers of a pose token, see `pose_token`."""
FIRST_ANSWER = 0.1
"""Gain of the last layer before anything is learned."""
THRESHOLD = 0.4
"""The probability from which on the authors call a voxel occupied."""


@dataclass(frozen=True, slots=True)
class RecurrentShape:
    """The size of a recurrent network; the default is Res3D-GRU-3, 35,968,706 parameters."""

    unit: Unit = Unit.GRU
    kernel: int = 3
    """Cells along each edge of the neighbourhood that a cell hears: 1 or 3."""
    is_residual: bool = True
    """Of encoder and decoder."""
    in_channels: int = 3
    """With more than one, a grey image is repeated."""
    image_size: int = 127
    """Rows and columns; 255 takes one more stage."""
    planar: tuple[int, ...] = (96, 128, 256, 256, 256, 256)
    """Channels of the encoder's stages; the last one is that of all further stages too."""
    features: int = 1024
    """Numbers that a view is known by."""
    hidden: int = 128
    """Channels of a cell."""
    cells: int = 4
    """Along each edge of the grid."""
    spatial: tuple[int, ...] = (128, 128, 64, 32)
    """Channels of the decoder; each but the last doubles the grid."""
    unpool: Unpool = Unpool.NEAREST
    has_pose: bool = False
    """Each view comes with a pose token."""
    is_rotated: bool = False
    """The answer is the mean over all rotations of the order of the views: ours, for whoever wants
    it to hang on that order as little as can be."""

    @property
    def stages(self) -> tuple[int, ...]:
        """Channels of as many stages as leave 3 x 3 pixels of an image."""
        size, count = self.image_size, 0
        while size > LAST_SIZE:
            size, count = size // 2 + 1, count + 1
        return (self.planar + self.planar[-1:] * count)[:count]

    @property
    def grid_size(self) -> int:
        """Voxels along each edge of the answer."""
        return int(self.cells * 2 ** (len(self.spatial) - 1))


VARIANTS: Final[Mapping[str, RecurrentShape]] = {
    "3D-LSTM-1": RecurrentShape(Unit.LSTM, kernel=1, is_residual=False),
    "3D-LSTM-3": RecurrentShape(Unit.LSTM, kernel=3, is_residual=False),
    "3D-GRU-1": RecurrentShape(Unit.GRU, kernel=1, is_residual=False),
    "3D-GRU-3": RecurrentShape(Unit.GRU, kernel=3, is_residual=False),
    "Res3D-GRU-3": RecurrentShape(),
}
"""The networks of the paper, by the names it gives them."""


class Grown(NamedTuple):
    """What the network makes of V views of each of B samples, and of which view."""

    logits: Tensor
    """(B, 2, D, D, D): empty, occupied; axes z, y, x."""
    kept: Tensor
    """(B, V, C, n, n, n), 0 to 1: how much of the state before it each view let stand. The update
    gate of a GRU, the forget gate of an LSTM."""
    written: Tensor
    """(B, V, C, n, n, n): what each view added to the state."""

    @property
    def probabilities(self) -> Tensor:
        """(B, 2, D, D, D), 0 to 1: empty, occupied; their sum is 1."""
        return self.logits.float().softmax(dim=1)


class Answered(NamedTuple):
    """What is said of each of B samples of V views."""

    occupancy: Tensor
    """(B, D, D, D) probability that a voxel is bone."""
    shares: Tensor
    """(B, V, D, D, D), as `view_shares`."""


class Recurrent(nn.Module):
    """See the module."""

    def __init__(self, shape: RecurrentShape) -> None:
        super().__init__()
        self.shape = shape
        residual = shape.is_residual
        self.encoder = Encoder(
            shape.in_channels, shape.stages, shape.features, is_residual=residual
        )
        unit = GRU if shape.unit == Unit.GRU else LSTM
        known = shape.features + (POSE if shape.has_pose else 0)
        self.unit = unit(known, shape.hidden, shape.cells, shape.kernel)
        self.decoder = Decoder(shape.hidden, shape.spatial, shape.unpool, is_residual=residual)
        self.apply(begin)
        # with the gain of all others, the first loss of the largest network is about 2
        nn.init.xavier_normal_(self.decoder.answer.weight, gain=FIRST_ANSWER)

    def forward(self, images: Tensor, poses: Tensor | None = None) -> Grown:
        """The bone, from any number of views, one after the other.

        Args:
            images: (B, V, C, H, W), 0 to 1; C may be 1 whatever the network's channels.
            poses: (B, V, 5) of `pose_token`, where the network was made for them.

        Raises:
            ValueError: there is no view, the images are of another size, or poses are missing or
                were not asked for.
        """
        return self.grown(self.encoded(images, poses))

    def encoded(self, images: Tensor, poses: Tensor | None = None) -> Tensor:
        """(B, V, F) what is known of each view on its own; arguments as for `forward`."""
        self._refuse(images, poses)
        wanted = images.expand(-1, -1, self.shape.in_channels, -1, -1)
        views: Tensor = self.encoder(wanted.flatten(0, 1)).unflatten(0, images.shape[:2])
        return views if poses is None else torch.cat([views, poses.to(views)], dim=-1)

    def grown(self, views: Tensor) -> Grown:
        """The bone, from views (B, V, F) that are encoded, in their order."""
        cells = (self.shape.cells,) * 3
        state = views.new_zeros(len(views), self.shape.hidden, *cells)
        steps = []
        for view in views.unbind(dim=1):
            step = self.unit(view, state)
            state = step.kept * state + step.written
            steps.append(step)
        logits = self.decoder(self.unit.shown(state))
        kept, written = (torch.stack(part, dim=1) for part in zip(*steps, strict=True))
        return Grown(logits, kept, written)

    def occupancy(self, images: Tensor, poses: Tensor | None = None) -> Tensor:
        """(B, D, D, D) probability that a voxel is bone; arguments as for `forward`."""
        return self.answered(images, poses).occupancy

    def answered(self, images: Tensor, poses: Tensor | None = None) -> Answered:
        """What a user is given, over all rotations of the order where the network was made for
        them; arguments as for `forward`."""
        views = self.encoded(images, poses)
        turns = range(views.shape[1] if self.shape.is_rotated else 1)
        grown = [self.grown(views.roll(turn, dims=1)) for turn in turns]
        shares = [view_shares(one).roll(-turn, dims=1) for turn, one in enumerate(grown)]
        return Answered(
            torch.stack([one.probabilities[:, 1] for one in grown]).mean(dim=0),
            torch.stack(shares).mean(dim=0),
        )

    def loss(
        self, images: Tensor, wanted: Tensor, poses: Tensor | None = None
    ) -> dict[str, Tensor]:
        """What is minimised, "total": the cross-entropy of the two classes, mean over the voxels.

        Args:
            images: As for `forward`.
            wanted: (B, D, D, D), 0 to 1, the share of a voxel that is bone; the authors know 0
                and 1 alone.
            poses: As for `forward`.
        """
        empty, occupied = self(images, poses).logits.float().unbind(dim=1)
        # of two classes the softmax is the logistic function of their difference
        return {"total": binary_cross_entropy_with_logits(occupied - empty, wanted)}

    def _refuse(self, images: Tensor, poses: Tensor | None) -> None:
        size, channels = self.shape.image_size, self.shape.in_channels
        if images.dim() != 5 or images.shape[1] == 0:
            raise ValueError(f"at least one view of each sample is wanted: {tuple(images.shape)}")
        if images.shape[2] not in {1, channels} or images.shape[3:] != (size, size):
            raise ValueError(
                f"{channels} channels of {size} x {size} pixels, not {tuple(images.shape[2:])}"
            )
        if (poses is not None) != self.shape.has_pose:
            raise ValueError("poses are given if, and only if, the network was made for them")


def pose_token(
    azimuth_deg: Tensor, elevation_deg: Tensor, source_to_detector: Tensor, pixel_pitch: Tensor
) -> Tensor:
    """(..., 5) where each view was taken from, in numbers of the order of 1.

    Sine and cosine of the azimuth, the elevation in right angles, the distance of the source in m
    and the pitch of the pixels of the network's image in mm. It is not in the paper.

    Args:
        azimuth_deg: (...) about the long axis of the patient.
        elevation_deg: (...), as all the others.
        source_to_detector: mm.
        pixel_pitch: mm.
    """
    azimuth = azimuth_deg.deg2rad()
    return torch.stack(
        [
            azimuth.sin(),
            azimuth.cos(),
            elevation_deg / 90,
            source_to_detector / 1000,
            pixel_pitch,
        ],
        dim=-1,
    )


def view_shares(grown: Grown) -> Tensor:
    """(B, V, D, D, D) which view contributed where; at every voxel the views share 1.

    The last state of a cell is the sum over the views of what each wrote, times what every later
    one let stand. A view's share is the size of its term, mean over the channels; between the
    centres of cells shares are interpolated. Where no view wrote anything, shares are equal.
    """
    kept, written = grown.kept.float(), grown.written.float()
    stands = torch.ones_like(written)
    for view in range(kept.shape[1] - 1, 0, -1):
        stands[:, view - 1] = stands[:, view] * kept[:, view]
    size = (written * stands).abs().mean(dim=2)
    total = size.sum(dim=1, keepdim=True)
    share = torch.where(total > 0, size / total.clamp(min=1e-30), 1 / size.shape[1])
    return interpolate(share, size=grown.logits.shape[2:], mode="trilinear", align_corners=False)


class OrderSpread(NamedTuple):
    """How much the answer for each of B samples depends on the order of its views."""

    overlap: Tensor
    """(B,) largest less smallest intersection over union."""
    probability: Tensor
    """(B,) mean over pairs of orders and over voxels of the difference in probability."""


def order_spread(probabilities: Tensor, wanted: Tensor) -> OrderSpread:
    """How far apart the orders are.

    Args:
        probabilities: (O, B, D, D, D) of O orders of the same views.
        wanted: (B, D, D, D), 0 to 1.
    """
    overlaps = overlap(probabilities, wanted)
    pairs = [(a - b).abs().mean(dim=(1, 2, 3)) for a, b in combinations(probabilities, 2)]
    difference = torch.stack(pairs).mean(dim=0) if pairs else torch.zeros_like(overlaps[0])
    return OrderSpread(overlaps.amax(dim=0) - overlaps.amin(dim=0), difference)


def overlap(probability: Tensor, wanted: Tensor, threshold: float = THRESHOLD) -> Tensor:
    """(...) intersection over union of each (..., D, D, D) with what was wanted.

    Args:
        probability: 0 to 1; a voxel above `threshold` is occupied.
        wanted: (B, D, D, D), 0 to 1; a voxel of which half is bone, is bone.
        threshold: 0 to 1.
    """
    found, truth = probability > threshold, wanted >= 0.5
    both = (found & truth).sum(dim=(-3, -2, -1))
    either = (found | truth).sum(dim=(-3, -2, -1))
    # two that are empty are the same
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)
