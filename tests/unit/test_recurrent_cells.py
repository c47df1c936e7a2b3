"""What a cell of the recurrent network does with a view, and which view it remembers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models.recurrent import Grown, view_shares
from pipeline.models.recurrent_layers import GRU, LSTM, Unpool, unpooled
from tests.recurrent_nets import made, pictures, small

CELLS = 6


def _heard(gate: torch.nn.Module, view: Tensor, grid: Tensor) -> NDArray[np.float64]:
    """Wx + U * h + b of one sample, by hand; U of one cell."""
    weights = {name: value.detach().double().numpy() for name, value in gate.named_parameters()}
    told = (weights["view.weight"] @ view[0].double().numpy()).reshape(grid.shape[1:])
    mixed = np.einsum("oi,izyx->ozyx", weights["grid.weight"][..., 0, 0, 0], grid[0].double())
    return np.asarray(told + mixed + weights["grid.bias"][:, None, None, None])


def _forced(gate: torch.nn.Module, value: float) -> None:
    for name, parameter in gate.named_parameters():
        torch.nn.init.constant_(parameter, value if name == "grid.bias" else 0.0)


def _view_and_state(channels: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    state = torch.randn(1, channels, CELLS, CELLS, CELLS, generator=generator)
    return torch.randn(1, 7, generator=generator), state


@torch.no_grad()
def test_an_update_gate_of_one_keeps_the_state_of_a_gru() -> None:
    unit, (view, state) = GRU(7, 5, CELLS, 1), _view_and_state()
    _forced(unit.update, 50.0)

    kept, written = unit(view, state)
    assert torch.equal(kept * state + written, state)


@torch.no_grad()
def test_gates_of_zero_make_a_gru_forget_what_was_before() -> None:
    unit, (view, state) = GRU(7, 5, CELLS, 1), _view_and_state()
    _forced(unit.update, -50.0)
    _forced(unit.reset, -50.0)

    kept, written = unit(view, state)
    expected = np.tanh(_heard(unit.candidate, view, torch.zeros_like(state)))
    np.testing.assert_allclose((kept * state + written)[0].numpy(), expected, atol=1e-5)


@torch.no_grad()
def test_a_gru_is_its_three_equations() -> None:
    unit, (view, state) = GRU(7, 5, CELLS, 1), _view_and_state()

    u = 1 / (1 + np.exp(-_heard(unit.update, view, state)))
    r = 1 / (1 + np.exp(-_heard(unit.reset, view, state)))
    c = np.tanh(_heard(unit.candidate, view, torch.from_numpy(r)[None] * state))
    kept, written = unit(view, state)
    h = state[0].double().numpy()
    np.testing.assert_allclose((kept * state + written)[0], u * h + (1 - u) * c, atol=1e-5)


@torch.no_grad()
def test_an_lstm_that_forgets_and_accepts_nothing_keeps_its_state_and_shows_its_tanh() -> None:
    unit, (view, state) = LSTM(7, 5, CELLS, 1), _view_and_state()
    _forced(unit.forget, 50.0)
    _forced(unit.accept, -50.0)

    kept, written = unit(view, state)
    after = kept * state + written
    assert torch.equal(after, state)
    np.testing.assert_allclose(unit.shown(after).numpy(), np.tanh(state.numpy()), atol=1e-6)


@torch.no_grad()
def test_an_lstm_is_its_three_equations() -> None:
    unit, (view, state) = LSTM(7, 5, CELLS, 1), _view_and_state()

    h = state.tanh()
    f = 1 / (1 + np.exp(-_heard(unit.forget, view, h)))
    i = 1 / (1 + np.exp(-_heard(unit.accept, view, h)))
    s = f * state[0].double().numpy() + i * np.tanh(_heard(unit.candidate, view, h))
    kept, written = unit(view, state)
    np.testing.assert_allclose((kept * state + written)[0], s, atol=1e-5)


def _changed_by_a_cell(unit: GRU | LSTM, state: Tensor) -> NDArray[np.int64]:
    """(N, 3) cells of the next state that change with cell (2, 3, 2) of this one."""
    view = _view_and_state()[0]
    other = state.clone()
    other[:, :, 2, 3, 2] += 0.5
    one, two = unit(view, state), unit(view, other)
    change = (one.kept * state + one.written) - (two.kept * other + two.written)
    return np.argwhere((change.abs() > 0).any(dim=1)[0].numpy())


@pytest.mark.parametrize("unit", [GRU, LSTM])
@torch.no_grad()
def test_with_a_kernel_of_one_no_cell_hears_its_neighbours(unit: type[GRU] | type[LSTM]) -> None:
    torch.manual_seed(2)
    changed = _changed_by_a_cell(unit(7, 5, CELLS, 1), _view_and_state()[1])
    assert changed.tolist() == [[2, 3, 2]]


@pytest.mark.parametrize(
    ("unit", "state", "reach"),
    [
        (LSTM, _view_and_state()[1], 1),
        (GRU, torch.zeros(1, 5, CELLS, CELLS, CELLS), 1),
        # a reset gate hears its neighbours before the candidate hears what is left of them
        (GRU, _view_and_state()[1], 2),
    ],
)
@torch.no_grad()
def test_with_a_kernel_of_three_a_cell_hears_its_neighbours_and_no_others(
    unit: type[GRU] | type[LSTM], state: Tensor, reach: int
) -> None:
    torch.manual_seed(2)
    changed = _changed_by_a_cell(unit(7, 5, CELLS, 3), state)

    every = np.argwhere(np.ones((CELLS, CELLS, CELLS)))
    expected = every[np.abs(every - [2, 3, 2]).max(axis=1) <= reach]
    assert changed.tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["Res3D-GRU-3", "3D-LSTM-3"])
@torch.no_grad()
def test_the_last_state_is_the_sum_of_what_the_views_wrote_and_later_ones_let_stand(
    name: str,
) -> None:
    net, last = made(small(name)), []
    net.decoder.register_forward_pre_hook(lambda _, given: last.append(given[0].numpy()))

    answer = net(pictures(2, 3))
    kept, written = answer.kept.numpy(), answer.written.numpy()
    terms = [
        written[:, 0] * kept[:, 1] * kept[:, 2],
        written[:, 1] * kept[:, 2],
        written[:, 2],
    ]
    state = sum(terms)
    shown = np.tanh(state) if "LSTM" in name else state
    np.testing.assert_allclose(last[0], shown, atol=1e-5)


def test_the_shares_of_views_are_those_of_a_sum_by_hand() -> None:
    """Of 4 written by the first view the second lets a quarter stand, and writes 3 of its own."""
    written = torch.tensor([4.0, -3.0])[None, :, None, None, None, None].expand(1, 2, 6, 4, 4, 4)
    kept = torch.tensor([0.9, 0.25])[None, :, None, None, None, None].expand(1, 2, 6, 4, 4, 4)

    shares = view_shares(Grown(torch.zeros(1, 2, 32, 32, 32), kept, written))
    assert shares.shape == (1, 2, 32, 32, 32)
    assert torch.allclose(shares[:, 0], torch.tensor(0.25))
    assert torch.allclose(shares[:, 1], torch.tensor(0.75))


def test_a_view_that_wrote_into_one_corner_has_its_share_there() -> None:
    written = torch.zeros(1, 2, 1, 4, 4, 4)
    written[:, 0] = 1.0
    written[:, 1, :, 0, 0, 3] = 1.0
    kept = torch.ones_like(written)
    kept[:, 1, :, 0, 0, 3] = 0.0

    shares = view_shares(Grown(torch.zeros(1, 2, 32, 32, 32), kept, written))
    assert shares[0, 1, 0, 0, 31] == 1
    assert shares[0, 0, 31, 31, 0] == 1


def test_where_no_view_wrote_anything_all_have_equal_shares() -> None:
    nothing = torch.zeros(1, 4, 2, 4, 4, 4)
    assert (view_shares(Grown(torch.zeros(1, 2, 8, 8, 8), nothing, nothing)) == 0.25).all()


@torch.no_grad()
def test_the_views_share_one_at_every_voxel() -> None:
    shares = view_shares(made(small())(pictures(2, 5)))

    assert shares.shape == (2, 5, 8, 8, 8)
    assert shares.min() >= 0
    assert (shares.sum(dim=1) - 1).abs().max() <= 1e-5


def test_a_value_is_unpooled_to_the_first_of_eight_places_or_to_all_of_them() -> None:
    grid = torch.arange(8.0).reshape(1, 1, 2, 2, 2) + 1

    zeros, nearest = (unpooled(grid, way)[0, 0].numpy() for way in (Unpool.ZEROS, Unpool.NEAREST))
    first, eight = np.zeros((2, 2, 2)), np.ones((2, 2, 2))
    first[0, 0, 0] = 1
    np.testing.assert_array_equal(zeros, np.kron(grid[0, 0].numpy(), first))
    np.testing.assert_array_equal(nearest, np.kron(grid[0, 0].numpy(), eight))
