"""MONAI's networks in the sizes of a run file, and their training within a budget of time.

MONAI comes with the extra `train`; nothing but `peers` imports this file.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from monai.networks.nets import AttentionUnet, SwinUNETR
from torch import nn

from pipeline.training.batches import Cut
from pipeline.training.loop import LARGEST_GRADIENT, Training, batches, on, scheduled
from pipeline.training.peers_cubes import cube_loss_of, repeated
from pipeline.training.precision import in_half
from pipeline.training.settings import Peers


@dataclass(slots=True)
class CubeRun:
    """A training under way."""

    net: nn.Module
    optimiser: torch.optim.Optimizer
    views: int
    grid: int
    cube_mm: float
    step: int = 0


def network_named(name: str, peers: Peers, *, views: int, bones: int) -> nn.Module:
    """An AttentionUnet or a SwinUNETR from one channel a view to one a bone.

    Raises:
        KeyError: it has another name.
    """
    channels = peers.attention
    nets = {
        "attention-unet": lambda: AttentionUnet(
            3, views, bones, channels, [2] * (len(channels) - 1)
        ),
        "swin-unetr": lambda: SwinUNETR(views, bones, feature_size=peers.swin),
    }
    made: nn.Module = nets[name]()
    return made


def start(
    name: str,
    peers: Peers,
    training: Training,
    checkpoint: Path,
    *,
    views: int,
    bones: int,
    cube_mm: float,
) -> CubeRun:
    """A run from its checkpoint, or from the beginning where there is none."""
    torch.manual_seed(training.seed)
    net = network_named(name, peers, views=views, bones=bones).to(training.device)
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=peers.learning_rate, weight_decay=training.weight_decay
    )
    run = CubeRun(net, optimiser, views, peers.grid, cube_mm)
    if checkpoint.exists():
        stored = torch.load(checkpoint, map_location=training.device, weights_only=True)
        net.load_state_dict(stored["net"])
        optimiser.load_state_dict(stored["optimiser"])
        run.step = stored["step"]
    return run


def train(
    run: CubeRun,
    peers: Peers,
    training: Training,
    pool: Path,
    checkpoint: Path,
    *,
    until: float,
    cut: Cut | None = None,
) -> float:
    """Train on until the last step, or until `time.monotonic()` is `until`; the mean loss.

    The samples are those of `training`: with the same pool and seed, every peer has the same ones.
    """
    # all views of a scene are drawn, and the first are given: the frontal and the lateral one
    conditions = replace(training.conditions, one_view=0.0, three_views=1.0)
    training = replace(training, conditions=conditions)
    torch.set_num_threads(training.threads)
    device = torch.device(training.device)
    run.net.train()
    losses = []
    for batch in batches(pool, training, run.step, cut=cut):
        if time.monotonic() >= until:
            break
        rate = peers.learning_rate * scheduled(run.step / training.steps, training.warm_up)
        for group in run.optimiser.param_groups:
            group["lr"] = rate
        here = on(batch, device)
        cube = repeated(here.seen, run.views, run.cube_mm, run.grid)
        with in_half(device.type):
            logits = run.net(cube)
        loss = cube_loss_of(logits.float(), here.field, here.has, run.cube_mm)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(run.net.parameters(), LARGEST_GRADIENT)
        if torch.isfinite(norm):
            run.optimiser.step()
        run.step += 1
        losses.append(float(loss.detach()))
    _save(run, checkpoint)
    return sum(losses) / max(1, len(losses))


def _save(run: CubeRun, path: Path) -> None:
    """Write the checkpoint, whole or not at all."""
    partial = path.with_suffix(".part")
    torch.save(
        {
            "net": run.net.state_dict(),
            "optimiser": run.optimiser.state_dict(),
            "step": run.step,
        },
        partial,
    )
    partial.replace(path)
