"""Which view a network took each part of a bone from, as the colour of its surface.

A network that weighs its views against one another tells the weights, and this shows them: a part
that no view was preferred for keeps the colour of bone, and the more of it was taken from one view,
the more it has the colour of that view. The weights are the network's own. They say what it
listened to, and neither which view is right nor how good the bone is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.colours import Rgb
from pipeline.panels import coloured
from pipeline.render import Painted, painted
from pipeline.types import Bone, Float, Share
from pipeline.views import FRONTAL

COLOURS: Final[tuple[Rgb, ...]] = (
    (70, 130, 255),
    (255, 75, 150),
    (150, 215, 40),
    (165, 95, 255),
    (60, 205, 215),
    (225, 215, 70),
)
"""Of the views, in their order; a seventh has that of the first."""
ALIKE: Final[Rgb] = (233, 217, 186)
"""Where no view was preferred: bone."""
FULL: Final = 0.5
"""Of the way from an equal share to the whole; from there on a colour is full."""
NOTE: Final = "The network's own weights: no evidence that a view, or the bone, is right."


class Entry(NamedTuple):
    """A colour and what it means."""

    rgb: Rgb
    words: str


def by_view(bones: Sequence[Bone], shares: Sequence[Share]) -> Painted:
    """The bones as one surface in the colours of the views; what is predicted keeps its own."""
    surface = painted(coloured(bones))
    corners = surface.mesh.vertices[surface.mesh.faces]
    found = tints(shares_at(shares, corners.mean(axis=1)))
    counts = [len(bone.mesh.faces) for bone in bones]
    is_predicted = np.repeat([bone.is_predicted for bone in bones], counts)
    return Painted(surface.mesh, np.where(is_predicted[:, None], surface.rgb, found))


def shares_at(shares: Sequence[Share], points: Float) -> Float:
    """(N, V) the share of each view at `points` (N, 3) LPS mm, interpolated between voxels."""
    index_from_patient = np.linalg.inv(shares[0].volume.patient_from_index)
    index = points @ index_from_patient[:3, :3].T + index_from_patient[:3, 3]
    found = [
        ndimage.map_coordinates(one.volume.array, index.T, order=1, mode="nearest")
        for one in shares
    ]
    return np.stack(found, axis=1).astype(np.float64)


def tints(shares: Float) -> NDArray[np.uint8]:
    """(N, 3) RGB of shares (N, V) that are 1 in all."""
    views = shares.shape[1]
    strength = np.clip((shares - 1 / views) / (_full(views) - 1 / views), 0, 1)
    strength /= np.maximum(strength.sum(axis=1, keepdims=True), 1)
    bone = np.array(ALIKE, np.float64)
    away = np.array([_colour(view) for view in range(views)]) - bone
    rgb: NDArray[np.uint8] = np.rint(bone + strength @ away).astype(np.uint8)
    return rgb


def legend(shares: Sequence[Share]) -> tuple[Entry, ...]:
    """What each colour says, as "frontal view (AP)", and that of bone."""
    entries = [
        Entry(_colour(number), f"{_direction(one)} view ({one.label})")
        for number, one in enumerate(shares)
    ]
    return (*entries, Entry(ALIKE, "both alike" if len(shares) == 2 else "all alike"))


def explained(shares: Sequence[Share]) -> str:
    """What the colours are, in a sentence."""
    full = f"{_full(len(shares)):.0%}"
    return f"Colour: the view from which the network took more there, full from a share of {full}."


def _full(views: int) -> float:
    """The share from which on a colour is full."""
    return 1 / views + FULL * (1 - 1 / views)


def _colour(view: int) -> Rgb:
    return COLOURS[view % len(COLOURS)]


def _direction(share: Share) -> str:
    return "frontal" if share.view in FRONTAL else "lateral"
