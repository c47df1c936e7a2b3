"""Several views, materials and people at once, and gradients for bones and for cameras."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.beam import Beam, beam, lengths, moved
from pipeline.camera import camera
from pipeline.errors import DegenerateView
from pipeline.projection import grid, rays, source_to_detector
from pipeline.simulate import line_integrals, project
from pipeline.types import View, ViewName


def a_view(name: ViewName = ViewName.AP, rows: int = 33, columns: int = 35, **more: float) -> View:
    return camera(
        name,
        source_to_detector=1200.0,
        source_to_patient=800.0,
        row_spacing=2.0,
        column_spacing=2.5,
        rows=rows,
        columns=columns,
        **more,
    )


def a_grid(edge_mm: float, size: int) -> Tensor:
    return torch.from_numpy(grid(edge_mm, size))


def smooth(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random blobs without structure at the scale of a voxel, zero at the faces."""
    noise = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    inner = torch.zeros_like(noise)
    inner[..., 2:-2, 2:-2, 2:-2] = noise[..., 2:-2, 2:-2, 2:-2]
    flat = inner.reshape(-1, 1, *shape[-3:])
    return torch.nn.functional.avg_pool3d(flat, 3, 1, 1).reshape(shape)


def marched(volume: Tensor, where: Tensor, view: View, count: int = 400) -> Tensor:
    """The same integrals by plain trilinear marching along the rays, in numpy."""
    towards = rays(view, np.stack(np.indices((view.rows, view.columns)), axis=-1))
    reach = np.linspace(800 - 70, 800 + 70, count)
    points = view.source + reach[:, None, None, None] * towards
    index = (points - where[:3, 3].numpy()) @ np.linalg.inv(where[:3, :3].numpy()).T
    low = np.floor(index).astype(int)
    padded, total = np.pad(volume.numpy(), 1), np.zeros((view.rows, view.columns))
    for corner in np.ndindex(2, 2, 2):
        at = low + corner
        share = np.prod(1 - np.abs(index - at), axis=-1)
        inside = ((at >= -1) & (at <= np.array(volume.shape))).all(axis=-1)
        k, j, i = np.moveaxis(np.clip(at, -1, np.array(volume.shape)) + 1, -1, 0)
        total += (padded[k, j, i] * share * inside).sum(axis=0)
    return torch.from_numpy(total * (reach[1] - reach[0]))


@pytest.mark.parametrize("name", list(ViewName))
@pytest.mark.parametrize("turned", [(0.0, 0.0), (25.0, -15.0), (44.0, 35.0)])
def test_slice_by_slice_agrees_with_trilinear_marching(
    name: ViewName, turned: tuple[float, float]
) -> None:
    volume = smooth(20, 22, 24)
    where = a_grid(80.0, 24)
    where[:3, :3] *= 1.05
    view = a_view(name, primary_deg=turned[0], secondary_deg=turned[1])

    seen = project(volume, where, view)

    expected = marched(volume, where, view)
    assert (seen - expected).abs().max() < 0.02 * expected.max()
    assert (seen - expected).square().mean().sqrt() < 0.005 * expected.max()


def test_a_finer_step_comes_closer_to_the_limit() -> None:
    volume, where = smooth(20, 20, 20), a_grid(80.0, 20)
    view = a_view(primary_deg=40.0, secondary_deg=30.0)
    limit = project(volume, where, view, step=0.1)

    errors = [(project(volume, where, view, step=s) - limit).abs().max() for s in (8.0, 2.0, 0.5)]

    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 * limit.max()


def test_flat_voxels_are_not_stepped_over() -> None:
    """Thin axial slices seen from the front run nowhere between one sample and the next."""
    where = a_grid(60.0, 60)
    where[2] /= 6  # slices of 1/6 mm in z
    volume = torch.zeros(60, 60, 60)
    volume[::2] = 1.0
    view = a_view(secondary_deg=10.0)

    seen = project(volume, where, view)[16, 17]

    through = 10.0 / np.sin(np.deg2rad(10.0))  # the ray leaves by the top and the bottom face
    assert seen.item() == pytest.approx(0.5 * through, rel=0.03)


def test_channels_and_views_of_one_pass_are_those_of_single_passes() -> None:
    volumes, where = smooth(3, 12, 14, 16, seed=4), a_grid(60.0, 16)
    views = [a_view(), a_view(ViewName.LL), a_view(primary_deg=20.0)]

    together = line_integrals(volumes, where, beam(views))

    assert together.shape == (3, 3, 33, 35)
    for n, view in enumerate(views):
        for channel in range(3):
            alone = project(volumes[channel], where, view)
            assert torch.allclose(together[n, channel], alone, atol=1e-4)


def test_each_beam_may_have_its_own_volume_and_place() -> None:
    volumes = smooth(2, 1, 12, 12, 12, seed=5)
    where = torch.stack([a_grid(50.0, 12), a_grid(70.0, 12)])
    views = [a_view(), a_view(ViewName.RL)]

    together = line_integrals(volumes, where, beam(views))

    for n in range(2):
        alone = project(volumes[n, 0], where[n], views[n])
        assert torch.allclose(together[n, 0], alone, atol=1e-4)


def test_empty_borders_change_nothing() -> None:
    body = smooth(12, 12, 12, seed=6)
    around = torch.nn.functional.pad(body, (5, 3, 9, 2, 4, 7))
    where = a_grid(48.0, 12)
    moved_by = where.clone()
    moved_by[:3, 3] -= where[:3, :3] @ torch.tensor([4.0, 9.0, 5.0], dtype=torch.float64)
    view = a_view(primary_deg=12.0)

    seen = project(around, moved_by, view)

    assert torch.allclose(seen, project(body, where, view), atol=1e-4)
    assert torch.allclose(seen, project(around.clone().requires_grad_(), moved_by, view), atol=1e-4)


def test_an_empty_volume_and_one_beside_the_detector_are_zero() -> None:
    beside = a_grid(40.0, 8)
    beside[0, 3] += 300

    assert project(torch.zeros(8, 8, 8), a_grid(40.0, 8), a_view()).abs().max() == 0
    assert project(torch.ones(8, 8, 8), beside, a_view()).abs().max() == 0


def test_what_is_behind_the_source_is_not_seen() -> None:
    """A long bar beside the source: only its part before the source throws a shadow."""
    behind, bar = a_grid(40.0, 8), a_grid(60.0, 12)
    behind[1, 3] -= 1600  # the source of AP is at y = -800
    bar[1] = torch.tensor([0.0, 10.0, 0.0, -1495.0])  # 3 m along y
    bar[0, 3] += 80
    short = bar.clone()
    short[1, 3] = -795.0
    view = a_view(columns=200)

    seen = project(torch.ones(12, 300, 12), bar, view)

    only_ahead = project(torch.ones(12, 230, 12), short, view)
    assert project(torch.ones(8, 8, 8), behind, view).abs().max() == 0
    assert seen.max() > 100
    assert torch.allclose(seen, only_ahead, atol=0.02 * float(seen.max()))


def test_the_gradient_for_the_camera_is_that_of_differences() -> None:
    volume, where = smooth(16, 16, 16, seed=7, dtype=torch.float64), a_grid(60.0, 16)
    still = beam([a_view(), a_view(ViewName.LL, primary_deg=5.0)])
    weights = torch.linspace(-1, 2, 35, dtype=torch.float64)

    def figure(turn: Tensor, shift: Tensor) -> Tensor:
        seen = line_integrals(volume[None], where, moved(still, turn, shift))
        return (seen * seen * weights).sum()

    turn = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    figure(turn, shift).backward()

    for given, tiny in ((turn, 1e-6), (shift, 1e-4)):
        assert given.grad is not None
        for place in np.ndindex(2, 3):
            ahead = torch.zeros(2, 3, dtype=torch.float64)
            ahead[place] = tiny
            both = [
                figure(*((sign * ahead, shift) if given is turn else (turn, sign * ahead)))
                for sign in (1, -1)
            ]
            slope = (both[0] - both[1]).item() / (2 * tiny)
            scale = given.grad.abs().max().item()
            assert given.grad[place].item() == pytest.approx(slope, abs=0.02 * scale)


def test_gradients_reach_the_source_and_the_detector() -> None:
    still = beam([a_view()])
    source = still.source.clone().requires_grad_()
    pixels = still.patient_from_pixel.clone().requires_grad_()

    seen = line_integrals(
        smooth(1, 12, 12, 12),
        a_grid(60.0, 12),
        replace(still, source=source, patient_from_pixel=pixels),
    )
    seen.square().sum().backward()

    for reached in (source, pixels):
        assert reached.grad is not None
        assert torch.isfinite(reached.grad).all()
        assert reached.grad.abs().max() > 0


def test_gradients_reach_the_place_of_the_volume() -> None:
    where = a_grid(60.0, 12).requires_grad_()

    line_integrals(smooth(1, 12, 12, 12), where, beam([a_view()])).square().sum().backward()

    assert where.grad is not None
    assert torch.isfinite(where.grad).all()
    assert where.grad[:3, 3].abs().min() > 0


def test_a_wrong_angle_is_found_again_by_following_the_gradient() -> None:
    volume, where = smooth(1, 16, 16, 16, seed=8), a_grid(60.0, 16)
    still = beam([a_view()])
    truth = torch.tensor([[0.03, -0.02, 0.04]], dtype=torch.float64)
    seen = line_integrals(volume, where, moved(still, truth, torch.zeros(3)))
    turn = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.LBFGS([turn], lr=1.0, max_iter=40, line_search_fn="strong_wolfe")

    def misfit() -> Tensor:
        descent.zero_grad()
        here = line_integrals(volume, where, moved(still, turn, torch.zeros(3)))
        loss = (here - seen).square().mean()
        loss.backward()
        return loss

    descent.step(misfit)

    assert torch.allclose(turn.detach(), truth, atol=2e-3)


def test_a_beam_turned_by_a_quarter_about_the_long_axis_is_the_lateral() -> None:
    """From AP (ray towards +y) by -90 degrees about z: the ray runs towards +x, which is LL."""
    turn = torch.tensor([0.0, 0.0, -np.pi / 2], dtype=torch.float64)

    turned = moved(beam([a_view(rows=35)]), turn, torch.zeros(3))

    lateral = beam([a_view(ViewName.LL, rows=35)])
    assert torch.allclose(turned.source, lateral.source, atol=1e-9)


def test_the_middle_of_the_detector_is_sid_away() -> None:
    view = a_view()

    middle = lengths(beam([view]))[0, 16, 17].item()

    assert middle == pytest.approx(source_to_detector(view))


def test_detectors_of_different_size_make_no_beam() -> None:
    with pytest.raises(ValueError, match="same number"):
        beam([a_view(), a_view(rows=40)])
    with pytest.raises(ValueError, match="needs views"):
        beam([])


def test_a_volume_on_both_sides_of_the_source_is_refused() -> None:
    view = a_view()
    behind: Beam = replace(beam([view]), source=torch.tensor([[0.0, 1199.0, 0.0]]).double())
    wide = replace(behind, patient_from_pixel=behind.patient_from_pixel * 40)

    with pytest.raises(DegenerateView):
        line_integrals(torch.ones(1, 8, 8, 8), a_grid(3000.0, 8), wide)
