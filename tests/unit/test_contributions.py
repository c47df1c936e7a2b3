"""A surface has the colour of the view that it was taken from, where one view was preferred."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from pipeline.camera import camera
from pipeline.contributions import ALIKE, COLOURS, by_view, explained, legend, shares_at, tints
from pipeline.keyimage import Page, key_image
from pipeline.types import Bone, Mesh, Radiograph, Share, Side, ViewName, Volume
from tests.results import affine, box, reconstruction

FRONTAL, LATERAL, THIRD = (np.array(rgb, float) for rgb in COLOURS[:3])
BONE = np.array(ALIKE, float)
PAGE = Page("hip", Side.LEFT, "node-1")


def share(view: ViewName, array: NDArray[np.floating], label: str = "") -> Share:
    """On a grid of 10 mm about the origin."""
    matrix = affine(array.shape, (10.0, 10.0, 10.0))
    return Share(view, label or str(view), Volume(array.astype(np.float32), matrix))


def halves() -> tuple[Share, Share]:
    """The patient's right is taken from the frontal view, the left from the lateral one."""
    right = np.zeros((20, 20, 20))
    right[:, :, :10] = 1.0
    return share(ViewName.AP, right), share(ViewName.LL, 1 - right)


def a_ball(**changes: object) -> Bone:
    made = trimesh.creation.icosphere(subdivisions=4, radius=50)
    mesh = Mesh(np.asarray(made.vertices, float), np.asarray(made.faces, np.int64))
    return replace(box("Femur"), mesh=mesh, **changes)  # type: ignore[arg-type]  # fields of a bone


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ((0.5, 0.5), BONE),
        ((1.0, 0.0), FRONTAL),
        ((0.25, 0.75), LATERAL),
        ((0.625, 0.375), (BONE + FRONTAL) / 2),
        ((1 / 3, 1 / 3, 1 / 3), BONE),
        ((0.0, 0.0, 1.0), THIRD),
        ((2 / 3, 1 / 3, 0.0), FRONTAL),
        ((0.5, 0.5, 0.0), (FRONTAL + LATERAL) / 2),
        ((0.5, 0.5, 0.0, 0.0), (FRONTAL + LATERAL) / 2),
    ],
)
def test_the_more_was_taken_from_a_view_the_more_there_is_of_its_colour(
    shares: tuple[float, ...], expected: NDArray[np.float64]
) -> None:
    assert tints(np.array([shares]))[0] == pytest.approx(expected, abs=1)


def test_shares_are_interpolated_between_the_centres_of_voxels() -> None:
    # 0, 0.5 and 1 at x = -10, 0 and 10 mm
    along = np.broadcast_to(np.linspace(0, 1, 3), (3, 3, 3))

    found = shares_at(
        [share(ViewName.AP, along), share(ViewName.LL, 1 - along)],
        np.array([[-10.0, 3.0, -4.0], [4.0, 0.0, 9.0], [500.0, 0.0, 0.0]]),
    )

    assert found == pytest.approx(np.array([[0.0, 1.0], [0.7, 0.3], [1.0, 0.0]]))


def test_each_side_of_a_bone_has_the_colour_of_the_view_it_was_taken_from() -> None:
    bone = a_ball()

    surface = by_view([bone], halves())

    x = surface.mesh.vertices[surface.mesh.faces].mean(axis=1)[:, 0]
    assert (surface.rgb[x < -5] == FRONTAL).all()
    assert (surface.rgb[x > 5] == LATERAL).all()


def test_what_is_predicted_was_taken_from_no_view() -> None:
    pale = (250, 240, 230)
    seen, added = a_ball(), a_ball(is_predicted=True, rgb=pale)

    surface = by_view([seen, added], halves())

    count = len(seen.mesh.faces)
    alone = by_view([seen], halves())
    assert (surface.rgb[:count] == alone.rgb).all()
    assert len({tuple(rgb) for rgb in surface.rgb[count:]}) == 1


def test_the_colours_are_explained_in_words() -> None:
    half = np.full((2, 2, 2), 1 / 3)
    views = [(ViewName.PA, "PA 1"), (ViewName.PA, "PA 2"), (ViewName.RL, "RL")]

    three = legend([share(view, half, label) for view, label in views])

    assert [one.words for one in three] == [
        "frontal view (PA 1)",
        "frontal view (PA 2)",
        "lateral view (RL)",
        "all alike",
    ]
    assert [one.words for one in legend(halves())][-1] == "both alike"
    assert len({one.rgb for one in three}) == 4
    assert "75%" in explained(halves())


def a_radiograph(name: ViewName) -> Radiograph:
    view = camera(
        name,
        source_to_detector=1200.0,
        source_to_patient=900.0,
        row_spacing=2.0,
        column_spacing=2.0,
        rows=100,
        columns=100,
    )
    grey = np.zeros((100, 100), np.float32)
    return Radiograph(grey, np.ones_like(grey, np.bool_), view, "1", f"1.2.{name}", "1.3")


def columns_of(page: NDArray[np.uint8], hue: str) -> NDArray[np.int64]:
    """Where the panel from the front has bluish or reddish pixels."""
    panel = page[200:540, 650:1030].astype(int)
    red, green, blue = np.moveaxis(panel, -1, 0)
    is_such = (blue > red + 60) if hue == "blue" else (red > green + 60)
    return np.asarray(np.nonzero(is_such)[1], np.int64)


def test_the_key_image_shows_which_view_contributed_where() -> None:
    images = [a_radiograph(ViewName.AP), a_radiograph(ViewName.LL)]
    made = replace(reconstruction(a_ball()), shares=halves())

    page = key_image(made, images, PAGE)
    plain = key_image(replace(made, shares=()), images, PAGE)

    # from the front the patient's right is on the left
    assert columns_of(page, "blue").mean() + 30 < columns_of(page, "red").mean()
    assert columns_of(plain, "red").size == columns_of(plain, "blue").size == 0
    below = page[910:960]
    for rgb in (FRONTAL, LATERAL, BONE):
        assert (below == rgb).all(axis=-1).any()


@pytest.mark.parametrize("views", [2, 6])
def test_the_legend_stays_on_the_page_however_many_views_there_are(views: int) -> None:
    array = np.full((2, 2, 2), 1 / views)
    shares = tuple(share(ViewName.AP, array, f"AP {n + 1}") for n in range(views))
    made = replace(reconstruction(a_ball()), shares=shares)

    page = key_image(made, [a_radiograph(ViewName.AP)], PAGE, width=1280, height=960)

    # the margin at the right is 28 of 1080 rows wide
    assert (page[800:870, -24:] == page[400, -1]).all()
    for rgb in COLOURS[:views]:
        assert (page == np.array(rgb)).all(axis=-1).any()
