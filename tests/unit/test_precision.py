"""Training in half precision gives the gradients of full precision.

Expected: the same layer in float32, to within what eight bits of a significand leave.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pipeline.training.precision import in_half


def leave_nan_in_memory() -> None:
    """What is freed here is what a layer finds where it does not write."""
    for size in (64, 256, 1024, 4096, 16384):
        for one in [torch.full((size,), torch.nan) for _ in range(20)]:
            del one


def gradient(layer: nn.Conv3d, given: Tensor) -> Tensor:
    layer.weight.grad = None
    made = layer(given)
    leave_nan_in_memory()
    made.float().square().mean().backward()
    assert layer.weight.grad is not None
    return layer.weight.grad


@pytest.mark.parametrize("size", [(2, 2, 2), (2, 6, 6), (1, 4, 4), (3, 3, 3), (4, 4, 4)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_a_convolution_over_any_depth_has_the_gradient_of_full_precision(
    size: tuple[int, ...], layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv3d(16, 16, 3, padding=1).to(memory_format=layout)
    given = torch.randn(2, 16, *size)
    wanted = gradient(layer, given).clone()

    with in_half("cpu"):
        found = gradient(layer, given)

    assert (found - wanted).norm() < 0.02 * wanted.norm()
