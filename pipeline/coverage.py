"""How much of a bone the radiographs show, and where it goes on beyond what was reconstructed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pipeline.geometry import magnification, project
from pipeline.quality import UNSEEN
from pipeline.types import Assumption, Bone, Figure, Float, Mask, Mesh, Radiograph, View

BORDER_MM = 2.0
"""At the isocentre: nearer to the end of an image, a bone counts as cut by it."""
FACE_VOXELS = 1.0
WORTH_SAYING = 0.01
"""A smaller share of a surface is not said in words."""

PARTLY = "surface outside one of the images,"
BORDER = "surface at the end of an image,"
FACES = "surface at the faces of the model,"


@dataclass(frozen=True, slots=True)
class Coverage:
    """Shares of the area of one bone's surface, 0 to 1."""

    unseen: float
    """Outside of every image, or of what is exposed in it."""
    partly_seen: float
    """Outside of at least one image, but not of all."""
    at_border: float
    """Where an image or its collimation ends."""
    at_faces: float
    """On the faces of the reconstructed cube: the bone goes on there."""


def coverage(bone: Bone, radiographs: Sequence[Radiograph]) -> Coverage:
    """How much of `bone` the radiographs show."""
    mesh = bone.mesh
    weights = _areas(mesh)
    places = [_places(mesh.vertices, one.is_valid, one.view) for one in radiographs]
    is_seen = np.stack([place >= 0 for place in places])
    at_border = np.stack([np.abs(place) <= BORDER_MM for place in places])
    affine = bone.probability.patient_from_index
    index = (mesh.vertices - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    last = np.array(bone.probability.array.shape) - 1
    at_faces = ((index < FACE_VOXELS) | (index > last - FACE_VOXELS)).any(axis=1)
    unseen = ~is_seen.any(axis=0)
    return Coverage(
        unseen=_share(unseen, weights),
        partly_seen=_share(~is_seen.all(axis=0) & ~unseen, weights),
        at_border=_share(at_border.any(axis=0), weights),
        at_faces=_share(at_faces, weights),
    )


def _places(points: Float, is_valid: Mask, view: View) -> Float:
    """(N,) how far inside the exposed image each point is seen, mm at the isocentre."""
    spacing = float(np.linalg.norm(view.detector_from_index[:3, :2], axis=0).mean())
    factor = max(1, round(BORDER_MM / 4 * magnification(view) / spacing))
    small = np.pad(is_valid[::factor, ::factor], 1)
    mm = spacing * factor / magnification(view)
    depth = ndimage.distance_transform_edt(small) - ndimage.distance_transform_edt(~small)
    pixels = project(view, points) / factor + 1
    inside = ndimage.map_coordinates(depth, pixels.T, order=1, mode="nearest")
    beyond = np.maximum(-pixels, pixels - (np.array(small.shape) - 1)).max(axis=1)
    made = np.where(beyond > 0, -beyond, inside) * mm
    return np.asarray(np.nan_to_num(made, nan=-np.inf))


def _areas(mesh: Mesh) -> Float:
    """(N,) a third of the area of the faces around each vertex."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    of_vertex = np.bincount(mesh.faces.ravel(), np.repeat(areas, 3), len(mesh.vertices))
    return np.asarray(of_vertex, np.float64)


def _share(where: Mask | np.bool_, weights: Float) -> float:
    return float(np.where(where, weights, 0.0).sum() / max(weights.sum(), 1e-12))


def coverage_figures(bone: Bone, covered: Coverage, most_unseen: float) -> tuple[Figure, ...]:
    """The share that nobody saw, with its limit, and the others where they are worth saying."""
    told = (
        (PARTLY, covered.partly_seen),
        (BORDER, covered.at_border),
        (FACES, covered.at_faces),
    )
    return (
        Figure(f"{UNSEEN} {bone.name}", covered.unseen, "", None, most_unseen),
        *(Figure(f"{name} {bone.name}", share, "") for name, share in told if share > WORTH_SAYING),
    )


def coverage_assumptions(bone: Bone, covered: Coverage) -> tuple[Assumption, ...]:
    """What of the bone is no measurement, in words."""
    told = (
        (
            covered.unseen,
            f"{covered.unseen:.0%} of the surface lie outside every image",
            "What no image shows was completed from the shapes of the training",
        ),
        (
            covered.at_faces,
            "cut at the edge of the model",
            "The bone goes on beyond the reconstructed cube: its end there is a cut, no surface",
        ),
    )
    return tuple(
        Assumption(bone.name, words, "", reason)
        for share, words, reason in told
        if share > WORTH_SAYING
    )
