"""The lifting network asked on a whole grid: coarse everywhere, fine near the surfaces only.

`Lifting.at` is the definition and is what is trained; it looks features up by `grid_sample`, which
on a processor walks through memory channel by channel. Here features lie point by point, so that a
look-up reads one row of memory for each corner, and only those voxels are asked that a surface can
pass: a signed distance says how far it is away.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, interpolate

from pipeline.models.lifting import SMALLEST_DEPTH, Answer, Features, Lifting, Seen

COARSEST = 32
"""Voxels along each edge, at most, where every voxel is asked."""
REACH = 1.25
"""Voxels of the coarser grid within which the surface may lie: half their diagonal is 0.87, the
rest is for what the network is wrong about a distance."""
POINTS_AT_ONCE = 1 << 14
"""So many points and their features stay in the cache of a processor."""

Say = Callable[[Tensor, Tensor | None], Tensor]
"""Distances (N, T) mm at points (N, 3) mm. It is told which surfaces may be near each point, (T, N)
bool, None for any; what it says of others is not used."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a network says anywhere in its cube: its features as tables of rows."""

    net: Lifting
    planes: tuple[Tensor, ...]
    """Of each view (h * w, C) float32."""
    plane_size: tuple[int, int]
    grid: Tensor
    """(D * D * D, C + T) float32, axes z, y, x: features, then signed distances."""
    projections: Tensor
    """(V, 3, 4), as in `Seen`."""


def field(net: Lifting, features: Features) -> Field:
    """The field of features that the network has made of one sample."""
    planes = features.planes[0].float()
    rows, columns = planes.shape[-2:]
    tables = planes.flatten(2).transpose(1, 2).contiguous()
    grid = torch.cat([features.grid[0].float(), features.coarse[0]]).flatten(1).T.contiguous()
    return Field(net, tuple(tables), (rows, columns), grid, features.seen.projections[0])


def encoded(net: Lifting, seen: Seen) -> Field:
    """The field of one sample all of whose views are present."""
    # bfloat16 where the processor has it: where it is emulated it is slower than float32
    has_bfloat16 = torch.cpu._is_avx512_bf16_supported()
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16):
        features = net.features(seen)
    return field(net, features)


def asked(of: Field, points: Tensor) -> Answer:
    """What `Lifting.at` says of `points` (N, 3), LPS mm about the isocentre; without the batch."""
    answers = [_at(of, some) for some in points.split(POINTS_AT_ONCE)]
    return Answer(*(torch.cat(parts) for parts in zip(*answers, strict=True)))


def signed_distances(of: Field, size: int) -> Tensor:
    """(T, N, N, N) mm at the voxel centres of the cube; exact as `asked` near the surfaces.

    Args:
        of: The field.
        size: Voxels along each edge; halved to no more than `COARSEST` as long as it is even.
    """
    return sought(lambda points, _: asked(of, points).distance, of.net.shape.cube_mm, size)


def sought(say: Say, cube_mm: float, size: int) -> Tensor:
    """(T, N, N, N) mm at the voxel centres of a cube, as `say` says near the surfaces.

    Args:
        say: Is asked everywhere coarsely, and finely where a surface can pass.
        cube_mm: Edge of the cube.
        size: As in `signed_distances`.
    """
    coarsest = size
    while coarsest > COARSEST and coarsest % 2 == 0:
        coarsest //= 2
    found: Tensor = say(centres(cube_mm, coarsest), None).T.unflatten(1, (coarsest,) * 3)
    while found.shape[-1] < size:
        reach = REACH * cube_mm / found.shape[-1]
        fine: Tensor = interpolate(
            found[None], scale_factor=2, mode="trilinear", align_corners=False
        )[0]
        values = fine.flatten(1)
        is_near = values.abs() < reach
        near_any = is_near.any(dim=0).nonzero()[:, 0]
        if len(near_any):
            close, points = is_near[:, near_any], centres(cube_mm, fine.shape[-1])[near_any]
            said = say(points, close).T
            values[:, near_any] = torch.where(close, said, values[:, near_any])
        found = fine
    return found


def centres(cube_mm: float, size: int) -> Tensor:
    """(size ** 3, 3) x, y, z of the voxel centres of a cube about the origin, mm."""
    along = ((torch.arange(size) + 0.5) / size - 0.5) * cube_mm
    z, y, x = torch.meshgrid(along, along, along, indexing="ij")
    return torch.stack([x, y, z], dim=-1).reshape(-1, 3)


def _at(of: Field, points: Tensor) -> Answer:
    shape = of.net.shape
    place = points / (shape.cube_mm / 2)
    size = shape.grid_size
    context = _looked_up(of.grid, (size, size, size), place.flip(-1))
    return of.net.said(context, _merged(of, points), place)


def _merged(of: Field, points: Tensor) -> Tensor:
    """As in the network: mean and maximum over the views that see a point, and their share."""
    homogeneous = torch.cat([points, torch.ones_like(points[:, :1])], dim=-1)
    values, weights = [], []
    for plane, projection in zip(of.planes, of.projections, strict=True):
        at = homogeneous @ projection.T
        pixels = at[:, :2] / at[:, 2:].clamp(min=SMALLEST_DEPTH)
        is_seen = (pixels.abs() <= 1).all(dim=-1) & (at[:, 2] > SMALLEST_DEPTH)
        values.append(_looked_up(plane, of.plane_size, pixels.flip(-1)))
        weights.append(is_seen[:, None].float())
    count = reduce(torch.add, weights)
    shares = [weight / count.clamp(min=1) for weight in weights]
    mean = reduce(torch.add, (v * share for v, share in zip(values, shares, strict=True)))
    lowest = (v.masked_fill(w == 0, -torch.inf) for v, w in zip(values, weights, strict=True))
    largest = reduce(torch.maximum, lowest)
    largest = torch.where(count > 0, largest, torch.zeros_like(largest))
    return torch.cat([mean, largest, count / len(of.planes)], dim=-1)


def _looked_up(table: Tensor, size: tuple[int, ...], at: Tensor) -> Tensor:
    """(N, C): `table` interpolated at `at` (N, D), -1 to 1 between the outer edges, in its order
    of axes; beyond the outermost centres it stays as it is there."""
    lengths = torch.tensor(size)
    index = (((at + 1) * lengths - 1) / 2).clamp(min=torch.zeros(len(size)), max=lengths - 1.0)
    first = index.floor().minimum(lengths - 2.0).clamp(min=0)
    part = index - first
    strides = [int(lengths[axis + 1 :].prod()) for axis in range(len(size))]
    corner = (first.long() * torch.tensor(strides)).sum(dim=-1)
    rows, weights = [], []
    for steps in product((0, 1), repeat=len(size)):
        rows.append(corner + sum(s * stride for s, stride in zip(steps, strides, strict=True)))
        sides = [part[:, axis] if s else 1 - part[:, axis] for axis, s in enumerate(steps)]
        weights.append(reduce(torch.mul, sides))
    found: Tensor = embedding_bag(
        torch.stack(rows, dim=-1),
        table,
        per_sample_weights=torch.stack(weights, dim=-1),
        mode="sum",
    )
    return found
