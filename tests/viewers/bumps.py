"""A bone that has no symmetry and needs no eye for anatomy: a block with three bumps.

A long thin bump points to the patient's left, a short broad one to the front, the longest and
thinnest to the head. Whoever swaps or flips an axis, anywhere, moves a bump.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.surface import surface
from pipeline.types import Bone, Code, Side, Volume
from tests.results import affine, centres

Array = NDArray[np.float64]

MIDDLE = np.array([12.0, -8.0, 20.0])
"""Of the block, LPS mm: off the isocentre on every axis."""
HALF = np.array([16.0, 14.0, 18.0])
BUMPS = {"L": (12.0, 5.0), "A": (8.0, 8.0), "H": (16.0, 4.0)}
"""How far each reaches from the block, and half its width, mm."""
TOWARDS = {
    "L": np.array([1.0, 0, 0]),
    "R": np.array([-1.0, 0, 0]),
    "P": np.array([0, 1.0, 0]),
    "A": np.array([0, -1.0, 0]),
    "H": np.array([0, 0, 1.0]),
    "F": np.array([0, 0, -1.0]),
}
"""LPS (PS3.3 C.7.6.2.1.1)."""
PATELLA = Code("64234005", "SCT", "Patella")
RED = (235, 70, 70)
"""The display colour of a patella: nothing else on the screen of a viewer is red."""
SHAPE = (48, 80, 60)
SPACING = (2.0, 1.0, 1.5)


def contains(points: Array, grown: float = 0.0) -> NDArray[np.bool_]:
    """True for the LPS points within the bone, which is grown by so many mm on every side."""
    away = np.asarray(points) - MIDDLE
    inside = (np.abs(away) <= HALF + grown).all(axis=-1)
    for name, (length, half_width) in BUMPS.items():
        towards = TOWARDS[name]
        along = away @ towards
        aside = np.abs(away - along[..., None] * towards).max(axis=-1)
        reach = HALF @ np.abs(towards) + length
        inside |= (aside <= half_width + grown) & (along >= 0) & (along <= reach + grown)
    return np.asarray(inside)


def bump(name: str) -> Array:
    """(3,) the middle of a bump, LPS mm."""
    towards = TOWARDS[name]
    return np.asarray(MIDDLE + towards * (HALF @ np.abs(towards) + BUMPS[name][0] / 2))


def bounds() -> Array:
    """(2, 3) the least and the greatest LPS coordinates of the bone, mm."""
    low, high = MIDDLE - HALF, MIDDLE + HALF
    for name, (length, _) in BUMPS.items():
        tip = TOWARDS[name] * length
        low, high = low + np.minimum(tip, 0), high + np.maximum(tip, 0)
    return np.stack([low, high])


def bone(turn: Sequence[Sequence[float]] | None = None) -> Bone:
    """The bone on a grid around it, whose axes are the patient's, or `turn` in its columns."""
    matrix = affine(SHAPE, SPACING, None if turn is None else np.asarray(turn))
    matrix[:3, 3] += MIDDLE
    occupancy = Volume(contains(centres(matrix, SHAPE)).astype(np.float32), matrix)
    mesh = surface(occupancy, smoothing=0)
    return Bone("Patella", PATELLA, Side.LEFT, occupancy, mesh, rgb=RED)
