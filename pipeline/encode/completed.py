"""A segmentation with what was added to it: its own segments first, then those that are predicted.

The frame of reference, the patient and the study are those of the source; segments that were given
keep what they say of themselves and change at most their number, so that numbers run from 1. Every
added segment says in its name that it is predicted and not imaged, and is AUTOMATIC. The result is
BINARY: voxels of what was given are the given ones, and no voxel is in two segments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.sr.coding import Code as PydicomCode
from pydicom.uid import CTImageStorage

from pipeline.completing import Completed
from pipeline.completion_weights import NAME
from pipeline.encode.codes import (
    ANATOMICAL_STRUCTURE,
    ARTIFICIAL_INTELLIGENCE,
    LATERALITY,
    SOURCE_IMAGE,
    code_item,
)
from pipeline.encode.common import MANUFACTURER, file_meta, printable, software_version
from pipeline.encode.segmentation import EMPTY
from pipeline.encode.sources import read_heading
from pipeline.encode.uids import derived_uid
from pipeline.structures import PREDICTED, meaning_of, numbers_by_meaning
from pipeline.types import Code, Side, Source

SERIES_NUMBER = 9011


@dataclass(frozen=True, slots=True)
class CompletedSegmentation:
    """What is written, and what it was made from."""

    path: Path
    """Of the source."""
    source: hd.seg.Segmentation
    completed: Completed
    names: tuple[str, ...]
    """Of the structures, from number 1."""
    digest: str
    """SHA-256, hex, of the weights."""


def named_segments(source: Dataset, names: Sequence[str]) -> dict[int, int]:
    """From a segment's number to that of the structure whose code and side it has.

    Of a pair without a side in the code, nothing is known.
    """
    known = numbers_by_meaning(names)
    found = {}
    for item in source.SegmentSequence:
        kinds = item.get("SegmentedPropertyTypeCodeSequence")
        if not kinds:
            continue  # a number of the command line may name it
        kind = kinds[0]
        side = _side(kind, item)
        number = known.get((kind.get("CodeValue", ""), side))
        if number is not None:
            found[int(item.SegmentNumber)] = number
    return found


def _side(kind: Dataset, item: Dataset) -> Side:
    """The side that the type's modifier says, else that of the anatomic region."""
    modifiers = list(kind.get("SegmentedPropertyTypeModifierCodeSequence", []))
    for region in item.get("AnatomicRegionSequence", []):
        modifiers += region.get("AnatomicRegionModifierSequence", [])
    values = {side: code.value for side, code in LATERALITY.items()}
    for modifier in modifiers:
        for side, value in values.items():
            if modifier.get("CodeValue", "") == value:
                return side
    return Side.UNPAIRED


def write(made: CompletedSegmentation, target: Path) -> dict[int, int]:
    """`target` holds the segmentation; from the number of a structure to that of its segment.

    Raises:
        StudyError: the source cannot be read again.
    """
    added = [int(n) for n in np.unique(made.completed.added.array) if n]
    kept = [int(item.SegmentNumber) for item in made.source.SegmentSequence]
    kept = [number for number in kept if number]
    numbers = {number: len(kept) + 1 + place for place, number in enumerate(added)}
    ds = Dataset()
    ds.update(_built(made, kept, numbers))
    _put_source(ds, made)
    for item in ds.SegmentSequence:
        _describe(item, made, kept, numbers)
    ds.file_meta = file_meta(ds.SOPClassUID, ds.SOPInstanceUID)
    ds["PixelData"].VR = "OB"
    dcmwrite(target, ds, enforce_file_format=True)
    return numbers


def _uid(made: CompletedSegmentation, name: str) -> str:
    """It follows from the source, the weights and what was added; not from time or place."""
    added = hashlib.sha256(made.completed.added.array.tobytes()).hexdigest()
    return derived_uid("completed", str(made.source.SOPInstanceUID), made.digest, added, name)


def _built(
    made: CompletedSegmentation, kept: list[int], numbers: dict[int, int]
) -> hd.seg.Segmentation:
    """The frames and their places; what follows from the source is put on later."""
    given, added = made.completed.given, made.completed.added.array
    number = np.zeros(int(given.array.max()) + 1, np.uint16)
    number[[n for n in kept if n < len(number)]] = [
        place for place, n in enumerate(kept, start=1) if n < len(number)
    ]
    shift = np.zeros(1 + len(made.names), np.uint16)
    shift[list(numbers)] = list(numbers.values())
    union = np.where(given.array > 0, number[given.array], shift[added])
    count = len(kept) + len(numbers)
    volume = hd.Volume(
        union.astype(np.uint8 if count <= 0xFF else np.uint16),
        given.patient_from_index,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        frame_of_reference_uid=made.source.FrameOfReferenceUID,
    )
    return hd.seg.Segmentation(
        source_images=_slices(made),
        pixel_array=volume,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_placeholder(n) for n in range(1, count + 1)],
        series_instance_uid=_uid(made, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=_uid(made, "instance"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=NAME,
        software_versions=software_version(),
        device_serial_number="0",
        content_label="COMPLETED",
        content_description=printable(f"Segments with what is {PREDICTED}", 64),
    )


def _slices(made: CompletedSegmentation) -> list[Dataset]:
    """Slices that stand for the grid; nothing in the result refers to them."""
    given = made.completed.given
    affine = given.patient_from_index
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / spacing
    found = []
    for k in range(given.array.shape[0]):
        ds = Dataset()
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, _uid(made, f"slice {k}")
        ds.SeriesInstanceUID = _uid(made, "slices")
        ds.StudyInstanceUID = made.source.StudyInstanceUID
        ds.FrameOfReferenceUID = made.source.FrameOfReferenceUID
        ds.Modality = "CT"
        ds.Rows, ds.Columns = given.array.shape[1:]
        ds.ImagePositionPatient = (affine @ [k, 0, 0, 1])[:3].tolist()
        ds.ImageOrientationPatient = [*axes[:, 2].tolist(), *axes[:, 1].tolist()]
        ds.PixelSpacing = [float(spacing[1]), float(spacing[2])]
        ds.SliceThickness = float(spacing[0])
        for keyword in EMPTY:
            setattr(ds, keyword, "")
        found.append(ds)
    return found


def _placeholder(number: int) -> hd.seg.SegmentDescription:
    """What highdicom asks for; `_describe` says what the segment is."""
    nothing = PydicomCode(*_plain(ANATOMICAL_STRUCTURE))
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=str(number),
        segmented_property_category=nothing,
        segmented_property_type=nothing,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
    )


def _describe(
    item: Dataset, made: CompletedSegmentation, kept: list[int], numbers: dict[int, int]
) -> None:
    number = int(item.SegmentNumber)
    for element in list(item):
        del item[element.tag]
    if number <= len(kept):
        (own,) = (s for s in made.source.SegmentSequence if s.SegmentNumber == kept[number - 1])
        item.update(deepcopy(Dataset(own)))
    else:
        (structure,) = (s for s, n in numbers.items() if n == number)
        item.update(_predicted(made, made.names[structure - 1]))
    item.SegmentNumber = number


def _predicted(made: CompletedSegmentation, name: str) -> Dataset:
    """What a segment says of itself that nobody has seen."""
    meaning = meaning_of(name)
    label = meaning.words
    if meaning.side in LATERALITY:
        label = f"{label} {meaning.side}"
    item = Dataset()
    item.SegmentLabel = printable(f"{label}: {PREDICTED}", 64)
    item.SegmentDescription = printable(
        f"{PREDICTED.upper()}. Added by {NAME}, weights SHA-256 {made.digest}", 1024
    )
    item.SegmentAlgorithmType = "AUTOMATIC"
    item.SegmentAlgorithmName = NAME
    algorithm = Dataset()
    algorithm.AlgorithmFamilyCodeSequence = [code_item(ARTIFICIAL_INTELLIGENCE)]
    algorithm.AlgorithmName = NAME
    algorithm.AlgorithmVersion = printable(software_version(), 64)
    algorithm.AlgorithmSource = MANUFACTURER
    algorithm.AlgorithmParameters = f"weights_sha256={made.digest}"
    item.SegmentationAlgorithmIdentificationSequence = [algorithm]
    item.SegmentedPropertyCategoryCodeSequence = [code_item(ANATOMICAL_STRUCTURE)]
    kind = code_item(meaning.code)
    if meaning.side in LATERALITY:
        kind.SegmentedPropertyTypeModifierCodeSequence = [code_item(LATERALITY[meaning.side])]
    item.SegmentedPropertyTypeCodeSequence = [kind]
    item.TrackingUID = _uid(made, f"tracked {name}")
    item.TrackingID = printable(f"{label} predicted {item.TrackingUID[-8:]}", 64)
    return item


def _put_source(ds: Dataset, made: CompletedSegmentation) -> None:
    """Patient, study and references are those of the source; no slice is referred to."""
    content = made.path.read_bytes()
    uid = str(made.source.SOPInstanceUID)
    read_heading([Source(made.path, uid, hashlib.sha256(content).hexdigest())]).put_on(ds)
    ds.SeriesDescription = printable(f"Completed: {PREDICTED}", 64)
    reference = Dataset()
    reference.ReferencedSOPClassUID = made.source.SOPClassUID
    reference.ReferencedSOPInstanceUID = uid
    series = Dataset()
    series.SeriesInstanceUID = made.source.SeriesInstanceUID
    series.ReferencedInstanceSequence = [reference]
    ds.ReferencedSeriesSequence = [series]
    item = deepcopy(reference)
    item.SpatialLocationsPreserved = "YES"
    item.PurposeOfReferenceCodeSequence = [code_item(SOURCE_IMAGE)]
    ds.SourceImageSequence = [item]
    for group in (ds.SharedFunctionalGroupsSequence[0], *ds.PerFrameFunctionalGroupsSequence):
        if "DerivationImageSequence" in group:
            group.DerivationImageSequence = []
    organization = _uid(made, "dimension organization")
    ds.DimensionOrganizationSequence[0].DimensionOrganizationUID = organization
    for index in ds.DimensionIndexSequence:
        index.DimensionOrganizationUID = organization
    # the time of the source: the same input gives the same bytes
    for name in ("InstanceCreation", "Content", "Series"):
        for part in ("Date", "Time"):
            setattr(ds, name + part, made.source.get(f"Content{part}", ""))


def _plain(code: Code) -> tuple[str, str, str]:
    return code.value, code.scheme, code.meaning
