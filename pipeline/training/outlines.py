"""Where bones truly end in an image: for those engines that start from outlines.

The shadows that networks learn from are of voxels, which reach half a voxel beyond the surface;
whatever is fitted to them becomes too large. Here a ray meets a bone where its signed distance is
negative somewhere on the ray.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.beam import beam, towards_pixels
from pipeline.projection import binned
from pipeline.training.posing import Scene, looked_up
from pipeline.types import View


def true_outlines(scene: Scene, views: Sequence[View]) -> Tensor:
    """(V, T, H / 2, W / 2) bool: the ray of a pixel passes a target bone within the cube."""
    targets, edge = scene.near[:-1], scene.near_cube_mm
    beams = beam([binned(view, 2) for view in views], targets.device)
    ways = towards_pixels(beams)
    ways = ways / ways.norm(dim=-1, keepdim=True)
    source = beams.source[:, None, None]
    nearest = source - ways * (source * ways).sum(dim=-1, keepdim=True)
    reach = edge * 3**0.5 / 2
    count = int(2 * reach / (edge / targets.shape[-1])) + 1
    deepest = torch.full((len(targets), *ways.shape[:-1]), torch.inf, device=targets.device)
    for away in torch.linspace(-reach, reach, count).tolist():
        points = (nearest + away * ways).float()
        distance = looked_up(targets, points, edge)
        is_outside = (points.abs() > edge / 2).any(dim=-1)
        deepest = torch.minimum(deepest, distance.masked_fill(is_outside, torch.inf))
    return (deepest < 0).transpose(0, 1)
