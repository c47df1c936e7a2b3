"""A closer look at one bone: the same radiographs, cut out about where the first look found it.

A network of a region sees it in coarse pixels and cells. Another network knows one bone alone, in a
smaller cube about it; what it says there takes the place of what the first one said, and passes
into that near the faces of the smaller cube. All of this is in the frame of a right bone. It needs
two views: from one, nothing says better than the first look how deep the bone lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from pipeline.models.bones import one_piece
from pipeline.models.field import Field, asked, centres, encoded, signed_distances
from pipeline.models.framing import cut_out, seen_in
from pipeline.models.lifting import Lifting
from pipeline.types import Radiograph

LEAST_VIEWS = 2
BLEND_MM = 10.0
"""Over which the closer look passes into the first one."""


@dataclass(frozen=True, slots=True)
class Near:
    """A network of one bone, and where its cube lies."""

    net: Lifting
    number: int
    """Of the bone, in the region of the first look."""
    reach_mm: float
    """The bone is found by the mean of its voxels down to so far below its top."""
    is_from_below: bool
    """Or up to so far above its lowest voxel."""
    offset: tuple[float, float, float]
    """mm, x y z, from there to the centre of the cube."""
    error_factor: float = 1.0
    """By which the network's own error scale is multiplied."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a network says of one bone, in its cube about `centre`."""

    near: Near
    field: Field
    centre: Tensor
    """(3,) mm, x y z, in the frame of the first look."""

    def share(self, points: Tensor) -> Tensor:
        """(...,) how much the closer look says of points (..., 3): 1 in its cube, 0 outside it."""
        away = (points - self.centre).abs().amax(dim=-1)
        return ((self.near.net.shape.cube_mm / 2 - away) / BLEND_MM).clamp(0, 1)

    def error(self, points: Tensor) -> Tensor:
        """(N,) mm: the scale of the error that is expected at points (N, 3) of the surface."""
        log_error = asked(self.field, points - self.centre).log_error[:, 0]
        return log_error.exp() * self.near.error_factor


def looked(
    first: Tensor, cube_mm: float, radiographs: Sequence[Radiograph], nears: Sequence[Near]
) -> tuple[Look, ...]:
    """The closer looks at those bones that the first look found.

    Args:
        first: (T, N, N, N) signed distances, mm, axes z, y, x.
        cube_mm: Edge of its cube.
        radiographs: What the first look saw, whole.
        nears: The networks that there are.
    """
    looks = []
    for near in nears if len(radiographs) >= LEAST_VIEWS else ():
        middle = centre_of(
            first[near.number], cube_mm, near.reach_mm, is_from_below=near.is_from_below
        )
        if middle is None:
            continue
        centre, shape = middle + torch.tensor(near.offset), near.net.shape
        frames = cut_out(
            radiographs, cube_mm=shape.cube_mm, size=shape.image_size, about=centre.numpy()
        )
        looks.append(Look(near, encoded(near.net, seen_in(frames)), centre))
    return tuple(looks)


def centre_of(
    distance: Tensor, cube_mm: float, reach_mm: float, *, is_from_below: bool
) -> Tensor | None:
    """(3,) mm: the mean of a bone's voxels near one of its ends; None without a bone.

    Args:
        distance: (N, N, N) mm, negative inside, axes z, y, x.
        cube_mm: Edge of its cube.
        reach_mm: So far from its top they count: how far a bone reaches down is up to the image.
        is_from_below: From its lowest voxel upwards instead.
    """
    whole = one_piece(distance.numpy())
    if whole is None:
        return None
    index = torch.from_numpy(whole < 0).nonzero()
    points = ((index.flip(-1) + 0.5) / len(distance) - 0.5) * cube_mm
    height = -points[:, 2] if is_from_below else points[:, 2]
    return points[height > height.max() - reach_mm].mean(dim=0)


def replaced(first: Tensor, cube_mm: float, look: Look) -> Tensor:
    """(T, N, N, N) signed distances, mm: those of `first`, and of one bone those of `look`.

    Args:
        first: (T, N, N, N) at the voxel centres of a cube.
        cube_mm: Edge of this cube.
        look: At one of the bones.
    """
    size = first.shape[-1]
    points = centres(cube_mm, size)
    share = look.share(points)
    is_closer = share > 0
    half = look.near.net.shape.cube_mm / 2
    found = grid_sample(
        signed_distances(look.field, size)[None],
        ((points[is_closer] - look.centre) / half)[None, None, None],
        padding_mode="border",
        align_corners=False,
    )[0, 0, 0, 0]
    made = first.clone()
    bone = made[look.near.number].view(-1)
    bone[is_closer] = torch.lerp(bone[is_closer], found, share[is_closer])
    return made
