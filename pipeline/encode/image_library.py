"""The radiographs that a report was made from, as the Image Library of its tree.

Built here and not by highdicom's ImageLibrary, which demands PatientOrientation and
ImagerPixelSpacing of every radiograph and so has no word for a plain CR.

Source: PS3.16 TID 1600 to 1603.
"""

from __future__ import annotations

import highdicom as hd
from highdicom.sr import CodedConcept, RelationshipTypeValues
from pydicom import dcmread
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as PydicomCode

from pipeline.attributes import Json, attributes, text
from pipeline.encode.codes import LATERALITY, REGIONS, VIEWS
from pipeline.encode.common import Result, ordered
from pipeline.headers import orientation_letters
from pipeline.types import Code, Radiograph

SOURCE = Code("260753009", "SCT", "Source")
MODALITIES = {
    "CR": codes.cid29.ComputedRadiography,
    "DX": codes.cid29.DigitalRadiography,
    "RF": codes.cid29.Radiofluoroscopy,
    "XA": codes.cid29.XRayAngiography,
}
"""CID 29, as far as the node takes it; another modality is left out and not guessed."""
PIXELS = PydicomCode("{pixels}", "UCUM", "Pixels")
READ = ("Modality", "PatientOrientation", "Rows", "Columns")
ACQUIRED = RelationshipTypeValues.HAS_ACQ_CONTEXT


def image_library(result: Result) -> hd.sr.ContainerContentItem:
    """Every radiograph that took part, with modality, view, side and orientation."""
    group = _container(codes.DCM.ImageLibraryGroup)
    headers = _headers(result)
    for radiograph in sorted(ordered(result.radiographs), key=lambda one: one.view.name):
        item = hd.sr.ImageContentItem(
            name=concept(SOURCE),
            referenced_sop_class_uid=radiograph.sop_class_uid,
            referenced_sop_instance_uid=radiograph.sop_instance_uid,
            referenced_frame_numbers=radiograph.frame_number,
            relationship_type=RelationshipTypeValues.CONTAINS,
        )
        described = _descriptors(result, radiograph, headers[radiograph.sop_instance_uid])
        item.ContentSequence = hd.sr.ContentSequence(described)
        group.ContentSequence.append(item)
    library = _container(codes.DCM.ImageLibrary)
    library.ContentSequence.append(group)
    return library


def concept(code: Code) -> CodedConcept:
    """The code as highdicom wants it."""
    return CodedConcept(code.value, code.scheme, code.meaning)


def _headers(result: Result) -> dict[str, dict[str, Json]]:
    """What the files of the sources say, by SOP instance UID."""
    return {
        source.sop_instance_uid: attributes(
            dcmread(source.path, stop_before_pixels=True, specific_tags=list(READ))
        )
        for source in result.request.sources
    }


def _descriptors(
    result: Result, radiograph: Radiograph, header: dict[str, Json]
) -> list[hd.sr.ContentItem]:
    """Source: PS3.16 TID 1602, 1603."""
    items: list[hd.sr.ContentItem] = []
    if modality := MODALITIES.get(text(header, "Modality")):
        items.append(_coded(codes.DCM.Modality, modality))
    if radiograph.side in LATERALITY:
        items.append(_coded(codes.DCM.ImageLaterality, concept(LATERALITY[radiograph.side])))
    if region := REGIONS.get(result.request.region.strip().lower()):
        items.append(_coded(codes.DCM.TargetRegion, concept(region)))
    items.append(_coded(codes.DCM.ImageView, concept(VIEWS[radiograph.view.name])))
    if letters := orientation_letters(header):
        row, column = letters
        items.append(_text(codes.DCM.PatientOrientationRow, row))
        items.append(_text(codes.DCM.PatientOrientationColumn, column))
    sizes = {"Rows": codes.DCM.PixelDataRows, "Columns": codes.DCM.PixelDataColumns}
    for keyword, name in sizes.items():
        value = header.get(keyword)
        if isinstance(value, int) and value > 0:
            size = hd.sr.NumContentItem(name, value, PIXELS, relationship_type=ACQUIRED)
            size.MeasuredValueSequence[0].NumericValue = str(value)
            items.append(size)
    return items


def _container(name: PydicomCode) -> hd.sr.ContainerContentItem:
    item = hd.sr.ContainerContentItem(name, relationship_type=RelationshipTypeValues.CONTAINS)
    item.ContentSequence = hd.sr.ContentSequence()
    return item


def _coded(name: PydicomCode, value: PydicomCode | CodedConcept) -> hd.sr.CodeContentItem:
    return hd.sr.CodeContentItem(name, value, relationship_type=ACQUIRED)


def _text(name: PydicomCode, value: str) -> hd.sr.TextContentItem:
    return hd.sr.TextContentItem(name, value, relationship_type=ACQUIRED)
