"""A DICOM file to a radiograph: attenuation, what of it shows the patient, and its camera.

`pixels` gets one frame of stored values out of the file, `grey` says what they mean,
`collimation` which of them count, and `geometry` where they lie. What an image lacks is refused
with a sentence for a technician; nothing here repairs an image.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline.attributes import attributes
from pipeline.collimation import valid_pixels
from pipeline.errors import (
    ContradictoryGeometry,
    MissingView,
    PipelineError,
    StudyError,
    UnreadablePixels,
)
from pipeline.geometry import view_from_tags
from pipeline.grey import grey
from pipeline.pixels import frame_count, read_dataset_of, stored_values
from pipeline.types import (
    Assume,
    Assumption,
    Image,
    Mask,
    Radiograph,
    Request,
    Side,
    Source,
    ViewName,
)
from pipeline.views import Unknown, satisfies, side, view_name

LEAST_VALID_PART = 0.01


@dataclass(frozen=True, slots=True)
class Exposure:
    """What one frame shows, before it has a place in space."""

    attenuation: Image
    is_valid: Mask
    assumptions: tuple[Assumption, ...]


def read_all(request: Request) -> tuple[Radiograph, ...]:
    """The radiographs of a request, in the order of its sources.

    Raises:
        StudyError: naming every image that cannot be used; of the class of the first fault.
        MissingView: a view that the rule expects is not among them.
        ContradictoryGeometry: two of them are one exposure.
    """
    found: list[Radiograph] = []
    faults: list[StudyError] = []
    for number, source in enumerate(request.sources, 1):
        try:
            found.append(_read_one(source, request))
        except StudyError as fault:
            faults.append(type(fault)(f"Image {number} ({source.sop_instance_uid}): {fault}"))
    if faults:
        raise type(faults[0])("; ".join(str(fault) for fault in faults)) from faults[0]
    have = [radiograph.view.name for radiograph in found]
    missing = [e for e in request.views if not any(satisfies(e, view) for view in have)]
    if missing:
        raise MissingView(
            f"The rule expects the views {', '.join(request.views)}; missing: {', '.join(missing)}"
        )
    _require_several_exposures(found)
    return tuple(found)


def _require_several_exposures(found: list[Radiograph]) -> None:
    """One exposure under two names agrees with itself in every check that comes later."""
    for one, other in combinations(found, 2):
        if np.array_equal(one.attenuation, other.attenuation):
            raise ContradictoryGeometry(
                f"The {one.view.name} and the {other.view.name} view are one and the same exposure"
            )


def read(
    source: Source,
    view: ViewName,
    assume: Assume,
    frame_number: int = 1,
    side: Side = Side.UNPAIRED,
) -> Radiograph:
    """The radiograph of a stored instance.

    Raises:
        UnreadablePixels: the file or its pixels are broken, blank, or in colour.
        MissingGeometry: the geometry is missing and may not be assumed.
        ContradictoryGeometry: the geometry contradicts itself or the view.
        StudyError: a UID is missing.
    """
    return radiograph(_instance(source), view, assume, frame_number, side)


def radiograph(
    ds: Dataset,
    view: ViewName,
    assume: Assume,
    frame_number: int = 1,
    side: Side = Side.UNPAIRED,
) -> Radiograph:
    """`read` of a dataset with its pixels."""
    if frame_number > 1 and str(ds.get("PositionerMotion", "")).strip() == "DYNAMIC":
        raise ContradictoryGeometry(
            "The C-arm moves during the run (PositionerMotion DYNAMIC): its angles hold for frame 1"
        )
    placed = view_from_tags(ds, view, assume)
    seen = exposure(ds, frame_number)
    return Radiograph(
        attenuation=seen.attenuation,
        is_valid=seen.is_valid,
        view=placed.view,
        sop_class_uid=_uid(ds, "SOPClassUID"),
        sop_instance_uid=_uid(ds, "SOPInstanceUID"),
        series_instance_uid=_uid(ds, "SeriesInstanceUID"),
        frame_number=frame_number if frame_count(ds) > 1 else None,
        side=side,
        assumptions=placed.assumptions + seen.assumptions,
    )


def _uid(ds: Dataset, keyword: str) -> str:
    if not (found := str(ds.get(keyword) or "")):
        raise StudyError(f"The image lacks its {keyword}")
    return found


def exposure(ds: Dataset, frame_number: int = 1) -> Exposure:
    """Attenuation and validity of one frame, without geometry.

    Raises:
        UnreadablePixels: the pixels are broken, blank, only padding, or in colour.
    """
    stored = stored_values(ds, frame_number)
    seen = grey(ds, stored)
    is_valid = valid_pixels(ds, stored, seen.attenuation)
    if is_valid.mean() < LEAST_VALID_PART:
        raise UnreadablePixels("The image holds nothing but padding or shutter")
    shown = seen.attenuation[is_valid]
    if not np.isfinite(shown).all():
        raise UnreadablePixels("The image holds values that are no numbers")
    if shown.min() == shown.max():
        raise UnreadablePixels("The image is blank: every pixel has the same value")
    return Exposure(seen.attenuation, is_valid, seen.assumptions)


def display(shown: Radiograph | Exposure) -> NDArray[np.uint8]:
    """(rows, columns) bone white, air black, and black where the image shows no patient."""
    low, high = np.percentile(shown.attenuation[shown.is_valid], (0.5, 99.5))
    spread = max(float(high - low), 1e-9)
    grey_levels = np.clip((shown.attenuation - low) / spread, 0, 1) * 255
    return np.where(shown.is_valid, np.rint(grey_levels), 0).astype(np.uint8)


def _read_one(source: Source, request: Request) -> Radiograph:
    ds = _instance(source)
    header = attributes(ds)
    name = source.view
    if name is None:
        told = view_name(header, request.assume.view_of_series)
        if isinstance(told, Unknown):
            raise MissingView(told.reason)
        name = told.view
    of = side(header)
    if {of, request.side} == {Side.RIGHT, Side.LEFT}:
        raise ContradictoryGeometry(
            f"The image is of side {of}, but the reconstruction of side {request.side}"
        )
    frame_number = request.frame_number if frame_count(ds) > 1 else 1
    return radiograph(ds, name, request.assume, frame_number, request.side)


def _instance(source: Source) -> Dataset:
    ds = read_dataset_of(source.path)
    if str(ds.get("SOPInstanceUID", "")) != source.sop_instance_uid:
        raise PipelineError(f"The stored file of {source.sop_instance_uid} holds another instance")
    return ds
