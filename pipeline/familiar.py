"""Which views a network without cameras has learned from, and whether a view is one of these.

Such a network is given no direction, distance or scale: what it never saw it cannot recognise, so
whoever asks it has to. The ranges are those of the scenes that it learned from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.camera import NOMINAL_PRIMARY_DEG
from pipeline.projection import magnification, source_to_detector
from pipeline.types import View

FRONTAL: Final = frozenset({"AP", "PA", "frontal"})
LATERAL: Final = frozenset({"LL", "RL", "lateral"})
_DIRECTIONS: Final = {"frontal": FRONTAL, "lateral": LATERAL}
SLACK: Final = 0.02
"""Share of a limit: headers round, and one of the scenes had to be the outermost."""


class Range(NamedTuple):
    """From the least to the most that was learned from."""

    low: float
    high: float

    def has(self, value: float) -> bool:
        """True if the value lies in the range, or next to it."""
        return self.low * (1 - SLACK) <= value <= self.high * (1 + SLACK)


@dataclass(frozen=True, slots=True)
class Views:
    """How many views an engine takes, and of which kind."""

    fewest: int = 1
    most: int | None = None
    """None: any number."""
    directions: tuple[str, ...] = ("frontal", "lateral")
    needs_both: bool = False
    """At least one of each direction."""

    def refusal(self, views: Sequence[str]) -> str:
        """Why these views are not taken, as "needs at least 2 views"; empty if they are.

        Args:
            views: By the words of a rule, or as `ViewName`.
        """
        if len(views) < self.fewest:
            return f"needs at least {_counted(self.fewest)}, there are {len(views)}"
        if self.most is not None and len(views) > self.most:
            return f"takes at most {_counted(self.most)}, there are {len(views)}"
        seen = {name for name, words in _DIRECTIONS.items() if words & set(views)}
        if self.needs_both and len(seen) < len(_DIRECTIONS):
            return "needs a frontal and a lateral view"
        if strange := seen - set(self.directions):
            return f"knows {' and '.join(self.directions)} views, no {' and no '.join(strange)} one"
        return ""

    @property
    def words(self) -> str:
        """For a table: "1 to 4, frontal or lateral"."""
        count = f"{self.fewest} or more" if self.most is None else f"{self.fewest} to {self.most}"
        if self.fewest == self.most:
            count = str(self.fewest)
        return f"{count}, {(' and ' if self.needs_both else ' or ').join(self.directions)}"


@dataclass(frozen=True, slots=True)
class Familiar:
    """What a network has learned from."""

    views: Views
    source_to_detector: Range
    """mm."""
    magnification: Range
    """Of the centre of its cube."""
    turn_deg: float
    """Largest angle from the nominal direction, in the transaxial plane."""
    tilt_deg: float
    """Towards head or feet."""


def familiar_from(told: Mapping[str, Any]) -> Familiar:
    """What a header says of it.

    Raises:
        KeyError: it says less.
        TypeError: it says something else.
        ValueError: a number is none.
    """
    views = Views(**{**told["views"], "directions": tuple(told["views"]["directions"])})
    ranges = {
        name: Range(*(float(end) for end in told[name]))
        for name in ("source_to_detector", "magnification")
    }
    return Familiar(**{**told, **ranges, "views": views})


class Direction(NamedTuple):
    """Whence the middle of the cube is looked at."""

    turn_deg: float
    """From the nominal direction of the view, towards the patient's left."""
    tilt_deg: float
    """Towards the head."""


def direction(view: View) -> Direction:
    """Of the ray that meets the isocentre of `view`, which need not be the central one."""
    x, y, z = -view.source / np.linalg.norm(view.source)
    turn = math.degrees(math.atan2(x, -y)) - NOMINAL_PRIMARY_DEG[view.name]
    return Direction((turn + 180) % 360 - 180, math.degrees(math.asin(z)))


def unfamiliar(known: Familiar, view: View) -> str:
    """Why the network has seen nothing taken like this; empty if it has.

    Args:
        known: What it has learned from.
        view: About the centre of the network's cube.
    """
    sid, size, at = source_to_detector(view), magnification(view), direction(view)
    if not known.source_to_detector.has(sid):
        low, high = known.source_to_detector
        return f"the source is {sid:.0f} mm from the detector, it knows {low:.0f} to {high:.0f} mm"
    if not known.magnification.has(size):
        low, high = known.magnification
        return f"the bone is magnified {size:.2f} times, it knows {low:.2f} to {high:.2f}"
    if abs(at.turn_deg) > known.turn_deg * (1 + SLACK):
        return (
            f"the view is turned by {at.turn_deg:.0f} degrees from {view.name}, it knows"
            f" {known.turn_deg:.0f} at most"
        )
    if abs(at.tilt_deg) > known.tilt_deg * (1 + SLACK):
        return (
            f"the ray is tilted by {at.tilt_deg:.0f} degrees towards head or feet, it knows"
            f" {known.tilt_deg:.0f} at most"
        )
    return ""


def _counted(count: int) -> str:
    return "one view" if count == 1 else f"{count} views"
