"""What stored values mean, law by law, against values computed by hand from the standard."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from numpy.testing import assert_allclose
from pydicom.dataset import Dataset

from pipeline.errors import UnreadablePixels
from pipeline.grey import displayed, grey


def an_image(**changes: object) -> Dataset:
    ds = Dataset()
    ds.Modality = "CR"
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.PixelRepresentation = 16, 10, 0
    for keyword, value in changes.items():
        setattr(ds, keyword, value)
    return ds


def a_table(first: int, bits: int, data: object, count: int | None = None) -> Dataset:
    item = Dataset()
    entries = len(data) if count is None else count
    item.add_new("LUTDescriptor", "US", [entries, first, bits])
    item.add_new("LUTData", "OW" if isinstance(data, bytes) else "US", data)
    return item


def attenuation(ds: Dataset, *stored: int) -> list[float]:
    return [float(v) for v in grey(ds, np.array([stored], np.int32)).attenuation[0]]


def test_without_any_window_the_whole_range_of_the_stored_bits_is_shown() -> None:
    assert attenuation(an_image(), 0, 1023) == [0, 1]
    assert attenuation(an_image(BitsStored=8), 51, 255) == pytest.approx([0.2, 1])


def test_monochrome1_is_turned_round() -> None:
    ds = an_image(PhotometricInterpretation="MONOCHROME1", BitsStored=8)

    assert attenuation(ds, 0, 51, 255) == pytest.approx([1, 0.8, 0])


@pytest.mark.parametrize(
    ("photometric", "shape", "expected"),
    [
        ("MONOCHROME1", "INVERSE", [1, 0]),
        ("MONOCHROME2", "INVERSE", [1, 0]),
        ("MONOCHROME2", "IDENTITY", [0, 1]),
        ("MONOCHROME1", "IDENTITY", [0, 1]),
    ],
)
def test_the_presentation_lut_shape_has_the_last_word(
    photometric: str, shape: str, expected: list[float]
) -> None:
    ds = an_image(PhotometricInterpretation=photometric, PresentationLUTShape=shape)

    assert attenuation(ds, 0, 1023) == expected


def test_signed_values_span_their_own_range() -> None:
    ds = an_image(PixelRepresentation=1, BitsStored=9)

    assert attenuation(ds, -256, 255) == [0, 1]


# C.11.2.1.2.1: y = (x - (c - 0.5)) / (w - 1) + 0.5; c = 2048, w = 4096 spans 0 .. 4095
@pytest.mark.parametrize(
    ("function", "centre", "width", "stored", "expected"),
    [
        ("", 2048, 4096, (0, 4095), (0, 1)),
        ("LINEAR", 100, 101, (49, 99, 150), (-0.505 + 0.5, 0.495, 1.005)),
        ("LINEAR", 0, 100, (-50, 49), (0, 1)),
        ("LINEAR", 100, 1, (99, 100), (0, 1)),
        # C.11.2.1.3.2: y = (x - c) / w + 0.5
        ("LINEAR_EXACT", 2048, 4096, (0, 2048, 4096), (0, 0.5, 1)),
        # C.11.2.1.3.1: y = 1 / (1 + exp(-4 (x - c) / w))
        ("SIGMOID", 100, 50, (100, 150, 50), (0.5, 0.9820138, 0.0179862)),
        ("SIGMOID", 0, 1, (-8000, 8000), (0, 1)),
    ],
)
def test_windows_follow_their_formula(
    function: str, centre: float, width: float, stored: tuple[int, ...], expected: tuple[float, ...]
) -> None:
    ds = an_image(
        PixelRepresentation=1, BitsStored=16, WindowCenter=str(centre), WindowWidth=str(width)
    )
    if function:
        ds.VOILUTFunction = function

    assert_allclose(attenuation(ds, *stored), expected, atol=1e-5)


def test_a_linear_window_keeps_what_lies_outside_it() -> None:
    ds = an_image(WindowCenter="100", WindowWidth="101")

    below, above = attenuation(ds, 0, 1000)

    assert below < 0
    assert above > 1


def test_the_first_of_several_windows_counts() -> None:
    ds = an_image(WindowCenter=["512", "10"], WindowWidth=["1024", "2"])

    assert attenuation(ds, 0, 1023) == pytest.approx([0, 1])


@pytest.mark.parametrize("width", ["0", "-5", "0.5"])
def test_a_window_that_cannot_be_is_as_none(width: str) -> None:
    ds = an_image(WindowCenter="100", WindowWidth=width)

    assert attenuation(ds, 0, 1023) == [0, 1]


def test_rescaling_comes_before_the_window() -> None:
    ds = an_image(RescaleSlope="2", RescaleIntercept="-100", WindowCenter="0.5", WindowWidth="201")

    # 2 * 0 - 100 = -100 is the lower end, 2 * 100 - 100 = 100 the upper end
    assert attenuation(ds, 0, 100) == pytest.approx([0, 1])


def test_a_falling_rescale_turns_the_image_round() -> None:
    ds = an_image(RescaleSlope="-1", RescaleIntercept="1023")

    assert attenuation(ds, 0, 1023) == [1, 0]


def test_a_modality_lut_maps_and_ends_where_it_ends() -> None:
    ds = an_image(ModalityLUTSequence=[a_table(10, 8, [0, 51, 102, 255])])

    assert attenuation(ds, 0, 10, 11, 12, 13, 1000) == pytest.approx([0, 0, 0.2, 0.4, 1, 1])


def test_a_voi_lut_that_falls_turns_the_image_round() -> None:
    ds = an_image(VOILUTSequence=[a_table(100, 8, [255, 102, 0])], WindowCenter="1")
    ds.WindowWidth = "2"

    assert attenuation(ds, 0, 100, 101, 102, 900) == pytest.approx([1, 1, 0.4, 0, 0])


@pytest.mark.parametrize(
    "data", [struct.pack("<4H", 0, 51, 102, 255), bytes([0, 51, 102, 255])], ids=["words", "bytes"]
)
def test_a_lut_of_bytes_is_read_by_its_number_of_entries(data: bytes) -> None:
    ds = an_image(ModalityLUTSequence=[a_table(0, 8, data, count=4)])

    assert attenuation(ds, 0, 1, 2, 3) == pytest.approx([0, 0.2, 0.4, 1])


def test_a_lut_of_a_signed_image_starts_at_a_signed_value() -> None:
    ds = an_image(
        PixelRepresentation=1, ModalityLUTSequence=[a_table(65536 - 2, 8, [0, 51, 102, 255])]
    )

    assert attenuation(ds, -5, -2, -1, 0, 1) == pytest.approx([0, 0, 0.2, 0.4, 1])


def test_zero_entries_of_a_lut_mean_65536() -> None:
    table = a_table(0, 16, np.arange(65536, dtype="<u2").tobytes(), count=0)
    ds = an_image(BitsStored=16, ModalityLUTSequence=[table])

    assert attenuation(ds, 0, 65535) == [0, 1]


@pytest.mark.parametrize(
    "table",
    [a_table(0, 8, [1, 2], count=9), a_table(0, 40, [1, 2]), Dataset()],
    ids=["short", "bits", "empty"],
)
def test_a_broken_lut_is_refused(table: Dataset) -> None:
    with pytest.raises(UnreadablePixels, match="look-up table"):
        attenuation(an_image(ModalityLUTSequence=[table]), 1)


@pytest.mark.parametrize("slope", ["0"])
def test_a_rescale_that_flattens_the_image_is_refused(slope: str) -> None:
    with pytest.raises(UnreadablePixels, match="RescaleSlope"):
        attenuation(an_image(RescaleSlope=slope), 1)


# Intensity: 8 bits, full scale 255
def test_linear_intensity_becomes_its_negative_logarithm() -> None:
    ds = an_image(
        Modality="DX",
        BitsStored=8,
        PresentationIntentType="FOR PROCESSING",
        PixelIntensityRelationship="LIN",
        PixelIntensityRelationshipSign=1,
        WindowCenter="3",
        WindowWidth="2",
    )

    expected = [math.log(255), math.log(255), math.log(5), 0]
    assert attenuation(ds, 0, 1, 51, 255) == pytest.approx(expected, abs=1e-6)


def test_a_negative_sign_turns_linear_intensity_round() -> None:
    ds = an_image(
        Modality="DX",
        BitsStored=8,
        PresentationIntentType="FOR PROCESSING",
        PixelIntensityRelationship="LIN",
        PixelIntensityRelationshipSign=-1,
    )

    assert attenuation(ds, 255, 204, 0) == pytest.approx([math.log(255), math.log(5), 0], abs=1e-6)


@pytest.mark.parametrize(("sign", "expected"), [(1, [1, 0.8, 0]), (-1, [0, 0.2, 1])])
def test_logarithmic_values_are_attenuation_already(sign: int, expected: list[float]) -> None:
    ds = an_image(
        Modality="DX",
        BitsStored=8,
        PresentationIntentType="FOR PROCESSING",
        PixelIntensityRelationship="LOG",
        PixelIntensityRelationshipSign=sign,
    )

    assert attenuation(ds, 0, 51, 255) == pytest.approx(expected)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_in_fluoroscopy_the_values_follow_the_intensity_however_they_are_shown(
    photometric: str,
) -> None:
    ds = an_image(
        Modality="XA",
        BitsStored=8,
        PhotometricInterpretation=photometric,
        PixelIntensityRelationship="LIN",
    )

    assert attenuation(ds, 51, 255) == pytest.approx([math.log(5), 0], abs=1e-6)


def test_the_modality_lut_of_logarithmic_fluoroscopy_leads_back_to_the_intensity() -> None:
    ds = an_image(
        Modality="RF",
        PixelIntensityRelationship="LOG",
        ModalityLUTSequence=[a_table(0, 8, [1, 51, 255])],
    )

    expected = [math.log(255), math.log(5), 0]
    assert attenuation(ds, 0, 1, 2) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("relationship", [None, "DISP"])
def test_fluoroscopy_that_does_not_say_is_dark_for_bone_and_recorded(
    relationship: str | None,
) -> None:
    ds = an_image(Modality="XA", BitsStored=8, SOPInstanceUID="1.2")
    if relationship:
        ds.PixelIntensityRelationship = relationship

    made = grey(ds, np.array([[0, 255]], np.int32))

    assert made.attenuation.tolist() == [[1, 0]]
    (assumption,) = made.assumptions
    assert (assumption.name, assumption.value) == ("PixelIntensityRelationship", "LOG")
    assert assumption.sop_instance_uid == "1.2"


@pytest.mark.parametrize(
    ("sign", "photometric", "recorded"),
    [
        (1, "MONOCHROME2", True),
        (-1, "MONOCHROME2", False),
        (1, "MONOCHROME1", False),
        (-1, "MONOCHROME1", True),
    ],
)
def test_a_sign_that_contradicts_the_display_is_recorded_and_the_display_holds(
    sign: int, photometric: str, recorded: bool
) -> None:
    ds = an_image(
        Modality="DX",
        PresentationIntentType="FOR PRESENTATION",
        PhotometricInterpretation=photometric,
        PixelIntensityRelationshipSign=sign,
    )
    stored = np.array([[0, 1023]], np.int32)

    made = grey(ds, stored)

    assert_allclose(made.attenuation, displayed(ds, stored))
    assert bool(made.assumptions) is recorded
