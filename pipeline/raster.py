"""Which triangle a pixel sees: a z-buffer in numpy behind the camera of a radiograph.

A triangle is cut into spans, one for each row of pixels that it crosses. Only pixels that it covers
are ever looked at, and along a span the inverse of the depth is a straight line, so that a pixel
costs two additions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry import pixel_from_patient
from pipeline.types import Float, Mask, Mesh, View

SPANS_AT_ONCE = 400_000
"""Rows of triangles in one step: some 100 MB."""
ON_EDGE_PX = 1e-9
"""A centre this near to an edge belongs to both triangles: rounding must leave no gap."""
LEAST_AREA_PX2 = 1e-9
"""A triangle that is seen edge-on covers no centre."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Fragments:
    """What is seen of a mesh, one entry for each pixel that sees it."""

    pixel: Ints
    """Row-major number of the pixel, rising."""
    face: Ints
    depth: Float
    """From the source along the central ray, mm."""
    weights: Float
    """(N, 3) shares of the corners of the face, perspective-correct."""


@dataclass(frozen=True, slots=True)
class _Projected:
    """The triangles in the image."""

    corners: Float
    """(M, 3, 2) row and column of the corners; nan behind the source."""
    inverse: Float
    """(M, 3) one over the depth of the corners, 1/mm."""
    area: Float
    """(M,) twice the area, px2; positive where the face looks at the viewer."""


@dataclass(frozen=True, slots=True)
class _Hits:
    """Pairs of a face and a pixel whose centre it covers."""

    pixel: Ints
    face: Ints
    inverse: Float


def silhouette(mesh: Mesh, view: View) -> Mask:
    """True in the pixels whose centre's ray meets the mesh; shape (rows, columns)."""
    mask = np.zeros(view.rows * view.columns, np.bool_)
    seen = _projected(mesh, view)
    for hits in _rasterised(seen, view, np.abs(seen.area) > LEAST_AREA_PX2):
        mask[hits.pixel] = True
    return mask.reshape(view.rows, view.columns)


def visible(mesh: Mesh, view: View, *, is_closed: bool = False) -> Fragments:
    """The nearest face of each pixel.

    Args:
        mesh: The surface.
        view: The camera.
        is_closed: Whether the mesh is closed, oriented outwards, and `view` no mirror image: the
            faces that look away are then behind others, and cost nothing.
    """
    seen = _projected(mesh, view)
    area = seen.area if is_closed else np.abs(seen.area)
    nearest = np.zeros(view.rows * view.columns)
    face = np.full(view.rows * view.columns, -1, np.int64)
    for hits in _rasterised(seen, view, area > LEAST_AREA_PX2):
        np.maximum.at(nearest, hits.pixel, hits.inverse)
        # two faces may meet in a pixel at one depth: the last in the mesh wins
        wins = hits.inverse == nearest[hits.pixel]
        face[hits.pixel[wins]] = hits.face[wins]
    pixel = np.flatnonzero(face >= 0)
    return _fragments(pixel, face[pixel], seen, view.columns)


def _projected(mesh: Mesh, view: View) -> _Projected:
    matrix = pixel_from_patient(view)
    seen = mesh.vertices @ matrix[:, :3].T + matrix[:, 3]
    inverse = 1 / np.where(seen[:, 2] > 0, seen[:, 2], np.nan)
    corners = (seen[:, :2] * inverse[:, None])[mesh.faces]
    a, b, c = (corners[:, corner] for corner in range(3))
    area = np.nan_to_num(_cross(b - a, c - a))
    return _Projected(corners, inverse[mesh.faces], area)


def _rasterised(seen: _Projected, view: View, is_drawn: Mask) -> Iterator[_Hits]:
    """All hits of the faces that are drawn, in steps that fit into memory."""
    rows = seen.corners[:, :, 0]
    low = np.ceil(np.clip(rows.min(axis=1) - ON_EDGE_PX, 0, view.rows))
    high = np.floor(np.clip(rows.max(axis=1) + ON_EDGE_PX, -1, view.rows - 1))
    counts = np.where(is_drawn, np.nan_to_num(high - low + 1), 0).clip(0).astype(np.int64)
    faces = np.flatnonzero(counts)
    if not len(faces):
        return
    ends = np.cumsum(counts[faces])
    cuts = np.searchsorted(ends, np.arange(0, ends[-1], SPANS_AT_ONCE))
    for start, stop in zip(cuts, [*cuts[1:], len(faces)], strict=True):
        chunk = faces[start:stop]
        if len(chunk):
            yield _spans(seen, view, chunk, low[chunk].astype(np.int64), counts[chunk])


def _spans(seen: _Projected, view: View, faces: Ints, low: Ints, counts: Ints) -> _Hits:
    """The hits of `faces`, each of which crosses `counts` rows from `low`."""
    owner = np.repeat(np.arange(len(faces)), counts)
    row = low[owner] + _within(counts)
    left, right = _ends_of_spans(seen.corners[faces], owner, row)
    first = np.ceil(np.clip(left - ON_EDGE_PX, 0, view.columns)).astype(np.int64)
    last = np.floor(np.clip(right + ON_EDGE_PX, -1, view.columns - 1)).astype(np.int64)
    widths = (last - first + 1).clip(0)
    span = np.repeat(np.arange(len(widths)), widths)
    column = first[span] + _within(widths)
    start, slope = _planes(seen, faces)
    at_left = start[owner] + slope[owner, 0] * row
    inverse = at_left[span] + slope[owner, 1][span] * column
    return _Hits((row * view.columns)[span] + column, faces[owner][span], inverse)


def _ends_of_spans(corners: Float, owner: Ints, row: Ints) -> tuple[Float, Float]:
    """The columns where `row` enters and leaves its triangle.

    One end lies on the edge from the upmost to the lowest corner, the other on one of the two
    edges over the middle corner.
    """
    order = np.argsort(corners[:, :, 0], axis=1, kind="stable")
    top, middle, bottom = np.moveaxis(np.take_along_axis(corners, order[..., None], axis=1), 1, 0)
    long = _along(top, bottom)[owner]
    upper, lower = _along(top, middle)[owner], _along(middle, bottom)[owner]
    is_upper = (row < middle[owner, 0]) | (middle[owner, 0] >= bottom[owner, 0])
    short = np.where(is_upper[:, None], upper, lower)
    here = long[:, 0] + long[:, 1] * row
    there = short[:, 0] + short[:, 1] * row
    return np.minimum(here, there), np.maximum(here, there)


def _along(start: Float, end: Float) -> Float:
    """(M, 2): the column at row 0 of the line through two corners, and its change by row."""
    height = end[:, 0] - start[:, 0]
    level = height < ON_EDGE_PX
    slope = np.where(level, 0, end[:, 1] - start[:, 1]) / np.where(level, 1, height)
    return np.stack([start[:, 1] - slope * start[:, 0], slope], axis=1)


def _planes(seen: _Projected, faces: Ints) -> tuple[Float, Float]:
    """The inverse depth at pixel (0, 0), and its change by row and by column.

    One over the depth, and not the depth, is linear in the image.
    """
    a, b, c = (seen.corners[faces, corner] for corner in range(3))
    at_a = seen.inverse[faces, 0]
    to_b, to_c = seen.inverse[faces, 1] - at_a, seen.inverse[faces, 2] - at_a
    by_row = to_b * (c - a)[:, 1] - to_c * (b - a)[:, 1]
    by_column = to_c * (b - a)[:, 0] - to_b * (c - a)[:, 0]
    slope = np.stack([by_row, by_column], axis=1) / seen.area[faces][:, None]
    start: Float = at_a - (slope * a).sum(axis=1)
    return start, slope


def _fragments(pixel: Ints, face: Ints, seen: _Projected, columns: int) -> Fragments:
    """Depths and shares of the corners, from the signs of the three edge functions."""
    row, column = np.divmod(pixel, columns)
    # one take of whole rows and sums of columns: several times as fast as the axes of small arrays
    corners = np.take(seen.corners.reshape(-1, 6), face, axis=0).T
    ay, ax, by, bx, cy, cx = (corners - np.stack([row, column] * 3)).astype(np.float64)
    a, b, c = np.take(seen.inverse / np.where(seen.area, seen.area, 1)[:, None], face, axis=0).T
    of_a, of_b, of_c = (by * cx - bx * cy) * a, (cy * ax - cx * ay) * b, (ay * bx - ax * by) * c
    depth = 1 / (of_a + of_b + of_c)
    shares = np.stack([of_a * depth, of_b * depth, of_c * depth], axis=1)
    return Fragments(pixel, face, depth, shares)


def _within(counts: Ints) -> Ints:
    """0 to n - 1 for each n of `counts`, one after the other."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    numbers: Ints = np.arange(total) - np.repeat(ends - counts, counts)
    return numbers


def _cross(a: Float, b: Float) -> Float:
    product: Float = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return product
