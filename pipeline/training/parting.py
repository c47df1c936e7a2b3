"""The bodies of a joint, told apart in the fields of an archive.

Target bones have channels of their own. Neighbours stand in one channel together, and so do all
bones of the wide cube. There, every bone is a basin of the distance: the watershed between two
basins runs through the gap between two bones. The planes of the joint say which body a basin
belongs to, by most of its floor, and so need not fit a gap exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.segmentation import watershed
from torch import Tensor

from pipeline.training.joints import HalfSpace, Joint
from pipeline.training.posing import centres
from pipeline.training.regions import Region, Triple

FLOOR_MM = 2.0
"""Depth within a bone at which it is one basin; two bones never meet so deep."""
REACH_MM = 10.0
"""From a surface; beyond it, distances only say that nothing is near."""


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
    wide = divided(
        far, region.far_mm, places(far.shape[-1], region.far_mm, region.pivot, joint, every)
    )
    held = [n for n in every if set(joint.bodies[n].bones) & set(region.neighbours)]
    beside = divided(
        near[-1], region.cube_mm, places(near.shape[-1], region.cube_mm, region.pivot, joint, held)
    )
    parts = []
    for number, body in enumerate(joint.bodies):
        own = tuple(n for n, bone in enumerate(region.targets) if bone in body.bones)
        others = beside.get(number, torch.full_like(near[-1], region.cube_mm))
        parts.append(Part(own, torch.cat([near[list(own)], others[None]]), wide[number]))
    return [*parts, Part((), beside[-1][None], wide[-1])]


def places(
    size: int, cube_mm: float, pivot: Triple, joint: Joint, present: Sequence[int]
) -> dict[int, Tensor]:
    """(N, N, N) bool, the place of each body that is present, and, at -1, what is left."""
    points = centres(size, cube_mm, torch.device("cpu")) - torch.tensor(pivot)
    if not present:
        return {-1: torch.ones_like(points[..., 0], dtype=torch.bool)}
    left = _is_within(points, joint.own)
    found = {-1: ~left}
    for number in present[:-1]:
        found[number] = left.clone()
        for one in joint.bodies[number].within:
            found[number] &= _is_within(points, one)
        left = left & ~found[number]
    return {**found, present[-1]: left}


def divided(union: Tensor, cube_mm: float, of: dict[int, Tensor]) -> dict[int, Tensor]:
    """Bones (N, N, N) mm as those of each place: each basin goes to where most of its floor is."""
    if len(of) == 1:
        return dict.fromkeys(of, union)
    is_floor = union < -FLOOR_MM
    floors, count = ndimage.label(is_floor.numpy())
    basins = torch.from_numpy(watershed(union.numpy(), floors, mask=(union < REACH_MM).numpy()))
    on_floor = torch.from_numpy(floors)[is_floor].long()
    votes = [on_floor[place[is_floor]].bincount(minlength=count + 1) for place in of.values()]
    owner = torch.stack(votes).argmax(dim=0)[basins.long()]
    return {
        number: _alone(union, cube_mm, (owner == row) & (basins > 0), (owner != row) & (basins > 0))
        for row, number in enumerate(of)
    }


def _alone(union: Tensor, cube_mm: float, own: Tensor, others: Tensor) -> Tensor:
    """(N, N, N) mm: where `others` are, the distance is that to the surface of `own`."""
    voxel = cube_mm / union.shape[-1]
    points = centres(union.shape[-1], cube_mm, union.device)
    surface = own & (union.abs() < voxel)
    alone, limit = union.clone(), float(union.max())
    alone[others] = limit
    if surface.any():
        tree = cKDTree(points[surface].numpy())
        away, nearest = tree.query(points[others].numpy(), distance_upper_bound=REACH_MM)
        reached = torch.from_numpy(np.isfinite(away))
        beyond = union[surface][torch.from_numpy(nearest)[reached]]
        alone[others.nonzero()[reached].unbind(-1)] = (
            torch.from_numpy(away)[reached].float() + beyond
        )
    return alone.clamp(max=limit)


def _is_within(points: Tensor, space: HalfSpace) -> Tensor:
    return points @ torch.tensor(space.normal) < space.below
