"""Does the outline of a reconstructed bone lie on an edge of the radiograph?

Where a ray touches a bone without entering it, the attenuation begins to rise: bones are seen
through, so this holds for every such ray, also behind other bones. The outline is made of the edges
of the mesh between a face that looks at the source and one that looks away; across it, the
attenuation of the radiograph is followed from inside to outside. On a true outline it falls fastest
near the middle. By chance the steepest place would be anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.encode.topology import directed_edges
from pipeline.geometry import magnification, project
from pipeline.types import Float, Image, Mask, Mesh, View

REACH_MM = 8.0
"""How far across the outline the edge is looked for; farther, other bones have theirs."""
NEAR_MM = 2.0
"""An edge this near to the outline agrees with it."""
STEP_MM = 0.5
BLUR_MM = 1.0
MOST_POINTS = 4000
LEAST_POINTS = 30
"""Fewer say nothing."""


@dataclass(frozen=True, slots=True)
class Plate:
    """A radiograph at a size at which its edges are looked for."""

    image: Image
    """(H, W), rising with the attenuation."""
    is_valid: Mask
    view: View


@dataclass(frozen=True, slots=True)
class Outline:
    """Where the rays of a view touch a surface."""

    points: Float
    """(N, 3) LPS mm."""
    outward: Float
    """(N, 3) unit normals of the surface there."""


def outline(mesh: Mesh, view: View) -> Outline:
    """The points at which rays from the source of `view` touch `mesh`, the hidden ones too."""
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    faces_away = np.einsum("ij,ij->i", normals, corners[:, 0] - view.source) > 0
    edges = directed_edges(mesh.faces)
    count = len(mesh.vertices)
    forward, backward = edges[:, 0] * count + edges[:, 1], edges[:, 1] * count + edges[:, 0]
    order = np.argsort(forward)
    twin = order[np.searchsorted(forward, backward, sorter=order).clip(max=len(order) - 1)]
    face, other = np.arange(len(edges)) // 3, twin // 3
    touching = np.flatnonzero(faces_away[face] & ~faces_away[other])
    points = mesh.vertices[edges[touching]].mean(axis=1)
    outward = normals[face[touching]] + normals[other[touching]]
    lengths = np.linalg.norm(outward, axis=1, keepdims=True)
    return Outline(points, outward / np.maximum(lengths, 1e-12))


def falls(found: Outline, image: Image, is_valid: Mask, view: View) -> NDArray[np.float64]:
    """(M, S): how fast the attenuation falls outwards, at steps from -REACH_MM to REACH_MM.

    Points whose way across the outline leaves the valid image are left out.
    """
    every = max(1, len(found.points) // MOST_POINTS)
    points, outward = found.points[::every], found.outward[::every]
    start = project(view, points)
    way = project(view, points + outward) - start
    lengths = np.linalg.norm(way, axis=1, keepdims=True)
    spacing = float(np.linalg.norm(view.detector_from_index[:3, :2], axis=0).mean())
    px_per_mm = magnification(view) / spacing
    way *= px_per_mm / np.maximum(lengths, 1e-12)
    offsets = np.arange(-REACH_MM - STEP_MM / 2, REACH_MM + STEP_MM, STEP_MM)
    pixels = np.moveaxis(start[:, None] + offsets[:, None] * way[:, None], -1, 0)
    inner = ndimage.binary_erosion(is_valid, iterations=2, border_value=0).astype(np.float32)
    is_inside = ndimage.map_coordinates(inner, pixels, order=0, cval=0.0) > 0.5
    kept = is_inside.all(axis=1) & np.isfinite(pixels).all(axis=(0, 2)) & (lengths[:, 0] > 1e-6)
    calm = ndimage.gaussian_filter(np.where(is_valid, image, 0.0), BLUR_MM * px_per_mm)
    values = ndimage.map_coordinates(calm, pixels[:, kept], order=1, mode="nearest")
    return np.asarray(-np.diff(values, axis=1), np.float64)


def agreement(meshes: Sequence[Mesh], image: Image, is_valid: Mask, view: View) -> float:
    """Share of the outlines whose steepest fall within `REACH_MM` is at most `NEAR_MM` away.

    By chance a quarter; 0 where too little of the outlines is in the image to tell.
    """
    found = [falls(outline(mesh, view), image, is_valid, view) for mesh in meshes]
    across = np.concatenate(found)
    if len(across) < LEAST_POINTS:
        return 0.0
    offsets = np.linspace(-REACH_MM, REACH_MM, across.shape[1])
    steepest = offsets[across.argmax(axis=1)]
    return float((np.abs(steepest) <= NEAR_MM).mean())
