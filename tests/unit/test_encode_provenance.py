"""Which devices, at which time, from how good an image: what a result says of its making."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydicom import Dataset, dcmread

from pipeline.encode.write import write
from pipeline.types import ObjectKind, ResultObject
from tests.factories import radiograph, two_views
from tests.results import one_of_each, radiographs, reconstruction, request

PIXELS = {
    ObjectKind.MODEL_VOLUME,
    ObjectKind.SEGMENTATION,
    ObjectKind.LABELMAP,
    ObjectKind.FRACTIONAL,
}


def _encode(folder: Path, images: list[Dataset]) -> list[ResultObject]:
    """One object of each kind."""
    written = write(reconstruction(), radiographs(images), request(folder, images))
    return one_of_each(written)


def test_times_are_wall_time_in_the_zone_that_the_study_names(tmp_path: Path) -> None:
    at = datetime(2026, 1, 2, 23, 30, tzinfo=UTC)
    images = two_views(TimezoneOffsetFromUTC="+0530")

    written = write(reconstruction(), radiographs(images), request(tmp_path, images, at=at))

    ds = dcmread(written[0].path)
    assert (ds.ContentDate, ds.ContentTime) == ("20260103", "050000")
    assert (ds.SeriesDate, ds.SeriesTime) == ("20260103", "050000")
    assert ds.TimezoneOffsetFromUTC == "+0530"


def test_times_are_taken_as_given_where_the_study_names_no_zone(tmp_path: Path) -> None:
    for one in _encode(tmp_path, two_views()):
        ds = dcmread(one.path)
        assert (ds.ContentDate, ds.ContentTime) == ("20260102", "123015")
        assert (ds.InstanceCreationDate, ds.InstanceCreationTime) == ("20260102", "123015")
        assert "TimezoneOffsetFromUTC" not in ds


def test_the_devices_that_made_the_radiographs_are_named_once_each(tmp_path: Path) -> None:
    images = [
        radiograph(view="AP", StationName="ROOM1"),
        radiograph(view="LL", StationName="ROOM2"),
    ]

    for one in _encode(tmp_path, images):
        ds = dcmread(one.path)
        assert ds.Manufacturer == "Osteon"
        assert ds.DeviceSerialNumber == "node-1"
        *devices, _ = ds.ContributingEquipmentSequence
        assert [item.StationName for item in devices] == ["ROOM1", "ROOM2"]
        assert {item.Manufacturer for item in devices} == {"Test Devices"}


def test_the_algorithm_is_named_as_processing_equipment_in_every_object(tmp_path: Path) -> None:
    uids = set()

    for one in _encode(tmp_path, two_views()):
        *_, item = dcmread(one.path).ContributingEquipmentSequence
        purpose = item.PurposeOfReferenceCodeSequence[0]
        assert (purpose.CodeValue, purpose.CodingSchemeDesignator) == ("109102", "DCM")
        assert (item.Manufacturer, item.ManufacturerModelName) == ("Osteon", "Visual hull")
        assert item.SoftwareVersions == "1.0"
        uids.add(item.DeviceUID)
    assert len(uids) == 1


def test_devices_are_named_in_the_character_set_of_their_own_images(tmp_path: Path) -> None:
    images = [
        radiograph(view="AP", SpecificCharacterSet="ISO_IR 100", InstitutionName="Tést Ä"),
        radiograph(view="LL", SpecificCharacterSet="ISO_IR 192", InstitutionName="試験病院"),
    ]

    for one in _encode(tmp_path, images):
        *devices, _ = dcmread(one.path).ContributingEquipmentSequence
        assert {item.InstitutionName for item in devices} == {"Tést Ä", "試験病院"}


def test_what_was_lossy_once_stays_lossy(tmp_path: Path) -> None:
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "12"}
    images = [radiograph(view="AP"), radiograph(view="LL", **lossy)]

    for one in _encode(tmp_path, images):
        if one.kind not in PIXELS:
            continue
        ds = dcmread(one.path)
        assert ds.LossyImageCompression == "01"
        assert ds.LossyImageCompressionRatio == 12


def test_hostile_words_of_a_rule_stay_one_legal_value(tmp_path: Path) -> None:
    wanted = request(tmp_path, region="hip\\knee\x1b$B Hüfte " * 9, node="Röntgen\\1")

    for one in write(reconstruction(), radiographs(), wanted):
        ds = dcmread(one.path)
        assert ds.DeviceSerialNumber == "R?ntgen?1"
        assert isinstance(ds.SeriesDescription, str)
        assert len(ds.SeriesDescription) <= 64
        assert ds.SeriesDescription.isascii()
