"""DRRs against closed forms: what a cube, a ball and a mirror image must give by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.camera import camera
from pipeline.errors import DegenerateView
from pipeline.geometry import grid, mirror
from pipeline.simulate import project, radiograph_pixels
from pipeline.types import View, ViewName

SID, SOD, STEP = 1200.0, 800.0, 2.0


def a_view(name: ViewName = ViewName.AP, pixels: int = 65) -> View:
    """65 pixels: the middle one, 32, lies on the central ray."""
    return camera(
        name,
        source_to_detector=SID,
        source_to_patient=SOD,
        row_spacing=STEP,
        column_spacing=STEP,
        rows=pixels,
        columns=pixels,
    )


def a_grid(edge_mm: float, size: int) -> torch.Tensor:
    return torch.from_numpy(grid(edge_mm, size))


def a_ball(radius: float, edge_mm: float = 60.0, size: int = 60) -> torch.Tensor:
    axis = (np.arange(size) + 0.5) * edge_mm / size - edge_mm / 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    depth = radius - np.sqrt(x**2 + y**2 + z**2)
    return torch.from_numpy(np.clip(depth * size / edge_mm + 0.5, 0, 1).astype(np.float32))


@pytest.mark.parametrize("name", list(ViewName))
def test_a_cube_on_the_axis_attenuates_by_its_length(name: ViewName) -> None:
    cube = torch.full((40, 40, 40), 0.02)

    seen = project(cube, a_grid(50.0, 40), a_view(name))

    assert seen[32, 32].item() == pytest.approx(0.02 * 50.0, rel=0.01)


def test_an_oblique_ray_through_a_slab_is_longer_by_the_cosine() -> None:
    slab = torch.zeros(80, 80, 80)
    slab[:, 30:50, :] = 1.0  # 40 mm thick along y, the direction of AP

    seen = project(slab, a_grid(160.0, 80), a_view())

    off_axis = 20 * STEP
    assert seen[32, 52].item() == pytest.approx(40 * np.hypot(SID, off_axis) / SID, rel=0.01)


def test_line_integrals_are_linear_in_the_attenuation() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.rand(2, 12, 14, 16, generator=generator)
    where, view = a_grid(60.0, 16), a_view(pixels=33)

    together = project(2 * a + 3 * b, where, view)

    apart = 2 * project(a, where, view) + 3 * project(b, where, view)
    assert torch.allclose(together, apart, rtol=1e-4, atol=1e-4)


def test_a_small_ball_is_magnified_by_sid_over_sod() -> None:
    radius = 20.0

    seen = project(a_ball(radius), a_grid(60.0, 60), a_view())

    # rays that pass the centre within 0.8 r have a chord above 1.2 r; tangent cone: sin = r / SOD
    shadow_mm2 = float((seen > 1.2 * radius).sum()) * STEP**2
    at_detector = SID * np.tan(np.arcsin(0.8 * radius / SOD))
    assert shadow_mm2 == pytest.approx(np.pi * at_detector**2, rel=0.05)
    assert seen[32, 32].item() == pytest.approx(2 * radius, rel=0.01)


def test_an_offset_ball_appears_where_similar_triangles_say() -> None:
    where = a_grid(60.0, 60)
    where[:3, 3] += torch.tensor([18.0, 0.0, 27.0], dtype=torch.float64)

    seen = project(a_ball(5.0), where, a_view())

    row, column = np.unravel_index(int(seen.argmax()), seen.shape)
    assert column - 32 == pytest.approx(18.0 * SID / SOD / STEP, abs=1)
    assert 32 - row == pytest.approx(27.0 * SID / SOD / STEP, abs=1)


def test_the_mirrored_patient_in_the_mirrored_view_gives_the_same_image() -> None:
    volume = torch.rand(10, 11, 12, generator=torch.Generator().manual_seed(2))
    where, view = a_grid(60.0, 12), a_view(ViewName.LL, pixels=33)
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))

    there = project(volume, flip @ where, mirror(view))

    assert torch.allclose(there, project(volume, where, view), atol=1e-4)


def test_the_gradient_times_the_volume_is_the_image() -> None:
    generator = torch.Generator().manual_seed(3)
    volume = torch.rand(8, 8, 8, generator=generator, requires_grad=True)

    total = project(volume, a_grid(40.0, 8), a_view(pixels=33)).sum()
    total.backward()

    # Euler: a linear function equals its gradient times its argument
    assert volume.grad is not None
    assert torch.isfinite(volume.grad).all()
    assert (volume.grad * volume).sum().item() == pytest.approx(total.item(), rel=1e-4)


def test_rays_that_miss_the_volume_are_zero() -> None:
    seen = project(torch.ones(8, 8, 8), a_grid(10.0, 8), a_view())

    assert seen[0, 0].item() == 0.0


def test_a_source_inside_the_volume_is_refused() -> None:
    with pytest.raises(DegenerateView, match="AP"):
        project(torch.ones(8, 8, 8), a_grid(2000.0, 8), a_view())


def test_the_same_seed_gives_the_same_radiograph_and_another_seed_another() -> None:
    integrals = torch.linspace(0, 5, 4096).reshape(64, 64)

    first, again, other = (radiograph_pixels(integrals, seed=seed) for seed in (7, 7, 8))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_pixels_rise_with_attenuation_within_twelve_bits() -> None:
    integrals = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]).repeat(40, 8)

    pixels = radiograph_pixels(integrals, seed=0, photons=1e7)

    means = [pixels[:, n::5].mean() for n in range(5)]
    assert means == sorted(means)
    assert pixels.dtype == np.uint16
    assert pixels.max() <= 4095


def test_the_noise_is_that_of_the_counted_photons() -> None:
    photons, integral = 1e4, 2.0

    pixels = radiograph_pixels(
        torch.full((200, 200), integral), seed=0, photons=photons, window=(0.0, 4.0)
    )

    in_log = pixels.astype(np.float64) * 4.0 / 4095
    assert in_log.mean() == pytest.approx(integral, abs=0.01)
    assert in_log.std() == pytest.approx(1 / np.sqrt(photons * np.exp(-integral)), rel=0.05)
