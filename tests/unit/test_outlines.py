"""An outline lies on the edge of the shadow of its own body, and not on that of another."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipeline.camera import camera
from pipeline.geometry import project, rays
from pipeline.outlines import agreement, outline
from pipeline.types import Mesh, View, ViewName

RADIUS = 25.0
CENTRE = np.array([10.0, -6.0, 4.0])


def a_view(name: ViewName = ViewName.AP, turned_deg: float = 0.0) -> View:
    return camera(
        name,
        source_to_detector=1150.0,
        source_to_patient=950.0,
        row_spacing=1.0,
        column_spacing=1.0,
        rows=180,
        columns=180,
        primary_deg=turned_deg,
    )


def ball(centre: np.ndarray = CENTRE, radius: float = RADIUS) -> Mesh:
    solid = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return Mesh(np.asarray(solid.vertices + centre), np.asarray(solid.faces, np.int64))


def shadow(view: View, centre: np.ndarray = CENTRE, radius: float = RADIUS) -> np.ndarray:
    """Length of each ray inside a ball, exact."""
    pixels = np.moveaxis(np.indices((view.rows, view.columns)), 0, -1)
    away = np.cross(rays(view, pixels), centre - view.source)
    square = radius**2 - (away**2).sum(axis=-1)
    return np.asarray(2 * np.sqrt(np.clip(square, 0, None)), np.float32)


def noise(view: View) -> np.ndarray:
    made = np.random.default_rng(0).normal(size=(view.rows, view.columns))
    return np.asarray(made, np.float32)


def valid(view: View) -> np.ndarray:
    return np.ones((view.rows, view.columns), np.bool_)


@pytest.mark.parametrize("view", [a_view(), a_view(ViewName.RL), a_view(ViewName.PA, 20.0)])
def test_the_outline_of_a_ball_is_the_circle_that_touches_its_rays(view: View) -> None:
    found = outline(ball(), view)

    # a tangent from a source at distance d touches a ball at a distance of sqrt(d2 - r2)
    reach = np.linalg.norm(CENTRE - view.source)
    away = np.linalg.norm(found.points - view.source, axis=1)
    assert away == pytest.approx(np.sqrt(reach**2 - RADIUS**2), abs=1.5)
    outward = found.points - CENTRE
    cosine = (outward * found.outward).sum(axis=1) / np.linalg.norm(outward, axis=1)
    assert cosine.min() > 0.99
    assert len(found.points) > 50


def test_the_outline_of_a_ball_lies_on_the_edge_of_its_shadow() -> None:
    view = a_view()

    assert agreement([ball()], shadow(view), valid(view), view) > 0.95


@pytest.mark.parametrize("factor", [1e-3, 1.0, 4096.0])
def test_the_scale_of_the_grey_values_does_not_matter(factor: float) -> None:
    view = a_view()
    image = 5.0 + factor * (shadow(view) + noise(view))

    assert agreement([ball()], image, valid(view), view) > 0.95


@pytest.mark.parametrize("away_mm", [4.0, 8.0])
def test_a_ball_that_is_too_large_or_too_small_agrees_nowhere(away_mm: float) -> None:
    view = a_view()

    for radius in (RADIUS - away_mm, RADIUS + away_mm):
        assert agreement([ball(radius=radius)], shadow(view), valid(view), view) < 0.05


def test_noise_agrees_by_chance_alone() -> None:
    view = a_view()

    # 4 of 16 mm
    assert agreement([ball()], noise(view), valid(view), view) == pytest.approx(0.25, abs=0.1)


def test_an_inverted_shadow_does_not_agree() -> None:
    view = a_view()

    assert agreement([ball()], -shadow(view), valid(view), view) < 0.5


def test_what_is_outside_the_collimation_is_not_asked() -> None:
    view = a_view()
    image, is_valid = shadow(view), valid(view)
    row = int(project(view, CENTRE)[0])
    image[row:], is_valid[row:] = 300.0, False

    assert agreement([ball()], image, is_valid, view) > 0.95
    assert agreement([ball()], image, np.zeros_like(is_valid), view) == 0.0
