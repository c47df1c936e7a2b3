"""How far a reconstruction is from the truth: overlap of volumes, distance of surfaces.

Distances are those of points on one surface to the *triangles* of the other, so that two equal
meshes are 0 mm apart (to a micrometre) however coarsely they are sampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from pipeline.types import Float, Mesh

SAMPLES = 20_000
CANDIDATES = 12
"""Triangles tried for each point: those that own its nearest samples."""


@dataclass(frozen=True, slots=True)
class SurfaceDistance:
    """Two surfaces compared both ways, mm."""

    assd: float
    """Average symmetric surface distance: the mean over the points of both."""
    hd95: float
    """The larger of the two 95th percentiles."""


def dice(a: ArrayLike, b: ArrayLike) -> float:
    """Twice the common volume over the sum of the volumes; 1 where both masks are empty."""
    first, second = np.asarray(a, np.bool_), np.asarray(b, np.bool_)
    if first.shape != second.shape:
        raise ValueError(f"masks of shape {first.shape} and {second.shape} cannot be compared")
    total = int(first.sum()) + int(second.sum())
    return 2 * int((first & second).sum()) / total if total else 1.0


def surface_distance(a: Mesh, b: Mesh, *, samples: int = SAMPLES) -> SurfaceDistance:
    """The distance of two surfaces, sampled evenly by area at `samples` points on each."""
    there = one_way_distances(a, b, samples=samples)[1]
    back = one_way_distances(b, a, samples=samples)[1]
    both = np.concatenate([there, back])
    hd95 = max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))
    return SurfaceDistance(assd=float(both.mean()), hd95=hd95)


def one_way_distances(a: Mesh, b: Mesh, *, samples: int = SAMPLES) -> tuple[Float, Float]:
    """Points (samples, 3) drawn evenly from `a`, and how far each is from `b`, mm."""
    points = _sampled(a, samples)[0]
    return points, _distances(points, b, samples)


@dataclass(frozen=True, slots=True)
class _Triangles:
    a: Float
    b: Float
    c: Float


def _corners(mesh: Mesh) -> _Triangles:
    return _Triangles(*(mesh.vertices[mesh.faces[:, corner]] for corner in range(3)))


def _sampled(mesh: Mesh, count: int) -> tuple[Float, NDArray[np.int64]]:
    """Points (count, 3) and the face of each: every call draws the same ones."""
    rng = np.random.default_rng(20240229)
    corners = _corners(mesh)
    areas = np.linalg.norm(np.cross(corners.b - corners.a, corners.c - corners.a), axis=1)
    edges = np.cumsum(areas) / areas.sum()
    # stratified: one draw from each equal piece of the area
    faces = np.searchsorted(edges, (np.arange(count) + rng.random(count)) / count)
    faces = np.minimum(faces, len(areas) - 1)
    u, v = rng.random((2, count, 1))
    root = np.sqrt(u)
    points = (1 - root) * corners.a[faces] + root * ((1 - v) * corners.b[faces])
    return np.asarray(points + root * v * corners.c[faces]), faces


def _distances(points: Float, mesh: Mesh, samples: int) -> Float:
    """From each point to the nearest of the triangles that own its nearest samples."""
    there, faces = _sampled(mesh, 2 * samples)
    corners = _corners(mesh)
    there = np.concatenate([there, (corners.a + corners.b + corners.c) / 3])
    faces = np.concatenate([faces, np.arange(len(mesh.faces))])
    nearest = (
        cKDTree(there).query(points, k=min(CANDIDATES, len(there)))[1].reshape(len(points), -1)
    )
    best = np.full(len(points), np.inf)
    for column in nearest.reshape(len(points), -1).T:
        own = faces[column]
        triangle = _Triangles(corners.a[own], corners.b[own], corners.c[own])
        best = np.minimum(best, _to_triangles(points, triangle))
    return best


def _to_triangles(points: Float, triangle: _Triangles) -> Float:
    """Distance of point n to triangle n: to its plane over the inside, else to its edges."""
    edges = [
        _to_segments(points, *ends)
        for ends in (
            (triangle.a, triangle.b),
            (triangle.b, triangle.c),
            (triangle.c, triangle.a),
        )
    ]
    nearest_edge = np.minimum(np.minimum(edges[0], edges[1]), edges[2])
    ab, ac, ap = triangle.b - triangle.a, triangle.c - triangle.a, points - triangle.a
    normal = np.cross(ab, ac)
    square = np.maximum(_dot(normal, normal), np.finfo(np.float64).tiny)
    along_c = _dot(np.cross(ab, ap), normal) / square
    along_b = _dot(np.cross(ap, ac), normal) / square
    is_over = (along_b >= 0) & (along_c >= 0) & (along_b + along_c <= 1)
    to_plane = np.abs(_dot(ap, normal)) / np.sqrt(square)
    distances: Float = np.where(is_over, to_plane, nearest_edge)
    return distances


def _to_segments(points: Float, start: Float, end: Float) -> Float:
    along = end - start
    square = np.maximum(_dot(along, along), np.finfo(np.float64).tiny)
    share = np.clip(_dot(points - start, along) / square, 0, 1)
    distances: Float = np.linalg.norm(points - start - share[:, None] * along, axis=1)
    return distances


def _dot(a: Float, b: Float) -> Float:
    product: Float = np.einsum("ij,ij->i", a, b)
    return product
