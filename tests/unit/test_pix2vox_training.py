"""The training of Pix2Vox++: its loss, what its two stages move, and what little they teach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.optim.lr_scheduler import LambdaLR

from pipeline.models.pix2vox import BETAS, Pix2Vox, Stage, rate_factor
from tests.pix2vox_nets import NARROW, a_net, images_of


@pytest.fixture
def net() -> Pix2Vox:
    return a_net()


def _wanted(count: int) -> Tensor:
    size = (count, 16, 16, 16)
    return (torch.rand(size, generator=torch.Generator().manual_seed(7)) < 0.2).float()


def _state(part: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in part.state_dict().items()}


def _cross_entropy(volume: Tensor, wanted: Tensor) -> float:
    p, t = volume.detach().double().numpy(), wanted.double().numpy()
    return float(-(t * np.log(p) + (1 - t) * np.log(1 - p)).mean())


@pytest.mark.parametrize("stage", list(Stage))
def test_the_loss_is_ten_times_the_cross_entropy_of_both_volumes(
    net: Pix2Vox, stage: Stage
) -> None:
    images, wanted = images_of(2, 3), _wanted(2)
    seen = net(images, stage)

    loss = net.loss(images, wanted, stage)

    fused, refined = (10 * _cross_entropy(v, wanted) for v in (seen.fused, seen.refined))
    assert loss["fused"].item() == pytest.approx(fused, abs=1e-4)
    assert loss["refined"].item() == pytest.approx(refined, abs=1e-4)
    assert loss["total"].item() == pytest.approx(fused + refined, abs=2e-4)


@torch.no_grad()
def test_the_first_stage_averages_the_views(net: Pix2Vox) -> None:
    seen = net(images_of(2, 3), Stage.SINGLE)

    assert np.allclose(seen.fused.numpy(), seen.coarse.numpy().mean(axis=1), atol=1e-6)


def test_the_loss_of_the_refined_volume_reaches_the_encoder(net: Pix2Vox) -> None:
    net.loss(images_of(2, 2), _wanted(2))["refined"].backward()

    gradient = net.encoder[0].conv1.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def _trained_a_step(net: Pix2Vox, stage: Stage) -> None:
    net.train()
    adam = torch.optim.Adam(net.parameter_groups(stage), betas=BETAS)
    net.loss(images_of(2, 3), _wanted(2), stage)["total"].backward()
    adam.step()


def test_the_first_stage_moves_all_but_the_merger_and_the_second_moves_all(net: Pix2Vox) -> None:
    parts = dict(net.named_children())
    for stage, moved in ((Stage.SINGLE, {*parts} - {"merger"}), (Stage.FUSION, {*parts})):
        before = {name: _state(part) for name, part in parts.items()}

        _trained_a_step(net, stage)

        assert moved == {
            name
            for name, part in parts.items()
            if not all(torch.equal(v, before[name][k]) for k, v in part.state_dict().items())
        }


def test_the_merger_learns_ten_times_slower_and_all_rates_halve_at_epoch_150(net: Pix2Vox) -> None:
    adam = torch.optim.Adam(net.parameter_groups(Stage.FUSION), betas=BETAS)
    schedule = LambdaLR(adam, rate_factor)

    rates = []
    for _ in range(151):
        rates.append([group["lr"] for group in adam.param_groups])
        adam.step()
        schedule.step()

    assert rates[0] == rates[149] == pytest.approx([1e-3, 1e-4])
    assert rates[150] == pytest.approx([5e-4, 5e-5])
    weights = [id(weight) for group in adam.param_groups for weight in group["params"]]
    assert sorted(weights) == sorted(id(weight) for weight in net.parameters())


def test_in_half_precision_volumes_and_loss_stay_in_full() -> None:
    torch.manual_seed(1)
    net = Pix2Vox(NARROW)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = net(images_of(2, 2))
        loss = net.loss(images_of(2, 2), _wanted(2))

    assert {volume.dtype for volume in seen} == {torch.float32}
    assert loss["total"].isfinite()


def _balls(count: int, seed: int) -> Tensor:
    """(count, 16, 16, 16) of 0 and 1: in the middle plane in depth, anywhere beside and below."""
    generator = torch.Generator().manual_seed(seed)
    z, y, x = torch.meshgrid(*3 * [(torch.arange(16) + 0.5) / 8 - 1], indexing="ij")
    row, column = ((torch.rand(2, count, 1, 1, 1, generator=generator) - 0.5) * 0.8).unbind()
    radius = 0.3 + 0.3 * torch.rand(count, 1, 1, 1, generator=generator)
    return (z**2 + (y - row) ** 2 + (x - column) ** 2 < radius**2).float()


def _exposed(volumes: Tensor, views: int, seed: int, noisy: Tensor | None = None) -> Tensor:
    """(B, views, 1, 64, 64): seen along z at several exposures; view `noisy` (B) shows noise."""
    generator = torch.Generator().manual_seed(seed)
    exposure = 0.8 + 0.7 * torch.rand(len(volumes), views, 1, 1, 1, generator=generator)
    images = interpolate(volumes.mean(dim=1)[:, None], size=(64, 64))[:, None] * exposure
    if noisy is not None:
        noise = torch.rand(len(volumes), 1, 64, 64, generator=generator)
        images[torch.arange(len(volumes)), noisy] = noise
    return images.clamp(0, 1)


def _trained(
    net: Pix2Vox, stage: Stage, batches: Sequence[tuple[Tensor, Tensor]], faster: tuple[int, ...]
) -> None:
    """Trained on every batch once, at so many times the published rates: there are few.

    The last third is taken at a tenth of them, so that the running statistics catch up.
    """
    net.train()
    groups = net.parameter_groups(stage)
    for group, times in zip(groups, faster, strict=True):
        group["lr"] *= times
    adam = torch.optim.Adam(groups, betas=BETAS)
    slower = LambdaLR(adam, lambda done: 1.0 if done < len(batches) * 2 / 3 else 0.1)
    for images, wanted in batches:
        adam.zero_grad()
        net.loss(images, wanted, stage)["total"].backward()
        adam.step()
        slower.step()
    net.eval()


def _iou(volume: Tensor, wanted: Tensor) -> npt.NDArray[np.float64]:
    """Of each sample, at .4."""
    ours, truth = volume.numpy() > 0.4, wanted.numpy() > 0.5
    both = (ours & truth).sum(axis=(1, 2, 3))
    return np.asarray(both / (ours | truth).sum(axis=(1, 2, 3)))


def test_eight_samples_of_one_view_are_learned_by_heart() -> None:
    torch.manual_seed(0)
    net = Pix2Vox(NARROW)
    wanted = _balls(8, seed=1)
    images = _exposed(wanted, 1, seed=1)

    _trained(net, Stage.SINGLE, [(images, wanted)] * 160, faster=(5,))

    with torch.no_grad():
        assert _iou(net.occupancy(images), wanted).mean() > 0.95


def test_fusion_learns_to_distrust_a_view_of_noise_where_the_mean_does_not() -> None:
    torch.manual_seed(0)
    net = Pix2Vox(replace(NARROW, refiner=()))
    single = [(_exposed(_balls(8, n), 1, n), _balls(8, n)) for n in range(120)]
    _trained(net, Stage.SINGLE, single, faster=(5,))
    several = [
        (_exposed(_balls(4, n), 3, n, noisy=torch.arange(n, n + 4) % 3), _balls(4, n))
        for n in range(1000, 1045)
    ]
    _trained(net, Stage.FUSION, several, faster=(1, 30))
    unseen = _balls(16, seed=9999)

    with torch.no_grad():
        images = _exposed(unseen, 3, seed=9999, noisy=torch.ones(16, dtype=torch.long))
        fused, mean = net(images), net(images, Stage.SINGLE)

    assert _iou(fused.fused, unseen).mean() >= _iou(mean.fused, unseen).mean()
    assert fused.weights[:, 1].mean() < 0.35
