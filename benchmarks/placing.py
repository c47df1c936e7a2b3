"""Where a surface of perfect shape is put by somebody who knows of its cameras what is told.

Radiographs show a bone before its cameras, not in the room. Each motion is (4, 4), mm, about the
isocentre, from where the surface truly is to where it is put.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import radians
from typing import NamedTuple

import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation
from trimesh.transformations import transform_points

from pipeline.projection import project
from pipeline.types import Float, View


class Vote(NamedTuple):
    """What one source of knowledge takes for the likeliest value, and how sure it is."""

    value: float
    deviation: float


def as_told(
    points: Float, true: Sequence[View], told: Sequence[View], *, is_scaled: bool = False
) -> Float:
    """Points (N, 3) are put where told cameras see them nearest to where the true ones did.

    Least squares over the pixels of all views, each point being known again in each; rigid, or a
    similarity where `is_scaled`.
    """
    seen = [project(view, points) for view in true]
    middle = points.mean(axis=0)

    def off(motion: Float) -> Float:
        there = transform_points(points, _motion(motion, middle))
        pairs = zip(told, seen, strict=True)
        return np.concatenate([project(view, there) - pixels for view, pixels in pairs]).ravel()

    found = least_squares(off, np.zeros(7 if is_scaled else 6), method="lm")
    return _motion(found.x, middle)


def likeliest(votes: Sequence[Vote]) -> float:
    """The value that agrees best with independent normal votes."""
    weights = [1 / vote.deviation**2 for vote in votes]
    return sum(w * vote.value for w, vote in zip(weights, votes, strict=True)) / sum(weights)


def turned(deg: float) -> Float:
    """A turn about the long axis of the patient, through the isocentre.

    Cameras whose primary angles are all larger by `deg` see the surface so turned as the others
    saw it before.
    """
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec([0.0, 0.0, radians(deg)]).as_matrix()
    return motion


def about_source(view: View, scale: float) -> Float:
    """The surface is made larger about the source, and so further away: the image is the same."""
    return np.asarray(_scaled(view.source, scale))


def along_ray(view: View, middle: Float, depth: float) -> Float:
    """The surface keeps its size, and slides until `middle` (3,) is `depth` mm from the source."""
    motion = np.eye(4)
    motion[:3, 3] = (middle - view.source) * (depth / depth_of(view, middle) - 1)
    return motion


def depth_of(view: View, point: Float) -> float:
    """mm from the source of a point (3,), along the central axis."""
    return float((point - view.source) @ view.patient_from_detector[:3, 2])


def scale_of_least_shift(view: View, shift: Float) -> float:
    """How much larger about the source a bone is for whom its shift (3,) mm is the least."""
    ray = shift - view.source
    return float(-view.source @ ray / (ray @ ray))


def _motion(motion: Float, middle: Float) -> Float:
    """Of a rotation vector about `middle`, radians, a shift, mm, and the logarithm of a scale."""
    made = _scaled(middle, float(np.exp(motion[6:].sum())))
    made[:3, :3] = made[:3, :3] @ Rotation.from_rotvec(motion[:3]).as_matrix()
    made[:3, 3] = middle - made[:3, :3] @ middle + motion[3:6]
    return made


def _scaled(centre: Float, scale: float) -> Float:
    motion = np.diag([scale, scale, scale, 1.0])
    motion[:3, 3] = (1 - scale) * centre
    return motion
