"""Which pixels show the patient: by the tags, and by the image where the tags are silent."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline.collimation import padding, seen_field, tagged_field, valid_pixels

Image = NDArray[np.float32]


def a_header(**values: object) -> Dataset:
    ds = Dataset()
    ds.BitsAllocated, ds.PixelRepresentation = 16, 0
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def a_limb(rows: int = 400, columns: int = 300, *, seed: int = 1) -> Image:
    """A tapered limb with a bone, in saturated air, with noise in the tissue."""
    row, column = np.mgrid[:rows, :columns]
    half = columns * (0.3 - 0.06 * row / rows)
    across = np.abs(column - columns / 2) / half
    tissue = np.sqrt(np.clip(1 - across**2, 0, 1)) * 0.6
    bone = np.sqrt(np.clip(1 - (across / 0.35) ** 2, 0, 1)) * 0.4
    noise = np.random.default_rng(seed).normal(0, 0.01, (rows, columns))
    return np.where(tissue > 0, tissue + bone + noise, 0).clip(0, 1).astype(np.float32)


def test_a_rectangular_shutter_counts_from_one_and_keeps_its_edges() -> None:
    ds = a_header(
        ShutterShape="RECTANGULAR",
        ShutterLeftVerticalEdge="2",
        ShutterRightVerticalEdge="4",
        ShutterUpperHorizontalEdge="3",
        ShutterLowerHorizontalEdge="5",
    )

    field = tagged_field(ds, (6, 5))

    expected = np.zeros((6, 5), bool)
    expected[2:5, 1:4] = True
    np.testing.assert_array_equal(field, expected)


def test_a_circular_shutter_has_its_radius_along_a_row() -> None:
    ds = a_header(
        ShutterShape="CIRCULAR", CenterOfCircularShutter=["11", "11"], RadiusOfCircularShutter="8"
    )

    field = tagged_field(ds, (21, 21))

    assert field[10].sum() == 17
    assert field[:, 10].sum() == 17
    assert not field[4, 4]
    ds.PixelSpacing = ["2", "1"]
    assert tagged_field(ds, (21, 21))[:, 10].sum() == 9


def test_a_polygonal_shutter_keeps_the_inside_of_its_corners() -> None:
    ds = a_header(
        ShutterShape="POLYGONAL",
        VerticesOfThePolygonalShutter=["1", "1", "1", "20", "20", "1"],
    )

    field = tagged_field(ds, (20, 20))

    row, column = np.mgrid[:20, :20]
    assert field[row + column < 18].all()
    assert not field[row + column > 20].any()


def test_several_shapes_leave_what_all_of_them_leave() -> None:
    ds = a_header(
        ShutterShape=["CIRCULAR", "RECTANGULAR"],
        CenterOfCircularShutter=["11", "11"],
        RadiusOfCircularShutter="9",
        ShutterLeftVerticalEdge="1",
        ShutterRightVerticalEdge="10",
        ShutterUpperHorizontalEdge="1",
        ShutterLowerHorizontalEdge="21",
    )

    field = tagged_field(ds, (21, 21))

    assert field[10, 1]
    assert not field[10, 11]
    assert not field[0, 0]


@pytest.mark.parametrize(
    "edges", [("50", "2", "1", "60"), ("-184", "3", "-184", "3"), ("70", "90", "1", "60")]
)
def test_a_collimator_that_leaves_almost_nothing_is_a_fault_of_the_header(
    edges: tuple[str, ...],
) -> None:
    left, right, upper, lower = edges
    ds = a_header(
        CollimatorShape="RECTANGULAR",
        CollimatorLeftVerticalEdge=left,
        CollimatorRightVerticalEdge=right,
        CollimatorUpperHorizontalEdge=upper,
        CollimatorLowerHorizontalEdge=lower,
    )

    assert tagged_field(ds, (60, 60)).all()


@pytest.mark.parametrize("shape", ["RECTANGULAR", "CIRCULAR", "POLYGONAL", "BITMAP", ""])
def test_a_shutter_without_its_numbers_is_none(shape: str) -> None:
    assert tagged_field(a_header(ShutterShape=shape), (9, 9)).all()


def test_padding_lies_between_its_value_and_its_limit() -> None:
    stored = np.array([[0, 5, 30, 31, 100]], np.int32)

    alone = padding(a_header(PixelPaddingValue=5), stored)
    ranged = padding(a_header(PixelPaddingValue=0, PixelPaddingRangeLimit=30), stored)
    falling = padding(a_header(PixelPaddingValue=30, PixelPaddingRangeLimit=5), stored)

    assert alone.tolist() == [[False, True, False, False, False]]
    assert ranged.tolist() == [[True, True, True, False, False]]
    assert falling.tolist() == [[False, True, True, False, False]]


def test_padding_of_a_signed_image_is_signed_whatever_its_representation() -> None:
    ds = a_header(PixelPaddingValue=65536 - 2000, PixelRepresentation=1)

    assert padding(ds, np.array([[-2000, 2000]], np.int32)).tolist() == [[True, False]]


def test_air_around_a_limb_stays_valid() -> None:
    assert seen_field(a_limb()).all()


def test_air_around_a_limb_that_is_straight_and_upright_stays_valid() -> None:
    upright = np.repeat(a_limb()[200:201], 400, axis=0)

    assert seen_field(upright).all()


def test_a_round_thing_in_air_stays_valid_all_around() -> None:
    row, column = np.mgrid[:300, :300] - 149.5
    ball = np.sqrt(np.clip(110**2 - row**2 - column**2, 0, None)).astype(np.float32)

    assert seen_field(ball).all()


@pytest.mark.parametrize("outside", [1.0, 0.0], ids=["unexposed", "blackened"])
@pytest.mark.parametrize("turns", range(4))
def test_a_collimated_border_is_found_with_the_letter_that_is_burnt_into_it(
    outside: float, turns: int
) -> None:
    image = np.maximum(a_limb(), 0.3)
    image[:, :60] = outside
    image[100:130, 20:35] = 1 - outside
    image[:, 60] = (image[:, 61] + outside) / 2

    field = seen_field(np.rot90(image, turns).copy())

    field = np.rot90(field, -turns)
    assert not field[:, :60].any()
    assert field[:, 64:].all()


def test_all_four_sides_of_a_collimated_border_are_found() -> None:
    image = np.full((500, 420), 1.0, np.float32)
    image[50:450, 60:360] = np.maximum(a_limb(), 0.2) * 0.9

    field = seen_field(image)

    inside = np.zeros_like(field)
    inside[50:450, 60:360] = True
    assert not field[~inside].any()
    assert field[54:446, 64:356].all()


def test_the_round_field_of_an_image_intensifier_is_found() -> None:
    row, column = np.mgrid[:400, :400] - 199.5
    disc = row**2 + column**2 < 195**2
    texture = np.random.default_rng(2).uniform(0.1, 0.8, (400, 400))
    for outside in (0.0, 1.0):
        field = seen_field(np.where(disc, texture, outside).astype(np.float32))

        assert not field[~disc].any()
        assert field.sum() > 0.95 * disc.sum()


def test_an_image_without_any_contrast_has_no_border() -> None:
    assert seen_field(np.zeros((50, 40), np.float32)).all()


def test_what_the_tags_say_goes_before_what_the_image_shows() -> None:
    image = np.maximum(a_limb(), 0.3)
    image[:, :60] = 1
    ds = a_header(
        CollimatorShape="RECTANGULAR",
        CollimatorLeftVerticalEdge="31",
        CollimatorRightVerticalEdge="300",
        CollimatorUpperHorizontalEdge="1",
        CollimatorLowerHorizontalEdge="400",
        PixelPaddingValue=7,
    )
    stored = np.zeros(image.shape, np.int32)
    stored[0, 200] = 7

    valid = valid_pixels(ds, stored, image)

    assert not valid[:, :30].any()
    assert valid[1:, 30:].all()
    assert not valid[0, 200]
