"""How the recurrent network is trained, and how it is judged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from pipeline.models.recurrent import VARIANTS, Recurrent, order_spread, overlap
from pipeline.models.recurrent_schedule import Schedule, parameter_groups
from tests.recurrent_nets import made, pictures, small


def test_the_loss_is_the_mean_cross_entropy_of_two_classes() -> None:
    net, images = made(small()), pictures(2, 2)
    wanted = (torch.rand(2, 8, 8, 8, generator=torch.Generator().manual_seed(4)) > 0.7).float()

    logits = net(images).logits.detach().double().numpy()
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    chosen = np.where(wanted.numpy() == 1, p[:, 1], p[:, 0])
    assert net.loss(images, wanted)["total"].item() == pytest.approx(
        -np.log(chosen).mean(), abs=1e-6
    )


@torch.no_grad()
def test_the_largest_network_begins_no_worse_than_a_coin() -> None:
    """The authors break a run off above a loss of 2; of a coin it is ln 2 = 0.69."""
    torch.manual_seed(1)
    net, wanted = Recurrent(VARIANTS["Res3D-GRU-3"]), torch.zeros(1, 32, 32, 32)
    wanted[:, 8:24, 10:22, 10:22] = 1

    image = interpolate(pictures(1, 1, 9, 1)[0], size=(127, 127), mode="bilinear")[None]
    assert net.loss(image, wanted)["total"].item() == pytest.approx(0.69, abs=0.3)


def test_weights_decay_and_biases_do_not() -> None:
    net = made(small())

    weights, biases = parameter_groups(net, 5e-5)
    named = {id(p): name for name, p in net.named_parameters()}
    assert {named[id(p)].rsplit(".", 1)[1] for p in weights["params"]} == {"weight"}
    assert {named[id(p)].rsplit(".", 1)[1] for p in biases["params"]} == {"bias"}
    assert len(weights["params"]) + len(biases["params"]) == len(named)
    assert (weights["weight_decay"], biases["weight_decay"]) == (5e-5, 0.0)


@pytest.mark.parametrize(
    ("iteration", "rate"),
    [(0, 1e-4), (19_999, 1e-4), (20_000, 1e-5), (59_999, 1e-5), (60_000, 1e-6)],
)
def test_the_learning_rate_falls_when_the_authors_let_it_fall(iteration: int, rate: float) -> None:
    assert Schedule().learning_rate(iteration) == rate


def _overlap(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((found & truth).sum() / (found | truth).sum())


def test_the_overlap_is_intersection_over_union_from_a_probability_of_four_tenths() -> None:
    probability = torch.tensor([0.41, 0.39, 0.9, 0.1, 0.5, 0.0, 0.0, 0.0]).reshape(1, 2, 2, 2)
    wanted = torch.tensor([1.0, 1, 1, 0, 0, 0, 0, 0]).reshape(1, 2, 2, 2)

    nothing = torch.zeros_like(wanted)
    assert overlap(probability, wanted).tolist() == [0.5]
    assert overlap(nothing, nothing).tolist() == [1.0]


def test_the_spread_over_orders_is_that_of_their_overlaps_and_probabilities() -> None:
    wanted = torch.zeros(1, 2, 2, 2)
    wanted[0, 0] = 1
    worse = wanted.clone()
    worse[0, 0, 0] = 0  # two of four voxels are missed

    spread = order_spread(torch.stack([wanted, worse, wanted]), wanted)
    assert spread.overlap.tolist() == [0.5]
    # two of three pairs differ, by 1 in two of eight voxels
    assert spread.probability.tolist() == pytest.approx([2 / 3 * 0.25])


@torch.no_grad()
def test_one_view_has_no_spread() -> None:
    net, wanted = made(small()), torch.ones(2, 8, 8, 8)

    spread = order_spread(net.occupancy(pictures(2, 1))[None], wanted)
    assert [part.tolist() for part in spread] == [[0, 0], [0, 0]]


def _ellipsoids(count: int, voxels: int, pixels: int) -> tuple[Tensor, Tensor]:
    """Images (count, 3, 1, pixels, pixels), along the three axes, and (count, voxels ...)."""
    random = np.random.default_rng(3)
    centres = (np.arange(voxels) + 0.5) / voxels * 2 - 1
    axes = np.stack(np.meshgrid(centres, centres, centres, indexing="ij"))
    middles, radii = random.uniform(-0.3, 0.3, (count, 3)), random.uniform(0.4, 0.8, (count, 3))
    away = (axes[None] - middles[..., None, None, None]) / radii[..., None, None, None]
    wanted = torch.from_numpy(((away**2).sum(axis=1) < 1).astype(np.float32))
    images = torch.stack([wanted.mean(dim=axis) for axis in (1, 2, 3)], dim=1)
    return interpolate(images, size=(pixels, pixels), mode="bilinear")[:, :, None], wanted


@pytest.mark.parametrize("name", ["Res3D-GRU-3", "3D-LSTM-3"])
def test_eight_bones_of_three_views_can_be_learned_by_heart(name: str) -> None:
    net = made(small(name))
    images, wanted = _ellipsoids(8, net.shape.grid_size, net.shape.image_size)
    optimiser = torch.optim.Adam(parameter_groups(net, Schedule().weight_decay), lr=1e-3)

    for _ in range(100):
        optimiser.zero_grad()
        net.loss(images, wanted)["total"].backward()
        optimiser.step()
    with torch.no_grad():
        found = net.occupancy(images).numpy() > 0.4
    overlaps = [_overlap(one, truth == 1) for one, truth in zip(found, wanted.numpy(), strict=True)]
    assert min(overlaps) > 0.95
