"""What is bone in a radiograph, and what is not, on simulated images whose truth is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from pipeline.camera import camera
from pipeline.errors import NoBone
from pipeline.phantom import SOFT_TISSUE, Phantom, phantom
from pipeline.segment import segment
from pipeline.simulate import project, radiograph_pixels
from pipeline.types import Mask, Radiograph, Side, View, ViewName


def a_view(name: ViewName, rows: int = 200, columns: int = 160, spacing: float = 1.6) -> View:
    return camera(
        name,
        source_to_detector=1150.0,
        source_to_patient=950.0,
        row_spacing=spacing,
        column_spacing=spacing,
        rows=rows,
        columns=columns,
    )


def a_radiograph(pixels: np.ndarray, view: View, is_valid: Mask | None = None) -> Radiograph:
    valid = np.ones(pixels.shape, np.bool_) if is_valid is None else is_valid
    return Radiograph(pixels.astype(np.float32), valid, view, "1.2", "1.2.3", "1.2.4")


@pytest.fixture(scope="module")
def hip() -> Phantom:
    return phantom(Side.LEFT, spacing=2.0)


def exposed(density: np.ndarray, hip: Phantom, view: View, photons: float = 3e5) -> np.ndarray:
    affine = torch.from_numpy(hip.density.patient_from_index)
    integrals = project(torch.from_numpy(density), affine, view)
    return radiograph_pixels(integrals, seed=5, photons=photons)


def shadow(hip: Phantom, view: View) -> Mask:
    """Where the rays meet more than a millimetre of bone."""
    affine = torch.from_numpy(hip.occupancy.patient_from_index)
    return np.asarray(project(torch.from_numpy(hip.occupancy.array), affine, view) > 1.0)


def iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("name", [ViewName.AP, ViewName.LL])
@pytest.mark.parametrize("photons", [3e4, 1e6])
def test_the_bone_of_the_phantom_is_found_through_soft_tissue_and_noise(
    hip: Phantom, name: ViewName, photons: float
) -> None:
    view = a_view(name)
    radiograph = a_radiograph(exposed(hip.density.array, hip, view, photons), view)

    found = segment(radiograph)

    assert iou(found.mask, shadow(hip, view)) > 0.85


def test_the_scale_of_the_grey_values_does_not_matter(hip: Phantom) -> None:
    view = a_view(ViewName.AP)
    pixels = exposed(hip.density.array, hip, view).astype(np.float64)

    plain = segment(a_radiograph(pixels, view)).mask
    stretched = segment(a_radiograph(0.003 * pixels - 7, view)).mask

    assert iou(plain, stretched) > 0.99


def test_a_large_image_is_reduced_and_its_camera_with_it(hip: Phantom) -> None:
    view = a_view(ViewName.AP, rows=1300, columns=1040, spacing=0.25)
    small = exposed(hip.density.array, hip, a_view(ViewName.AP, 260, 208, 1.25))
    pixels = small.repeat(5, 0).repeat(5, 1)

    found = segment(a_radiograph(pixels, view))

    assert max(found.mask.shape) <= 512
    assert found.mask.shape == (found.view.rows, found.view.columns)
    assert iou(found.mask, shadow(hip, found.view)) > 0.85


def test_marrow_is_bone_and_the_obturator_foramen_is_not(hip: Phantom) -> None:
    view = a_view(ViewName.AP)
    truth = shadow(hip, view)

    found = segment(a_radiograph(exposed(hip.density.array, hip, view), view)).mask

    # the shaft at the lower third is one run of pixels in each row
    for row in range(150, 190):
        assert np.abs(np.diff(found[row].astype(int))).sum() == 2
    hole = ~truth[60:140, :90]
    assert (hole & ~found[60:140, :90]).sum() > 0.9 * hole.sum()


def test_values_behind_the_shutter_change_nothing(hip: Phantom) -> None:
    view = a_view(ViewName.AP)
    pixels = exposed(hip.density.array, hip, view).astype(np.float64)
    is_valid = np.zeros(pixels.shape, np.bool_)
    is_valid[20:-20, 10:-10] = True

    dark = segment(a_radiograph(np.where(is_valid, pixels, 0), view, is_valid))
    bright = segment(a_radiograph(np.where(is_valid, pixels, 1e6), view, is_valid))

    assert np.array_equal(dark.mask, bright.mask)
    assert not (dark.mask & ~is_valid).any()


def test_the_edge_lies_between_the_pixels() -> None:
    rows, columns = np.indices((120, 160))
    edge = 80.3 + 0.05 * rows
    bar = 1 / (1 + np.exp((columns - edge) / 1.5)) - 1 / (1 + np.exp((columns - edge + 25) / 1.5))
    flesh = 3.0 * (columns > 20)
    noise = np.random.default_rng(0).normal(0, 0.01, bar.shape)
    view = a_view(ViewName.AP, 120, 160)

    found = segment(a_radiograph(bar + flesh + noise, view))

    assert found.to_edge_px is not None
    last = np.array([np.flatnonzero(row)[-1] for row in found.mask])
    placed = last + found.to_edge_px[np.arange(120), last]
    wobble = (placed - edge[:, 0])[5:-5]
    assert wobble.std() < 0.12  # whole pixels would wobble by 0.29


def soft_tissue(hip: Phantom) -> np.ndarray:
    body = (hip.density.array > 0.5 * SOFT_TISSUE).astype(np.float32) * np.float32(SOFT_TISSUE)
    return exposed(body, hip, a_view(ViewName.AP))


def noise(_: Phantom) -> np.ndarray:
    return np.random.default_rng(1).normal(1000, 50, (200, 160))


def even(_: Phantom) -> np.ndarray:
    return np.full((200, 160), 7.0)


def a_ramp(_: Phantom) -> np.ndarray:
    return np.tile(np.linspace(0, 4000, 160), (200, 1))


@pytest.mark.parametrize("image", [soft_tissue, noise, even, a_ramp])
def test_an_image_without_bone_is_refused(
    hip: Phantom, image: Callable[[Phantom], np.ndarray]
) -> None:
    with pytest.raises(NoBone):
        segment(a_radiograph(image(hip), a_view(ViewName.AP)))


def test_an_image_behind_a_closed_shutter_is_refused(hip: Phantom) -> None:
    view = a_view(ViewName.AP)
    closed = np.zeros((view.rows, view.columns), np.bool_)

    with pytest.raises(NoBone, match="no valid pixels"):
        segment(a_radiograph(noise(hip), view, closed))
