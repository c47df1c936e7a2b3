"""The exact length of every ray inside a closed mesh, by drawing its triangles on the detector.

A ray that leaves a body through a triangle adds the way to that point, one that enters takes it
away; what remains is the length inside. Nothing is sampled: the cost is that of the triangles and
of the pixels that they cover (homogeneous edge functions: Olano and Greer 1997, Proc. Graphics
Hardware p. 89).

A ray that met an edge or a vertex exactly would be counted for no triangle or for two. The edges
of neighbours are therefore computed from the same two vertices in the same order, so that a pixel
lies on one side of an edge and never on both; and the rays are led past vertices at round
coordinates by `NUDGE`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pipeline.beam import Beam, lengths, ways
from pipeline.errors import DegenerateView

NUDGE = (3.1e-7, 7.3e-7)
"""(row, column) pixels by which rays pass beside pixel centres: far below what can be seen."""
PAIRS_AT_ONCE = 1 << 21
"""Pairs of a triangle and a pixel near it that are looked at in one step."""


def thickness(vertices: Tensor, faces: Tensor, beams: Beam) -> Tensor:
    """The length of each ray inside a closed mesh, mm; where sheets overlap, of each of them.

    Differentiable in the vertices and in the beams. Meshes that have shells inside them (a marrow
    cavity, oriented inwards) are hollow; a mesh that is inside out has negative lengths.

    Args:
        vertices: (V, 3) LPS mm, or (N, V, 3), one shape for each beam.
        faces: (F, 3) 0-based, counter-clockwise seen from outside.
        beams: N sources and detectors.

    Returns:
        (N, H, W) float64, row 0 at the top of the detector.

    Raises:
        DegenerateView: a vertex does not lie before the source.
        ValueError: the mesh is not closed: a ray leaves it more often than it enters.
    """
    count = len(beams.source)
    placed = vertices.to(beams.source).expand(count, *vertices.shape[-2:])
    pixel_from_way = torch.linalg.inv(ways(beams))
    shares = [
        _along_ways(
            (placed[n] - beams.source[n]) @ pixel_from_way[n].T,
            faces,
            (beams.rows, beams.columns),
            is_mirrored=bool(torch.linalg.det(pixel_from_way[n]) < 0),
        )
        for n in range(count)
    ]
    inside: Tensor = torch.stack(shares) * lengths(beams)
    return inside


def _along_ways(
    points: Tensor, faces: Tensor, size: tuple[int, int], *, is_mirrored: bool
) -> Tensor:
    """(H, W) lengths as shares of the way from the source to each pixel.

    `points` are homogeneous pixels (row * w, column * w, w), w being that share at the vertex.
    A mirrored image would show the mesh inside out.
    """
    if len(points) == 0 or len(faces) == 0:
        return points.new_zeros(size)
    if bool((points[:, 2] <= 0).any()):
        raise DegenerateView("a part of the mesh does not lie before the source")
    corners = points[faces]
    edges, is_turned = _edges(points, faces)
    volume = (corners[:, 0] * torch.linalg.cross(corners[:, 1], corners[:, 2])).sum(dim=1)
    normal = (edges * (1.0 - 2.0 * is_turned.to(edges.dtype))[..., None]).sum(dim=1)
    nearest, farthest = corners.detach()[..., 2].aminmax(dim=1)
    total = points.new_zeros(size[0] * size[1])
    crossings = torch.zeros(size[0] * size[1], dtype=torch.int32, device=points.device)
    flat = edges.detach()
    for which, row, column in _candidates(corners.detach(), size):
        down, along = row.to(points.dtype) + NUDGE[0], column.to(points.dtype) + NUDGE[1]
        of_each = flat[which]
        is_left = (of_each[..., 0] * down[:, None]).addcmul_(of_each[..., 1], along[:, None])
        is_above = (is_left.add_(of_each[..., 2]) > 0) ^ is_turned[which]
        count = is_above.sum(dim=1)
        hit = (count % 3 == 0).nonzero()[:, 0]
        sign = ((count[hit] > 0) ^ is_mirrored).to(torch.int32) * 2 - 1
        pixel = torch.stack([down[hit], along[hit], torch.ones_like(down[hit])], dim=-1)
        at, face = (row * size[1] + column)[hit], which[hit]
        # a face seen from its edge divides nothing by nothing, but it ends where its corners are
        reach = volume[face] / (normal[face] * pixel).sum(dim=1)
        reach = reach + (reach.clamp(nearest[face], farthest[face]) - reach).detach()
        total = total.index_add(0, at, sign * reach)
        crossings.index_add_(0, at, sign)
    open_rays = int((crossings != 0).sum())
    if open_rays:
        raise ValueError(f"the mesh is not closed: {open_rays} rays enter without leaving")
    return total.reshape(size)


def _edges(points: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Edge functions (F, 3, 3) from the lower to the higher vertex, and which run against it."""
    starts, ends = faces, faces.roll(-1, dims=1)
    is_turned = starts > ends
    low, high = torch.minimum(starts, ends), torch.maximum(starts, ends)
    return torch.linalg.cross(points[low], points[high]), is_turned


def _candidates(corners: Tensor, size: tuple[int, int]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Pairs of a triangle and a pixel (row, column) in the rectangle around it, in portions."""
    at = corners[..., :2] / corners[..., 2:]
    limit = torch.tensor(size, device=at.device)
    nudge = torch.tensor(NUDGE, dtype=at.dtype, device=at.device)
    first = (at.amin(dim=1) - nudge).ceil().long().clamp(min=0)
    beyond = torch.minimum((at.amax(dim=1) - nudge).floor().long() + 1, limit)
    extent = (beyond - first).clamp(min=0)
    counts = extent.prod(dim=1)
    near = counts.nonzero()[:, 0]
    ends = counts[near].cumsum(0)
    start = 0
    while start < len(near):
        done = int(ends[start - 1]) if start else 0
        stop = int(torch.searchsorted(ends, done + PAIRS_AT_ONCE, right=True))
        part = slice(start, max(stop, start + 1))
        of_each = counts[near[part]]
        which = near[part].repeat_interleave(of_each)
        place = torch.arange(len(which), device=at.device)
        place -= (ends[part] - of_each - done).repeat_interleave(of_each)
        width = extent[which, 1]
        yield which, first[which, 0] + place // width, first[which, 1] + place % width
        start = part.stop
