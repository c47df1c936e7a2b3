"""First weights with which a network without norms tells one image from another.

Radiographs of one region are much alike: their features differ from one another by a few percent of
what they have in common, and the first thing that is learned is to answer without them. Here every
layer is shifted and scaled once so that each of its channels has mean 0 and deviation 1 over a
first batch.

Source: Salimans, Kingma 2016 (NeurIPS, arXiv:1602.07868), section 3; Mishkin, Matas 2016 (ICLR,
arXiv:1511.06422). Imports torch alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LEAST_SHARE, LEAST_DEVIATION = 1e-2, 1e-6
"""Of its mean, and at all: a channel that says the same of everything, but for what arithmetic
leaves of it, is not scaled up."""


def centre(network: nn.Module, given: Tensor) -> None:
    """Shift and scale the convolutions and dense layers of `network`, in the order of their use.

    Args:
        network: Is changed. Layers without a bias are left as they are.
        given: (N, ...) what it takes; at least two that differ.
    """
    layers = [
        layer
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None
    ]
    hooks = [layer.register_forward_hook(_centred) for layer in layers]
    try:
        with torch.no_grad():
            network(given)
    finally:
        for hook in hooks:
            hook.remove()


def _centred(layer: nn.Module, _: tuple[Tensor, ...], answer: Tensor) -> Tensor:
    assert isinstance(layer, nn.Conv2d | nn.Linear)  # noqa: S101 - chosen by `centre`
    assert layer.bias is not None  # noqa: S101 - chosen by `centre`
    others = [axis for axis in range(answer.ndim) if axis != 1]
    mean, deviation = answer.mean(others), answer.std(others)
    least = LEAST_SHARE * mean.abs() + LEAST_DEVIATION
    deviation = torch.where(deviation > least, deviation, 1.0)
    layer.weight.div_(deviation.view(-1, *[1] * (layer.weight.ndim - 1)))
    layer.bias.sub_(mean).div_(deviation)
    across = [1, -1, *[1] * (answer.ndim - 2)]
    return (answer - mean.view(across)) / deviation.view(across)
