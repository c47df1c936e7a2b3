"""Signed distance of closed triangle meshes on a regular grid, mm, negative inside.

The distance is that to the triangles where it matters (within `EXACT` of the surface); elsewhere
it is interpolated between distances to points that are sampled on them. The sign is a majority of
three winding counts, along the three axes of the grid, so that a small defect of a mesh, or an
edge that a line hits, flips nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Float = NDArray[np.float64]
Faces = NDArray[np.int64]

EXACT = 4.0
"""Nearer than this, distances are those to the triangles."""
SPACING = 1.7
"""Edge of the pieces whose centres stand for a triangle further away: there, and between the
points of a grid of half the resolution, a distance is wrong by 0.1 mm or so."""
FINE = 0.5
"""The same near the surface, relative to `SPACING`: they only choose the triangles to try."""
CANDIDATES = 4
"""Triangles tried for a point near the surface: those that own its nearest samples."""
NUDGE = (1.37e-4, 2.11e-4)
"""Lines are moved by this much, mm, so that none runs through a vertex of a tidy mesh."""


@dataclass(frozen=True, slots=True)
class Surface:
    """A closed triangle mesh, oriented outwards, mm."""

    vertices: Float
    """(N, 3)."""
    faces: Faces
    """(M, 3), counter-clockwise seen from outside."""


@dataclass(frozen=True, slots=True)
class Cube:
    """A cubic grid about the origin; voxel i has its centre at -edge/2 + (i + 0.5) edge/voxels."""

    edge: float
    voxels: int

    @property
    def step(self) -> float:
        """Edge of a voxel."""
        return self.edge / self.voxels

    def centres(self) -> Float:
        """(voxels,) coordinates of the centres along any axis."""
        return np.asarray((np.arange(self.voxels) + 0.5) * self.step - self.edge / 2, np.float64)


def signed_distance(
    surfaces: Sequence[Surface], cube: Cube, limit: float, *, spacing: float = SPACING
) -> NDArray[np.float32]:
    """Signed distance to the union of `surfaces`, clipped to +-`limit`, shape (Z, Y, X)."""
    inside = np.zeros((cube.voxels,) * 3, np.bool_)
    for surface in surfaces:
        inside |= is_inside(surface, cube)
    triangles = _triangles(surfaces, cube.edge / 2 + limit)
    if not len(triangles):
        return np.where(inside, -limit, limit).astype(np.float32)
    half = Cube(cube.edge, cube.voxels // 2)
    distance = _doubled(_sampled(_samples(triangles, spacing), half, limit))
    near = distance < EXACT + half.step / 2
    points = cube.centres()[np.argwhere(near)[:, ::-1]]
    if len(points):
        distance[near] = _exact(points, _samples(triangles, FINE * spacing))
    distance = np.minimum(distance, limit)
    return np.where(inside, -distance, distance).astype(np.float32)


def _sampled(samples: _Samples, cube: Cube, limit: float) -> Float:
    """(Z, Y, X) distance to the nearest sample, wrong only beyond `limit`, where it is more."""
    reach = limit + 2 * cube.step
    distance = np.full((cube.voxels,) * 3, reach)
    band = _band(samples.points, cube, reach)
    points = cube.centres()[np.argwhere(band)[:, ::-1]]
    found, _ = _tree(samples).query(points, distance_upper_bound=reach)
    distance[band] = np.minimum(found, reach)
    return distance


def _doubled(values: Float) -> Float:
    """Values at the centres of voxels of half the edge, linear in between and beyond the border."""
    for axis in range(3):
        line = np.moveaxis(values, axis, -1)
        padded = np.pad(line, ((0, 0), (0, 0), (1, 1)), mode="reflect", reflect_type="odd")
        below, above = padded[..., :-2], padded[..., 2:]
        pair = np.stack([0.75 * line + 0.25 * below, 0.75 * line + 0.25 * above], axis=-1)
        values = np.moveaxis(pair.reshape(*line.shape[:2], -1), -1, axis)
    return values


def is_inside(surface: Surface, cube: Cube) -> NDArray[np.bool_]:
    """(Z, Y, X), True where at least two of three winding counts say that a centre is inside."""
    votes = np.zeros((cube.voxels,) * 3, np.uint8)
    for axis in range(3):
        order = [(axis + 1) % 3, (axis + 2) % 3, axis]
        winding = _winding(surface.vertices[:, order], surface.faces, cube)
        # `winding` is indexed along (axis + 1, axis + 2, axis); votes along (z, y, x).
        votes += np.moveaxis(winding != 0, (0, 1, 2), tuple(2 - a for a in order))
    return votes >= 2


def _winding(vertices: Float, faces: Faces, cube: Cube) -> NDArray[np.int32]:
    """Signed crossings below each centre along the third axis, indexed like the coordinates."""
    n, half = cube.voxels, cube.edge / 2
    corners = vertices[faces] - np.array([*NUDGE, 0.0])
    flat = (corners[..., :2] + half) / cube.step - 0.5
    low = np.clip(np.ceil(flat.min(axis=1)), 0, n).astype(np.int64)
    high = np.clip(np.floor(flat.max(axis=1)), -1, n - 1).astype(np.int64)
    counts = np.maximum(high - low + 1, 0)
    total = counts.prod(axis=1)
    face = np.repeat(np.arange(len(faces)), total)
    rank = np.arange(len(face)) - np.repeat(np.cumsum(total) - total, total)
    column = low[face] + np.stack([rank // counts[face, 1], rank % counts[face, 1]], axis=1)
    a, b, c = (flat[face, corner] - column for corner in range(3))
    wa, wb, wc = _cross(b, c), _cross(c, a), _cross(a, b)
    area = wa + wb + wc
    hit = (area != 0) & (((wa > 0) & (wb > 0) & (wc > 0)) | ((wa < 0) & (wb < 0) & (wc < 0)))
    weight = np.stack([wa, wb, wc], axis=1)[hit] / area[hit, None]
    height = (weight * corners[face[hit], :, 2]).sum(axis=1)
    level = np.ceil((height + half) / cube.step - 0.5).astype(np.int64)
    crossings = np.zeros((n, n, n + 1), np.int32)
    at = (column[hit, 0], column[hit, 1], np.clip(level, 0, n))
    np.add.at(crossings, at, np.sign(area[hit]).astype(np.int32))
    return np.cumsum(crossings[..., :n], axis=2, dtype=np.int32)


def _cross(p: Float, q: Float) -> Float:
    return np.asarray(p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])


def _triangles(surfaces: Sequence[Surface], reach: float) -> Float:
    """(N, 3, 3) corners of the triangles within `reach` of the origin, by each coordinate."""
    if not surfaces:
        return np.empty((0, 3, 3))
    corners = np.concatenate([surface.vertices[surface.faces] for surface in surfaces])
    low, high = corners.min(axis=1), corners.max(axis=1)
    return np.asarray(corners[(low < reach).all(axis=1) & (high > -reach).all(axis=1)])


@dataclass(frozen=True, slots=True)
class _Samples:
    """Points on triangles, and the number of the triangle that each lies on."""

    points: Float
    owner: NDArray[np.int64]
    triangles: Float


def _samples(triangles: Float, spacing: float) -> _Samples:
    """Centres of the pieces of at most `spacing` that the triangles fall into."""
    edges = np.linalg.norm(triangles - np.roll(triangles, 1, axis=1), axis=2).max(axis=1)
    pieces = np.maximum(np.ceil(edges / spacing), 1).astype(np.int64)
    points, owner = [], []
    for count in np.unique(pieces):
        chosen = np.flatnonzero(pieces == count)
        weights = _lattice(int(count))
        points.append(np.einsum("kc,tcx->tkx", weights, triangles[chosen]).reshape(-1, 3))
        owner.append(np.repeat(chosen, len(weights)))
    return _Samples(np.concatenate(points), np.concatenate(owner), triangles)


def _lattice(count: int) -> Float:
    """(count^2, 3) barycentric centres of the pieces of a triangle with edges cut in `count`."""
    i, j = (grid.ravel() for grid in np.meshgrid(np.arange(count), np.arange(count)))
    upright, turned = i + j < count, i + j < count - 1
    ab = np.concatenate(
        [
            np.stack([i, j], axis=1)[upright] + 1 / 3,
            np.stack([i, j], axis=1)[turned] + 2 / 3,
        ]
    )
    ab = ab / count
    return np.column_stack([ab, 1 - ab.sum(axis=1)])


def _band(points: Float, cube: Cube, limit: float) -> NDArray[np.bool_]:
    """The voxels that may lie within `limit` of a point."""
    pad = int(np.ceil(limit / cube.step)) + 1
    index = np.floor((points + cube.edge / 2) / cube.step).astype(np.int64) + pad
    size = cube.voxels + 2 * pad
    index = index[((index >= 0) & (index < size)).all(axis=1)]
    empty = np.ones((size,) * 3, np.bool_)
    empty[index[:, 2], index[:, 1], index[:, 0]] = False
    if empty.all():
        return np.zeros((cube.voxels,) * 3, np.bool_)
    away = ndimage.distance_transform_edt(empty)
    middle = slice(pad, pad + cube.voxels)
    return np.asarray(away[middle, middle, middle] * cube.step < limit + 2 * cube.step)


def _tree(samples: _Samples) -> cKDTree:
    return cKDTree(samples.points, leafsize=24, balanced_tree=False)


def _exact(points: Float, samples: _Samples) -> Float:
    """(N,) distance to the nearest of the triangles that own the nearest samples."""
    count = min(CANDIDATES, len(samples.points))
    _, index = _tree(samples).query(points, k=count)
    best = np.full(len(points), np.inf)
    for column in samples.owner[np.asarray(index).reshape(len(points), count)].T:
        np.minimum(best, _to_triangles(points, samples.triangles[column]), out=best)
    return best


def _to_triangles(points: Float, triangles: Float) -> Float:
    """(N,) distance of each point to its own triangle.

    Source: Ericson 2005, Real-Time Collision Detection, 5.1.5, by regions: the foot on the plane
    where it lies inside, else the nearest of the three edges.
    """
    a, b, c = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    normal = np.cross(b - a, c - a)
    square = np.maximum((normal**2).sum(axis=1), 1e-30)
    height = ((points - a) * normal).sum(axis=1) / np.sqrt(square)
    within = np.ones(len(points), np.bool_)
    nearest = np.full(len(points), np.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        edge, away = end - start, points - start
        within &= (np.cross(edge, away) * normal).sum(axis=1) >= 0
        length = np.maximum((edge**2).sum(axis=1), 1e-30)
        share = np.clip((away * edge).sum(axis=1) / length, 0, 1)
        gap = away - share[:, None] * edge
        np.minimum(nearest, (gap**2).sum(axis=1), out=nearest)
    return np.asarray(np.where(within & (square > 1e-20), np.abs(height), np.sqrt(nearest)))
