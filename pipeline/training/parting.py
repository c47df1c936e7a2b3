"""The bodies of a joint, told apart in the fields of an archive.

Target bones have channels of their own. Neighbours stand in one channel together, and so do all
bones of the wide cube. There, a point belongs where the nearest bone lies under its surface: the
planes of a joint are asked `UNDER_MM` deep, so that they divide bones along the gap between them,
though no plane fits such a gap. Nothing but torch is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pipeline.training.joints import HalfSpace, Joint
from pipeline.training.posing import centres
from pipeline.training.regions import Region

UNDER_MM = 10.0
"""Half of what a patella is thick."""
APART_MM = 4.0
"""Least distance to a bone of another body: no film of it is left."""


@dataclass(frozen=True, slots=True)
class Part:
    """One body, or what belongs to none, in the frame of the region."""

    targets: tuple[int, ...]
    """Which target bones it has."""
    near: Tensor
    """(len(targets) + 1, N, N, N) mm; the last are its neighbours."""
    far: Tensor
    """(M, M, M) mm."""


def parted(region: Region, near: Tensor, far: Tensor, joint: Joint) -> list[Part]:
    """The bodies of the joint, in their order, and last what belongs to none of them."""
    every = range(len(joint.bodies))
    pivot = torch.tensor(region.pivot)
    held = [n for n in every if set(joint.bodies[n].bones) & set(region.neighbours)]
    beside = _divided(near[-1], region.cube_mm, pivot, joint, held)
    wide = _divided(far, region.far_mm, pivot, joint, every)
    parts = []
    for number, body in enumerate(joint.bodies):
        own = tuple(n for n, bone in enumerate(region.targets) if bone in body.bones)
        others = beside.get(number, torch.full_like(near[-1], region.cube_mm))
        parts.append(Part(own, torch.cat([near[list(own)], others[None]]), wide[number]))
    return [*parts, Part((), beside[-1][None], wide[-1])]


def _divided(
    union: Tensor, cube_mm: float, pivot: Tensor, joint: Joint, present: Sequence[int]
) -> dict[int, Tensor]:
    """Bones (N, N, N) mm as those of each body that is present, and, at -1, of none."""
    if not present:
        return {-1: union}
    points = centres(union.shape[-1], cube_mm, union.device) - pivot
    voxel = cube_mm / union.shape[-1]
    slope = torch.stack(torch.gradient(union, spacing=voxel, dim=(2, 1, 0)), dim=-1)
    under = points - normalize(slope, dim=-1) * (union + UNDER_MM).clamp(min=0)[..., None]
    left = _is_within(under, joint.own)
    places = {-1: ~left}
    for number in present[:-1]:
        place = left.clone()
        for one in joint.bodies[number].within:
            place &= _is_within(under, one)
        place |= left & (under.norm(dim=-1) < joint.bodies[number].ball_mm)
        places[number], left = place, left & ~place
    places[present[-1]] = left
    # a bone of another body is no less far than its own surface is deep
    foreign = union.abs() + APART_MM
    return {number: torch.where(place, union, foreign) for number, place in places.items()}


def _is_within(points: Tensor, space: HalfSpace) -> Tensor:
    return points @ torch.tensor(space.normal) < space.below
