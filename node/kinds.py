"""The kinds of result object as the network sees them: class, words, rank, and who can show them.

A kind is the name that stands in the settings, in the rows and in the file of the object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydicom.uid import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedSTLStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    SurfaceSegmentationStorage,
)

if TYPE_CHECKING:
    from node.settings import Destination

SENT_TRANSFER_SYNTAXES: Final = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
)
"""The first that the destination accepts is sent; the files are in the first of all."""

LABEL_MAP_SEGMENTATION_STORAGE: Final = "1.2.840.10008.5.1.4.1.1.66.7"
"""Label Map Segmentation Storage, of 2023: pydicom's dictionary may not have it yet."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a kind of result object is to a destination."""

    sop_class_uid: str
    words: str
    is_shown: bool = False
    """Whether a usual viewer shows it: then a radiologist has seen a result."""
    is_capture: bool = False
    """Goes to every destination, whatever kinds its settings list."""


WRITTEN: Final[Mapping[str, Written]] = {
    "model-volume": Written(str(CTImageStorage), "CT image slices", is_shown=True),
    "segmentation": Written(str(SegmentationStorage), "segmentation", is_shown=True),
    "labelmap": Written(LABEL_MAP_SEGMENTATION_STORAGE, "label map segmentation", is_shown=True),
    "fractional": Written(str(SegmentationStorage), "segmentation of probabilities"),
    "surface-segmentation": Written(str(SurfaceSegmentationStorage), "surface segmentation"),
    "stl": Written(str(EncapsulatedSTLStorage), "encapsulated STL"),
    "key-image": Written(
        str(SecondaryCaptureImageStorage), "secondary capture", is_shown=True, is_capture=True
    ),
    "turntable": Written(
        str(MultiFrameTrueColorSecondaryCaptureImageStorage),
        "multi-frame true colour secondary capture",
        is_shown=True,
        is_capture=True,
    ),
    "notice": Written(
        str(SecondaryCaptureImageStorage), "secondary capture", is_shown=True, is_capture=True
    ),
    "report": Written(str(Comprehensive3DSRStorage), "comprehensive 3D structured report"),
}
"""By kind, in the order of delivery."""

LAST: Final = ("report",)
"""The root of a result set (IHE RAD AI Results): sent once all that it refers to was answered."""

SHOWN: Final = frozenset(kind for kind, written in WRITTEN.items() if written.is_shown)
CAPTURES: Final = frozenset(kind for kind, written in WRITTEN.items() if written.is_capture)


def rank(kind: str) -> int:
    """Where `kind` stands in the order of delivery; one that is not known here goes before LAST."""
    order = list(WRITTEN)
    return order.index(kind) if kind in WRITTEN else order.index(LAST[0]) - 1


def taken(destinations: Iterable[Destination]) -> dict[str, frozenset[str]]:
    """By destination, the kinds that are sent there: those of its settings, and every capture."""
    return {each.name: CAPTURES.union(each.kinds) for each in destinations}


def sufficient(destinations: Iterable[Destination]) -> dict[str, frozenset[str]]:
    """By destination, the kinds of which one must have arrived where others were left out.

    A destination whose settings ask for nothing that a viewer shows, as a planning station that
    reads surfaces, has what it is for with any of the kinds of its settings.
    """
    return {
        each.name: SHOWN if SHOWN.intersection(each.kinds) else SHOWN.union(each.kinds)
        for each in destinations
    }


def words(sop_class_uid: str) -> str:
    """A SOP class in words, with its UID."""
    known = (each.words for each in WRITTEN.values() if each.sop_class_uid == sop_class_uid)
    return f"{next(known, 'objects')} (SOP class {sop_class_uid})"
