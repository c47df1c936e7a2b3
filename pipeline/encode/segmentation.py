"""The bones as a BINARY Segmentation over the model volume.

highdicom builds the frames. It gets sources without a patient and is given the patient, the
study and every name afterwards: it would decode and check what must stay as the source has it,
and it puts the clock and random UIDs where this project derives both.

The radiographs stand in the top-level SourceImageSequence. As a second item of
ReferencedSeriesSequence they keep OHIF 3.12 at "Loading SEG" for ever.
"""

from __future__ import annotations

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.coding import Code as PydicomCode
from pydicom.uid import SegmentationStorage

from pipeline.encode.codes import ANATOMICAL_STRUCTURE, LATERALITY, code_item, region_item
from pipeline.encode.common import (
    CONTENT_LABEL,
    MANUFACTURER,
    MODEL_NAME,
    Result,
    algorithm_item,
    assumptions,
    family,
    file_meta,
    printable,
    provenance,
    put_general_modules,
    radiograph_series,
    software_version,
    source_images,
)
from pipeline.encode.grid import Grid, inside
from pipeline.encode.lettering import WARNING
from pipeline.types import Bone, Code, ObjectKind

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


def segmentation(result: Result, grid: Grid, volume: list[Dataset], *, refer: bool) -> Dataset:
    """The Segmentation of all bones, one segment a bone, numbered from 1 in their order.

    Args:
        result: What was reconstructed.
        grid: The grid of `volume` and of the bones.
        volume: The slices of the model volume.
        refer: Whether the slices are written too, so that the frames may refer to them; where
            they are not, only the radiographs are referred to.
    """
    ds = Dataset()
    ds.update(_built(result, grid, volume))
    put_general_modules(ds, result, ObjectKind.SEGMENTATION)
    ds.file_meta = file_meta(SegmentationStorage, ds.SOPInstanceUID)
    _put_codes(ds, result)
    _put_derived_names(ds, result)
    ds.update(result.heading.lossy)
    ds.SourceImageSequence = source_images(result)
    if not refer:
        _refer_to_radiographs_only(ds, result)
    ds["PixelData"].VR = "OB"
    return ds


def content_description(result: Result) -> str:
    """The warning, and whether a part of the geometry was assumed; an LO of 64 characters."""
    assumed = ", SCALE OR VIEW ASSUMED" if assumptions(result) else ""
    return printable(f"{WARNING}{assumed}", 64)


def segment_label(bone: Bone) -> str:
    """The name of the bone and its side, as viewers list it."""
    return printable(f"{bone.name} {bone.side}" if bone.side in LATERALITY else bone.name, 64)


def _built(result: Result, grid: Grid, volume: list[Dataset]) -> hd.seg.Segmentation:
    """The frames, their places and the segments; what follows from the job is put on later."""
    bones = result.reconstruction.bones
    masks = np.stack([inside(bone) for bone in bones], axis=-1).astype(np.uint8)
    return hd.seg.Segmentation(
        source_images=[_geometry(ds, result) for ds in volume],
        pixel_array=_stacked(masks, result, grid),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_described(bone, n, result) for n, bone in enumerate(bones, 1)],
        series_instance_uid=result.uid("segmentation series"),
        series_number=1,
        sop_instance_uid=result.uid("segmentation"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=software_version(),
        device_serial_number=printable(result.request.node, 64),
        content_label=CONTENT_LABEL,
        content_description=content_description(result),
    )


def _geometry(ds: Dataset, result: Result) -> Dataset:
    """A slice as highdicom needs it: its place in space, and no patient."""
    source = Dataset()
    for keyword in COPIED_GEOMETRY:
        source[keyword] = ds[keyword]
    source.StudyInstanceUID = result.heading.study_instance_uid
    for keyword in EMPTY:
        setattr(source, keyword, "")
    return source


def _stacked(masks: NDArray[np.uint8], result: Result, grid: Grid) -> hd.Volume:
    return hd.Volume(
        masks,
        grid.patient_from_index,
        coordinate_system=hd.CoordinateSystemNames.PATIENT,
        frame_of_reference_uid=result.uid("frame of reference"),
        channels={"SegmentNumber": list(range(1, masks.shape[-1] + 1))},
    )


def _described(bone: Bone, number: int, result: Result) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment_label(bone),
        segmented_property_category=_code(ANATOMICAL_STRUCTURE),
        segmented_property_type=_code(bone.code),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=printable(result.reconstruction.algorithm.name, 64),
            version=printable(result.reconstruction.algorithm.version, 64),
            family=_code(family(result.reconstruction.algorithm)),
        ),
        tracking_uid=result.uid("tracked bone", number),
        tracking_id=tracking_id(bone, result),
        display_color=hd.color.CIELabColor.from_rgb(*bone.rgb),
    )


def tracking_id(bone: Bone, result: Result) -> str:
    """A name for the bone as a finding, the same in every object of the result."""
    return printable(f"{segment_label(bone)} {result.uid('tracking')[-8:]}", 64)


def _put_codes(ds: Dataset, result: Result) -> None:
    """Each segment has its region, its side, its algorithm and a sentence on what it is."""
    for item, bone in zip(ds.SegmentSequence, result.reconstruction.bones, strict=True):
        item.SegmentDescription = provenance(result, 1024)
        item.SegmentationAlgorithmIdentificationSequence = [
            algorithm_item(result.reconstruction.algorithm)
        ]
        item.AnatomicRegionSequence = [region_item(result.request.region, bone.code, bone.side)]
        if bone.side in LATERALITY:
            kind = item.SegmentedPropertyTypeCodeSequence[0]
            kind.SegmentedPropertyTypeModifierCodeSequence = [code_item(LATERALITY[bone.side])]


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
