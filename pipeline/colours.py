"""The colour of each bone: the same in every object of a result, and no two alike in one result.

A viewer lays a segment half transparent over the grey model volume, so the colours are strong
ones; what an engine gives as `Bone.rgb` is how the bone is lit in pictures, which is another thing.
The amber of cautions and the green and orange of no-go are not among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.types import Bone

Rgb = tuple[int, int, int]

TEAL: Final[Rgb] = (40, 205, 185)
BY_CODE: Final[dict[str, Rgb]] = {
    "272673000": TEAL,  # bone, where nothing tells one from another
    "71341001": TEAL,  # femur
    "118645006": (90, 140, 255),  # hip bone, by the code of the bony pelvis and its side
    "54735007": (235, 215, 60),  # sacrum
    "12611008": (180, 105, 255),  # tibia
    "64234005": (235, 70, 70),  # patella
    "87342007": (135, 215, 55),  # fibula
}
"""By the SNOMED CT code of the bone, so that it looks alike from study to study."""
OTHERS: Final[tuple[Rgb, ...]] = (
    (255, 130, 200),
    (135, 215, 255),
    (190, 130, 85),
    (215, 215, 215),
    (0, 150, 90),
    (130, 90, 160),
)
"""For bones that the table does not know, and for the second one of a pair."""


def colours(bones: Sequence[Bone]) -> tuple[Rgb, ...]:
    """The colour of each bone, in their order; they repeat only when there are no more.

    What is predicted is pale, and changes nothing in the colours of what was seen.
    """
    given: dict[bool, list[Rgb]] = {False: [], True: []}
    made: list[Rgb] = []
    for bone in bones:
        alike = given[bone.is_predicted]
        own = BY_CODE.get(bone.code.value)
        choice = [*([own] if own else []), *OTHERS, *BY_CODE.values()]
        least = min(alike.count(rgb) for rgb in choice)
        alike.append(next(rgb for rgb in choice if alike.count(rgb) == least))
        made.append(_pale(alike[-1]) if bone.is_predicted else alike[-1])
    return tuple(made)


def _pale(rgb: Rgb) -> Rgb:
    red, green, blue = ((value + 255) // 2 for value in rgb)
    return red, green, blue
