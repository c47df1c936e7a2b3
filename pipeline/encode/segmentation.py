"""The bones as a Segmentation over the model volume: BINARY, as a label map, or as probability.

highdicom builds the frames. It gets sources without a patient and is given the patient, the
study and every name afterwards: it would decode and check what must stay as the source has it,
and it puts the clock and random UIDs where this project derives both.

BINARY is what every viewer of segmentations opens; bones may overlap in it. A label map gives
each voxel to one bone, the likeliest. FRACTIONAL keeps the probability itself, in 255 steps.

The radiographs stand in the top-level SourceImageSequence. As a second item of
ReferencedSeriesSequence they keep OHIF 3.12 at "Loading SEG" for ever.
"""

from __future__ import annotations

from typing import Any, Final

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.coding import Code as PydicomCode
from pydicom.uid import UID

from pipeline.colours import colours
from pipeline.encode.bones import (
    algorithm_of,
    description_of,
    property_items,
    segment_label,
    tracking_id,
    tracking_uid,
)
from pipeline.encode.codes import ANATOMICAL_STRUCTURE
from pipeline.encode.common import (
    CONTENT_LABEL,
    MANUFACTURER,
    MODEL_NAME,
    Result,
    algorithm_item,
    content_description,
    family,
    file_meta,
    printable,
    put_general_modules,
    radiograph_series,
    software_version,
    source_images,
)
from pipeline.encode.grid import SURFACE, Grid, inside
from pipeline.types import Bone, Code, ObjectKind

LABEL_MAP_STORAGE: Final = UID("1.2.840.10008.5.1.4.1.1.66.7")
"""Label Map Segmentation Storage, younger than the tables of pydicom 3.0."""
MOST_FRACTIONAL = 255
"""The stored value of probability 1 in a FRACTIONAL segmentation."""

TYPES: Final = {
    ObjectKind.SEGMENTATION: hd.seg.SegmentationTypeValues.BINARY,
    ObjectKind.LABELMAP: hd.seg.SegmentationTypeValues.LABELMAP,
    ObjectKind.FRACTIONAL: hd.seg.SegmentationTypeValues.FRACTIONAL,
}
"""Segmentation Type (0062,0001) of each kind."""

COPIED_GEOMETRY = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
)
EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
)


def segmentation(
    result: Result,
    grid: Grid,
    volume: list[Dataset],
    *,
    refer: bool,
    kind: ObjectKind = ObjectKind.SEGMENTATION,
) -> Dataset:
    """The Segmentation of all bones, one segment a bone, numbered from 1 in their order.

    Args:
        result: What was reconstructed.
        grid: The grid of `volume` and of the bones.
        volume: The slices of the model volume.
        refer: Whether the slices are written too, so that the frames may refer to them; where
            they are not, only the radiographs are referred to.
        kind: One of `TYPES`.
    """
    ds = Dataset()
    ds.update(_built(result, grid, volume, kind))
    put_general_modules(ds, result, kind)
    ds.file_meta = file_meta(ds.SOPClassUID, ds.SOPInstanceUID)
    _put_codes(ds, result)
    _put_derived_names(ds, result)
    ds.update(result.heading.lossy)
    ds.SourceImageSequence = source_images(result)
    if not refer:
        _refer_to_radiographs_only(ds, result)
    ds["PixelData"].VR = "OB" if ds.BitsAllocated <= 8 else "OW"
    if "PixelPaddingValue" in ds:
        ds["PixelPaddingValue"].VR = "US"
    return ds


def labels(bones: tuple[Bone, ...]) -> NDArray[np.unsignedinteger]:
    """(Z, Y, X); the number of the likeliest bone of each voxel, from 1; 0 outside all of them.

    Of two bones that are as likely as each other, the first has the voxel.
    """
    probabilities = np.stack([bone.probability.array for bone in bones])
    number = np.where(probabilities.max(axis=0) < SURFACE, 0, probabilities.argmax(axis=0) + 1)
    return np.asarray(number, np.uint8 if len(bones) <= 0xFF else np.uint16)


def _built(
    result: Result, grid: Grid, volume: list[Dataset], kind: ObjectKind
) -> hd.seg.Segmentation:
    """The frames, their places and the segments; what follows from the job is put on later."""
    bones = result.reconstruction.bones
    return hd.seg.Segmentation(
        source_images=[_geometry(ds, result) for ds in volume],
        pixel_array=_placed(_values(bones, kind), result, grid),
        segmentation_type=TYPES[kind],
        max_fractional_value=MOST_FRACTIONAL,
        segment_descriptions=[_described(bone, n, result) for n, bone in enumerate(bones, 1)],
        series_instance_uid=result.uid(f"{kind} series"),
        series_number=1,
        sop_instance_uid=result.uid(kind),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=software_version(),
        device_serial_number=printable(result.request.node, 64),
        content_label=CONTENT_LABEL,
        content_description=content_description(result),
    )


def _values(bones: tuple[Bone, ...], kind: ObjectKind) -> NDArray[np.generic]:
    """(Z, Y, X, bone) for kinds in which bones may overlap, (Z, Y, X) for a label map."""
    if kind is ObjectKind.LABELMAP:
        return labels(bones)
    if kind is ObjectKind.FRACTIONAL:
        return np.stack([bone.probability.array for bone in bones], axis=-1)
    return np.stack([inside(bone) for bone in bones], axis=-1).astype(np.uint8)


def _geometry(ds: Dataset, result: Result) -> Dataset:
    """A slice as highdicom needs it: its place in space, and no patient."""
    source = Dataset()
    for keyword in COPIED_GEOMETRY:
        source[keyword] = ds[keyword]
    source.StudyInstanceUID = result.heading.study_instance_uid
    for keyword in EMPTY:
        setattr(source, keyword, "")
    return source


def _placed(values: NDArray[np.generic], result: Result, grid: Grid) -> hd.Volume:
    numbers: dict[Any, Any] = {"SegmentNumber": list(range(1, values.shape[-1] + 1))}
    return hd.Volume(
        values,
        grid.patient_from_index,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        frame_of_reference_uid=result.uid("frame of reference"),
        channels=numbers if values.ndim == 4 else None,
    )


def _described(bone: Bone, number: int, result: Result) -> hd.seg.SegmentDescription:
    algorithm = algorithm_of(bone, result)
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment_label(bone),
        segmented_property_category=_code(ANATOMICAL_STRUCTURE),
        segmented_property_type=_code(bone.code),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=printable(algorithm.name, 64),
            version=printable(algorithm.version, 64),
            family=_code(family(algorithm)),
        ),
        tracking_uid=tracking_uid(bone, result),
        tracking_id=tracking_id(bone, result),
        display_color=hd.color.CIELabColor.from_rgb(
            *colours(result.reconstruction.bones)[number - 1]
        ),
    )


def _put_codes(ds: Dataset, result: Result) -> None:
    """Each segment has its region, its side, its algorithm and a sentence on what it is."""
    bones = result.reconstruction.bones
    for item in ds.SegmentSequence:
        if item.SegmentNumber == 0:
            continue  # the background of a label map is no bone
        bone = bones[item.SegmentNumber - 1]
        item.SegmentDescription = description_of(bone, result, 1024)
        item.SegmentationAlgorithmIdentificationSequence = [
            algorithm_item(algorithm_of(bone, result))
        ]
        item.update(property_items(bone, result.request.region))


def _put_derived_names(ds: Dataset, result: Result) -> None:
    """The dimension organization has a derived UID; highdicom draws a random one."""
    uid = result.uid("dimension organization")
    ds.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for item in ds.DimensionIndexSequence:
        item.DimensionOrganizationUID = uid


def _refer_to_radiographs_only(ds: Dataset, result: Result) -> None:
    """No reference points at a slice that is not written."""
    ds.ReferencedSeriesSequence = radiograph_series(result)
    for group in (ds.SharedFunctionalGroupsSequence[0], *ds.PerFrameFunctionalGroupsSequence):
        if "DerivationImageSequence" in group:
            group.DerivationImageSequence = []


def _code(code: Code) -> PydicomCode:
    return PydicomCode(code.value, code.scheme, code.meaning)
