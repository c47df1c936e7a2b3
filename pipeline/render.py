"""Pictures of bones without OpenGL: a z-buffer in numpy behind the same camera as a radiograph.

One geometry serves the DRR, the outline over a radiograph and the shaded picture: what
`geometry.project` says is where a vertex is drawn. Light and shade are computed per pixel, from
normals interpolated over the triangles, at twice the resolution of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from pipeline.encode.topology import vertex_normals
from pipeline.geometry import patient_from_pixel, pixel_from_patient
from pipeline.types import Float, Mask, Mesh, View, ViewName

CANDIDATES_AT_ONCE = 2_000_000
"""Pairs of a triangle and a pixel tested in one step: some 100 MB."""
KEY_LIGHT = (-0.45, -0.65, -0.62)
"""Towards the light, in the frame of the detector: upper left, behind the viewer."""
SHADE = (0.34, 0.40, 0.50)
"""What the unlit side keeps of each colour: cooler than the bone, so that it recedes."""


@dataclass(frozen=True, slots=True)
class Fragments:
    """What is seen of a mesh, one entry for each pixel that sees it."""

    pixel: NDArray[np.int64]
    """Row-major number of the pixel."""
    face: NDArray[np.int64]
    depth: Float
    """From the source along the central ray, mm."""
    weights: Float
    """(N, 3) shares of the corners of the face, perspective-correct."""


def viewpoint(
    towards: ArrayLike,
    *,
    size_px: int,
    field_mm: float,
    centre: ArrayLike = (0.0, 0.0, 0.0),
    distance: float = 1200.0,
    up: ArrayLike = (0.0, 0.0, 1.0),
) -> View:
    """A camera that looks from `distance` mm along `towards` at `centre`; `up` is up.

    Its detector stands in the plane of `centre` and shows a square of `field_mm`.
    """
    ray = _unit(np.asarray(towards, np.float64))
    right = _unit(np.cross(ray, np.asarray(up, np.float64)))
    patient_from_detector = np.eye(4)
    patient_from_detector[:3, :3] = np.stack([right, np.cross(ray, right), ray], axis=1)
    patient_from_detector[:3, 3] = centre
    step = field_mm / size_px
    detector_from_index = np.zeros((4, 4))
    detector_from_index[[0, 1], [1, 0]] = step
    detector_from_index[:2, 3] = -step * (size_px - 1) / 2
    detector_from_index[2, 2] = detector_from_index[3, 3] = 1.0
    source = np.asarray(centre, np.float64) - distance * ray
    return View(ViewName.AP, source, patient_from_detector, detector_from_index, size_px, size_px)


def silhouette(mesh: Mesh, view: View) -> Mask:
    """True in the pixels whose centre's ray meets the mesh; shape (rows, columns)."""
    mask = np.zeros(view.rows * view.columns, np.bool_)
    for seen in _rasterised(mesh, view):
        mask[seen.pixel] = True
    return mask.reshape(view.rows, view.columns)


def outline(mask: Mask, width_px: int = 1) -> Mask:
    """The rim of `mask`, `width_px` wide, inside it; the border of the image is no rim."""
    eroded = ndimage.binary_erosion(mask, iterations=width_px, border_value=1)
    return np.asarray(mask & ~eroded, np.bool_)


def visible(mesh: Mesh, view: View) -> Fragments:
    """The nearest face of each pixel."""
    nothing = Fragments(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 3)))
    parts = [nothing, *_rasterised(mesh, view)]
    pixel = np.concatenate([part.pixel for part in parts])
    depth = np.concatenate([part.depth for part in parts])
    nearest = np.full(view.rows * view.columns, np.inf)
    np.minimum.at(nearest, pixel, depth)
    wins = np.flatnonzero(depth == nearest[pixel])
    # two faces may meet in a pixel at one depth: the first in the mesh wins
    _, first = np.unique(pixel[wins], return_index=True)
    chosen = wins[first]
    face = np.concatenate([part.face for part in parts])[chosen]
    weights = np.concatenate([part.weights for part in parts])[chosen]
    return Fragments(pixel[chosen], face, depth[chosen], weights)


def shaded(
    mesh: Mesh,
    view: View,
    *,
    rgb: tuple[int, int, int] = (233, 217, 186),
    supersampling: int = 2,
) -> NDArray[np.uint8]:
    """The lit mesh, (rows, columns, 4) RGBA with straight alpha; transparent where it is not."""
    fine = _finer(view, supersampling)
    seen = visible(mesh, fine)
    shape = (fine.rows, fine.columns)
    colour = np.zeros((fine.rows * fine.columns, 4))
    normals = _normals(mesh, fine, seen)
    light = _light(normals) * _openness(seen, shape, view, supersampling)[:, None]
    cool = np.array(SHADE) * (1 - light) + light
    shine = 0.16 * np.clip(normals @ _halfway(), 0, 1)[:, None] ** 24 * light
    colour[seen.pixel, :3] = np.clip(np.array(rgb) / 255 * cool * light**0.35 + shine, 0, 1)
    colour[seen.pixel, 3] = 1.0
    return _averaged(colour.reshape(*shape, 4), supersampling)


def _finer(view: View, factor: int) -> View:
    """The camera with `factor` x `factor` pixels for each one."""
    old_from_new = np.diag([1 / factor, 1 / factor, 1.0, 1.0])
    old_from_new[:2, 3] = (1 - factor) / (2 * factor)
    return replace(
        view,
        detector_from_index=view.detector_from_index @ old_from_new,
        rows=view.rows * factor,
        columns=view.columns * factor,
    )


def _rasterised(mesh: Mesh, view: View) -> Iterator[Fragments]:
    """All pairs of a face and a pixel whose centre it covers, in steps that fit into memory."""
    matrix = pixel_from_patient(view)
    seen = mesh.vertices @ matrix[:, :3].T + matrix[:, 3]
    depth = seen[:, 2]
    corners = (seen[:, :2] / np.where(depth > 0, depth, np.nan)[:, None])[mesh.faces]
    low = np.ceil(np.clip(corners.min(axis=1), 0, None))
    high = np.floor(np.minimum(corners.max(axis=1), [view.rows - 1, view.columns - 1]))
    sides = np.nan_to_num(high - low + 1).clip(0).astype(np.int64)
    counts = sides.prod(axis=1)
    faces = np.flatnonzero(counts)
    if not len(faces):
        return
    ends = np.cumsum(counts[faces])
    cuts = np.searchsorted(ends, np.arange(0, ends[-1], CANDIDATES_AT_ONCE))
    for start, stop in zip(cuts, [*cuts[1:], len(faces)], strict=True):
        chunk = faces[start:stop]
        owner = np.repeat(chunk, counts[chunk])
        within = np.arange(len(owner)) - np.repeat(np.cumsum(counts[chunk]), counts[chunk])
        within += counts[owner]
        at = low[owner] + np.stack(np.divmod(within, sides[owner, 1]), axis=1)
        yield _covered(owner, at, corners, depth[mesh.faces], view.columns)


def _covered(
    owner: NDArray[np.int64], at: Float, corners: Float, depths: Float, columns: int
) -> Fragments:
    """The candidates that lie in their triangle, by the signs of the three edge functions."""
    a, b, c = (corners[:, corner] for corner in range(3))
    area = _cross(b - a, c - a)
    shares = np.stack(
        [_cross(p[owner] - at, q[owner] - at) for p, q in ((b, c), (c, a), (a, b))], axis=1
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        shares /= area[owner][:, None]
    hit = (shares >= 0).all(axis=1) & np.isfinite(shares).all(axis=1)
    face, shares, at = owner[hit], shares[hit], at[hit]
    # one over the depth, and not the depth, is linear in the image
    inverse = shares / depths[face]
    depth = 1 / inverse.sum(axis=1)
    pixel = (at[:, 0] * columns + at[:, 1]).astype(np.int64)
    return Fragments(pixel, face, depth, inverse * depth[:, None])


def _normals(mesh: Mesh, view: View, seen: Fragments) -> Float:
    """Smooth unit normals in the frame of the detector."""
    at_vertices = vertex_normals(mesh) @ view.patient_from_detector[:3, :3]
    normals = np.einsum("nk,nkc->nc", seen.weights, at_vertices[mesh.faces[seen.face]])
    return _unit(normals)


def _light(normals: Float) -> Float:
    """(N, 1): a key light that reaches a little around the edge, a headlight, and ambience."""
    key = np.clip((normals @ _unit(np.array(KEY_LIGHT)) + 0.25) / 1.25, 0, 1)
    head = np.clip(-normals[:, 2], 0, 1)
    light: Float = (0.10 + 0.62 * key + 0.28 * head)[:, None]
    return light


def _halfway() -> Float:
    """Between the key light and the viewer, who looks along +z."""
    return _unit(_unit(np.array(KEY_LIGHT)) + np.array([0.0, 0.0, -1.0]))


def _openness(
    seen: Fragments, shape: tuple[int, int], view: View, supersampling: int
) -> NDArray[np.float64]:
    """1 on open ground, less where the surroundings stand nearer: ambient occlusion from depth."""
    depth = np.zeros(shape[0] * shape[1])
    cover = np.zeros_like(depth)
    depth[seen.pixel], cover[seen.pixel] = seen.depth, 1
    pixel_mm = float(np.linalg.norm(patient_from_pixel(view)[:3, 0])) / supersampling
    openness = np.ones(len(seen.pixel))
    for reach_mm, strength in ((3.0, 0.35), (10.0, 0.45)):
        size = max(1.0, reach_mm / pixel_mm / 2)
        mean = ndimage.gaussian_filter(depth.reshape(shape), size, truncate=2)
        near = ndimage.gaussian_filter(cover.reshape(shape), size, truncate=2)
        around = (mean / np.maximum(near, 1e-6)).ravel()[seen.pixel]
        sunken = np.clip((seen.depth - around) / reach_mm, 0, 1)
        openness *= 1 - strength * sunken
    return openness


def _averaged(colour: Float, factor: int) -> NDArray[np.uint8]:
    """Means over blocks, colours weighted by their alpha."""
    rows, columns = colour.shape[0] // factor, colour.shape[1] // factor
    blocks = colour.reshape(rows, factor, columns, factor, 4)
    alpha = blocks[..., 3].mean(axis=(1, 3))
    total = (blocks[..., :3] * blocks[..., 3:]).mean(axis=(1, 3))
    rgb = total / np.maximum(alpha, 1e-6)[..., None]
    pixels: NDArray[np.uint8] = np.round(255 * np.dstack([rgb, alpha])).astype(np.uint8)
    return pixels


def _cross(a: Float, b: Float) -> Float:
    product: Float = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return product


def _unit(vectors: Float) -> Float:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Float = vectors / np.maximum(lengths, 1e-12)
    return unit
