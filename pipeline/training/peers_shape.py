"""A shape model alone: how far outlines and what bones look like lead, without any learned image.

For each bone, the principal components of its signed distances over the people that are learned
from; turn, shift, scale and the weights of the components are found by descent, so that the rays
that meet the bone are those within its outline. It is given the true outline of each bone, more
than a hospital has; the cameras are those that every engine is told.

Follows Leventon 2000, "Statistical shape influence in geodesic active contours" (CVPR), and Tsai
2003, IEEE TMI 22(2):137.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import (
    adaptive_avg_pool3d,
    binary_cross_entropy_with_logits,
    max_pool2d,
)

from pipeline.models.lifting import Seen
from pipeline.training.archive import Archive, Case
from pipeline.training.given import Given, Reconstruct
from pipeline.training.posing import centres, looked_up, rotation
from pipeline.training.shapes import components

GRID = 64
"""Voxels of a shape along each edge of the cube, at most."""
STEPS = 48
"""Along a ray through the cube."""
RAYS = 300
"""Of each view and round near the border of the outline, and as many anywhere."""
BAND = 9
"""Pixels across which a ray is near the border."""
SOFTEST_MM, SHARPEST_MM = 5.0, 0.5
"""How far from the surface a ray is still in doubt, in the first round and in the last."""
PRIOR = 2e-3
"""Of the square of each weight, in deviations."""
RATES = {"turn": 0.02, "shift": 0.8, "growth": 0.01, "weights": 0.08}
"""Of Adam, for radians, mm, the logarithm of the scale, and deviations."""


class BoneShape(NamedTuple):
    """A bone over the cube of its region, axes z, y, x, mm."""

    mean: Tensor
    """(N, N, N) signed distance."""
    modes: Tensor
    """(K, N, N, N), a standard deviation each."""


class Rays(NamedTuple):
    """Lines through the cube, and whether each meets the bone."""

    near: Tensor
    """(N, 3) where a ray enters the cube."""
    far: Tensor
    """(N, 3) where it leaves it."""
    meets: Tensor
    """(N,) bool."""


def learned(archive: Archive, cases: Sequence[Case], modes: int) -> tuple[BoneShape, ...]:
    """The shapes of each target bone, from the cases in which networks learn it too."""
    size = min(GRID, archive.region.voxels)
    seen = [adaptive_avg_pool3d(archive.near(case)[:-1], size) for case in cases]
    return tuple(
        BoneShape(
            *components(
                torch.stack(
                    [
                        near[bone]
                        for near, case in zip(seen, cases, strict=True)
                        if case.has[bone] or case.borrowed[bone]
                    ]
                ),
                modes,
            )
        )
        for bone in range(len(archive.region.targets))
    )


def shape_engine(
    shapes: Sequence[BoneShape], *, cube_mm: float, size: int, rounds: int
) -> Reconstruct:
    """The shape models as an engine to be judged.

    Args:
        shapes: One a bone.
        cube_mm: Edge of the cube.
        size: The archive's voxels along it.
        rounds: Steps of the fit.
    """

    def reconstruct(given: Given) -> Tensor:
        bones = [
            fitted(shape, given.seen, given.outlines[:, bone], cube_mm, size=size, rounds=rounds)
            for bone, shape in enumerate(shapes)
        ]
        return torch.stack(bones)

    return reconstruct


def fitted(
    shape: BoneShape, seen: Seen, outlines: Tensor, cube_mm: float, *, size: int, rounds: int
) -> Tensor:
    """(size, size, size) mm: the shape that is seen within `outlines` (V, H, W)."""
    generator = torch.Generator().manual_seed(1)
    centre = _centre(shape.mean, cube_mm)
    found = {
        "turn": torch.zeros(3),
        "shift": torch.zeros(3),
        "growth": torch.zeros(1),
        "weights": torch.zeros(len(shape.modes)),
    }
    for parameter in found.values():
        parameter.requires_grad_()
    optimiser = torch.optim.Adam([{"params": [found[k]], "lr": rate} for k, rate in RATES.items()])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, rounds)
    kinds = [
        kind
        for view in range(len(outlines))
        for kind in _rays(seen, view, outlines[view], cube_mm)
        if len(kind.meets)
    ]
    for number in range(rounds):
        softness = SOFTEST_MM * (SHARPEST_MM / SOFTEST_MM) ** (number / rounds)
        rays = _some(kinds, generator)
        share = (torch.arange(STEPS) + torch.rand(1, generator=generator)) / STEPS
        points = rays.near[:, None] + share[:, None] * (rays.far - rays.near)[:, None]
        deepest = _distance(shape, found, points, centre, cube_mm).amin(dim=-1)
        loss = binary_cross_entropy_with_logits(-deepest / softness, rays.meets.float())
        loss = loss + PRIOR * found["weights"].square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        everywhere = centres(size, cube_mm, shape.mean.device)
        return _distance(shape, found, everywhere, centre, cube_mm)


def _distance(
    shape: BoneShape, found: dict[str, Tensor], points: Tensor, centre: Tensor, cube_mm: float
) -> Tensor:
    """(...) mm, of points (..., 3) to the shape that was turned and scaled about `centre`."""
    field = shape.mean + torch.tensordot(found["weights"], shape.modes, dims=1)
    scale = found["growth"].exp()
    # a row vector times a rotation is turned back
    back = (points - centre - found["shift"]) @ rotation(found["turn"]) / scale + centre
    sampled = looked_up(field[None], back.reshape(-1, 1, 1, 3), cube_mm)
    return (sampled.flatten() * scale).reshape(points.shape[:-1])


def _centre(mean: Tensor, cube_mm: float) -> Tensor:
    """(3,) mm: of the mean bone."""
    inside = (mean < 0).nonzero().float()
    return ((inside.mean(dim=0) + 0.5) / len(mean) - 0.5).flip(0) * cube_mm


def _rays(seen: Seen, view: int, outline: Tensor, cube_mm: float) -> list[Rays]:
    """The rays of a view that pass the cube: those near the border of the outline, and all."""
    rows, columns = outline.shape
    row, column = torch.meshgrid(
        (torch.arange(rows) + 0.5) / rows * 2 - 1,
        (torch.arange(columns) + 0.5) / columns * 2 - 1,
        indexing="ij",
    )
    pixels = torch.stack([column, row, torch.ones_like(row)], dim=-1).flatten(0, 1)
    source = seen.sources[0, view]
    inverse = torch.linalg.inv(seen.projections[0, view, :, :3].double()).float()
    direction = pixels @ inverse.T
    # where a ray passes the two faces across each axis; a ray along a face passes it far away
    slow = torch.where(direction.abs() < 1e-9, torch.full_like(direction, 1e-9), direction)
    faces = torch.stack([(-cube_mm / 2 - source) / slow, (cube_mm / 2 - source) / slow])
    enters, leaves = faces.amin(dim=0).amax(dim=-1), faces.amax(dim=0).amin(dim=-1)
    passes = enters < leaves
    rays = Rays(
        source + enters[:, None] * direction,
        source + leaves[:, None] * direction,
        outline.flatten(),
    )
    mask = outline.float()[None]
    wide = max_pool2d(mask, BAND, 1, BAND // 2) + max_pool2d(-mask, BAND, 1, BAND // 2)
    is_near = passes & (wide.flatten() > 0)
    return [Rays(*(part[kept] for part in rays)) for kept in (is_near, passes)]


def _some(kinds: Sequence[Rays], generator: torch.Generator) -> Rays:
    """`RAYS` of each kind, drawn anew."""
    drawn = []
    for kind in kinds:
        chosen = torch.randint(len(kind.meets), (RAYS,), generator=generator)
        drawn.append([part[chosen] for part in kind])
    return Rays(*(torch.cat(parts) for parts in zip(*drawn, strict=True)))
