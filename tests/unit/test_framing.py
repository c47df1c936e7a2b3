"""A radiograph framed for the network: the same place in space, whatever the display was."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from pipeline.camera import camera
from pipeline.models.framing import FIELD, framed, projection, seen
from pipeline.projection import project
from pipeline.types import View, ViewName

CUBE, SIZE = 240.0, 64
POINT = np.array([30.0, -20.0, 45.0])
ORIENTATIONS = {
    ViewName.AP: [*product("LR", "FH"), *product("FH", "LR")],
    ViewName.PA: [*product("LR", "FH"), *product("FH", "LR")],
    ViewName.LL: [*product("AP", "FH"), *product("FH", "AP")],
    ViewName.RL: [*product("AP", "FH"), *product("FH", "AP")],
}
ALL = [(name, orientation) for name in ViewName for orientation in ORIENTATIONS[name]]


def _view(
    name: ViewName, orientation: tuple[str, str], rows: int = 430, columns: int = 350
) -> View:
    return camera(
        name,
        source_to_detector=1150,
        source_to_patient=950,
        row_spacing=1.0,
        column_spacing=1.0,
        rows=rows,
        columns=columns,
        patient_orientation=orientation,
        primary_deg=4.0,
        secondary_deg=-3.0,
    )


def _spot(view: View) -> np.ndarray:
    """A bright spot of 6 mm where the point is seen."""
    row, column = project(view, POINT)
    rows, columns = np.indices((view.rows, view.columns))
    return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 18).astype(np.float32)


@pytest.mark.parametrize(("name", "orientation"), ALL)
def test_a_point_is_seen_where_the_new_camera_says(
    name: ViewName, orientation: tuple[str, str]
) -> None:
    view = _view(name, orientation)
    image, valid, target = framed(
        _spot(view), np.ones((view.rows, view.columns)), view, cube_mm=CUBE, size=SIZE
    )
    at = np.unravel_index(int((image * valid).argmax()), image.shape)
    assert np.linalg.norm(np.array(at) - project(target, POINT)) < 1.0


@pytest.mark.parametrize(("name", "orientation"), ALL)
def test_head_is_up_and_the_right_or_the_front_is_at_the_left(
    name: ViewName, orientation: tuple[str, str]
) -> None:
    view = _view(name, orientation)
    blank = np.zeros((view.rows, view.columns))
    target = framed(blank, blank, view, cube_mm=CUBE, size=SIZE)[2]
    head, front_or_right = project(target, [[0, 0, 50.0], [-50.0, -50.0, 0]])
    centre = project(target, [0.0, 0, 0])
    assert np.allclose(centre, (SIZE - 1) / 2, atol=0.01)
    assert head[0] < centre[0] - 5
    assert front_or_right[1] < centre[1] - 5


def test_the_square_shows_the_cube_at_the_isocentre() -> None:
    view = _view(ViewName.AP, ("L", "F"))
    blank = np.zeros((view.rows, view.columns))
    target = framed(blank, blank, view, cube_mm=CUBE, size=SIZE)[2]
    one, other = project(target, [[-CUBE / 2, 0, 0], [CUBE / 2, 0, 0]])
    assert abs(np.linalg.norm(one - other) - SIZE / FIELD) < 0.5


def test_what_the_detector_did_not_record_is_invalid() -> None:
    view = _view(ViewName.AP, ("L", "F"), rows=150, columns=150)
    ones = np.ones((view.rows, view.columns))
    _, valid, target = framed(ones, ones, view, cube_mm=CUBE, size=SIZE)
    share = 150 / 1150 * 950 / (CUBE * FIELD)
    assert abs(float(valid.float().mean()) - share**2) < 0.03
    assert valid[SIZE // 2, SIZE // 2]
    assert (target.rows, target.columns) == (SIZE, SIZE)


def test_what_lies_behind_a_shutter_does_not_leak_into_its_neighbours() -> None:
    view = _view(ViewName.AP, ("L", "F"))
    image, shutter = np.ones((view.rows, view.columns)), np.ones((view.rows, view.columns))
    image[:100], shutter[:100] = 1e6, 0
    made, valid, _ = framed(image, shutter, view, cube_mm=CUBE, size=SIZE)
    assert torch.allclose(made[valid], torch.ones(int(valid.sum())), atol=1e-3)


def test_fine_detail_is_averaged_not_picked() -> None:
    view = _view(ViewName.AP, ("L", "F"), rows=2000, columns=2000)
    view = camera(
        ViewName.AP,
        source_to_detector=1150,
        source_to_patient=950,
        row_spacing=0.2,
        column_spacing=0.2,
        rows=2000,
        columns=2000,
    )
    noise = np.random.default_rng(1).normal(size=(2000, 2000)).astype(np.float32)
    made, valid, _ = framed(noise, np.ones((2000, 2000)), view, cube_mm=CUBE, size=SIZE)
    assert float(made[valid].std()) < 0.1


def test_the_projection_agrees_with_the_camera() -> None:
    view = _view(ViewName.RL, ("P", "F"))
    column, row, depth = projection(view) @ np.append(POINT, 1.0)
    expected = (project(view, POINT) + 0.5) / (view.rows, view.columns) * 2 - 1
    assert np.allclose((row / depth, column / depth), expected)


def test_a_sample_holds_every_view_with_its_camera() -> None:
    views = [_view(ViewName.AP, ("L", "F")), _view(ViewName.LL, ("P", "F"))]
    made = seen(torch.rand(2, 16, 16), torch.ones(2, 16, 16, dtype=torch.bool), views)
    assert made.images.shape == (1, 2, 2, 16, 16)
    assert made.projections.shape == (1, 2, 3, 4)
    assert np.allclose(made.sources[0].numpy(), [view.source for view in views], atol=1e-2)
    assert made.is_present.all()
