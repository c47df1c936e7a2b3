"""Which images of a study show the same side of the body. A side is never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from node.study import Image
from pipeline.errors import ContradictoryGeometry
from pipeline.types import Side
from pipeline.views import side as side_named

NAMED: Final = "the images name it"
"""Told by every image: nothing is assumed."""


@dataclass(frozen=True, slots=True)
class Unused:
    """An image that a rule takes and that is not reconstructed from."""

    image: Image
    reason: str
    """For a technician; without patient data."""


@dataclass(frozen=True, slots=True)
class OneSide:
    """The images of one side."""

    side: Side
    images: tuple[Image, ...]
    because: str
    """What told the side, or that it was assumed."""


@dataclass(frozen=True, slots=True)
class Sided:
    """Images by side, and those that belong to none."""

    sides: tuple[OneSide, ...]
    """R before L before U, so that the order of arrival has no influence."""
    unused: tuple[Unused, ...]


def by_side(images: Sequence[Image], assumed: Side | None) -> Sided:
    """The images by side.

    An image that does not name its side joins the others where they all show one side; where no
    image names a side, they get the one that the rule assumes.
    """
    named: dict[Side, list[Image]] = {}
    silent: list[Image] = []
    unused: list[Unused] = []
    for image in images:
        try:
            found = side_named(image.attributes)
        except ContradictoryGeometry as fault:
            unused.append(Unused(image, str(fault)))
            continue
        silent.append(image) if found is None else named.setdefault(found, []).append(image)
    because = NAMED
    if silent and len(named) == 1:
        because = f"{sum(map(len, named.values()))} of {len(images)} images name it, none another"
        next(iter(named.values())).extend(silent)
    elif silent and not named and assumed is not None and not unused:
        because = "no image names a side; the rule assumes it"
        named[assumed] = silent
    else:
        unused += [Unused(image, _why_silent(len(named))) for image in silent]
    sides = (OneSide(s, tuple(named[s]), because) for s in Side if s in named)
    return Sided(tuple(sides), tuple(unused))


def _why_silent(sides: int) -> str:
    if sides:
        return "It does not say its side, and the study shows more than one"
    return "No image says its side (Image Laterality), and the rule assumes none (assume.side)"
