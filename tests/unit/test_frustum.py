"""Where the voxels of a volume in the frame of a detector lie, and the way back to the patient."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.camera import camera
from pipeline.frustum import Frustum, in_frustum, path, places, regular
from pipeline.projection import grid, project
from pipeline.types import View, ViewName


def a_view(rows: int = 30, columns: int = 40) -> View:
    """Neither square nor straight: what is confused with something else gives another place."""
    return camera(
        ViewName.AP,
        source_to_detector=1000.0,
        source_to_patient=800.0,
        row_spacing=5.0,
        column_spacing=6.0,
        rows=rows,
        columns=columns,
        primary_deg=12.0,
        secondary_deg=-7.0,
    )


def test_a_voxel_lies_on_the_ray_of_its_pixel_at_the_depth_of_its_plane() -> None:
    frustum = Frustum(a_view(), planes=5, depth_mm=100.0)

    at = places(frustum).double().numpy()

    pixels = project(frustum.view, at)
    rows, columns = np.indices((30, 40))
    assert np.allclose(pixels, np.stack([rows, columns], axis=-1), atol=1e-3)
    ray = frustum.view.patient_from_detector[:3, 2]
    depths = (at - frustum.view.source) @ ray
    # 100 mm about SOD 800, five planes of 20 mm, the first nearest to the patient's front
    assert np.allclose(depths[:, 7, 9], [760.0, 780.0, 800.0, 820.0, 840.0], atol=1e-3)


@pytest.mark.parametrize(
    ("name", "axis"), [(ViewName.AP, 1), (ViewName.PA, 1), (ViewName.LL, 0), (ViewName.RL, 0)]
)
def test_planes_run_from_front_to_back_and_from_right_to_left(name: ViewName, axis: int) -> None:
    """In LPS the left and the back are positive, wherever the tube stood."""
    view = camera(
        name,
        source_to_detector=1000.0,
        source_to_patient=800.0,
        row_spacing=5.0,
        column_spacing=5.0,
        rows=8,
        columns=8,
    )

    at = places(Frustum(view, planes=5, depth_mm=100.0))

    assert torch.allclose(at[:, 4, 4, axis], torch.tensor([-40.0, -20.0, 0.0, 20.0, 40.0]))


def test_the_way_between_planes_is_that_between_their_voxels() -> None:
    frustum = Frustum(a_view(), planes=5, depth_mm=100.0)

    at = places(frustum)

    steps = (at[1:] - at[:-1]).norm(dim=-1)
    assert torch.allclose(steps, path(frustum).expand_as(steps), rtol=1e-4)


def test_what_a_frustum_holds_is_found_again_at_its_places() -> None:
    frustum = Frustum(a_view(), planes=12, depth_mm=90.0)
    values = torch.rand(12, 30, 40, generator=torch.Generator().manual_seed(1))

    found = in_frustum(values, frustum, places(frustum))

    assert torch.allclose(found, values, atol=2e-3)


def test_outside_the_frustum_and_behind_the_source_there_is_nothing() -> None:
    view = a_view()
    frustum = Frustum(view, planes=12, depth_mm=90.0)
    far = torch.tensor([[0.0, 300.0, 0.0], [400.0, 0.0, 0.0], [0.0, 0.0, 400.0]])
    behind = torch.from_numpy(view.source * 2)[None]

    for points in (far, behind):
        assert torch.equal(in_frustum(torch.ones(12, 30, 40), frustum, points), points[:, 0] * 0)


@pytest.mark.parametrize("name", list(ViewName))
def test_the_way_back_puts_a_ball_where_it_stood(name: ViewName) -> None:
    """Made in the patient, told in the frame of the detector, and taken back."""
    view = camera(
        name,
        source_to_detector=1100.0,
        source_to_patient=900.0,
        row_spacing=2.0,
        column_spacing=2.0,
        rows=80,
        columns=80,
        primary_deg=9.0,
    )
    frustum = Frustum(view, planes=64, depth_mm=120.0)
    centre, r = torch.tensor([12.0, -9.0, 20.0]), 18.0
    inside = (r - (places(frustum) - centre).norm(dim=-1)).div(2).add(0.5).clamp(0, 1)

    back = regular(inside, frustum, extent_mm=120.0, size=60)

    index = np.argwhere(back.array > 0.5)
    at = np.c_[index, np.ones(len(index))] @ back.patient_from_index.T
    assert np.allclose(at[:, :3].mean(axis=0), centre, atol=0.3)
    assert len(index) * 2.0**3 == pytest.approx(4 / 3 * np.pi * r**3, rel=0.02)


def test_the_way_back_is_a_grid_of_the_patient() -> None:
    frustum = Frustum(a_view(), planes=12, depth_mm=90.0)

    back = regular(torch.ones(12, 30, 40), frustum, extent_mm=50.0, size=10)

    assert np.array_equal(back.patient_from_index, grid(50.0, 10))
    assert back.array.dtype == np.float32
    assert np.allclose(back.array, 1.0)
