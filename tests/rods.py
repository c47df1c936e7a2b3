"""Bones made of balls and rods, whose places and distances are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from pipeline.training.posing import centres
from pipeline.training.regions import Region

Point = tuple[float, float, float]
Rod = tuple[Point, Point, float]
"""Both ends and the radius, mm, about the pivot of a region."""
Bones = Mapping[str, Sequence[Rod]]


def fields(region: Region, bones: Bones, size: int) -> tuple[Tensor, Tensor]:
    """Near and far of these bones, as an archive has them; far in `size` voxels a side."""

    def union(names: Sequence[str], voxels: int, edge: float, limit: float) -> Tensor:
        points = centres(voxels, edge, torch.device("cpu")) - torch.tensor(region.pivot)
        away = [_away(points, rod) for name in names for rod in bones.get(name, ())]
        return torch.stack(away).amin(dim=0).clamp(-limit, limit)

    groups = [*((name,) for name in region.targets), region.neighbours]
    near = [union(names, region.voxels, region.cube_mm, 16.0) for names in groups]
    return torch.stack(near), union(tuple(bones), size, region.far_mm, 32.0)


def at(field: Tensor, points: Tensor, edge: float) -> Tensor:
    """(N,) of a field (D, D, D), linear between its voxels."""
    found: Tensor = grid_sample(
        field[None, None], (points / (edge / 2))[None, :, None, None], align_corners=False
    )
    return found[0, 0, :, 0, 0]


def _away(points: Tensor, rod: Rod) -> Tensor:
    first, second = torch.tensor(rod[0]), torch.tensor(rod[1])
    way = second - first
    share = ((points - first) @ way / (way @ way)).clamp(0, 1)
    return (points - first - share[..., None] * way).norm(dim=-1) - rod[2]
