"""What may be known of a bone whose place is not wholly in its radiographs, and where that puts it.

Each way is given the true surface, and more of it than any method has: every point is known again
in every radiograph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from benchmarks.placing import (
    Vote,
    about_source,
    along_ray,
    as_told,
    depth_of,
    likeliest,
    scale_of_least_shift,
    turned,
)
from pipeline.training.batches import Conditions
from pipeline.training.judging import CONDITIONS
from pipeline.training.posing import RIGID, Pose
from pipeline.training.shots import Shot
from pipeline.types import Float, View

STANDARD_DEG = 3.0
"""Standard deviation of the angles of `judging.standard`."""
CLEAN = next(one.name for one in CONDITIONS if one.without_neighbours)
WRONG = next(one.name for one in CONDITIONS if one.is_told_wrongly)
ONE_VIEW = next(one.name for one in CONDITIONS if len(one.views) == 1)


class Sight(NamedTuple):
    """What there is to be known of one bone."""

    points: Float
    """(N, 3) mm, of its surface within the cube."""
    usual: Float
    """(3,) mm: the middle of this bone in people that were learned from."""
    pose: Pose
    true: tuple[Shot, ...]
    """Frontal and lateral."""
    told: tuple[Shot, ...]
    size: int
    """Rows and columns of a radiograph."""

    @property
    def frontal(self) -> View:
        """The true camera of the one view."""
        return self.true[0].camera(self.size)

    @property
    def scene_from_region(self) -> Float:
        """(4, 4): how the patient lies."""
        return np.asarray(np.linalg.inv(self.pose.region_from_scene.double().numpy()))


@dataclass(frozen=True, slots=True)
class Way:
    """One way to put a surface: the (4, 4) motion from where it truly is."""

    condition: str
    known: str
    place: Callable[[Sight], Float]


def believing(sight: Sight, *, is_scaled: bool = False) -> Float:
    """Told cameras are held to be right."""
    true, known = ([shot.camera(sight.size) for shot in s] for s in (sight.true, sight.told))
    return as_told(sight.points, true, known, is_scaled=is_scaled)


def sharing(sight: Sight, *, knows_patients: bool = False, knows_views: bool = False) -> Float:
    """All is seen but the turn about the long axis that the views share: what is it likeliest?

    Whoever knows the shape sees in each view where its source stood about the bone, so that the
    views are at odds no longer; only how all of them stood about the room is seen nowhere. Each
    turn makes angles and pose differ by so much from what is told, and from what is usual.
    """
    pairs = zip(sight.told, sight.true, strict=True)
    votes = [Vote(k.primary_deg - t.primary_deg, Conditions().angle_deg) for k, t in pairs]
    if knows_patients:
        turn = Rotation.from_matrix(sight.scene_from_region[:3, :3]).as_rotvec(degrees=True)
        votes.append(Vote(-turn[2], RIGID.turn_deg))
    if knows_views:
        votes.extend(Vote(-shot.primary_deg, STANDARD_DEG) for shot in sight.true)
    return turned(likeliest(votes))


def at_usual_depth(sight: Sight, *, is_rigid: bool = False) -> Float:
    """The middle lies as deep as it does in others."""
    middle, view = sight.points.mean(axis=0), sight.frontal
    depth = depth_of(view, sight.usual)
    if is_rigid:
        return along_ray(view, middle, depth)
    return about_source(view, depth / depth_of(view, middle))


def at_own_depth(sight: Sight) -> Float:
    """Where this very patient would lie with the least shift."""
    shift = sight.scene_from_region[:3, 3]
    return about_source(sight.frontal, scale_of_least_shift(sight.frontal, shift))


WAYS = (
    Way(WRONG, "told cameras are believed", believing),
    Way(WRONG, "the same, of any size", lambda s: believing(s, is_scaled=True)),
    Way(WRONG, "all but the shared turn is seen; told angles", sharing),
    Way(WRONG, "+ how patients lie", lambda s: sharing(s, knows_patients=True)),
    Way(
        WRONG,
        "+ how views are taken",
        lambda s: sharing(s, knows_patients=True, knows_views=True),
    ),
    Way(ONE_VIEW, "true size, usual depth", lambda s: at_usual_depth(s, is_rigid=True)),
    Way(ONE_VIEW, "shape but for its size, usual depth", at_usual_depth),
    Way(ONE_VIEW, "+ how deep this patient lies but for a shift", at_own_depth),
)
