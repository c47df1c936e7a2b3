"""Pictures of bones without OpenGL, behind the same camera as a radiograph.

One geometry serves the DRR, the outline over a radiograph and the shaded picture: what
`geometry.project` says is where a vertex is drawn. Light is computed at the corners of the
triangles and spread over them, at twice the resolution of the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import fast_simplification
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from pipeline.encode.topology import vertex_normals
from pipeline.geometry import cropped, patient_from_pixel, project
from pipeline.raster import Fragments, silhouette, visible
from pipeline.types import Bone, Float, Mask, Mesh, View, ViewName

__all__ = [
    "Fragments",
    "Painted",
    "outline",
    "painted",
    "shaded",
    "silhouette",
    "simplified",
    "viewpoint",
    "visible",
]

KEY_LIGHT = (-0.45, -0.65, -0.62)
"""Towards the light, in the frame of the detector: upper left, behind the viewer."""
SHADE = (0.34, 0.40, 0.50)
"""What the unlit side keeps of each colour: cooler than the bone, so that it recedes."""


def viewpoint(
    towards: ArrayLike,
    *,
    size_px: int,
    field_mm: float,
    rows: int | None = None,
    centre: ArrayLike = (0.0, 0.0, 0.0),
    distance: float = 1200.0,
    up: ArrayLike = (0.0, 0.0, 1.0),
) -> View:
    """A camera that looks from `distance` mm along `towards` at `centre`; `up` is up.

    Its detector stands in the plane of `centre`, is `size_px` and `field_mm` wide, and square
    where `rows` does not say otherwise.
    """
    ray = _unit(np.asarray(towards, np.float64))
    right = _unit(np.cross(ray, np.asarray(up, np.float64)))
    patient_from_detector = np.eye(4)
    patient_from_detector[:3, :3] = np.stack([right, np.cross(ray, right), ray], axis=1)
    patient_from_detector[:3, 3] = centre
    step = field_mm / size_px
    detector_from_index = np.zeros((4, 4))
    detector_from_index[[0, 1], [1, 0]] = step
    height = size_px if rows is None else rows
    detector_from_index[:2, 3] = -step * (size_px - 1) / 2, -step * (height - 1) / 2
    detector_from_index[2, 2] = detector_from_index[3, 3] = 1.0
    source = np.asarray(centre, np.float64) - distance * ray
    return View(ViewName.AP, source, patient_from_detector, detector_from_index, height, size_px)


def outline(mask: Mask, width_px: int = 1) -> Mask:
    """The rim of `mask`, `width_px` wide, inside it; the border of the image is no rim."""
    eroded = ndimage.binary_erosion(mask, iterations=width_px, border_value=1)
    return np.asarray(mask & ~eroded, np.bool_)


def shaded(
    mesh: Mesh,
    view: View,
    *,
    rgb: ArrayLike = (233, 217, 186),
    supersampling: int = 2,
) -> NDArray[np.uint8]:
    """The lit mesh, (rows, columns, 4) RGBA with straight alpha; transparent where it is not.

    Args:
        mesh: Closed and oriented outwards, LPS mm.
        view: As `viewpoint` makes it.
        rgb: The colour of the mesh, or (M, 3) of each of its faces.
        supersampling: Pixels along each side of a pixel, which are then averaged.
    """
    pixels = np.zeros((view.rows, view.columns, 4), np.uint8)
    frame = _frame(mesh, view)
    if frame is not None:
        part = cropped(view, frame[0].start, frame[1].start, *(s.stop - s.start for s in frame))
        pixels[frame] = _lit(
            mesh, part, np.asarray(rgb, np.float32) / np.float32(255), supersampling
        )
    return pixels


def _frame(mesh: Mesh, view: View) -> tuple[slice, slice] | None:
    """The rows and columns that can see the mesh, with a little around: the rest costs nothing."""
    seen = project(view, mesh.vertices)
    low = np.nan_to_num(np.nanmin(seen, axis=0)) - 2
    high = np.nan_to_num(np.nanmax(seen, axis=0)) + 3
    size = (view.rows, view.columns)
    start = [max(0, math.floor(at)) for at in low]
    stop = [min(most, math.ceil(at)) for at, most in zip(high, size, strict=True)]
    if start[0] >= stop[0] or start[1] >= stop[1]:
        return None
    return slice(start[0], stop[0]), slice(start[1], stop[1])


def _lit(
    mesh: Mesh, view: View, bone: NDArray[np.float32], supersampling: int
) -> NDArray[np.uint8]:
    fine = _finer(view, supersampling)
    seen = visible(mesh, fine, is_closed=True)
    normals = vertex_normals(mesh) @ view.patient_from_detector[:3, :3]
    glints = 0.16 * np.clip(normals @ _halfway(), 0, 1) ** 24
    open_to_light = _openness(seen, fine, view, supersampling)
    light = _spread(_light(normals), mesh, seen) * open_to_light
    shine = (_spread(glints, mesh, seen) * light)[:, None]
    shade = np.array(SHADE, np.float32)
    own = bone if bone.ndim == 1 else bone[seen.face]
    tint = (shade + (1 - shade) * light[:, None]) * (light**0.35)[:, None]
    colour = np.zeros((fine.rows * fine.columns, 4), np.float32)
    colour[seen.pixel, :3] = np.clip(own * tint + shine, 0, 1)
    colour[seen.pixel, 3] = 1
    return _averaged(colour.reshape(fine.rows, fine.columns, 4), supersampling)


@dataclass(frozen=True, slots=True)
class Painted:
    """All bones as one surface with a colour for each face."""

    mesh: Mesh
    rgb: NDArray[np.uint8]
    """(M, 3)."""


def simplified(bones: Sequence[Bone], max_faces: int) -> tuple[Bone, ...]:
    """The bones with about `max_faces` triangles among them: a picture shows no more."""
    total = sum(len(bone.mesh.faces) for bone in bones)
    share = min(1.0, max_faces / max(1, total))
    return tuple(
        replace(bone, mesh=_simplified(bone.mesh, max(200, int(share * len(bone.mesh.faces)))))
        for bone in bones
    )


def painted(bones: Sequence[Bone]) -> Painted:
    """The bones as one surface."""
    meshes = [bone.mesh for bone in bones]
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + start for mesh, start in zip(meshes, starts, strict=False)]
    colours = [np.tile(np.array(bone.rgb, np.uint8), (len(bone.mesh.faces), 1)) for bone in bones]
    vertices = np.concatenate([mesh.vertices for mesh in meshes])
    return Painted(Mesh(vertices, np.concatenate(faces)), np.concatenate(colours))


def _simplified(mesh: Mesh, max_faces: int) -> Mesh:
    """A mesh that looks the same; whether it is still closed does not matter to a picture."""
    if len(mesh.faces) <= max_faces:
        return mesh
    points, faces = fast_simplification.simplify(
        mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32), target_count=max_faces
    )
    return Mesh(points.astype(np.float64), faces.astype(np.int64)) if len(faces) else mesh


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


def _spread(at_vertices: Float, mesh: Mesh, seen: Fragments) -> NDArray[np.float32]:
    """What is known at the corners, at the pixels that see the faces."""
    a, b, c = np.take(at_vertices.astype(np.float32)[mesh.faces], seen.face, axis=0).T
    of_a, of_b, of_c = seen.weights.T.astype(np.float32)
    spread: NDArray[np.float32] = a * of_a + b * of_b + c * of_c
    return spread


def _light(normals: Float) -> Float:
    """A key light that reaches a little around the edge, a headlight, and ambience."""
    key = np.clip((normals @ _unit(np.array(KEY_LIGHT)) + 0.25) / 1.25, 0, 1)
    head = np.clip(-normals[:, 2], 0, 1)
    light: Float = 0.10 + 0.62 * key + 0.28 * head
    return light


def _halfway() -> Float:
    """Between the key light and the viewer, who looks along +z."""
    return _unit(_unit(np.array(KEY_LIGHT)) + np.array([0.0, 0.0, -1.0]))


def _openness(seen: Fragments, fine: View, view: View, factor: int) -> NDArray[np.float32]:
    """1 on open ground, less where the surroundings stand nearer: ambient occlusion from depth.

    The surroundings are blurred, so they are looked at with the pixels of the picture only.
    """
    depth = np.zeros(fine.rows * fine.columns, np.float32)
    depth[seen.pixel] = seen.depth
    coarse = depth.reshape(fine.rows, fine.columns)[::factor, ::factor]
    cover = (coarse > 0).astype(np.float32)
    row, column = np.divmod(seen.pixel, fine.columns)
    at = row // factor * coarse.shape[1] + column // factor
    pixel_mm = float(np.linalg.norm(patient_from_pixel(view)[:3, 0]))
    openness = np.ones(len(seen.pixel), np.float32)
    for reach_mm, strength in ((3.0, 0.35), (10.0, 0.45)):
        size = max(3, round(1.7 * reach_mm / pixel_mm))
        around = _blurred(coarse, size) / np.maximum(_blurred(cover, size), np.float32(1e-6))
        behind = depth[seen.pixel] - around.ravel()[at]
        openness *= 1 - strength * np.clip(behind / reach_mm, 0, 1)
    return openness


def _blurred(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Two box filters are nearly a Gaussian, and cost the same at every size."""
    once = ndimage.uniform_filter(image, size, mode="constant")
    return np.asarray(ndimage.uniform_filter(once, size, mode="constant"))


def _averaged(colour: NDArray[np.float32], factor: int) -> NDArray[np.uint8]:
    """Means over blocks; nothing has no colour, so that the mean is weighted by alpha already."""
    rows, columns = colour.shape[0] // factor, colour.shape[1] // factor
    blocks = colour.reshape(rows, factor, columns, factor, 4)
    parts = [blocks[:, i, :, j] for i in range(factor) for j in range(factor)]
    # four sums of planes take a third of the time of a mean over two axes
    mean: NDArray[np.float32] = np.add.reduce(parts) / np.float32(len(parts))
    mean[..., :3] /= np.maximum(mean[..., 3:], np.float32(1e-6))
    pixels: NDArray[np.uint8] = np.rint(255 * mean).astype(np.uint8)
    return pixels


def _unit(vectors: Float) -> Float:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: Float = vectors / np.maximum(lengths, 1e-12)
    return unit
