"""A header that is remembered says what it says when it is read for the first time."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset, config
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node import remembering
from node.header import Header, read_header
from tests.factories import file_bytes, radiograph


@pytest.fixture(autouse=True)
def _reading_as_the_node_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.IGNORE)
    monkeypatch.setattr(remembering, "_said", {})


def read(folder: Path, ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> Header:
    path = folder / "a.dcm"
    path.write_bytes(file_bytes(ds, syntax))
    return read_header(path)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_the_second_time_is_as_the_first(tmp_path: Path, syntax: str) -> None:
    ds = radiograph(view="LL", StudyDescription="Knie, stehend", SeriesDescription="Hüfte")

    first = read(tmp_path, ds, syntax)
    again = read(tmp_path, ds, syntax)

    assert remembering._said
    assert again == first
    assert list(again.attributes) == list(first.attributes)


def test_each_image_has_what_is_its_own(tmp_path: Path) -> None:
    found = [
        read(tmp_path, radiograph(InstanceNumber=n, ViewPosition=v))
        for n, v in [(1, "AP"), (2, "LL"), (1, "LL"), (None, "AP")]
    ]

    assert [(f.attributes.get("InstanceNumber"), f.attributes["ViewPosition"]) for f in found] == [
        (1, "AP"),
        (2, "LL"),
        (1, "LL"),
        (None, "AP"),
    ]
    assert len({f.sop_instance_uid for f in found}) == len(
        {f.attributes["SOPInstanceUID"] for f in found}
    )


def test_the_same_bytes_in_another_character_set_are_other_letters(tmp_path: Path) -> None:
    west, east = (
        radiograph(SpecificCharacterSet=names, SeriesDescription=text)
        for names, text in (("ISO_IR 100", "Hüfte"), ("ISO_IR 144", "Hќfte"))
    )

    found = [read(tmp_path, ds).attributes["SeriesDescription"] for ds in (west, east, west)]

    assert found == ["Hüfte", "Hќfte", "Hüfte"]


def test_what_is_remembered_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "REMEMBERED", 40)
    for number in range(60):
        read(tmp_path, radiograph(InstanceNumber=number, AccessionNumber="9" * 2000))

    assert len(remembering._said) < 40 + len(remembering.KEYWORD_OF)
    assert all(len(value) <= remembering.LONGEST_BYTES for _, _, value, _ in remembering._said)
