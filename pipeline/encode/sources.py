"""The patient, the study and the modality of a result, taken over from the source headers.

Text is copied as the bytes that the source has, together with its character set, and is never
decoded on the way: a name in Latin-1 without a character set, or with escape sequences that
another program would set differently, comes back to the PACS as the PACS knows it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom import Dataset, dcmread
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.tag import BaseTag, Tag
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless

from pipeline.encode.codes import ACQUISITION_EQUIPMENT, code_item
from pipeline.errors import PipelineError, StudyError
from pipeline.types import Source

REQUIRED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Type 2 of the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1)."""

REQUIRED_OF_ANIMALS = (
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "ResponsiblePerson",
    "ResponsibleOrganization",
    "PatientSexNeutered",
)
"""Type 2C of the Patient and Patient Study modules (PS3.3 C.7.1.1, C.7.2.2)."""

SPECIES = ("PatientSpeciesDescription", "PatientSpeciesCodeSequence")

OPTIONAL = (
    *SPECIES,
    *REQUIRED_OF_ANIMALS,
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID",
    "PatientBirthTime",
    "OtherPatientIDs",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "EthnicGroup",
    "ResponsiblePersonRole",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "QualityControlSubject",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "StudyDescription",
    "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianIdentificationSequence",
    "ProcedureCodeSequence",
    "TimezoneOffsetFromUTC",
)

EQUIPMENT = (
    "Manufacturer",
    "InstitutionName",
    "StationName",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
)

BURNED_IN = "BurnedInAnnotation"
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
READ = (*REQUIRED, *OPTIONAL, *EQUIPMENT, *LOSSY, BURNED_IN, "StudyInstanceUID", "SOPInstanceUID")

TEXT_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI"}
    | {"UR", "UT"}
)
UNPARSABLE = (
    *(InvalidDicomError, EOFError, ValueError, KeyError, NotImplementedError),
    *(struct.error, zlib.error),
)
LOSSY_SYNTAXES = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless})


@dataclass(frozen=True, slots=True)
class Heading:
    """What a result takes over from its sources."""

    study_instance_uid: str
    patient_and_study: Dataset
    """SpecificCharacterSet, Patient, General Study and Patient Study, text as raw bytes."""
    equipment: tuple[Dataset, ...]
    """Items of ContributingEquipmentSequence, one for each device that made a source."""
    lossy: Dataset
    """LossyImageCompression and, if known, ratio and method: what was lossy once stays so."""
    timezone_offset: str
    """TimezoneOffsetFromUTC of the sources; empty where they have none."""
    burned_in_annotation: str = ""
    """YES if the pixels of a source name the patient, NO if all say they do not, else empty."""

    def put_on(self, ds: Dataset) -> None:
        """`ds` has the patient and the study of the sources, and their devices."""
        ds.update(self.patient_and_study)
        ds.ContributingEquipmentSequence = list(self.equipment)
        _declare_unchanged(ds, default_encoding)


def read_heading(sources: Iterable[Source]) -> Heading:
    """The heading of the sources, from the one whose UID sorts first.

    Raises:
        StudyError: a source cannot be read, or two sources name different patients or studies.
    """
    headers = [_header(source) for source in sorted(sources, key=lambda s: s.sop_instance_uid)]
    if not headers:
        raise StudyError("A result needs at least one source instance")
    _refuse_two_patients(headers)
    return Heading(
        study_instance_uid=_text(headers[0], "StudyInstanceUID"),
        patient_and_study=_patient_and_study(headers[0]),
        equipment=_equipment(headers),
        lossy=_lossy(headers),
        timezone_offset=_text(headers[0], "TimezoneOffsetFromUTC"),
        burned_in_annotation=_burned_in(headers),
    )


def _header(source: Source) -> Dataset:
    try:
        header = dcmread(source.path, stop_before_pixels=True, specific_tags=list(READ))
    except UNPARSABLE as error:
        raise StudyError(
            f"Instance {source.sop_instance_uid} cannot be read: {type(error).__name__}"
        ) from error
    if _text(header, "SOPInstanceUID") != source.sop_instance_uid:
        raise PipelineError(f"The file of {source.sop_instance_uid} holds another instance")
    return header


def _refuse_two_patients(headers: list[Dataset]) -> None:
    """All headers are of one patient and one study; an issuer may be missing here and there."""
    uids = ", ".join(_text(header, "SOPInstanceUID") for header in headers)
    patients = {_text(header, "PatientID") for header in headers}
    issuers = {_text(header, "IssuerOfPatientID") for header in headers} - {""}
    studies = {_text(header, "StudyInstanceUID") for header in headers}
    if len(patients) > 1 or len(issuers) > 1:
        raise StudyError(f"The sources are of more than one patient: instances {uids}")
    if len(studies) > 1:
        raise StudyError(f"The sources are of more than one study: instances {uids}")
    if studies == {""}:
        raise StudyError(f"The sources have no StudyInstanceUID: instances {uids}")


def _patient_and_study(header: Dataset) -> Dataset:
    kept = _copied(header, ("SpecificCharacterSet", "StudyInstanceUID", *REQUIRED, *OPTIONAL))
    is_animal = any(keyword in kept for keyword in SPECIES)
    for keyword in (*REQUIRED, *(REQUIRED_OF_ANIMALS if is_animal else ())):
        if keyword not in kept:
            setattr(kept, keyword, [] if keyword.endswith("Sequence") else "")
    return kept


def _raw(header: Dataset, tag: BaseTag) -> bytes | None:
    """The bytes of a text element as the source has them; None where pydicom decoded it."""
    element = header.get_item(tag)
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes | None):
        return element.value or b""
    return None


def _text(header: Dataset, keyword: str) -> str:
    """The value of a text element without padding, byte for byte as Latin-1; "" if absent.

    Identifiers are compared, not shown: bytes tell them apart in every character set.
    """
    tag = Tag(keyword)
    if tag not in header:
        return ""
    raw = _raw(header, tag)
    if raw is None:
        return str(header[tag].value or "").strip()
    return raw.decode("latin-1").strip(" \0")


def _declare_unchanged(ds: Dataset, encodings: str | list[str]) -> None:
    """Raw text in `ds` and its items is as it is written; without this pydicom writes it anew.

    An item may have a character set of its own, else it has that of what it lies in
    (PS3.3 C.12.1.1.2).
    """
    if ds.get("SpecificCharacterSet"):
        encodings = _encodings(ds)
    ds.set_original_encoding(False, True, encodings)
    for tag in ds.keys():  # noqa: SIM118 - iterating over a Dataset decodes what is raw
        element = ds.get_item(tag)
        if element is not None and element.VR == "SQ":
            for item in element.value or []:
                _declare_unchanged(item, encodings)


def _encodings(ds: Dataset) -> str | list[str]:
    """The encodings that pydicom writes the text of `ds` in."""
    value = ds.get("SpecificCharacterSet")
    return convert_encodings(value) if value else default_encoding


def _copied(source: Dataset, keywords: Iterable[str]) -> Dataset:
    copy = Dataset()
    for keyword in keywords:
        tag = tag_for_keyword(keyword)
        if tag is not None and tag in source:
            _copy_element(source, copy, Tag(tag))
    return copy


def _copy_element(source: Dataset, target: Dataset, tag: BaseTag) -> None:
    vr = dictionary_VR(tag)
    raw = _raw(source, tag)
    if vr in TEXT_VRS and raw is not None:
        padded = raw if len(raw) % 2 == 0 else raw + (b"\0" if vr == "UI" else b" ")
        target[tag] = RawDataElement(tag, vr, len(padded), padded, 0, False, True, True)
    elif vr == "SQ":
        items = source[tag].value or []
        target[tag] = DataElement(tag, vr, [_copied_item(item) for item in items])
    else:
        target[tag] = DataElement(tag, source[tag].VR, source[tag].value)


def _copied_item(item: Dataset) -> Dataset:
    public = [element.tag for element in item if not element.tag.is_private]
    copy = Dataset()
    for tag in public:
        _copy_element(item, copy, tag)
    return copy


def _equipment(headers: list[Dataset]) -> tuple[Dataset, ...]:
    found: dict[tuple[str, ...], Dataset] = {}
    for header in headers:
        key = tuple(_text(header, keyword) for keyword in EQUIPMENT)
        if key in found:
            continue
        item = _copied(header, [name for name, value in zip(EQUIPMENT, key, strict=True) if value])
        if "Manufacturer" not in item:
            # type 1 in this sequence, type 2 in the source (PS3.3 C.12.1, C.7.5.1)
            item.Manufacturer = "UNKNOWN"
        own = header.get("SpecificCharacterSet")
        if own and own != headers[0].get("SpecificCharacterSet"):
            item.SpecificCharacterSet = own
        item.PurposeOfReferenceCodeSequence = [code_item(ACQUISITION_EQUIPMENT)]
        item.ContributionDescription = "Acquisition of the radiographs"
        found[key] = item
    return tuple(found[key] for key in sorted(found))


def _burned_in(headers: list[Dataset]) -> str:
    """What a picture that shows the sources must say (PS3.3 C.7.6.1)."""
    said = {_text(header, BURNED_IN) for header in headers}
    return "YES" if "YES" in said else "NO" if said == {"NO"} else ""


def _lossy(headers: list[Dataset]) -> Dataset:
    """Source: PS3.3 C.7.6.1.1.5, an image that was lossy once is lossy ever after."""
    result = Dataset()
    result.LossyImageCompression = "00"
    for header in headers:
        syntax = header.file_meta.get("TransferSyntaxUID")
        if _text(header, "LossyImageCompression") == "01":
            return _copied(header, LOSSY)
        if syntax in LOSSY_SYNTAXES:
            result.LossyImageCompression = "01"
    return result
