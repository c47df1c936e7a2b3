"""Radiographs as real modalities would send them, and as small as they can be.

Every dataset is the same in every run: its UIDs are derived from the names `study` and `image`.
A keyword that DICOM does not know is refused, so that a misspelt test cannot pass by accident.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

EXPOSED_AT = ("20260102", "101112")


class Kind(StrEnum):
    """The SOP classes that the node takes, under their UIDs (PS3.6 table A-1)."""

    CR = "1.2.840.10008.5.1.4.1.1.1"
    DX = "1.2.840.10008.5.1.4.1.1.1.1"
    DX_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
    XA = "1.2.840.10008.5.1.4.1.1.12.1"
    RF = "1.2.840.10008.5.1.4.1.1.12.2"
    SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


MODALITIES = {
    Kind.CR: "CR",
    Kind.DX: "DX",
    Kind.DX_FOR_PROCESSING: "DX",
    Kind.XA: "XA",
    Kind.RF: "RF",
    Kind.SECONDARY_CAPTURE: "OT",
}

ORIENTATIONS = {"AP": ["L", "F"], "PA": ["L", "F"], "LL": ["P", "F"], "RL": ["A", "F"]}
"""The customary display: the patient's right at the left of a frontal view, face to the left."""

SHAFTS = {"AP": 0.18, "PA": 0.18, "LL": 0.16, "RL": 0.16}
"""Half the width of the shaft in each view: two exposures of one limb are never the same."""

VIEW_CODES = {
    "AP": ("399348003", "antero-posterior"),
    "PA": ("272479007", "postero-anterior"),
    "LL": ("399173006", "left lateral"),
    "RL": ("399198007", "right lateral"),
}
"""SNOMED CT codes of PS3.16 CID 4010."""


def uid(*names: object) -> UID:
    """The same valid UID for the same names, in every run."""
    words = [str(name) for name in names]
    return pydicom.uid.generate_uid(prefix="1.2.826.0.1.3680043.8.498.", entropy_srcs=words)


def radiograph(
    kind: Kind = Kind.DX,
    *,
    study: str = "study",
    image: str = "image",
    view: str = "AP",
    pixels: NDArray[Any] | None = None,
    **keywords: Any,
) -> Dataset:
    """A complete object of `kind` with its geometry, changed by `keywords`.

    Args:
        kind: SOP class.
        study: Name that the study and patient UIDs are derived from.
        image: Name that, with `study` and `view`, the series and instance UIDs are derived from.
        view: Nominal view; sets ViewPosition, PatientOrientation and the view's code.
        pixels: (rows, columns) or (frames, rows, columns), uint8 or uint16; default `limb()`.
        keywords: DICOM keywords and their values; None removes the attribute.

    Raises:
        TypeError: a keyword is not one of DICOM's.
    """
    ds = Dataset()
    layers = (
        _patient_and_study(study),
        _series_and_instance(kind, study, image, view),
        _image(kind),
        _projection(kind, view),
        _pixels(limb(shaft=SHAFTS[view]) if pixels is None else pixels),
    )
    for layer in (*layers, keywords):
        _set(ds, layer)
    if "NumberOfFrames" in ds and kind in {Kind.XA, Kind.RF} and "FrameTime" not in ds:
        ds.FrameTime = "66.7"
        ds.FrameIncrementPointer = tag_for_keyword("FrameTime")
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", "")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "")
    return ds


def two_views(kind: Kind = Kind.DX, *, study: str = "study", **keywords: Any) -> list[Dataset]:
    """An AP and an LL radiograph of one study and patient; `keywords` apply to both."""
    return [radiograph(kind, study=study, view=view, **keywords) for view in ("AP", "LL")]


def limb(rows: int = 128, columns: int = 96, shaft: float = 0.18) -> NDArray[np.uint16]:
    """A bright shaft with a cortex in grey soft tissue on a dark field, 12 bits."""
    across = np.abs(np.linspace(-1.0, 1.0, columns))
    along = np.linspace(0.0, 1.0, rows)[:, None]
    half = shaft + 0.10 * np.cos(np.pi * along) ** 2
    image = np.full((rows, columns), 120.0)
    image[np.broadcast_to(across < 0.7, image.shape)] = 900
    image[across < half] = 3300
    image[across < 0.5 * half] = 2600
    return np.asarray(image, np.uint16)


def file_bytes(ds: Dataset, transfer_syntax: str = ExplicitVRLittleEndian) -> bytes:
    """`ds` as a DICOM file; native, deflated, RLE, JPEG-LS lossless or JPEG 2000 lossless.

    The dataset is not changed. For JPEG use dcmtk's encoder (`peer_programs.jpeg`).
    """
    syntax = UID(transfer_syntax)
    ds = copy.deepcopy(ds)
    if syntax in {RLELossless, JPEGLSLossless, JPEG2000Lossless}:
        ds.compress(syntax, generate_instance_uid=False)
    ds.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def _set(ds: Dataset, keywords: Mapping[str, Any]) -> None:
    for keyword, value in keywords.items():
        if tag_for_keyword(keyword) is None:
            raise TypeError(f"{keyword} is not a DICOM keyword")
        if value is not None:
            setattr(ds, keyword, value)
        elif keyword in ds:
            delattr(ds, keyword)


def _patient_and_study(study: str) -> dict[str, Any]:
    date, time = EXPOSED_AT
    return {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": "Test^Hip",
        "PatientID": f"TEST-{study}"[:64],
        "PatientBirthDate": "19600102",
        "PatientSex": "F",
        "StudyInstanceUID": uid("study", study),
        "StudyDate": date,
        "StudyTime": time,
        "ReferringPhysicianName": "Test^Physician",
        "StudyID": "1",
        "AccessionNumber": "TEST0001",
        "StudyDescription": "Hip, two views",
    }


def _series_and_instance(kind: Kind, study: str, image: str, view: str) -> dict[str, Any]:
    number = list(ORIENTATIONS).index(view) + 1
    return {
        "SOPClassUID": kind.value,
        "SOPInstanceUID": uid("instance", study, image, view),
        "SeriesInstanceUID": uid("series", study, image, view),
        "Modality": MODALITIES[kind],
        "SeriesNumber": number,
        "SeriesDescription": f"Hip {view}",
        "InstanceNumber": 1,
        "Manufacturer": "Test Devices",
        "ManufacturerModelName": "Test Detector",
        "DeviceSerialNumber": "TEST-1",
        "SoftwareVersions": "1",
        "StationName": "ROOM1",
        "InstitutionName": "Test Hospital",
    }


def _image(kind: Kind) -> dict[str, Any]:
    date, time = EXPOSED_AT
    common = {
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "AcquisitionDate": date,
        "AcquisitionTime": time,
        "ContentDate": date,
        "ContentTime": time,
        "BurnedInAnnotation": "NO",
        "LossyImageCompression": "00",
        "PhotometricInterpretation": "MONOCHROME2",
        "SamplesPerPixel": 1,
        "PixelRepresentation": 0,
    }
    if kind is Kind.SECONDARY_CAPTURE:
        return common | {"ImageType": ["DERIVED", "SECONDARY"], "ConversionType": "WSD"}
    if kind in {Kind.XA, Kind.RF}:
        return common | {
            "ImageType": ["ORIGINAL", "PRIMARY", "SINGLE PLANE"],
            "PixelIntensityRelationship": "LIN",
            "KVP": "70",
            "RadiationSetting": "GR",
            "XRayTubeCurrent": 100,
            "ExposureTime": 10,
        }
    common |= {"KVP": "70", "ExposureTime": 10}
    window = {"WindowCenter": "2048", "WindowWidth": "4096"}
    if kind is Kind.CR:
        return common | window
    digital = {
        "PixelIntensityRelationship": "LIN",
        "PixelIntensityRelationshipSign": -1,
        "RescaleIntercept": "0",
        "RescaleSlope": "1",
        "RescaleType": "US",
        "PresentationLUTShape": "IDENTITY",
        "AcquisitionContextSequence": [],
    }
    return common | digital | (window if kind is Kind.DX else {})


def _projection(kind: Kind, view: str) -> dict[str, Any]:
    """Anatomy and geometry: a right hip 950 mm from the source, the detector at 1100 mm."""
    if kind is Kind.SECONDARY_CAPTURE:
        return {"Laterality": "R", "PatientOrientation": ORIENTATIONS[view]}
    geometry = {
        "PatientOrientation": ORIENTATIONS[view],
        "DistanceSourceToDetector": "1100",
        "DistanceSourceToPatient": "950",
        "ImagerPixelSpacing": ["2", "2"],
        "BodyPartExamined": "HIP",
        "AnatomicRegionSequence": [code("29836001", "SCT", "Hip")],
    }
    if kind is Kind.RF:
        return geometry | {"Laterality": "R"}
    if kind is Kind.XA:
        angle = {"AP": 180, "PA": 0, "LL": 90, "RL": -90}[view]  # PS3.3 C.8.7.5.1.2
        angles = {"PositionerPrimaryAngle": angle, "PositionerSecondaryAngle": 0}
        return geometry | angles | {"Laterality": "R", "PositionerMotion": "STATIC"}
    if kind is Kind.CR:
        return geometry | {"ViewPosition": view, "Laterality": "R"}
    intent = "PRESENTATION" if kind is Kind.DX else "PROCESSING"
    value, meaning = VIEW_CODES[view]
    return geometry | {
        "PresentationIntentType": f"FOR {intent}",
        "ViewPosition": view,
        "ViewCodeSequence": [code(value, "SCT", meaning)],
        "ImageLaterality": "R",
        "DetectorType": "DIRECT",
        "DetectorID": "TEST-D1",
        "PositionerType": "NONE",
    }


def _pixels(pixels: NDArray[Any]) -> dict[str, Any]:
    bits = 8 * pixels.dtype.itemsize
    stored = 12 if bits == 16 else bits
    fields: dict[str, Any] = {
        "Rows": pixels.shape[-2],
        "Columns": pixels.shape[-1],
        "BitsAllocated": bits,
        "BitsStored": stored,
        "HighBit": stored - 1,
    }
    if pixels.ndim == 3:
        fields["NumberOfFrames"] = len(pixels)
    stream = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    return fields | {"PixelData": stream + b"\0" * (len(stream) % 2)}


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """A code sequence item (PS3.3 8.8)."""
    item = Dataset()
    keywords = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")
    _set(item, dict(zip(keywords, (value, scheme, meaning), strict=True)))
    return item


def with_own_uids(ds: Dataset, study: str, **keywords: Any) -> Dataset:
    """A copy of `ds` in the study and patient `study`, with `keywords`; no pixel is changed."""
    own = copy.deepcopy(ds)
    image = str(ds.get("SOPInstanceUID", "")) or f"{ds.get('ViewPosition', '')}"
    own.file_meta.MediaStorageSOPInstanceUID = uid("instance", study, image)
    uids = {
        "StudyInstanceUID": uid("study", study),
        "SeriesInstanceUID": uid("series", study, image),
        "SOPInstanceUID": uid("instance", study, image),
        "PatientID": f"TEST-{study}"[:64],
    }
    _set(own, uids | keywords)
    return own
