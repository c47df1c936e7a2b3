"""The recurrent network: the published sizes, what it is asked, and what it may depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.models.recurrent import VARIANTS, Recurrent, RecurrentShape, pose_token
from pipeline.models.recurrent_layers import Unpool
from pipeline.models.volumetric import asked
from tests.recurrent_nets import made, pictures, small


def _count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "encoder", "unit", "decoder", "total"),
    [
        ("3D-LSTM-1", 4_550_656, 25_215_360, 1_163_298, 30_929_314),
        ("3D-GRU-1", 4_550_656, 25_215_360, 1_163_298, 30_929_314),
        ("3D-LSTM-3", 4_550_656, 26_493_312, 1_163_298, 32_207_266),
        ("3D-GRU-3", 4_550_656, 26_493_312, 1_163_298, 32_207_266),
        ("Res3D-GRU-3", 7_252_832, 26_493_312, 2_222_562, 35_968_706),
    ],
)
def test_the_five_networks_have_the_published_numbers_of_parameters(
    name: str, encoder: int, unit: int, decoder: int, total: int
) -> None:
    with torch.device("meta"):
        net = Recurrent(VARIANTS[name])

    counts = [_count(part) for part in (net.encoder, net.unit, net.decoder, net)]
    assert counts == [encoder, unit, decoder, total]


def test_the_default_is_the_largest_of_them() -> None:
    assert RecurrentShape() == VARIANTS["Res3D-GRU-3"]


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"unpool": Unpool.ZEROS}, 0),
        ({"in_channels": 1}, -2 * 7 * 7 * 96),
        ({"has_pose": True}, 3 * 5 * 128 * 4**3),
        ({"image_size": 255}, 2 * (9 * 256 * 256 + 256)),
    ],
)
def test_an_option_costs_what_its_layers_hold(changed: dict[str, object], difference: int) -> None:
    with torch.device("meta"):
        net = Recurrent(replace(RecurrentShape(), **changed))  # type: ignore[arg-type]

    assert _count(net) == 35_968_706 + difference


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_every_network_answers_with_two_classes_that_sum_to_one(name: str) -> None:
    with torch.device("meta"):
        stock = Recurrent(VARIANTS[name])(torch.empty(2, 3, 3, 127, 127))
    answer = made(small(name))(pictures(2, 3))

    assert stock.probabilities.shape == (2, 2, 32, 32, 32)
    assert answer.probabilities.shape == (2, 2, 8, 8, 8)
    assert (answer.probabilities.sum(dim=1) - 1).abs().max() <= 1e-5
    assert answer.logits.std() > 0


@pytest.mark.parametrize("is_residual", [True, False])
def test_an_image_shrinks_as_in_the_paper(is_residual: bool) -> None:
    sizes = []
    with torch.device("meta"):
        net = Recurrent(replace(RecurrentShape(), is_residual=is_residual))
        for stage in net.encoder.stages:
            stage.register_forward_hook(lambda _, __, seen: sizes.append(tuple(seen.shape[-2:])))
        net.encoded(torch.empty(1, 1, 3, 127, 127))

    assert sizes == [(n, n) for n in (64, 33, 17, 9, 5, 3)]
    assert net.encoder.last.in_features == 2304
    assert net.encoder.last.out_features == 1024


def test_a_larger_image_takes_one_more_stage() -> None:
    with torch.device("meta"):
        net = Recurrent(RecurrentShape(image_size=255))
        assert net(torch.empty(1, 2, 3, 255, 255)).logits.shape == (1, 2, 32, 32, 32)

    assert len(net.encoder.stages) == 7


@pytest.mark.parametrize("views", [1, 2, 3, 4, 5, 8])
@torch.no_grad()
def test_any_number_of_views_will_do(views: int) -> None:
    answer = made(small())(pictures(1, views))

    assert torch.isfinite(answer.logits).all()
    assert answer.kept.shape == answer.written.shape == (1, views, 32, 4, 4, 4)


@torch.no_grad()
def test_without_a_view_there_is_no_answer() -> None:
    with pytest.raises(ValueError, match="at least one view"):
        made(small())(pictures(1, 0))


@pytest.mark.parametrize(("size", "channels"), [(31, 3), (15, 2)])
@torch.no_grad()
def test_images_of_another_size_are_refused(size: int, channels: int) -> None:
    with pytest.raises(ValueError, match="3 channels of 15 x 15"):
        made(small())(pictures(1, 1, size, channels))


@torch.no_grad()
def test_a_grey_image_is_the_same_image_three_times() -> None:
    grey = pictures(1, 2, channels=1)

    net = made(small())
    assert torch.equal(net(grey).logits, net(grey.repeat(1, 1, 3, 1, 1)).logits)


@torch.no_grad()
def test_a_network_of_one_channel_takes_greypictures() -> None:
    net = made(small(in_channels=1))
    assert net.occupancy(pictures(2, 1, channels=1)).shape == (2, 8, 8, 8)
    with pytest.raises(ValueError, match="1 channels"):
        net(pictures(2, 1, channels=3))


@torch.no_grad()
def test_occupancy_is_the_second_class() -> None:
    net, images = made(small()), pictures(2, 2)

    empty, occupied = net(images).logits.numpy().swapaxes(0, 1)
    expected = np.exp(occupied) / (np.exp(empty) + np.exp(occupied))
    np.testing.assert_allclose(net.occupancy(images).numpy(), expected, atol=1e-6)


@torch.no_grad()
def test_rotations_of_the_order_are_averaged_where_that_is_asked_for() -> None:
    plain, images = made(small()), pictures(2, 3)
    rotated = Recurrent(replace(plain.shape, is_rotated=True))
    rotated.load_state_dict(plain.state_dict())
    orders = [[0, 1, 2], [1, 2, 0], [2, 0, 1]]

    answers = [rotated.eval().occupancy(images[:, order]) for order in orders]

    alone = [plain.occupancy(images[:, order]) for order in orders]
    assert not torch.allclose(alone[0], alone[1], atol=1e-6)
    for answer in answers:
        torch.testing.assert_close(answer, sum(alone) / 3)
    one = images[:, :1]
    torch.testing.assert_close(rotated.occupancy(one), plain.occupancy(one))


@torch.no_grad()
def test_a_job_is_answered_in_every_rotation_and_shares_follow_their_views() -> None:
    net, images = made(small(is_rotated=True)), pictures(1, 3)

    given, turned = asked(net, images[0]), asked(net, images[0, [2, 0, 1]])

    torch.testing.assert_close(given.occupancy, turned.occupancy)
    torch.testing.assert_close(given.shares[[2, 0, 1]], turned.shares)
    torch.testing.assert_close(given.shares.sum(dim=0), torch.ones(8, 8, 8))
    assert not torch.allclose(given.shares[0], given.shares[1], atol=1e-3)


@pytest.mark.parametrize("name", ["Res3D-GRU-3", "3D-LSTM-1"])
@torch.no_grad()
def test_a_study_leaves_nothing_behind_for_the_next(name: str) -> None:
    net, images = made(small(name)), pictures(2, 3)

    first = net(images).logits
    net(images.flip(0) * 0.3)
    assert torch.equal(net(images).logits, first)


@torch.no_grad()
def test_a_sample_is_answered_alike_alone_and_in_a_batch() -> None:
    net, images = made(small()), pictures(4, 3)

    together = net.occupancy(images)
    assert all(
        torch.allclose(net.occupancy(images[n : n + 1])[0], together[n], atol=1e-5)
        for n in range(4)
    )


def test_every_weight_learns() -> None:
    net = made(small(has_pose=True))

    wanted = (torch.rand(2, 8, 8, 8) > 0.5).float()
    net.loss(pictures(2, 3), wanted, torch.rand(2, 3, 5))["total"].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


@torch.no_grad()
def test_a_pose_changes_the_answer_of_a_network_that_was_made_for_it() -> None:
    net, images = made(small(has_pose=True)), pictures(1, 2)
    front = pose_token(*torch.tensor([[0.0, 90], [0, 0], [1000, 1000], [1, 1]]))[None]
    turned = pose_token(*torch.tensor([[90.0, 0], [0, 0], [1000, 1000], [1, 1]]))[None]

    assert not torch.equal(net(images, front).logits, net(images, turned).logits)
    with pytest.raises(ValueError, match="poses"):
        net(images)
    with pytest.raises(ValueError, match="poses"):
        made(small())(images, front)


def test_a_pose_token_is_of_the_order_of_one() -> None:
    token = pose_token(*torch.tensor([[90.0, 360.0], [45.0, -90.0], [1100.0, 1800.0], [0.8, 1.2]]))

    expected = [[1, 0, 0.5, 1.1, 0.8], [0, 1, -1, 1.8, 1.2]]
    np.testing.assert_allclose(token.numpy(), expected, atol=1e-5)


def test_a_network_is_its_shape_and_its_weights() -> None:
    net = made(small())
    other = Recurrent(net.shape).eval()
    other.load_state_dict(net.state_dict())

    with torch.no_grad():
        assert torch.equal(other.occupancy(pictures(1, 2)), net.occupancy(pictures(1, 2)))
