"""The builders of the tests keep what they promise, or no other test would mean anything."""

from __future__ import annotations

import io
import tomllib

import numpy as np
import pydicom
import pytest

from tests.factories import Kind, file_bytes, limb, radiograph, two_views, with_own_uids
from tests.toml_text import toml


def test_a_misspelt_keyword_is_refused() -> None:
    with pytest.raises(TypeError, match="ViewPositon"):
        radiograph(ViewPositon="AP")


def test_none_takes_an_attribute_away() -> None:
    assert "ViewPosition" not in radiograph(ViewPosition=None)


@pytest.mark.parametrize("kind", Kind)
def test_the_same_names_give_the_same_bytes(kind: Kind) -> None:
    assert file_bytes(radiograph(kind, study="a")) == file_bytes(radiograph(kind, study="a"))
    assert radiograph(kind, study="a").SOPInstanceUID != radiograph(kind, study="b").SOPInstanceUID


def test_two_views_are_of_one_patient_and_study_and_of_two_series() -> None:
    ap, ll = two_views(study="hip")

    assert ap.PatientID == ll.PatientID
    assert ap.StudyInstanceUID == ll.StudyInstanceUID
    assert ap.SeriesInstanceUID != ll.SeriesInstanceUID
    assert [ap.ViewPosition, ll.ViewPosition] == ["AP", "LL"]


@pytest.mark.parametrize(
    "syntax",
    [
        "1.2.840.10008.1.2",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.5",
        "1.2.840.10008.1.2.4.80",
        "1.2.840.10008.1.2.4.90",
    ],
)
def test_a_file_decodes_to_the_pixels_that_went_in(syntax: str) -> None:
    ds = pydicom.dcmread(io.BytesIO(file_bytes(radiograph(), syntax)))

    assert ds.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(ds.pixel_array, limb())


def test_own_uids_leave_pixels_and_the_original_alone() -> None:
    original = radiograph(study="a")

    own = with_own_uids(original, "b")

    assert own.PixelData == original.PixelData
    assert own.StudyInstanceUID == radiograph(study="b").StudyInstanceUID
    assert original.StudyInstanceUID == radiograph(study="a").StudyInstanceUID


def test_settings_are_read_back_as_they_were_written() -> None:
    plan = {
        "node": {"name": 'a "name"', "deep": {"a.p.": "AP"}},
        "empty": [],
        "rules": [{"views": ["AP"], "match": {"modality": {"one_of": ["CR"]}}}, {"on": True}],
    }

    assert tomllib.loads(toml(plan)) == plan
