"""Pictures of balls whose place is known by hand: what is left, what is front, how long is a mm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image

from pipeline import drawing
from pipeline.camera import camera
from pipeline.drawing import Box, Outlined
from pipeline.geometry import project
from pipeline.keyimage import Page, key_image
from pipeline.paragraphs import paragraphs
from pipeline.turntable import turntable
from pipeline.types import (
    Assumption,
    Bone,
    Figure,
    Mesh,
    Radiograph,
    Reconstruction,
    Side,
    View,
    ViewName,
)
from pipeline.wording import Section, assumed_section, quality_section
from tests.results import TIBIA, box, reconstruction

Pixels = NDArray[np.uint8]
PAGE = Page("hip", Side.LEFT, "node-1")
SID = Assumption("DistanceSourceToDetector", 1150.0, "mm", "absent", "1.2.3")


def a_ball(x: float = 0, y: float = 0, z: float = 0, radius: float = 15) -> Mesh:
    made = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    made.apply_translation((x, y, z))
    return Mesh(np.asarray(made.vertices, float), np.asarray(made.faces, np.int64))


def two_balls(first: Mesh, second: Mesh) -> tuple[Bone, Bone]:
    """Teal and violet, as several bones are told apart."""
    return replace(box("Femur"), mesh=first), replace(box("Tibia", code=TIBIA), mesh=second)


def a_view(name: ViewName = ViewName.AP, rows: int = 240, columns: int = 200) -> View:
    return camera(
        name,
        source_to_detector=1200.0,
        source_to_patient=800.0,
        row_spacing=1.0,
        column_spacing=1.0,
        rows=rows,
        columns=columns,
    )


def a_radiograph(view: View) -> Radiograph:
    image = np.tile(np.linspace(0, 1, view.columns, dtype=np.float32), (view.rows, 1))
    return Radiograph(image, np.ones_like(image, np.bool_), view, "1", "1.2.3", "1.2")


def teal_and_violet(picture: Pixels) -> tuple[float, float]:
    """The mean columns of the first and of the second bone."""
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    is_teal = (green > red + 12) & (green > blue)
    is_violet = (blue > green + 12) & (red > green)
    assert is_teal.sum() > 50
    assert is_violet.sum() > 50
    return float(np.nonzero(is_teal)[1].mean()), float(np.nonzero(is_violet)[1].mean())


def has(picture: Pixels, rgb: tuple[int, int, int]) -> bool:
    return bool((picture == np.array(rgb)).all(axis=-1).any())


def middle(frame: Pixels) -> Pixels:
    return frame[20 : int(len(frame) * 0.6)]


def test_from_the_front_the_patients_left_is_on_the_right_and_from_behind_on_the_left() -> None:
    frames = turntable(two_balls(a_ball(x=40), a_ball(x=-40)), "hip", Side.LEFT)

    left, right = teal_and_violet(middle(frames[0]))
    assert left > right + 30
    left, right = teal_and_violet(middle(frames[18]))
    assert left < right - 30


def test_a_quarter_turn_is_seen_from_the_patients_left_with_the_front_on_the_left() -> None:
    bones = two_balls(a_ball(y=-40), a_ball(y=40))

    frames = turntable(bones, "hip", Side.LEFT)

    front, back = teal_and_violet(middle(frames[9]))
    assert front < back - 30
    front, back = teal_and_violet(middle(frames[27]))
    assert front > back + 30


@pytest.mark.parametrize("height", [20.0, 300.0])
def test_a_turntable_is_small_whatever_the_bones_are_like(height: float) -> None:
    bones = two_balls(a_ball(x=30), a_ball(x=-30, z=height))

    frames = turntable(bones, "hip", Side.UNPAIRED, (SID,))

    assert frames.shape[0] == 36
    assert frames.nbytes <= 7_300_000
    assert frames.shape[1] % 2 == frames.shape[2] % 2 == 0


def test_every_frame_of_a_turntable_says_that_the_side_was_assumed() -> None:
    assumed = Assumption("ImageLaterality", "L", "", "the rule says so")

    told, plain = (
        turntable(two_balls(a_ball(x=30), a_ball(x=-30)), "hip", Side.LEFT, assumptions)
        for assumptions in ((assumed,), ())
    )

    lower = told.shape[1] // 2
    assert all(has(frame[lower:], drawing.CAUTION) for frame in told)
    assert not any(has(frame[lower:], drawing.CAUTION) for frame in plain)


def test_the_four_sides_of_the_key_image_show_left_right_front_and_back_where_they_are() -> None:
    made = reconstruction(*two_balls(a_ball(x=40, y=-40), a_ball(x=-40, y=40)))

    page = key_image(made, [], PAGE)

    # the right 55 % of the page: front and back above, seen from left and right below
    area = page[214:990, 660:1410]
    tops, bottoms = area[:360], area[420:]
    for panel, is_right in (
        (tops[:, :365], True),
        (tops[:, 380:], False),
        (bottoms[:, :365], False),
        (bottoms[:, 380:], True),
    ):
        first, second = teal_and_violet(panel)
        assert (first > second) is is_right


@pytest.mark.parametrize(("width", "height"), [(1440, 1080), (1600, 900), (1024, 768)])
@pytest.mark.parametrize("views", [1, 2, 4])
def test_the_page_has_the_shape_that_was_asked_for(width: int, height: int, views: int) -> None:
    images = [a_radiograph(a_view(rows=60, columns=300)), *([a_radiograph(a_view())] * 3)]

    page = key_image(reconstruction(box()), images[:views], PAGE, width=width, height=height)

    assert page.shape == (height, width, 3)


def test_the_same_result_gives_the_same_page() -> None:
    first, again = (
        key_image(reconstruction(box()), [a_radiograph(a_view())], PAGE) for _ in range(2)
    )

    np.testing.assert_array_equal(first, again)


def test_the_side_is_drawn_in_a_box_of_its_own_where_there_is_one() -> None:
    made = reconstruction(box())
    pages = [key_image(made, [], replace(PAGE, side=side)) for side in Side]

    badge = [(page[130:184, 30:60] == drawing.INK).all(axis=-1).mean() for page in pages]
    assert badge[0] > 0.5
    assert badge[1] > 0.5
    assert badge[2] < 0.4


def test_an_assumed_scale_is_said_in_every_panel_of_bones() -> None:
    made = reconstruction(box())

    measured = key_image(made, [], PAGE)
    assumed = key_image(replace(made, assumptions=(SID,)), [], PAGE)

    for rows in (slice(540, 590), slice(985, 1040)):
        for columns in (slice(800, 1024), slice(1190, 1412)):
            assert not has(measured[rows, columns], drawing.CAUTION)
            assert has(assumed[rows, columns], drawing.CAUTION)


def test_a_scale_bar_is_as_long_as_it_says() -> None:
    canvas = Image.new("RGB", (400, 200))

    drawing.scale_bar(canvas, Box(0, 0, 400, 200), 2.5, 16, 140.0)

    row = np.asarray(canvas)[200 - 11]
    columns = np.flatnonzero((row == drawing.INK).all(axis=-1))
    # 50 mm is the longest of the lengths that fits into 140 pixels; the ends are 2 pixels wide
    assert columns.max() - columns.min() == pytest.approx(125, abs=2)


def test_an_outline_lies_where_the_camera_sees_the_bone() -> None:
    view, place = a_view(), (14.0, 3.0, -22.0)
    shown = [Outlined(a_ball(*place, radius=8), (0, 255, 0))]

    picture = np.asarray(drawing.with_outlines(a_radiograph(view), shown, 400, 480)).astype(int)

    rows, columns = np.nonzero(picture[..., 1] > picture[..., 0] + 60)
    at = 2 * project(view, place) + 0.5
    assert [np.ptp(rows) / 2 + rows.min(), np.ptp(columns) / 2 + columns.min()] == pytest.approx(
        at, abs=1.5
    )
    assert np.ptp(rows) == pytest.approx(2 * 2 * 8 * 1200 / 803, abs=4)


def test_a_radiograph_of_oblong_pixels_is_shown_true_to_its_mm() -> None:
    oblong = camera(
        ViewName.AP,
        source_to_detector=1200.0,
        source_to_patient=800.0,
        row_spacing=0.4,
        column_spacing=0.2,
        rows=100,
        columns=100,
    )

    assert drawing.size_within(oblong, 300, 300) == (150, 300)


@pytest.mark.parametrize("count", [1, 5, 40])
def test_no_list_is_so_long_that_it_leaves_its_box(count: int) -> None:
    canvas = Image.new("RGB", (500, 400))
    long = tuple(f"Entry {n} that goes on for quite some words, and more" for n in range(count))
    sections = [Section("ONE", long), Section("TWO", ("short",)), Section("THREE", long)]

    paragraphs(canvas, Box(20, 10, 300, 300), sections, (19, 15))

    written = np.asarray(canvas).any(axis=-1)
    assert not written[:, 325:].any()
    assert not written[315:].any()


def test_a_check_that_failed_is_said_first() -> None:
    figures = (Figure("volume", 503.0, "cm3", 5.0, 3000.0), Figure("pieces", 20.0, "", None, 12.0))

    section = quality_section(figures)

    assert section.heading == "QUALITY: 1 OF 2 CHECKS NOT PASSED"
    assert section.entries == (
        "Pieces: 20 (at most 12)",
        "Volume: 503 cm3 (at least 5, at most 3000)",
    )


def test_what_was_assumed_for_two_images_is_said_once() -> None:
    section = assumed_section((SID, replace(SID, sop_instance_uid="1.2.4")))

    assert section.is_caution
    assert section.entries == ("Distance source to detector: 1150 mm (2 images)",)


def test_a_page_without_figures_and_of_many_bones_is_drawn() -> None:
    bones = [replace(box(f"Bone {n}"), mesh=a_ball(x=20 * n)) for n in range(12)]
    made: Reconstruction = reconstruction(*bones)

    page = key_image(made, [], replace(PAGE, region="R\u00e9gion \u9aa8 " * 20, side=Side.UNPAIRED))

    assert page.shape == (1080, 1440, 3)
