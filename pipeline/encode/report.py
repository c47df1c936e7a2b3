"""The report: a Comprehensive 3D SR by TID 1500, the root of the result.

It follows the profile AI Results (AIR) of IHE Radiology, Technical Framework Supplement Rev. 1.3,
Trial Implementation, Volume 3, 6.5.3:

- Measurements are encoded in a Comprehensive 3D SR with TID 1500 as its root template, carry a
  tracking identifier and a tracking UID, and point at the segment that they were made on.
- 6.5.3.1: every object describes the algorithm in ContributingEquipmentSequence, as (109102, DCM,
  "Processing Equipment") with Manufacturer, ManufacturerModelName, SoftwareVersions and DeviceUID
  (`common.processing_equipment`); the device observer (TID 1004) and the algorithm identification
  (TID 4019) of the tree have the same values (Table 6.5.3.1-1).
- Procedure Reported is the imaging procedure that was analysed, not the analysis: the study's own
  Procedure Code Sequence, where it has one.
- Content Date and Time are those of the start of the analysis: of the opening of the job.
- Qualitative findings, were there any, would be coded in TID 1501 or row 12 of TID 1500; what is
  assumed stands there as text.
- The root refers to the other objects of the result, and is delivered after them.

The report is preliminary and unverified: a person reads it before it counts. Its references are
all of one study, so that all of them stand in CurrentRequestedProcedureEvidenceSequence and none
in PertinentOtherEvidenceSequence (PS3.3 C.17.2.3).

highdicom builds the tree and the evidence; names and times are put on afterwards, as it draws
some of them from the clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import highdicom as hd
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage

from pipeline.encode.common import (
    MANUFACTURER,
    Result,
    device_uid,
    file_meta,
    ordered,
    printable,
    put_general_modules,
)
from pipeline.encode.image_library import concept, image_library
from pipeline.encode.lettering import WARNING
from pipeline.encode.report_content import (
    CONTAINS,
    PRIVATE_SCHEME,
    Group,
    assumption_items,
    bone_group,
    quality_group,
    text_item,
    unmeasured_items,
)
from pipeline.encode.segmentation import EMPTY, LABEL_MAP_STORAGE
from pipeline.encode.uids import derived_uid
from pipeline.types import Code, ObjectKind

Made = Sequence[tuple[ObjectKind, Dataset]]

CAUTION = f"{WARNING}. For research use; not a diagnosis."
EXTENT_OF_MEASURES = (
    "Volume and extent are estimates, and those of the part of the bone that the views show; "
    "extents run along the patient's axes."
)
COMMENT = Code("121106", "DCM", "Comment")
CODED = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
"""TID 1500, row 12."""
RESULT_SET = Code("RESULT-SET", PRIVATE_SCHEME, "Objects of this result")
NAMES = {
    "model-volume": Code("VOLUME", PRIVATE_SCHEME, "Model volume, series of slices"),
    "segmentation": Code("SEGMENTATION", PRIVATE_SCHEME, "Segmentation of the bones"),
    "labelmap": Code("LABELMAP", PRIVATE_SCHEME, "Label map of the bones"),
    "fractional": Code("PROBABILITY", PRIVATE_SCHEME, "Probability of bone"),
    "surface-segmentation": Code("SURFACES", PRIVATE_SCHEME, "Surfaces of the bones"),
    "stl": Code("STL", PRIVATE_SCHEME, "Surface of a bone, to print or plan with"),
    "key-image": Code("121080", "DCM", "Best illustration of finding"),
    "turntable": Code("TURNTABLE", PRIVATE_SCHEME, "Turntable of the bones"),
}
"""What an object of each kind is called in the report."""


def report(result: Result, made: Made) -> Dataset:
    """The report of a result whose other objects are `made`, in the order of delivery."""
    built = hd.sr.Comprehensive3DSR(
        evidence=_evidence(result, made),
        content=_content(result, made)[0],
        series_instance_uid=result.uid("report series"),
        series_number=1,
        sop_instance_uid=result.uid("report"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    ds = Dataset()
    ds.update(built)
    put_general_modules(ds, result, ObjectKind.REPORT)
    # the Comprehensive 3D SR has no Frame of Reference IE (PS3.3 A.35.13)
    del ds.FrameOfReferenceUID, ds.PositionReferenceIndicator
    ds.file_meta = file_meta(Comprehensive3DSRStorage, ds.SOPInstanceUID)
    ds.CodingSchemeIdentificationSequence = [_private_scheme()]
    return ds


def _content(result: Result, made: Made) -> hd.sr.MeasurementReport:
    """The tree: what it is and by whom, from which images, numbers, assumptions, the other objects.

    The caution stands before the first number.
    """
    groups: list[Group] = [
        bone_group(bone, number, result, _segment(number, result, made))
        for number, bone in enumerate(result.reconstruction.bones, 1)
    ]
    if quality := quality_group(result):
        groups.append(quality)
    content = hd.sr.MeasurementReport(
        observation_context=_observation_context(result),
        procedure_reported=_procedures(result),
        imaging_measurements=groups,
        title=codes.cid7021.ImagingMeasurementReport,
    )
    tree = content[0].ContentSequence
    measurements = len(tree) - 1
    tree.insert(measurements, text_item(COMMENT, CAUTION, CONTAINS))
    tree.insert(measurements + 1, text_item(COMMENT, EXTENT_OF_MEASURES, CONTAINS))
    tree.insert(measurements + 2, image_library(result))
    tree.append(_container(EVALUATIONS, assumption_items(result) + unmeasured_items(result)))
    if made:
        tree.append(_container(RESULT_SET, _references(made)))
    _separate(content[0])
    return content


def _procedures(result: Result) -> list[hd.sr.CodedConcept]:
    """The imaging procedures of the study as its headers code them, else a radiograph of some part.

    Only what is whole and short is taken over; a copy is read, as the original stays raw.
    """
    found = []
    for item in deepcopy(result.heading.patient_and_study).get("ProcedureCodeSequence") or []:
        parts = [str(item.get(keyword) or "") for keyword in CODED]
        if all(parts) and parts == [printable(part, 64) for part in parts]:
            found.append(hd.sr.CodedConcept(*parts))
    return found or [codes.cid100.XRUnspecifiedBodyRegion]


def _separate(item: Dataset) -> None:
    """Containers are lists of separate statements; highdicom would make them running prose."""
    if "ContinuityOfContent" in item:
        item.ContinuityOfContent = "SEPARATE"
    for child in item.get("ContentSequence", []):
        _separate(child)


def _observation_context(result: Result) -> hd.sr.ObservationContext:
    """Source: PS3.16 TID 1004; the model name is the algorithm's, as AIR wants it."""
    algorithm = result.reconstruction.algorithm
    node = printable(result.request.node, 64)
    device = hd.sr.DeviceObserverIdentifyingAttributes(
        uid=device_uid(algorithm),
        name=node,
        manufacturer_name=MANUFACTURER,
        model_name=printable(algorithm.name, 64),
        serial_number=node,
    )
    return hd.sr.ObservationContext(
        observer_device_context=hd.sr.ObserverContext(
            observer_type=codes.DCM.Device, observer_identifying_attributes=device
        )
    )


def _segment(number: int, result: Result, made: Made) -> hd.sr.ReferencedSegment | None:
    """Bone `number` in the first Segmentation of the result; None where there is none."""
    segmentation = next((ds for _, ds in made if ds.SOPClassUID == SegmentationStorage), None)
    if segmentation is None:
        return None
    volume = next((ds for kind, ds in made if kind is ObjectKind.MODEL_VOLUME), None)
    if volume is not None:
        series = hd.sr.SourceSeriesForSegmentation(volume.SeriesInstanceUID)
        return hd.sr.ReferencedSegment(
            SegmentationStorage, segmentation.SOPInstanceUID, number, source_series=series
        )
    images = [
        hd.sr.SourceImageForSegmentation(
            radiograph.sop_class_uid,
            radiograph.sop_instance_uid,
            None if radiograph.frame_number is None else [radiograph.frame_number],
        )
        for radiograph in ordered(result.radiographs)
    ]
    return hd.sr.ReferencedSegment(
        SegmentationStorage, segmentation.SOPInstanceUID, number, source_images=images
    )


def _references(made: Made) -> list[hd.sr.ContentItem]:
    """One item for each object; the slices of the volume are named by their series.

    A label map is referred to as a composite object: readers that are older than its class take
    an image of an unknown class for a broken report (dcmtk 3.6.7).
    """
    items: list[hd.sr.ContentItem] = []
    series: set[str] = set()
    for kind, ds in made:
        name = concept(NAMES[kind])
        if kind is not ObjectKind.MODEL_VOLUME:
            is_image = "PixelData" in ds and ds.SOPClassUID != LABEL_MAP_STORAGE
            refer = hd.sr.ImageContentItem if is_image else hd.sr.CompositeContentItem
            uids = (ds.SOPClassUID, ds.SOPInstanceUID)
            items.append(refer(name, *uids, relationship_type=CONTAINS))
        elif ds.SeriesInstanceUID not in series:
            series.add(ds.SeriesInstanceUID)
            items.append(hd.sr.UIDRefContentItem(name, ds.SeriesInstanceUID, CONTAINS))
    return items


def _container(name: Code, items: Sequence[hd.sr.ContentItem]) -> hd.sr.ContainerContentItem:
    container = hd.sr.ContainerContentItem(concept(name), relationship_type=CONTAINS)
    container.ContentSequence = hd.sr.ContentSequence(items)
    return container


def _evidence(result: Result, made: Made) -> list[Dataset]:
    """Which objects they are, without the patient: every radiograph, then the set's own."""
    items = []
    for radiograph in ordered(result.radiographs):
        uids = (radiograph.sop_class_uid, radiograph.sop_instance_uid)
        items.append(_instance(result, *uids, radiograph.series_instance_uid))
    for _, ds in made:
        items.append(_instance(result, ds.SOPClassUID, ds.SOPInstanceUID, ds.SeriesInstanceUID))
    # highdicom takes the patient from the first one; he is put on afterwards as the source has him
    for keyword in EMPTY:
        setattr(items[0], keyword, "")
    return items


def _instance(
    result: Result, sop_class_uid: str, sop_instance_uid: str, series_instance_uid: str
) -> Dataset:
    item = Dataset()
    item.SOPClassUID = sop_class_uid
    item.SOPInstanceUID = sop_instance_uid
    item.SeriesInstanceUID = series_instance_uid
    item.StudyInstanceUID = result.heading.study_instance_uid
    return item


def _private_scheme() -> Dataset:
    """Source: PS3.3 C.12.1, Coding Scheme Identification."""
    item = Dataset()
    item.CodingSchemeDesignator = PRIVATE_SCHEME
    item.CodingSchemeUID = derived_uid("Osteon", "coding scheme")
    item.CodingSchemeName = "Osteon reconstruction of bones"
    item.CodingSchemeResponsibleOrganization = MANUFACTURER
    return item
