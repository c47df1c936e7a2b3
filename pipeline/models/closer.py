"""A closer look at one bone: the same radiographs, cut out about where the first look found it.

A network of a region sees it in coarse pixels and cells. Another network knows one bone alone, in a
smaller cube about it, which it is shown from a few places; what it says there in the mean takes the
place of what the first one said, and passes into that near the faces of the smaller cube. All of
this is in the frame of a right bone. It needs two views: from one, nothing says better than the
first look how deep the bone lies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.models.bones import one_piece
from pipeline.models.field import Field, asked, encoded, signed_distances, sought
from pipeline.models.framing import cut_out, seen_in
from pipeline.models.lifting import Lifting
from pipeline.types import Radiograph

LEAST_VIEWS = 2
BLEND_MM = 10.0
"""Over which the closer look passes into the first one."""
FINDING = 64
"""Voxels along each edge where a bone is looked for: its middle needs no more."""
BESIDE_MM = ((3.0, 3.0, 3.0), (3.0, -3.0, -3.0), (-3.0, 3.0, -3.0), (-3.0, -3.0, 3.0))
"""x y z, so far from the middle are the cubes of the looks at one bone. What a network says of a
bone depends a little on where its cube stands, and the mean of a few is nearer to the truth."""


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


Ask = Callable[[Look, Tensor], Tensor]
"""(N,) of a look, at points (N, 3) mm in the frame of the first look."""


def distances_of(
    first: Field, radiographs: Sequence[Radiograph], nears: Sequence[Near], size: int
) -> tuple[Tensor, tuple[Look, ...]]:
    """(T, N, N, N) signed distances, mm, over the cube of the first look, and the closer looks.

    Args:
        first: Of all bones.
        radiographs: What the first look saw, whole.
        nears: The networks that there are.
        size: N, as in `signed_distances`.
    """
    if not nears or len(radiographs) < LEAST_VIEWS:
        return signed_distances(first, size), ()
    cube_mm = first.net.shape.cube_mm
    looks = _looked(signed_distances(first, min(size, FINDING)), cube_mm, radiographs, nears)

    def say(points: Tensor, is_near: Tensor | None) -> Tensor:
        said = asked(first, points).distance
        for number in {look.near.number for look in looks}:
            at = slice(None) if is_near is None else is_near[number]
            said[at, number] = looked_at(looks, number, points[at], said[at, number], _distance)
        return said

    return sought(say, cube_mm, size), looks


def looked_at(
    looks: Sequence[Look], number: int, points: Tensor, first: Tensor, ask: Ask
) -> Tensor:
    """(N,) what closer looks at bone `number` say at points (N, 3), in their mean.

    Args:
        looks: At any bones.
        number: Of the bone.
        points: mm, in the frame of the first look.
        first: (N,) what the first look says; the others pass into it at the faces of their cubes.
        ask: What is asked of a look.
    """
    total, most, weighted = (torch.zeros_like(first) for _ in range(3))
    for look in (look for look in looks if look.near.number == number):
        share = look.share(points)
        is_seen = share > 0
        weighted[is_seen] += share[is_seen] * ask(look, points[is_seen])
        total, most = total + share, torch.maximum(most, share)
    return torch.where(total > 0, torch.lerp(first, weighted / total.clamp(min=1e-6), most), first)


def _distance(look: Look, points: Tensor) -> Tensor:
    return asked(look.field, points - look.centre).distance[:, 0]


def _looked(
    first: Tensor, cube_mm: float, radiographs: Sequence[Radiograph], nears: Sequence[Near]
) -> tuple[Look, ...]:
    """The looks at those bones that the first look found: (T, N, N, N) mm in its cube."""
    looks = []
    for near in nears:
        middle = centre_of(
            first[near.number], cube_mm, near.reach_mm, is_from_below=near.is_from_below
        )
        if middle is None:
            continue
        shape = near.net.shape
        for beside in BESIDE_MM:
            centre = middle + torch.tensor(near.offset) + torch.tensor(beside)
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
