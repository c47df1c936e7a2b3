"""Structures of label maps: what their names mean, and where in a body they usually lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.encode.codes import ANATOMICAL_STRUCTURE
from pipeline.types import Code, Float, Side

PREDICTED: Final = "predicted, not imaged"
SIDES: Final = {"_R": Side.RIGHT, "_L": Side.LEFT}
OTHER_SIDE: Final = {Side.LEFT: Side.RIGHT, Side.RIGHT: Side.LEFT}
CODES: Final = {
    "sacrum": Code("54735007", "SCT", "Sacrum"),
    # SNOMED CT in DICOM has no hip bone: the bony pelvis (CID 7304), told apart by its side
    "hip_bone": Code("118645006", "SCT", "Pelvis"),
    "pelvis": Code("118645006", "SCT", "Pelvis"),
    "femur": Code("71341001", "SCT", "Femur"),
    "tibia": Code("12611008", "SCT", "Tibia"),
    "patella": Code("64234005", "SCT", "Patella"),
    "fibula": Code("87342007", "SCT", "Fibula"),
}
"""By the name of a structure without its side; another is an anatomical structure."""
Labels = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class LabelMap:
    """Labels on a regular grid in patient space."""

    array: Labels
    """(Z, Y, X), 0 the background."""
    patient_from_index: Float
    """(4, 4) voxel centre (k, j, i, 1) to LPS mm."""


@dataclass(frozen=True, slots=True)
class Structure:
    """What a completer knows of one structure."""

    name: str
    """As `femur_R`: sides end in _R and _L."""
    middle: tuple[float, float, float]
    """Mean x, y, z of its voxels over the people learned from, mm from the middle of the box."""
    volume_mm3: float
    """Mean over these people."""
    extent: tuple[float, float, float] | None = None
    """Mean x, y, z over these people, mm; None where it is not known."""
    ends_in_box: bool = True
    """In most of these people: else it is expected to go on where the box ends."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the name of a structure says."""

    words: str
    """As "Hip bone", without the side."""
    code: Code
    side: Side


def meaning_of(name: str) -> Meaning:
    """What a name as `hip_bone_R` says."""
    side = SIDES.get(name[-2:], Side.UNPAIRED)
    base = name if side is Side.UNPAIRED else name[:-2]
    words = base.replace("_", " ").capitalize()
    return Meaning(words, CODES.get(base, ANATOMICAL_STRUCTURE), side)


def numbers_by_meaning(names: Sequence[str]) -> dict[tuple[str, Side], int]:
    """From a code's value and a side to the number, from 1, of the structure that they mean."""
    meanings = [meaning_of(name) for name in names]
    return {
        (one.code.value, one.side): number
        for number, one in enumerate(meanings, start=1)
        if one.code != ANATOMICAL_STRUCTURE
    }


def voxel_mm3(of: LabelMap) -> float:
    """The volume of a voxel."""
    return abs(float(np.linalg.det(of.patient_from_index[:3, :3])))
