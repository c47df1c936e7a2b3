"""Several processes that train one network, started by `torchrun`.

Every process holds the whole network and learns from batches of its own; before each step their
gradients are averaged, so that all take the same step and stay the same network. A process that
nobody started beside others is a team of one, for which nothing here costs anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

PATIENCE = timedelta(hours=12)
"""The others wait as long for the slowest to simulate its share of the pool."""


@dataclass(frozen=True, slots=True)
class Team:
    """The processes of a run, and which of them this is."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    """Where what is exchanged lies."""

    @property
    def is_first(self) -> bool:
        """True of the one that writes and speaks."""
        return self.rank == 0


ALONE = Team()


@contextmanager
def team(device: str) -> Iterator[Team]:
    """The team that `torchrun` started this process in: by NCCL on GPUs, by Gloo elsewhere.

    Where there are several GPUs, "cuda" is from now on the one of this process.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    is_cuda = torch.device(device).type == "cuda"
    if is_cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if is_cuda else "gloo", timeout=PATIENCE)
    try:
        yield Team(distributed.get_rank(), size, device)
    finally:
        distributed.destroy_process_group()


def average(of: Team, weights: Iterable[Tensor]) -> None:
    """Every gradient becomes the mean of those of all processes; one that lacks it has zero."""
    if of.size == 1:
        return
    gradients = []
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        gradients.append(weight.grad)
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    means = (flat / of.size).split([gradient.numel() for gradient in gradients])
    for gradient, mean in zip(gradients, means, strict=True):
        gradient.copy_(mean.view(gradient.shape))


def any_of(of: Team, claim: bool) -> bool:
    """Whether any process claims it; all wait here until each has said."""
    if of.size == 1:
        return claim
    claims = torch.tensor(float(claim), device=of.device)
    distributed.all_reduce(claims)
    return bool(claims > 0)
