"""What the file of every network states beside what it is: its licence, and how it was judged."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Judged:
    """One figure of a network, on people that it has not learned from."""

    condition: str
    """What it was given, as "2 views: neighbours, soft tissue, noise, collimation"."""
    bone: str
    people: int
    """Over whom the figure is the mean."""
    measure: str
    """As "Dice", "IoU at .4" or "ASSD"."""
    value: float
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Stated:
    """What is stated; empty where whoever wrote the file knew nothing."""

    licence: str = ""
    """Of the weights, as whoever uses them has to keep it."""
    judged: tuple[Judged, ...] = ()


UNSTATED: Final = Stated()


def to_metadata(stated: Stated) -> dict[str, str]:
    """The keys of a header; what is empty has none."""
    made = {"licence": stated.licence} if stated.licence else {}
    if stated.judged:
        made["judged"] = json.dumps([asdict(one) for one in stated.judged])
    return made


def from_metadata(metadata: Mapping[str, str]) -> Stated:
    """What a header states.

    Raises:
        TypeError: the figures are not as `to_metadata` writes them.
        ValueError: the same, or one is not finite.
    """
    judged = tuple(Judged(**one) for one in json.loads(metadata.get("judged", "[]")))
    if not all(math.isfinite(one.value) and one.people > 0 for one in judged):
        raise ValueError("judged: a figure is not finite, or of nobody")
    return Stated(str(metadata.get("licence", "")), judged)
