"""Secondary Captures: what their headers promise, and that a notice needs no pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword

from pipeline.encode.write import write
from pipeline.run import run
from pipeline.types import Assumption, NoticeOf, ObjectKind, Reconstructed, Refused, Side
from tests.factories import file_bytes, two_views
from tests.results import box, radiographs, reconstruction, request, request_of_files

CAPTURES = (ObjectKind.KEY_IMAGE, ObjectKind.TURNTABLE)
REASONS = ("The rule expects the views AP, LL; missing: LL",)


def captures(folder: Path, images: list[Dataset] | None = None, **changes: Any) -> list[Dataset]:
    wanted = request(folder, images, kinds=CAPTURES, **changes)
    made = reconstruction(box(side=Side.LEFT))
    return [dcmread(one.path) for one in write(made, radiographs(images), wanted)]


def notice(folder: Path, images: list[Dataset] | None = None, **changes: Any) -> Dataset:
    made = run(request(folder, images, **({"model": "notice", "reasons": REASONS} | changes)))
    assert isinstance(made, Reconstructed)
    (written,) = made.objects
    assert written.kind is ObjectKind.NOTICE
    return dcmread(written.path)


def test_the_key_image_is_one_frame_in_colour_of_the_plain_class(tmp_path: Path) -> None:
    key, _ = captures(tmp_path)

    # PS3.4 B.5: Secondary Capture Image Storage
    assert key.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert "NumberOfFrames" not in key
    assert (key.PhotometricInterpretation, key.SamplesPerPixel) == ("RGB", 3)
    assert key.pixel_array.shape == (key.Rows, key.Columns, 3)
    assert len(key.PixelData) == key.Rows * key.Columns * 3


def test_the_turntable_is_a_cine_loop_of_36_frames(tmp_path: Path) -> None:
    _, turning = captures(tmp_path)

    # PS3.4 B.5: Multi-frame True Color Secondary Capture Image Storage; PS3.3 C.7.6.6
    assert turning.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7.4"
    assert turning.NumberOfFrames == 36
    assert turning.FrameIncrementPointer == tag_for_keyword("FrameTime")
    assert turning.FrameTime > 0
    assert turning.pixel_array.shape == (36, turning.Rows, turning.Columns, 3)
    assert len(turning.PixelData) <= 11_000_000


def test_captures_say_that_they_are_synthetic_and_of_which_radiographs(tmp_path: Path) -> None:
    sources = {image.SOPInstanceUID for image in two_views()}

    for ds in captures(tmp_path):
        assert ds.ConversionType == "SYN"
        assert {item.ReferencedSOPInstanceUID for item in ds.SourceImageSequence} == sources
        assert {item.SpatialLocationsPreserved for item in ds.SourceImageSequence} == {"NO"}
        assert (ds.DateOfSecondaryCapture, ds.TimeOfSecondaryCapture) == ("20260102", "123015")
        assert "NOT A CT" in ds.DerivationDescription
        assert ds.SeriesDescription.endswith(": MODEL FROM RADIOGRAPHS - NOT A CT")


def test_nothing_can_be_measured_in_a_capture_or_laid_over_it(tmp_path: Path) -> None:
    for ds in [*captures(tmp_path), notice(tmp_path / "notice")]:
        assert not {"PixelSpacing", "FrameOfReferenceUID", "ImagePositionPatient"} & set(ds.dir())


@pytest.mark.parametrize(
    ("said", "expected"),
    [(("NO", "NO"), "NO"), (("NO", "YES"), "YES"), (("NO", None), None), ((None, "YES"), "YES")],
)
def test_the_key_image_names_the_patient_where_a_radiograph_does(
    tmp_path: Path, said: tuple[str | None, ...], expected: str | None
) -> None:
    images = two_views()
    for image, word in zip(images, said, strict=True):
        image.pop("BurnedInAnnotation", None)
        if word:
            image.BurnedInAnnotation = word

    key, turning = captures(tmp_path, images)

    assert key.get("BurnedInAnnotation") == expected
    assert turning.BurnedInAnnotation == "NO"


def test_a_lossy_radiograph_makes_the_key_image_lossy_but_not_the_turntable(tmp_path: Path) -> None:
    images = two_views(LossyImageCompression="01", LossyImageCompressionRatio=["10"])

    key, turning = captures(tmp_path, images)

    assert key.LossyImageCompression == "01"
    assert turning.LossyImageCompression == "00"


def test_an_assumption_changes_the_pixels_of_both_captures(tmp_path: Path) -> None:
    assumed = (Assumption("ImagerPixelSpacing", 0.139, "mm", "absent"),)
    shown = []
    for name, made in (
        ("measured", reconstruction(box())),
        ("assumed", reconstruction(box(), assumptions=assumed)),
    ):
        wanted = request(tmp_path / name_folder(tmp_path, name), kinds=CAPTURES)
        shown.append([dcmread(one.path).PixelData for one in write(made, radiographs(), wanted)])

    assert shown[0][0] != shown[1][0]
    assert shown[0][1] != shown[1][1]


def name_folder(folder: Path, name: str) -> str:
    (folder / name).mkdir()
    return name


def test_a_notice_is_written_where_the_pixels_are_broken(tmp_path: Path) -> None:
    images = two_views()
    files = {str(ds.SOPInstanceUID): file_bytes(ds)[:-1000] for ds in images}
    wanted = request_of_files(tmp_path, files, model="notice", reasons=REASONS, kinds=())

    made = run(wanted)

    assert isinstance(made, Reconstructed)
    ds = dcmread(made.objects[0].path)
    assert ds.StudyInstanceUID == images[0].StudyInstanceUID
    assert ds.PatientID == images[0].PatientID
    assert REASONS[0] in ds.DerivationDescription
    assert ds.BurnedInAnnotation == "NO"


def test_the_same_reasons_give_the_same_notice_and_others_another(tmp_path: Path) -> None:
    first = notice(tmp_path / "1")
    again = notice(tmp_path / "2")
    other = notice(tmp_path / "3", reasons=("No bone stands out in the view AP",))

    assert first == again
    assert other.SOPInstanceUID != first.SOPInstanceUID
    assert other.PixelData != first.PixelData


@pytest.mark.parametrize(
    ("notice_of", "series", "said"),
    [
        (NoticeOf.DECLINED, "DECLINED: why no 3D bones, ", "Declined: "),
        (NoticeOf.REFUSED, "REFUSED: why no 3D bones, ", "Not possible: "),
        (NoticeOf.WITHHELD, "WITHHELD: why no 3D bones, ", "Withheld: "),
    ],
)
def test_a_notice_says_what_kind_of_notice_it_is(
    tmp_path: Path, notice_of: NoticeOf, series: str, said: str
) -> None:
    ds = notice(tmp_path / "this", notice_of=notice_of)
    others = [notice(tmp_path / one, notice_of=one) for one in NoticeOf if one is not notice_of]

    assert ds.SeriesDescription.startswith(series)
    assert ds.DerivationDescription.startswith(said)
    for other in others:
        assert other.SOPInstanceUID != ds.SOPInstanceUID
        assert other.PixelData != ds.PixelData


def test_a_notice_counts_what_it_cannot_read_and_goes_to_the_study_of_the_rest(
    tmp_path: Path,
) -> None:
    good = two_views()[0]
    files = {str(good.SOPInstanceUID): file_bytes(good), "1.2.3.4": b"no DICOM at all"}

    made = run(request_of_files(tmp_path, files, model="notice", reasons=REASONS))

    assert isinstance(made, Reconstructed)
    ds = dcmread(made.objects[0].path)
    assert [i.ReferencedSOPInstanceUID for i in ds.SourceImageSequence] == [good.SOPInstanceUID]


def test_a_notice_of_nothing_readable_or_of_two_patients_is_refused(tmp_path: Path) -> None:
    images = two_views()
    images[1].PatientID = "ANOTHER"
    nothing = request_of_files(
        tmp_path / name_folder(tmp_path, "nothing"), {"1.2.3.4": b"x"}, model="notice"
    )

    assert isinstance(run(nothing), Refused)
    assert isinstance(run(request(tmp_path, images, model="notice")), Refused)


def test_free_text_of_a_source_never_reaches_the_pixels(tmp_path: Path) -> None:
    shown = []
    for word in (b"        ", b"Doe^Jane"):
        images = two_views(BodyPartExamined="DOE_JANE")
        files = {str(ds.SOPInstanceUID): file_bytes(ds).replace(b"DOE_JANE", word) for ds in images}
        folder = tmp_path / name_folder(tmp_path, str(len(shown)))
        told = run(request_of_files(folder, files, model="notice", reasons=REASONS))
        assert isinstance(told, Reconstructed)
        shown.append(dcmread(told.objects[0].path).pixel_array)

    np.testing.assert_array_equal(*shown)
