"""How much of a bone is seen, and where it is cut, as worked out by hand for a box."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from pipeline.camera import camera
from pipeline.coverage import coverage, coverage_assumptions, coverage_figures
from pipeline.geometry import grid
from pipeline.types import Bone, Code, Mesh, Radiograph, Side, ViewName, Volume


def a_radiograph(name: ViewName, rows: int = 200, columns: int = 200) -> Radiograph:
    """From so far away that the rays are parallel; a pixel is 1 mm."""
    view = camera(
        name,
        source_to_detector=1e7 + 1,
        source_to_patient=1e7,
        row_spacing=1.0,
        column_spacing=1.0,
        rows=rows,
        columns=columns,
    )
    shape = (rows, columns)
    return Radiograph(np.zeros(shape, np.float32), np.ones(shape, np.bool_), view, "1", "2", "3")


def a_bar(low: float, high: float, half: float = 10.0) -> Bone:
    """A square bar along z from `low` to `high` mm, in a cube of 128 mm of 1 mm voxels."""
    solid = trimesh.creation.box(extents=(2 * half, 2 * half, high - low))
    solid = solid.apply_translation((0, 0, (low + high) / 2)).subdivide_to_size(3.0)
    mesh = Mesh(np.asarray(solid.vertices), np.asarray(solid.faces, np.int64))
    empty = Volume(np.zeros((128, 128, 128), np.float32), grid(128.0, 128))
    return Bone("Femur", Code("71341001", "SCT", "Femur"), Side.RIGHT, empty, mesh)


def both(**sizes: int) -> list[Radiograph]:
    return [a_radiograph(ViewName.AP, **sizes), a_radiograph(ViewName.LL, **sizes)]


def test_a_bone_in_the_middle_is_seen_as_a_whole() -> None:
    found = coverage(a_bar(-40, 40), both())

    assert (found.unseen, found.partly_seen, found.at_border, found.at_faces) == (0, 0, 0, 0)


def test_what_lies_beyond_every_image_is_its_share_of_the_surface() -> None:
    # images of 80 rows end at +-40 mm; the bar reaches to +60: 20 of 120 mm of its sides, and
    # one of its ends of 400 mm2
    found = coverage(a_bar(-60, 60), both(rows=80))

    area = 120 * 80 + 2 * 400
    assert found.unseen == pytest.approx((2 * 20 * 80 + 2 * 400) / area, abs=0.03)
    assert found.at_border == pytest.approx(2 * 4 * 80 / area, abs=0.03)


def test_what_one_image_shows_is_not_unseen() -> None:
    images = [a_radiograph(ViewName.AP, rows=80), a_radiograph(ViewName.LL, rows=200)]

    found = coverage(a_bar(-60, 60), images)

    assert found.unseen == 0
    assert found.partly_seen > 0.3


def test_what_the_collimation_covers_is_not_seen() -> None:
    images = both()
    for one in images:
        one.is_valid[:100] = False  # the upper half

    found = coverage(a_bar(-40, 40), images)

    assert found.unseen == pytest.approx(0.5, abs=0.03)


def test_a_bone_that_goes_on_beyond_the_cube_is_cut_at_its_faces() -> None:
    found = coverage(a_bar(-64, 40), both())

    assert found.at_faces == pytest.approx(400 / (104 * 80 + 800), abs=0.02)
    words = coverage_assumptions(a_bar(-64, 40), found)
    assert [one.value for one in words] == ["cut at the edge of the model"]


def test_the_share_that_nobody_saw_is_said_and_has_a_limit() -> None:
    bone = a_bar(-60, 60)
    found = replace(coverage(bone, both()), unseen=0.41)

    assert [one.value for one in coverage_assumptions(bone, found)] == [
        "41% of the surface lie outside every image"
    ]
    limits = [figure for figure in coverage_figures(bone, found, 0.4) if figure.high is not None]
    assert [(figure.value, figure.is_within) for figure in limits] == [(0.41, False)]


def test_a_bone_behind_the_source_is_not_seen() -> None:
    near = camera(
        ViewName.AP,
        source_to_detector=200.0,
        source_to_patient=20.0,
        row_spacing=1.0,
        column_spacing=1.0,
        rows=200,
        columns=200,
    )
    image = replace(a_radiograph(ViewName.AP), view=near)

    assert coverage(a_bar(-40, 40, half=60.0), [image]).unseen > 0.2
