"""Files to radiographs: every kind of stream, every kind of fault, and real images."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from pipeline import pixels
from pipeline.errors import (
    ContradictoryGeometry,
    MissingGeometry,
    PipelineError,
    StudyError,
    UnreadablePixels,
)
from pipeline.pixels import read_dataset_of, stored_values
from pipeline.radiograph import display, exposure, read
from pipeline.types import Assume, Side, Source, ViewName
from tests.factories import Kind, file_bytes, radiograph

SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
]
SQUARES = np.arange(12, dtype=np.uint16).reshape(3, 4) ** 2


def stored_as(folder: Path, ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> Source:
    content = file_bytes(ds, syntax)
    path = folder / f"{len(list(folder.iterdir()))}.dcm"
    path.write_bytes(content)
    return Source(path, str(ds.SOPInstanceUID), hashlib.sha256(content).hexdigest())


def frames(ds: Dataset, number: int = 1) -> list[list[int]]:
    return stored_values(ds, number).tolist()


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
def test_every_lossless_syntax_gives_the_same_radiograph(tmp_path: Path, syntax: str) -> None:
    image = np.random.default_rng(3).integers(0, 4096, (64, 48), dtype=np.uint16)
    source = stored_as(tmp_path, radiograph(Kind.CR, pixels=image), syntax)

    made = read(source, ViewName.AP, Assume(), side=Side.RIGHT)

    # the factory's window, centre 2048 and width 4096, spans 0 .. 4095
    np.testing.assert_allclose(made.attenuation, image / 4095, atol=1e-6)
    assert made.attenuation.dtype == np.float32
    assert made.is_valid.shape == (64, 48)
    assert made.sop_instance_uid == source.sop_instance_uid
    assert made.sop_class_uid == Kind.CR.value
    assert (made.view.name, made.side, made.frame_number) == (ViewName.AP, Side.RIGHT, None)
    assert made.assumptions == ()


def test_of_a_multi_frame_image_one_frame_is_used() -> None:
    ds = radiograph(Kind.XA, pixels=np.stack([SQUARES, SQUARES + 1, SQUARES + 2]))

    assert frames(ds, 2) == (SQUARES + 1).tolist()
    with pytest.raises(UnreadablePixels, match="3 frames, but frame 4"):
        frames(ds, 4)
    with pytest.raises(UnreadablePixels, match="frame 0"):
        frames(ds, 0)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, ExplicitVRLittleEndian])
def test_only_the_frame_that_is_used_needs_to_be_whole(tmp_path: Path, syntax: str) -> None:
    image = np.random.default_rng(5).integers(0, 4096, (3, 40, 30), dtype=np.uint16)
    ds = radiograph(Kind.XA, pixels=image, ViewPosition="PA", PatientOrientation=["L", "F"])
    ds.PositionerPrimaryAngle = "0"
    source = stored_as(tmp_path, ds, syntax)

    made = read(source, ViewName.PA, Assume(), frame_number=3)

    assert made.frame_number == 3
    assert made.attenuation.argmin() == image[2].argmax()


def test_the_angles_of_a_moving_c_arm_hold_for_the_first_frame_only(tmp_path: Path) -> None:
    ds = radiograph(Kind.XA, pixels=np.stack([SQUARES, SQUARES]), PositionerMotion="DYNAMIC")
    ds.PositionerPrimaryAngle = "180"
    source = stored_as(tmp_path, ds)

    assert read(source, ViewName.AP, Assume()).frame_number == 1
    with pytest.raises(ContradictoryGeometry, match="moves"):
        read(source, ViewName.AP, Assume(), frame_number=2)


def test_garbage_in_the_unused_bits_does_not_count() -> None:
    ds = radiograph(Kind.CR, pixels=SQUARES | 0xF000)

    assert frames(ds) == SQUARES.tolist()


def test_bits_below_the_stored_ones_do_not_count() -> None:
    ds = radiograph(Kind.CR, pixels=(SQUARES << 4) | 0xF, HighBit=15)

    assert frames(ds) == SQUARES.tolist()


def test_negative_values_are_extended_from_their_own_sign_bit() -> None:
    signed = np.array([[-2048, -1], [0, 2047]])
    ds = radiograph(Kind.CR, pixels=(signed & 0xFFF).astype(np.uint16), PixelRepresentation=1)

    assert frames(ds) == signed.tolist()


def colour(image: NDArray[np.uint8], **keywords: object) -> Dataset:
    ds = radiograph(Kind.SECONDARY_CAPTURE, pixels=image[..., 0], SamplesPerPixel=3, **keywords)
    ds.PhotometricInterpretation, ds.PlanarConfiguration = "RGB", 0
    ds.PixelData = image.tobytes()
    return ds


def test_grey_in_the_disguise_of_colour_is_read() -> None:
    grey = np.arange(240, dtype=np.uint8).reshape(12, 20)
    disguised = np.repeat(grey[..., None], 3, axis=-1)

    assert frames(colour(disguised)) == grey.tolist()


def test_colour_is_refused() -> None:
    image = np.random.default_rng(0).integers(0, 255, (12, 20, 3), dtype=np.uint8)

    with pytest.raises(UnreadablePixels, match="in colour"):
        frames(colour(image))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"PixelData": None}, "no pixel data"),
        ({"PixelData": b""}, "no pixel data"),
        ({"PixelData": b"\0" * 10}, "pixel stream of the image is broken"),
        ({"Rows": 0}, "Rows or Columns"),
        ({"Columns": None}, "Rows or Columns"),
        ({"Rows": 4}, "pixel stream of the image is broken"),
        ({"Rows": 65535, "Columns": 65535}, "more than 100000000 pixels"),
        ({"NumberOfFrames": 2_000_000_000}, "more than 100000 frames"),
        ({"NumberOfFrames": 0}, "NumberOfFrames"),
        ({"BitsAllocated": 12}, "BitsAllocated and BitsStored"),
        ({"BitsStored": 17}, "BitsAllocated and BitsStored"),
        ({"BitsStored": 0}, "BitsAllocated and BitsStored"),
        ({"BitsStored": None}, "BitsAllocated and BitsStored"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "not grey"),
        ({"PhotometricInterpretation": None}, "not grey"),
        ({"SamplesPerPixel": 3}, "SamplesPerPixel"),
    ],
)
def test_what_cannot_be_decoded_is_refused_in_a_sentence(
    changes: dict[str, object], sentence: str
) -> None:
    ds = radiograph(Kind.CR, pixels=SQUARES, **changes)

    with pytest.raises(UnreadablePixels, match=sentence):
        exposure(ds)


@pytest.mark.parametrize("syntax", SYNTAXES[2:], ids=lambda uid: uid.name)
@pytest.mark.parametrize("part", [0.3, 0.9])
def test_a_stream_that_is_cut_off_is_refused(tmp_path: Path, syntax: str, part: float) -> None:
    image = np.random.default_rng(4).integers(0, 4096, (64, 64), dtype=np.uint16)
    ds = radiograph(Kind.CR, pixels=image)
    if syntax == DeflatedExplicitVRLittleEndian:
        source = stored_as(tmp_path, ds, syntax)
        whole = source.path.read_bytes()
        source.path.write_bytes(whole[: int(len(whole) * part)])
    else:
        ds.compress(syntax, generate_instance_uid=False)
        (frame,) = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)
        cut = frame[: int(len(frame) * part) // 2 * 2]
        ds.PixelData = pydicom.encaps.encapsulate([cut])
        path = tmp_path / "cut.dcm"
        ds.save_as(path, enforce_file_format=True)
        source = Source(path, str(ds.SOPInstanceUID), "")

    with pytest.raises(UnreadablePixels, match=r"broken|cut off"):
        read(source, ViewName.AP, Assume())


def test_a_deflated_bomb_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((1000, 1000), np.uint16)
    image[0, 0] = 1
    source = stored_as(tmp_path, radiograph(pixels=image), DeflatedExplicitVRLittleEndian)
    monkeypatch.setattr(pixels, "MAXIMUM_INFLATED_BYTES", 1_000_000)

    with pytest.raises(UnreadablePixels, match="too large"):
        read_dataset_of(source.path)


@pytest.mark.parametrize("content", [b"", b"\0" * 200, b"\0" * 128 + b"DICM", b"GIF89a" * 99])
def test_a_file_that_is_no_dicom_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "no.dcm"
    path.write_bytes(content)

    with pytest.raises(StudyError, match=r"not a DICOM file|no pixel data|holds another"):
        exposure(read_dataset_of(path))


@pytest.mark.parametrize(
    ("image", "changes", "sentence"),
    [
        (np.full((9, 9), 77, np.uint16), {}, "blank"),
        (np.full((9, 9), 77, np.uint16), {"PixelPaddingValue": 77}, "nothing but padding"),
        (SQUARES, {"RescaleSlope": "0"}, "RescaleSlope"),
    ],
)
def test_an_image_that_shows_nothing_is_refused(
    image: NDArray[np.uint16], changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UnreadablePixels, match=sentence):
        exposure(radiograph(Kind.CR, pixels=image, **changes))


@pytest.mark.parametrize("kind", [Kind.CR, Kind.DX, Kind.XA, Kind.SECONDARY_CAPTURE])
def test_refusals_name_no_patient(tmp_path: Path, kind: Kind) -> None:
    ds = radiograph(kind, PatientName="Planted^Name", PatientID="PLANTED", pixels=SQUARES)
    ds.PixelData = b"\0\0"
    ds.PhotometricInterpretation = "PLANTED"

    with pytest.raises(StudyError) as refusal:
        read(stored_as(tmp_path, ds), ViewName.AP, Assume(1000.0, 900.0, 0.2))

    assert "planted" not in str(refusal.value).lower()


def test_a_file_of_another_instance_is_our_fault_and_not_the_studys(tmp_path: Path) -> None:
    source = replace(stored_as(tmp_path, radiograph()), sop_instance_uid="1.2.3")

    with pytest.raises(PipelineError) as fault:
        read(source, ViewName.AP, Assume())

    assert not isinstance(fault.value, StudyError)


def test_missing_geometry_is_refused_before_pixels_are_decoded(tmp_path: Path) -> None:
    ds = radiograph(DistanceSourceToDetector=None, PixelData=b"\0\0")

    with pytest.raises(MissingGeometry, match="DistanceSourceToDetector"):
        read(stored_as(tmp_path, ds), ViewName.AP, Assume())


def test_a_picture_shows_bone_white_and_hides_what_is_not_the_patient() -> None:
    image = np.tile(np.linspace(0, 4095, 200).astype(np.uint16), (100, 1))
    edges = {
        "ShutterShape": "RECTANGULAR",
        "ShutterLeftVerticalEdge": "1",
        "ShutterRightVerticalEdge": "200",
        "ShutterUpperHorizontalEdge": "11",
        "ShutterLowerHorizontalEdge": "100",
    }

    white = display(exposure(radiograph(Kind.CR, pixels=image, **edges)))
    inverse = display(
        exposure(
            radiograph(
                Kind.CR, pixels=4095 - image, PhotometricInterpretation="MONOCHROME1", **edges
            )
        )
    )

    assert (white.dtype, white.shape) == (np.uint8, image.shape)
    assert (white[50, 0], white[50, 199]) == (0, 255)
    assert not white[:10].any()
    np.testing.assert_allclose(white.astype(int), inverse.astype(int), atol=1)
