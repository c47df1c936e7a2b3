"""The header attributes that routing, completeness, views and geometry need, as JSON.

Whatever a modality writes here is kept as it came: a number where the text is a number, the
text where it is not. Nobody is refused at this door; `geometry` and `views` say what is wrong
with a value when they need it. Works on a dataset that was read with stop_before_pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.valuerep import PersonName

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_TEXTS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "ImageType",
    "PresentationIntentType",
    "BodyPartExamined",
    "AnatomicalOrientationType",
    "ViewPosition",
    "PatientOrientation",
    "PatientPosition",
    "Laterality",
    "ImageLaterality",
    "StationName",
    "Manufacturer",
    "ManufacturerModelName",
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "PixelSpacingCalibrationType",
    "PositionerType",
    "PositionerMotion",
    "PhotometricInterpretation",
    "BurnedInAnnotation",
    "AcquisitionDate",
    "AcquisitionTime",
    "ContentDate",
    "ContentTime",
    "AccessionNumber",
    "PatientID",
)
_NUMBERS = (
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "EstimatedRadiographicMagnificationFactor",
    "ImagerPixelSpacing",
    "PixelSpacing",
    "NominalScannedPixelSpacing",
    "PositionerPrimaryAngle",
    "PositionerSecondaryAngle",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "BitsAllocated",
    "InstanceNumber",
    "SeriesNumber",
)
_CODES = ("AnatomicRegionSequence", "ViewCodeSequence")

KEYWORDS: tuple[str, ...] = _TEXTS + _NUMBERS + _CODES
"""Every keyword that `attributes` may return."""

LONGEST_TEXT = 256
"""Characters kept of one value; PS3.5 6.2 allows 64 for LO, but not every peer has read it."""
MOST_VALUES = 16
_WHOLE = re.compile(r"[+-]?\d{1,12}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")


def attributes(ds: Dataset) -> dict[str, Json]:
    """The values of `KEYWORDS` that `ds` has, by keyword.

    One value stands alone, several are a list; empty and absent ones are left out. Code
    sequences are lists of {"CodeValue", "CodingSchemeDesignator", "CodeMeaning"}, those of
    AnatomicRegionSequence and ViewCodeSequence with a list "Modifiers" where they have any.
    """
    found: dict[str, Json] = {}
    here = _elements(ds)
    for keyword in KEYWORDS:
        if _TAGS[keyword] not in here:
            continue
        value = _codes(ds, here, keyword) if keyword in _CODES else _values(ds, here, keyword)
        if value not in (None, "", []):
            found[keyword] = value
    return found


def text(attributes: Mapping[str, Json], keyword: str) -> str:
    """One upper-case word or phrase without surrounding blanks, empty where there is none."""
    value = attributes.get(keyword)
    if isinstance(value, list):
        value = value[0] if value else None
    return "" if value is None or isinstance(value, dict) else str(value).strip().upper()


def codes(attributes: Mapping[str, Json], keyword: str) -> tuple[tuple[str, str], ...]:
    """(code value, code meaning in upper case) of a code sequence, its modifiers included."""
    found: list[tuple[str, str]] = []
    pending = [attributes.get(keyword)]
    while pending:
        node = pending.pop(0)
        if isinstance(node, list):
            pending = [*node, *pending]
        elif isinstance(node, dict):
            found.append((text(node, "CodeValue"), text(node, "CodeMeaning")))
            pending.insert(0, node.get("Modifiers"))
    return tuple(found)


def _elements(ds: Dataset) -> _Elements:
    """By tags that are plain numbers: pydicom's own compare slowly, a hundred times a header."""
    return {int(tag): element for tag, element in ds.items()}


def _values(ds: Dataset, here: _Elements, keyword: str) -> Json:
    raw = _read(ds, here, keyword)
    if raw is None or isinstance(raw, Dataset):
        return None
    several = raw if isinstance(raw, MultiValue | list | tuple) else [raw]
    as_number = keyword in _NUMBERS
    values = [_number(v) if as_number else _text(v) for v in list(several)[:MOST_VALUES]]
    if all(v == "" for v in values):
        return None
    return values[0] if len(values) == 1 else list(values)


def _read(
    ds: Dataset, here: _Elements, keyword: str
) -> Any:  # the pydicom border: any VR, or none at all
    """The value, or its raw text where pydicom cannot convert it to what its VR promises."""
    tag = _TAGS[keyword]
    if (raw := here.get(tag)) is None:
        return None
    if isinstance(raw, RawDataElement) and isinstance(raw.value, bytes):
        vr = raw.VR or _VRS[keyword]
        if vr in _PLAIN_VRS and _is_plain(raw.value):
            return raw.value.decode("ascii").split("\\")
        if vr == "US" and len(raw.value) == _US_BYTES:
            return int.from_bytes(raw.value, "little" if raw.is_little_endian else "big")
    try:
        return ds[tag].value
    except (ValueError, TypeError, ArithmeticError, AttributeError, KeyError, NotImplementedError):
        value = getattr(raw, "value", None)
        return value.decode("ascii", "replace").split("\\") if isinstance(value, bytes) else None


_PLAIN_VRS = frozenset({"AS", "CS", "DA", "DS", "IS", "LO", "SH", "TM", "UI"})
"""Text that is not converted first: the receiver, where most of a header's time went into it."""


def _is_plain(value: bytes) -> bool:
    """True for ASCII in which no other character set is switched on by an escape sequence."""
    return value.isascii() and b"\x1b" not in value


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    if isinstance(value, PersonName):
        return ""
    kept = str(value if value is not None else "")
    if not kept.isprintable():
        kept = _UNPRINTABLE.sub(" ", kept)
    return kept.strip()[:LONGEST_TEXT]


def _number(value: object) -> Json:
    as_text = _text(value)
    if _WHOLE.fullmatch(as_text):
        return int(as_text)
    try:
        number = float(as_text)
    except ValueError:
        return as_text
    return number if math.isfinite(number) else as_text


def _codes(ds: Dataset, here: _Elements, keyword: str) -> list[Json]:
    items = _read(ds, here, keyword)
    if not isinstance(items, Iterable) or isinstance(items, str | bytes):
        return []
    found: list[Json] = []
    for item in list(items)[:MOST_VALUES]:
        if not isinstance(item, Dataset):
            continue
        own = _elements(item)
        if code := _code(item, own):
            modifiers = _codes(item, own, _MODIFIERS[keyword]) if keyword in _MODIFIERS else []
            found.append({**code, "Modifiers": modifiers} if modifiers else code)
    return found


_MODIFIERS = {
    "AnatomicRegionSequence": "AnatomicRegionModifierSequence",
    "ViewCodeSequence": "ViewModifierCodeSequence",
}

_CODE_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")
_TAGS = {
    keyword: int(Tag(keyword))
    for keyword in (
        *KEYWORDS,
        *_MODIFIERS.values(),
        *_CODE_VALUES,
        "CodingSchemeDesignator",
        "CodeMeaning",
    )
}
_Elements = Mapping[int, DataElement | RawDataElement]
_VRS = {keyword: dictionary_VR(tag) for keyword, tag in _TAGS.items()}
"""Of what was sent without: implicit VR."""
_US_BYTES = 2


def _code(item: Dataset, here: _Elements) -> dict[str, Json]:
    """PS3.3 8.1: a long or URN code stands in another attribute than a short one."""
    value = next((v for keyword in _CODE_VALUES if (v := _values(item, here, keyword))), None)
    entry = {
        "CodeValue": value,
        "CodingSchemeDesignator": _values(item, here, "CodingSchemeDesignator"),
        "CodeMeaning": _values(item, here, "CodeMeaning"),
    }
    return {keyword: v for keyword, v in entry.items() if v is not None}
