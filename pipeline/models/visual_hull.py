"""The visual hull: all that could be bone without contradicting any view. It needs no weights.

Each voxel centre is projected along the true cone-beam ray into each view. Deep inside every
silhouette it is bone, outside one of them it is not. Two views leave the hull a rectangle in each
slice, whose corners no ray has confirmed; bones have no such corners, so depths are not
intersected as a minimum but along an ellipse: a body that is round at the local thickness of both
silhouettes stays round, and still fills its silhouettes. What two views see of the axis that they
share is the same thing seen twice, and counts once.

Source: Laurentini 1994, IEEE PAMI 16(2):150; local thickness Hildebrand 1997, J. Microsc. 185:67.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.errors import MissingView, StudyError
from pipeline.geometry import grid, magnification, pixel_from_patient, project, source_to_isocentre
from pipeline.quality import figures
from pipeline.segment import Silhouette, segment
from pipeline.surface import surface
from pipeline.types import (
    Algorithm,
    Bone,
    Code,
    Float,
    Image,
    Mask,
    Radiograph,
    Reconstruction,
    Side,
    View,
    Volume,
)

SIZE = 128
"""Voxels along each edge."""
LEAST_ANGLE_DEG = 20.0
"""Views closer than this see the same thing twice."""
ROUNDING_MM = 24.0
"""Half the thickness above which a silhouette counts as flat: a femoral head."""
RADII, THICKNESS_BLUR_MM = 24, 4.0
MARGIN = 1.04
"""The grid over what the silhouettes need, so that the surface does not touch its border."""
SMOOTHING_VOXELS = 0.7


BONE = Code("272673000", "SCT", "Bone")
"""The hull cannot tell one bone from another: all of them are one structure."""


@dataclass(frozen=True, slots=True)
class _Depth:
    """How deep a pixel lies in the silhouette, mm at the isocentre, and against what thickness.

    `across` and `along` are the squares of its way from the middle to the edge, as shares of the
    thickness: across the axis that the views share, and along it.
    """

    depth: Image
    thickness: Image
    across: Image
    along: Image


def reconstruct(
    radiographs: Sequence[Radiograph], region: str, side: Side, made_by: Algorithm
) -> Reconstruction:
    """One structure, all bone that the radiographs show in common, and how well it explains them.

    Raises:
        StudyError: as `segment`, `visual_hull` and `surface` say.
    """
    require_two_directions([radiograph.view for radiograph in radiographs])
    silhouettes = [segment(radiograph) for radiograph in radiographs]
    probability = visual_hull(silhouettes)
    mesh = surface(probability)
    name = f"Bone of the {region} region" if region else "Bone"
    assumptions = tuple(a for radiograph in radiographs for a in radiograph.assumptions)
    return Reconstruction(
        bones=(Bone(name, BONE, side, probability, mesh),),
        algorithm=made_by,
        assumptions=assumptions,
        figures=figures(silhouettes, probability, mesh),
    )


def visual_hull(silhouettes: Sequence[Silhouette], *, size: int = SIZE) -> Volume:
    """Occupancy, 0 to 1, on the cube about the isocentre that `extent` chooses.

    Raises:
        MissingView: fewer than two views, or all of them look along one line.
        StudyError: there is no cube about the isocentre that every view sees.
    """
    views = [silhouette.view for silhouette in silhouettes]
    require_two_directions(views)
    edge = extent(silhouettes)
    patient_from_index = grid(edge, size)
    rays = np.stack([view.patient_from_detector[:3, 2] for view in views])
    weights, axes = np.linalg.eigh(rays.T @ rays)
    across = np.zeros((size, size, size), np.float32)
    along, scale, total = np.zeros_like(across), np.zeros_like(across), np.zeros_like(across)
    shallowest = np.full_like(across, np.inf)
    for silhouette in silhouettes:
        depths = _depths(silhouette, axes[:, 0])
        pixels = _pixels(silhouette.view, patient_from_index, size)
        square = _sampled(depths.across, pixels)
        across += square
        up = _sampled(depths.along, pixels)
        np.maximum(along, up, out=along)
        square += up
        scale += square * _sampled(depths.thickness, pixels)
        total += square
        np.minimum(shallowest, _sampled(depths.depth, pixels), out=shallowest)
    # n views all around see each direction n / 2 times: a round body has to fit from any of them
    radius = np.sqrt(across / np.float32(weights[-1]) + along)
    rounded = (1 - radius) * scale / np.maximum(total, np.float32(1e-6))
    inside = np.where(total > 1e-6, np.minimum(rounded, shallowest), shallowest)
    occupancy = np.clip(0.5 + inside * np.float32(size / edge), 0, 1)
    return Volume(ndimage.gaussian_filter(occupancy, SMOOTHING_VOXELS), patient_from_index)


def extent(silhouettes: Sequence[Silhouette]) -> float:
    """Edge of the cube about the isocentre, mm: what all views see, or less if all bone needs less.

    Raises:
        StudyError: a view does not even see the isocentre.
    """
    seen = min(_seen(silhouette.view) for silhouette in silhouettes)
    if seen <= 0:
        raise StudyError("The isocentre is not inside every image: the views show no common part")
    needed = max(_needed(silhouette, seen) for silhouette in silhouettes)
    return 2 * min(seen, needed * MARGIN)


def require_two_directions(views: Sequence[View]) -> None:
    """Nothing, if at least two of the views look across each other.

    Raises:
        MissingView: fewer than two views, or all of them look along one line.
    """
    if len(views) < 2:
        raise MissingView(f"A surface needs at least two views; the study has {len(views)}")
    rays = np.stack([view.patient_from_detector[:3, 2] for view in views])
    if np.abs(rays @ rays.T).min() > np.cos(np.radians(LEAST_ANGLE_DEG)):
        names = ", ".join(view.name for view in views)
        raise MissingView(f"The views {names} look along the same line: depth cannot be known")


def _seen(view: View) -> float:
    """Half the edge of the largest cube about the isocentre whose corners are in the image."""
    corners = np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, -1).T
    low, high = 0.0, 0.9 * source_to_isocentre(view) / np.sqrt(3)
    for _ in range(40):
        middle = (low + high) / 2
        pixels = project(view, middle * corners)
        last = np.array([view.rows, view.columns]) - 0.5
        low, high = (middle, high) if ((pixels > -0.5) & (pixels < last)).all() else (low, middle)
    return low if low > 1e-3 else 0.0


def _needed(silhouette: Silhouette, seen: float) -> float:
    """How far the silhouette reaches from the central ray, mm, at the far side of the cube."""
    view = silhouette.view
    rows, columns = (np.flatnonzero(silhouette.mask.any(axis=axis)) for axis in (1, 0))
    corners = [[r, c, 0, 1] for r in rows[[0, -1]] for c in columns[[0, -1]]]
    on_detector = np.array(corners, np.float64) @ view.detector_from_index.T
    reach = float(np.abs(on_detector[:, :2]).max()) / magnification(view)
    return reach * (1 + seen / source_to_isocentre(view))


def _depths(silhouette: Silhouette, axis: Float) -> _Depth:
    """Signed distances to the edge between the pixels; beyond the image lies no edge."""
    steps = np.linalg.norm(silhouette.view.detector_from_index[:3, :2], axis=0)
    steps /= magnification(silhouette.view)
    to_edge = np.full(silhouette.mask.shape, 0.5) * float(steps.mean())
    if silhouette.to_edge_px is not None:
        to_edge = silhouette.to_edge_px.astype(np.float64) * float(steps.mean())
    inner = _distance(silhouette.mask, to_edge, steps)
    outer = _distance(~silhouette.mask, to_edge, steps)
    depth = np.where(silhouette.mask, np.minimum(inner, 4 * ROUNDING_MM), -outer)
    thickness = _local_thickness(silhouette.mask, inner, steps)
    square = np.square(np.clip(1 - depth / thickness, 0, None))
    share = _share_along(depth, silhouette.view, axis)
    maps = (depth, thickness, square * (1 - share), square * share)
    return _Depth(*(image.astype(np.float32) for image in maps))


def _share_along(depth: Float, view: View, axis: Float) -> Float:
    """How much the way to the edge runs along `axis`: the squared cosine, 0 to 1."""
    step = view.patient_from_detector[:3, :3] @ view.detector_from_index[:3, :2]
    direction = axis @ step / np.linalg.norm(step, axis=0) ** 2
    row, column = np.gradient(ndimage.gaussian_filter(depth, 1.0))
    scale = np.linalg.norm(direction) * np.hypot(row, column)
    cosine = (row * direction[0] + column * direction[1]) / np.maximum(scale, 1e-9)
    return np.asarray(np.square(cosine), np.float64)


def _distance(mask: Mask, to_edge: Float, steps: Float) -> Float:
    """From each pixel of `mask` to the edge before the nearest pixel outside it."""
    if mask.all():
        return np.full(mask.shape, 4 * ROUNDING_MM)
    distance, (row, column) = ndimage.distance_transform_edt(
        mask, sampling=steps, return_indices=True
    )
    return np.asarray(np.where(mask, distance - to_edge[row, column], 0))


def _local_thickness(mask: Mask, depth: Float, steps: Float) -> Image:
    """Half the width of the widest disc that fits around each pixel, at most `ROUNDING_MM`."""
    least = float(steps.max())
    thickness = np.full(mask.shape, least, np.float32)
    for radius in np.geomspace(least, ROUNDING_MM, RADII):
        centres = depth >= radius
        if not centres.any():
            break
        reached = ndimage.distance_transform_edt(~centres, sampling=steps) <= radius + least
        thickness[reached] = radius
    # a step of the thickness would be a step of the surface
    blur = THICKNESS_BLUR_MM / float(steps.mean())
    smooth = ndimage.gaussian_filter(np.where(mask, thickness, 0), blur)
    smooth /= np.maximum(ndimage.gaussian_filter(mask.astype(np.float32), blur), np.float32(1e-3))
    return np.asarray(np.clip(smooth, least, ROUNDING_MM), np.float32)


def _pixels(view: View, patient_from_index: Float, size: int) -> NDArray[np.float32]:
    """(2, Z, Y, X) row and column at which each voxel centre is seen."""
    matrix = (pixel_from_patient(view) @ patient_from_index).astype(np.float32)
    k, j, i = np.ogrid[:size, :size, :size]
    axes = [axis.astype(np.float32) for axis in (k, j, i)]
    row, column, depth = (m[0] * axes[0] + m[1] * axes[1] + m[2] * axes[2] + m[3] for m in matrix)
    return np.stack([row / depth, column / depth])


def _sampled(image: Image, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    sampled: NDArray[np.float32] = ndimage.map_coordinates(
        image, pixels, output=np.float32, order=1, mode="nearest"
    )
    return sampled
