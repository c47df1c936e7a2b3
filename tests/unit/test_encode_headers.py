"""The patient and the study of a result are those of its sources, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline.encode.write import write
from pipeline.errors import PipelineError, StudyError
from pipeline.types import ResultObject
from tests.factories import code, file_bytes, radiograph, two_views
from tests.results import (
    one_of_each,
    radiographs,
    reconstruction,
    request,
    request_of_files,
)

JAPANESE = {
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    "PatientName": "Test^Knee=試験^膝=しけん^ひざ",
    "StudyDescription": "膝 二方向",
    "InstitutionName": "試験病院",
}
LATIN_1 = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Tést^Kniegelenk^Ä"}
UTF_8 = {"SpecificCharacterSet": "ISO_IR 192", "PatientName": "Test^Knee=試験^膝"}
KOREAN = {"SpecificCharacterSet": ["", "ISO 2022 IR 149"], "PatientName": "Test^Knee=시험^무릎"}
PLAIN = {"SpecificCharacterSet": None, "PatientName": "Test^Knee"}

PATIENT_AND_STUDY = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
TYPE_2 = (
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


def _encode(folder: Path, images: list[Dataset]) -> list[ResultObject]:
    """One object of each kind."""
    written = write(reconstruction(), radiographs(images), request(folder, images))
    return one_of_each(written)


def _bytes_of(path: Path, keyword: str) -> bytes | None:
    """The value as it lies in the file; None if the element is absent."""
    element = dcmread(path, stop_before_pixels=True).get_item(Tag(keyword))
    if element is None:
        return None
    if keyword == "SpecificCharacterSet":  # the one element that pydicom decodes while it reads
        return str(element.value).encode()
    assert isinstance(element, RawDataElement)
    return element.value or b""


@pytest.mark.parametrize(
    "text",
    [JAPANESE, LATIN_1, UTF_8, KOREAN, PLAIN],
    ids=["japanese", "latin-1", "utf-8", "korean", "plain"],
)
def test_the_patient_and_the_study_are_those_of_the_source_byte_for_byte(
    tmp_path: Path, text: dict[str, Any]
) -> None:
    images = two_views(**text)

    written = _encode(tmp_path, images)

    first = min(images, key=lambda ds: ds.SOPInstanceUID)
    source = tmp_path / "in" / f"{images.index(first)}.dcm"
    for one in written:
        for keyword in PATIENT_AND_STUDY:
            assert _bytes_of(one.path, keyword) == _bytes_of(source, keyword), keyword


def test_a_japanese_name_is_read_back_in_all_three_groups(tmp_path: Path) -> None:
    for one in _encode(tmp_path, two_views(**JAPANESE)):
        name = dcmread(one.path).PatientName
        assert name.alphabetic == "Test^Knee"
        assert name.ideographic == "試験^膝"
        assert name.phonetic == "しけん^ひざ"


def test_text_in_items_is_read_back_in_the_character_set_of_the_source(tmp_path: Path) -> None:
    other = Dataset()
    other.PatientID = "OTHER-1"
    other.IssuerOfPatientID = "試験"
    other.TypeOfPatientID = "TEXT"
    images = two_views(**JAPANESE, OtherPatientIDsSequence=[other])

    for one in _encode(tmp_path, images):
        ds = dcmread(one.path)
        assert ds.OtherPatientIDsSequence[0].IssuerOfPatientID == "試験"
        assert ds.ContributingEquipmentSequence[0].InstitutionName == "試験病院"


def test_a_latin_1_name_without_a_character_set_keeps_its_bytes(tmp_path: Path) -> None:
    files = {}
    for ds in two_views(**PLAIN):
        files[str(ds.SOPInstanceUID)] = file_bytes(ds).replace(b"Test^Knee", b"T\xe9st^Knie")

    written = write(reconstruction(), radiographs(), request_of_files(tmp_path, files))

    for one in written:
        assert _bytes_of(one.path, "PatientName") == b"T\xe9st^Knie "
        assert _bytes_of(one.path, "SpecificCharacterSet") is None


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_the_transfer_syntax_of_the_source_does_not_matter(tmp_path: Path, syntax: str) -> None:
    images = two_views(**JAPANESE, ProcedureCodeSequence=[code("T1", "99TEST", "膝")])
    files = {str(ds.SOPInstanceUID): file_bytes(ds, syntax) for ds in images}

    written = write(reconstruction(), radiographs(images), request_of_files(tmp_path, files))

    for one in one_of_each(written):
        ds = dcmread(one.path)
        assert ds.PatientName == JAPANESE["PatientName"]
        assert ds.ProcedureCodeSequence[0].CodeMeaning == "膝"


def test_absent_type_2_attributes_are_empty_and_optional_ones_stay_absent(tmp_path: Path) -> None:
    images = two_views(**dict.fromkeys((*TYPE_2, "StudyDescription")))

    for one in _encode(tmp_path, images):
        for keyword in TYPE_2:
            assert _bytes_of(one.path, keyword) == b"", keyword
        assert _bytes_of(one.path, "StudyDescription") is None


def test_an_animal_has_what_animals_must_have_and_a_person_has_not(tmp_path: Path) -> None:
    of_animals = {"PatientBreedDescription", "ResponsiblePerson", "PatientSexNeutered"}
    animal = two_views(PatientSpeciesDescription="Canis familiaris", ResponsiblePerson="Test^Owner")

    for one in _encode(tmp_path / "animal", animal):
        ds = dcmread(one.path)
        assert all(keyword in ds for keyword in of_animals)
        assert ds.ResponsiblePerson == "Test^Owner"
        assert ds.PatientSexNeutered is None or ds.PatientSexNeutered == ""
    for one in _encode(tmp_path / "person", two_views()):
        assert not any(keyword in dcmread(one.path) for keyword in of_animals)


def test_empty_stays_empty(tmp_path: Path) -> None:
    images = two_views(AccessionNumber="", StudyDescription="", PatientSex="")

    for one in _encode(tmp_path, images):
        for keyword in ("AccessionNumber", "StudyDescription", "PatientSex"):
            assert _bytes_of(one.path, keyword) == b"", keyword


def test_values_that_break_the_rules_of_dicom_are_kept_as_the_pacs_knows_them(
    tmp_path: Path,
) -> None:
    files = {}
    for ds in two_views(PatientSex="F", PatientBirthDate="19600102"):
        wrong = (
            file_bytes(ds).replace(b"19600102", b"1960.1.2").replace(b"CS\x02\0F ", b"CS\x02\0f ")
        )
        files[str(ds.SOPInstanceUID)] = wrong

    written = write(reconstruction(), radiographs(), request_of_files(tmp_path, files))

    for one in written:
        assert _bytes_of(one.path, "PatientBirthDate") == b"1960.1.2"
        assert _bytes_of(one.path, "PatientSex") == b"f "


@pytest.mark.parametrize("keyword", ["PatientID", "IssuerOfPatientID", "StudyInstanceUID"])
def test_sources_that_contradict_each_other_are_refused_without_naming_the_patient(
    tmp_path: Path, keyword: str
) -> None:
    images = [
        radiograph(view="AP", **{keyword: "1.2.111"}),
        radiograph(view="LL", **{keyword: "1.2.222"}),
    ]

    with pytest.raises(StudyError, match="more than one") as refusal:
        _encode(tmp_path, images)

    assert images[0].SOPInstanceUID in str(refusal.value)
    assert "1.2.111" not in str(refusal.value).replace(images[0].SOPInstanceUID, "")
    assert not list((tmp_path / "out").iterdir())


def test_a_patient_id_on_one_source_only_is_a_contradiction(tmp_path: Path) -> None:
    images = [radiograph(view="AP", PatientID=""), radiograph(view="LL")]

    with pytest.raises(StudyError, match="more than one patient"):
        _encode(tmp_path, images)


def test_an_issuer_on_one_source_only_is_no_contradiction(tmp_path: Path) -> None:
    images = [radiograph(view="AP", IssuerOfPatientID="TEST"), radiograph(view="LL")]

    assert _encode(tmp_path, images)


def test_a_source_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no StudyInstanceUID"):
        _encode(tmp_path, two_views(StudyInstanceUID=""))


def test_a_source_that_is_no_dicom_file_is_refused(tmp_path: Path) -> None:
    images = two_views()
    files = {str(ds.SOPInstanceUID): b"not a DICOM file" * 20 for ds in images}

    with pytest.raises(StudyError, match="cannot be read"):
        write(reconstruction(), radiographs(images), request_of_files(tmp_path, files))


def test_a_file_that_holds_another_instance_is_an_error_of_ours(tmp_path: Path) -> None:
    images = two_views()
    files = {str(ds.SOPInstanceUID): file_bytes(images[0]) for ds in images}

    with pytest.raises(PipelineError, match="holds another instance"):
        write(reconstruction(), radiographs(images), request_of_files(tmp_path, files))


def test_a_radiograph_that_is_no_source_is_an_error_of_ours(tmp_path: Path) -> None:
    strangers = radiographs(two_views(study="stranger"))

    with pytest.raises(PipelineError, match="is not a source"):
        write(reconstruction(), strangers, request(tmp_path))
