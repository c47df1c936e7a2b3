"""First weights of a network without norms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.training.centring import centre
from tests.recurrent_nets import made, small


def _alike(count: int, size: int) -> Tensor:
    """Images that have nearly all in common, as radiographs of one region have."""
    generator = torch.Generator().manual_seed(5)
    common = torch.rand(1, 3, size, size, generator=generator)
    return common + 0.05 * torch.randn(count, 3, size, size, generator=generator)


def _told_apart(features: Tensor) -> float:
    """How much features (N, F) differ, over what they have in common."""
    return float(features.std(dim=0).mean() / features.mean(dim=0).abs().mean())


@torch.no_grad()
def test_images_that_are_much_alike_are_told_apart() -> None:
    net = made(small())
    images = _alike(16, net.shape.image_size)
    before = _told_apart(net.encoder(images))

    centre(net.encoder, images)

    assert before < 0.3
    assert _told_apart(net.encoder(images)) > 0.6


@torch.no_grad()
def test_every_channel_has_mean_nought_and_deviation_one_over_what_was_given() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 36, 4))
    given = 3 + 0.1 * torch.rand(9, 3, 8, 8)

    centre(network, given)

    seen = network[0](given)
    assert torch.allclose(seen.mean(dim=(0, 2, 3)), torch.zeros(5), atol=1e-4)
    assert torch.allclose(seen.std(dim=(0, 2, 3)), torch.ones(5), atol=1e-3)
    answers = network(given)
    assert torch.allclose(answers.mean(dim=0), torch.zeros(4), atol=1e-4)
    assert torch.allclose(answers.std(dim=0), torch.ones(4), atol=1e-3)


@torch.no_grad()
def test_a_channel_that_says_the_same_of_everything_stays_finite() -> None:
    network = nn.Sequential(nn.Linear(3, 2))
    nn.init.zeros_(network[0].weight)  # type: ignore[arg-type]  # a layer's weight

    centre(network, torch.rand(4, 3))

    assert torch.equal(network(torch.rand(4, 3)), torch.zeros(4, 2))


@torch.no_grad()
def test_what_arithmetic_leaves_of_equal_images_is_not_scaled_up() -> None:
    network = nn.Sequential(nn.Linear(3, 2))
    before = network[0].weight.clone()  # type: ignore[operator]  # a layer's weight

    centre(network, 5 + 1e-5 * torch.rand(8, 3))

    assert torch.equal(network[0].weight, before)  # type: ignore[arg-type]


@torch.no_grad()
def test_layers_without_a_bias_are_left_as_they_are() -> None:
    network = nn.Sequential(nn.Linear(3, 2, bias=False), nn.Linear(2, 2))
    before = network[0].weight.clone()  # type: ignore[operator]  # a layer's weight

    centre(network, torch.rand(4, 3))

    assert torch.equal(network[0].weight, before)  # type: ignore[arg-type]
