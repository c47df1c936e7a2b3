"""The completion networks have the published sizes, and their losses the published values.

Expected counts and shapes: `published-models.md` 1, 4.2 to 4.4 and 9, rows 21 and 23.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pipeline.models.completion import (
    Completion,
    CompletionShape,
    Kind,
    Task,
    loss,
    published_loss,
    soft_dice,
    start_as_published,
    wanted_of,
)

NARROW = {kind: CompletionShape(kind=kind, classes=4, divided_by=8) for kind in Kind}


def count(net: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


@pytest.mark.parametrize(
    ("kind", "is_one_hot", "expected"),
    [
        (Kind.PLAIN, False, 22_167_776),
        (Kind.SKIP, False, 33_177_824),
        (Kind.INCEPTION, False, 6_146_540),
        (Kind.INCEPTION, True, 6_156_044),
    ],
)
def test_the_networks_have_the_published_number_of_parameters(
    kind: Kind, is_one_hot: bool, expected: int
) -> None:
    with torch.device("meta"):
        net = Completion(CompletionShape(kind=kind, one_hot=is_one_hot))

    assert count(net) == expected


@pytest.mark.parametrize("kind", Kind)
def test_a_published_network_answers_with_12_classes_for_each_voxel(kind: Kind) -> None:
    with torch.device("meta"):
        net = Completion(CompletionShape(kind=kind))
        answer = net(torch.zeros(1, 128, 128, 128, dtype=torch.int64))

    assert answer.shape == (1, 12, 128, 128, 128)


@pytest.mark.parametrize("kind", Kind)
def test_probabilities_of_a_voxel_sum_to_one(kind: Kind) -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (2, 32, 32, 32))

    answer = Completion(NARROW[kind])(labels)

    assert answer.shape == (2, 4, 32, 32, 32)
    torch.testing.assert_close(answer.softmax(dim=1).sum(dim=1), torch.ones(2, 32, 32, 32))


@pytest.mark.parametrize("kind", Kind)
def test_a_map_is_completed_alike_alone_and_in_a_batch(kind: Kind) -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (2, 32, 32, 32))
    net = Completion(NARROW[kind]).eval()

    with torch.no_grad():
        both, alone = net(labels), net(labels[1:])

    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", Kind)
def test_a_network_changes_no_label_that_it_was_given(kind: Kind) -> None:
    torch.manual_seed(1)
    labels = torch.randint(0, 4, (1, 32, 32, 32))

    made = Completion(NARROW[kind]).completed(labels)

    assert int((made != labels)[labels > 0].sum()) == 0


def test_published_weights_are_never_drawn_beyond_two_deviations() -> None:
    net = Completion(NARROW[Kind.SKIP])

    start_as_published(net)

    weights = torch.cat([w.detach().flatten() for w in net.parameters() if w.ndim > 1])
    assert float(weights.abs().max()) <= 0.02
    # the deviation of a unit normal that is cut at 2 is 0.880 (Johnson & Kotz 1970, 13.10)
    assert float(weights.std()) == pytest.approx(0.0088, rel=0.02)
    assert not any(w.detach().any() for w in net.parameters() if w.ndim == 1)


@pytest.mark.parametrize("kind", [Kind.PLAIN, Kind.SKIP])
def test_a_signal_reaches_the_answer_of_a_net_without_norms(kind: Kind) -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 4, (1, 32, 32, 32))
    net = Completion(NARROW[kind])

    with torch.no_grad():
        kept = float(net(labels).std())
        start_as_published(net)
        published = float(net(labels).std())

    assert 0.05 < kept < 100
    assert published < 1e-6


def test_what_is_missing_and_what_is_there_make_up_the_complete_map() -> None:
    complete = torch.tensor([[[[0, 1, 1, 2], [2, 2, 3, 0]]]])
    incomplete = torch.tensor([[[[0, 1, 1, 0], [0, 0, 3, 0]]]])

    residual = wanted_of(complete, incomplete, Task.RESIDUAL)

    assert residual.tolist() == [[[[0, 0, 0, 2], [2, 2, 0, 0]]]]
    assert int(((residual > 0) & (incomplete > 0)).sum()) == 0
    assert torch.equal(residual + incomplete, wanted_of(complete, incomplete, Task.MANY_TO_ONE))


def certain(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Logits that leave no doubt."""
    return 60.0 * torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).float()


def test_the_loss_of_a_perfect_answer_is_zero() -> None:
    labels = torch.arange(3).repeat_interleave(9).reshape(1, 3, 3, 3)

    # two of the five classes are absent
    losses = loss(certain(labels, 5), labels)

    assert {name: round(float(value), 5) for name, value in losses.items()} == {
        "total": 0.0,
        "dice": 0.0,
        "cross_entropy": 0.0,
    }


def test_the_loss_is_that_of_the_formula() -> None:
    random = np.random.default_rng(3)
    logits = random.normal(size=(2, 3, 2, 2, 2))
    wanted = np.array([0, 1, 1, 2, 0, 1, 2, 2, 0, 1, 1, 0, 0, 0, 1, 1]).reshape(2, 2, 2, 2)

    losses = loss(torch.from_numpy(logits), torch.from_numpy(wanted))

    powers = np.exp(logits)
    p = powers / powers.sum(axis=1, keepdims=True)
    g = np.stack([wanted == c for c in range(3)], axis=1)
    dice = 2 * (p * g).sum(axis=(2, 3, 4)) / ((p**2).sum(axis=(2, 3, 4)) + g.sum(axis=(2, 3, 4)))
    # the second map has no class 2
    mean = (dice[0].sum() + dice[1, :2].sum()) / 5
    entropy = -np.log(p[g]).mean()
    assert float(losses["dice"]) == pytest.approx(1 - mean, abs=1e-5)
    assert float(losses["cross_entropy"]) == pytest.approx(entropy, abs=1e-5)
    assert float(losses["total"]) == pytest.approx(1 - mean + entropy / 2, abs=1e-5)


def test_an_absent_class_has_a_finite_gradient() -> None:
    logits = torch.zeros(1, 4, 2, 2, 2, requires_grad=True)

    loss(logits, torch.ones(1, 2, 2, 2, dtype=torch.int64))["total"].backward()

    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())
    assert float(logits.grad.abs().sum()) > 0


def test_a_perfect_map_of_12_classes_has_the_published_loss() -> None:
    labels = (torch.arange(128**3) % 12).reshape(1, 128, 128, 128)
    truth = torch.nn.functional.one_hot(labels, 12).movedim(-1, 1).float()

    assert float(published_loss(truth, truth)) == pytest.approx(-1144.41, abs=0.01)


def test_the_published_loss_is_95_367_times_the_sum_of_dice_at_128() -> None:
    truth = torch.zeros(1, 2, 128, 128, 128)
    truth[:, 0, :64], truth[:, 1, 64:] = 1, 1
    # half of each class is found, nothing is found wrongly: 2 * n/2 / (n/2 + n) = 2/3 each
    found = truth.clone()
    found[..., ::2] = 0

    assert float(published_loss(found, truth)) == pytest.approx(-95.367 * 4 / 3, rel=1e-4)
    assert soft_dice(found, truth)[0].tolist() == pytest.approx([2 / 3, 2 / 3], abs=1e-5)
