"""Momentum whose steps are orthogonal: against the singular values that it should have."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pipeline.training.muon import Muon, orthogonal


@pytest.mark.parametrize("size", [(8, 8), (6, 40), (40, 6)])
def test_singular_values_become_about_one_and_directions_stay(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(*size)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix)
    inner = left.T @ found @ right.T
    assert torch.allclose(inner, torch.diag(inner.diagonal()), atol=1e-3)
    # a value that is a thousandth of the largest is out of reach of five rounds
    is_large = values > 0.05 * values.norm()
    assert ((inner.diagonal()[is_large] > 0.6) & (inner.diagonal()[is_large] < 1.3)).all()


def test_no_gradient_is_no_step() -> None:
    assert torch.equal(orthogonal(torch.zeros(3, 4)), torch.zeros(3, 4))


def test_a_kernel_is_one_matrix_of_its_outputs() -> None:
    kernel = nn.Parameter(torch.zeros(4, 2, 3, 3))
    torch.manual_seed(1)
    kernel.grad = torch.randn(4, 2, 3, 3)
    Muon([kernel], lr=1.0).step()
    values = torch.linalg.svdvals(kernel.detach().flatten(1))
    assert ((values > 0.6) & (values < 1.3)).all()


def test_a_bowl_that_is_steep_in_one_direction_is_descended() -> None:
    steep = torch.diag(torch.tensor([3.0, 1.0, 0.3]))
    weight = nn.Parameter(torch.eye(3))
    optimiser = Muon([weight], lr=0.02)
    for _ in range(200):
        optimiser.zero_grad()
        (steep @ weight).square().sum().backward()
        optimiser.step()
    assert weight.detach().abs().max() < 0.2
