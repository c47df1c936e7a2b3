"""Header attributes as JSON: kept as they came, bounded, and never a reason to fail."""

from __future__ import annotations

import json
from contextlib import suppress
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from pipeline.attributes import KEYWORDS, LONGEST_TEXT, attributes, codes, text


def a_code(value: str, meaning: str) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = value, "SCT", meaning
    return ds


def a_knee() -> Dataset:
    ds = Dataset()
    ds.SOPInstanceUID = "1.2.3"
    ds.Modality = "DX"
    ds.ViewPosition = "AP"
    ds.PatientOrientation = ["L", "F"]
    ds.ImagerPixelSpacing = ["0.15", "0.15"]
    ds.DistanceSourceToDetector = "1150.0"
    ds.Rows = 20
    ds.SeriesNumber = "3"
    ds.AnatomicRegionSequence = [a_code("72696002", "Knee")]
    ds.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = [a_code("7771000", "Left")]
    ds.PatientName = "Test^Knee"
    ds.PatientBirthDate = "19000101"
    return ds


def test_values_are_json_by_keyword() -> None:
    found = attributes(a_knee())

    assert found == {
        "SOPInstanceUID": "1.2.3",
        "Modality": "DX",
        "ViewPosition": "AP",
        "PatientOrientation": ["L", "F"],
        "ImagerPixelSpacing": [0.15, 0.15],
        "DistanceSourceToDetector": 1150.0,
        "Rows": 20,
        "SeriesNumber": 3,
        "AnatomicRegionSequence": [
            {
                "CodeValue": "72696002",
                "CodingSchemeDesignator": "SCT",
                "CodeMeaning": "Knee",
                "Modifiers": [
                    {
                        "CodeValue": "7771000",
                        "CodingSchemeDesignator": "SCT",
                        "CodeMeaning": "Left",
                    }
                ],
            }
        ],
    }
    assert json.loads(json.dumps(found)) == found
    assert found.keys() <= set(KEYWORDS)


def test_names_and_birth_dates_are_not_kept() -> None:
    kept = json.dumps(attributes(a_knee()))

    assert "Test^Knee" not in kept
    assert "19000101" not in kept


def test_empty_values_are_absent() -> None:
    ds = Dataset()
    ds.ViewPosition = ""
    ds.DistanceSourceToDetector = None
    ds.PatientOrientation = ["", ""]
    ds.ViewCodeSequence = []

    assert attributes(ds) == {}


def test_zero_is_a_value() -> None:
    ds = Dataset()
    ds.DistanceSourceToDetector = "0"
    ds.PositionerPrimaryAngle = "0.0"

    assert attributes(ds) == {"DistanceSourceToDetector": 0, "PositionerPrimaryAngle": 0.0}


@pytest.mark.parametrize(
    ("keyword", "vr", "raw", "expected"),
    [
        ("DistanceSourceToDetector", "DS", b"1 metre ", "1 metre"),
        ("DistanceSourceToDetector", "DS", b"NaN ", "NaN"),
        ("DistanceSourceToDetector", "DS", b"1e400 ", "1e400"),
        ("ImagerPixelSpacing", "DS", b"0,15\\0,15", ["0,15", "0,15"]),
        ("NumberOfFrames", "IS", b"1.5 ", 1.5),
        ("SeriesNumber", "IS", b"9" * 40, 1e40),
        ("ViewPosition", "CS", b"A\0P\n\xff ", "A P ÿ"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom says what the malformed value is
def test_a_malformed_value_is_kept_and_raises_nothing(
    keyword: str, vr: str, raw: bytes, expected: object
) -> None:
    ds = Dataset()
    tag = Tag(keyword)
    ds[tag] = RawDataElement(tag, vr, len(raw), raw, 0, False, True)

    assert attributes(ds)[keyword] == expected


@given(
    keyword=st.sampled_from(["ViewPosition", "StudyDescription", "ImagerPixelSpacing", "Modality"]),
    vr=st.sampled_from(["CS", "LO", "SH", "DS", "IS", "UI", "DA", "TM", "AS"]),
    raw=st.lists(st.sampled_from([*b"AP 01.-+e_,\\\0\n\x1b", 0xE9]), max_size=12).map(bytes),
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom says what the malformed value is
def test_a_value_is_the_same_whether_or_not_pydicom_has_converted_it_before(
    keyword: str, vr: str, raw: bytes
) -> None:
    tag = Tag(keyword)
    element = RawDataElement(tag, vr, len(raw), raw, 0, False, True)
    as_read, converted = Dataset({tag: element}), Dataset({tag: element})
    with suppress(Exception):  # what cannot be converted stays as it was read
        converted[tag]

    assert attributes(as_read) == attributes(converted)


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom counts the characters, too
def test_texts_are_bounded() -> None:
    ds = Dataset()
    ds.StudyDescription = "x" * 60_000
    ds.ImageType = ["DERIVED"] * 500

    found = attributes(ds)

    assert len(str(found["StudyDescription"])) == LONGEST_TEXT
    assert len(found["ImageType"]) == 16


@pytest.mark.parametrize("stop_before_pixels", [True, False])
def test_a_header_read_without_its_pixels_has_the_same_attributes(
    stop_before_pixels: bool,
) -> None:
    stream = BytesIO()
    ds = a_knee()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    ds.BitsAllocated = 16
    ds.PixelData = b"\0\0" * 400
    ds.save_as(stream, enforce_file_format=True)
    stream.seek(0)

    read = dcmread(stream, stop_before_pixels=stop_before_pixels)

    assert attributes(read) == attributes(ds)


def test_text_and_codes_read_what_was_stored() -> None:
    stored = attributes(a_knee())

    assert text(stored, "ViewPosition") == "AP"
    assert text(stored, "PatientOrientation") == "L"
    assert text(stored, "StationName") == ""
    assert codes(stored, "AnatomicRegionSequence") == (("72696002", "KNEE"), ("7771000", "LEFT"))
    assert codes(stored, "ViewCodeSequence") == ()
