"""How the authors of 3D-R2N2 trained it (arXiv:1604.00449 and their code), as data.

Their images were mirrored and their targets were not: never do that with anatomy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True, slots=True)
class Schedule:
    """Of Adam, with the weight decay added to the gradient."""

    learning_rates: tuple[tuple[int, float], ...] = ((0, 1e-4), (20_000, 1e-5), (60_000, 1e-6))
    """From which iteration on, and how large."""
    iterations: int = 60_000
    batch: int = 36
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 5e-5
    """Of weights; biases have none."""
    most_views: int = 5
    """Of a mini-batch; their number and order are drawn anew for each, and nothing else teaches the
    network that the order of its views means nothing."""
    largest_loss: float = 2.0
    """Above it, a run is broken off."""

    def learning_rate(self, iteration: int) -> float:
        """At an iteration, 0 for the first."""
        return [rate for start, rate in self.learning_rates if start <= iteration][-1]


def parameter_groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters of a network for an optimiser of torch: weights decay, biases do not."""
    weights = [one for one in net.parameters() if one.ndim > 1]
    biases = [one for one in net.parameters() if one.ndim == 1]
    return [
        {"params": weights, "weight_decay": weight_decay},
        {"params": biases, "weight_decay": 0.0},
    ]
