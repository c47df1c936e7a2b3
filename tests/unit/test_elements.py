"""What is read of a header in memory is what pydicom reads of the file, or nothing."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, config
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node import header
from node.header import Header, UnreadableHeaderError, read_header
from tests.factories import file_bytes, radiograph

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@pytest.fixture(autouse=True)
def _reading_as_the_node_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.IGNORE)


def sequences_of_undefined_length(ds: Dataset) -> Dataset:
    """As many modalities write them."""
    for element in ds:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                sequences_of_undefined_length(item)
    return ds


def an_exposure(**more: object) -> Dataset:
    """With sequences within sequences, some of which are asked for, and some not."""
    ds = radiograph(view="LL", StudyDescription="Knie, stehend", **more)
    region, modifier, inner, request = Dataset(), Dataset(), Dataset(), Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "72696002", "SCT", "Knee"
    modifier.CodeValue, modifier.CodingSchemeDesignator = "7771000", "SCT"
    modifier.CodeMeaning = "Left"
    region.AnatomicRegionModifierSequence = [modifier]
    inner.CodeValue = "1"
    request.RequestedProcedureCodeSequence, request.ScheduledProcedureStepID = [inner], "7"
    ds.AnatomicRegionSequence, ds.RequestAttributesSequence = [region], [request]
    return ds


def of_pydicom(path: Path) -> Header | None:
    with patch.object(header, "elements", return_value=None):
        return read(path)


def read(path: Path) -> Header | None:
    try:
        return read_header(path)
    except UnreadableHeaderError:
        return None


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("is_undefined", [False, True])
@pytest.mark.parametrize("character_set", [None, "ISO_IR 100", ["", "ISO 2022 IR 87"]])
def test_a_header_is_read_without_pydicom_as_with_it(
    tmp_path: Path, syntax: str, is_undefined: bool, character_set: object
) -> None:
    ds = an_exposure(SpecificCharacterSet=character_set, SeriesDescription="Hip")
    path = tmp_path / "a.dcm"
    path.write_bytes(file_bytes(sequences_of_undefined_length(ds) if is_undefined else ds, syntax))

    with patch.object(header, "read_dataset", side_effect=AssertionError):
        found = read(path)

    assert found == of_pydicom(path)
    assert found is not None
    assert found.attributes["AnatomicRegionSequence"][0]["Modifiers"]  # type: ignore[index,call-overload]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_letters_that_are_not_ascii_are_read_in_their_character_set(
    tmp_path: Path, syntax: str
) -> None:
    ds = an_exposure(SpecificCharacterSet="ISO_IR 100", SeriesDescription="Hüfte rechts")
    path = tmp_path / "a.dcm"
    path.write_bytes(file_bytes(ds, syntax))

    found = read(path)

    assert found is not None
    assert found.attributes["SeriesDescription"] == "Hüfte rechts"
    assert found == of_pydicom(path)


@given(
    st.sampled_from(SYNTAXES),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 2200), st.binary(max_size=12)), min_size=1, max_size=3),
    st.sampled_from(["over", "in", "out"]),
)
def test_whatever_bytes_come_both_read_the_same_or_refuse_it(
    tmp_path_factory: pytest.TempPathFactory,
    syntax: str,
    is_undefined: bool,
    changes: list[tuple[int, bytes]],
    how: str,
) -> None:
    ds = an_exposure()
    whole = file_bytes(sequences_of_undefined_length(ds) if is_undefined else ds, syntax)
    begin = 144 + int.from_bytes(whole[140:144], "little")
    for at, noise in changes:
        left = begin + at
        right = left + (0 if how == "in" else len(noise))
        whole = whole[:left] + (b"" if how == "out" else noise) + whole[right:]
    path = tmp_path_factory.getbasetemp() / "noise.dcm"
    path.write_bytes(whole)

    assert read(path) == of_pydicom(path)
