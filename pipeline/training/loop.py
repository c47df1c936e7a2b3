"""Training of the lifting network: one loop for two cores and for a large GPU.

A run is its settings and its checkpoint: it stops at a time limit or at a signal, and goes on from
where it was, with the same samples to come. Nothing but torch and numpy is needed.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.models.lifting import Lifting, Shape
from pipeline.training.batches import Batch, Conditions, Cut, assembled
from pipeline.training.exposure import CLEAN
from pipeline.training.losses import coarse_loss_of, loss_of, shadow_loss_of
from pipeline.training.muon import Muon
from pipeline.training.parallel import ALONE, Team, any_of, average
from pipeline.training.pool import load
from pipeline.training.precision import in_half
from pipeline.training.real_bodies import RealBody

LARGEST_GRADIENT = 20.0
"""Its norm; a usual one is about 5."""


@dataclass(frozen=True, slots=True)
class Training:
    """How a network is trained."""

    steps: int = 4000
    batch: int = 4
    learning_rate: float = 2e-3
    """Of AdamW, for biases, norms and the layers that answer."""
    hidden_rate: float = 0.02
    """Of Muon, for the weights of all other layers."""
    weight_decay: float = 0.01
    warm_up: float = 0.05
    """Share of the steps in which the learning rate rises."""
    ease: float = 0.3
    """Share of the steps over which clean images and true cameras give way to the conditions."""
    average: float = 0.998
    """Of the weights, over the steps: what is shipped and judged."""
    seed: int = 1
    device: str = "cpu"
    threads: int = 2
    ahead: int = 1
    """Batches that are made at once while one is learned from; they share the threads."""
    conditions: Conditions = field(default_factory=Conditions)
    checkpoint_every: int = 100
    log_every: int = 20


@dataclass(slots=True)
class Run:
    """A training under way."""

    net: Lifting
    average: Lifting
    optimisers: tuple[torch.optim.Optimizer, ...]
    step: int = 0
    begun: str = ""
    """The weights that it began with, in words."""


def start(shape: Shape, training: Training, checkpoint: Path) -> Run:
    """A run from its checkpoint, or from the beginning where there is none."""
    torch.manual_seed(training.seed)
    net, average = Lifting(shape), Lifting(shape)
    average.load_state_dict(net.state_dict())
    device = torch.device(training.device)
    for one in (net, average):
        laid_out(one.to(device))
    run = Run(net, average, _optimisers(net, training))
    if checkpoint.exists():
        stored = torch.load(checkpoint, map_location=device, weights_only=True)
        net.load_state_dict(stored["net"])
        average.load_state_dict(stored["average"])
        for optimiser, state in zip(run.optimisers, stored["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        run.step, run.begun = stored["step"], stored.get("begun", "")
    return run


def train(
    run: Run,
    training: Training,
    pool: Path,
    folder: Path,
    *,
    until: float,
    told: Callable[[dict[str, float]], None] = lambda _: None,
    of: Team = ALONE,
    bodies: Sequence[RealBody] = (),
    cut: Cut | None = None,
) -> bool:
    """Train until the last step, or until `time.monotonic()` is `until`.

    Args:
        run: Is changed.
        training: How.
        pool: Scenes that `pool.fill` made; scenes that are added later take part.
        folder: Of `checkpoint.pt` and of `curve.jsonl`, a line for every `log_every` steps.
        until: When to stop.
        told: Is given every such line.
        of: The processes that train together; the first one writes and tells.
        bodies: Of real people, for some of the patients.
        cut: What a closer look is given of radiographs of a larger region.

    Returns:
        Whether all steps are done.
    """
    torch.set_num_threads(max(1, training.threads // training.ahead))
    device = torch.device(training.device)
    means: dict[str, float] = {}
    began = time.monotonic()
    first = run.step
    for batch in batches(pool, training, run.step, of, bodies, cut):
        if any_of(of, until <= time.monotonic()):
            break
        losses = _step(run, training, on(batch, device), of)
        if not of.is_first:
            continue
        for name, value in losses.items():
            means[name] = means.get(name, 0.0) + value / training.log_every
        if run.step % training.log_every == 0:
            each = (time.monotonic() - began) / (run.step - first)
            line = {"step": float(run.step), **means, "seconds_a_step": each}
            _append(folder / "curve.jsonl", line)
            told({**line, "left_s": each * (training.steps - run.step)})
            means = {}
        if run.step % training.checkpoint_every == 0:
            save(run, folder / "checkpoint.pt")
    if of.is_first:
        save(run, folder / "checkpoint.pt")
    return run.step >= training.steps


def save(run: Run, path: Path) -> None:
    """Write the checkpoint, whole or not at all; what is only averaged, in half precision."""
    partial = path.with_suffix(".part")
    stored = {
        "net": run.net.state_dict(),
        "average": {name: value.half() for name, value in run.average.state_dict().items()},
        "optimisers": [_halved(optimiser.state_dict()) for optimiser in run.optimisers],
        "step": run.step,
        "begun": run.begun,
        "shape": json.dumps(asdict(run.net.shape)),
    }
    torch.save(stored, partial)
    partial.replace(path)


def _optimisers(net: Lifting, training: Training) -> tuple[torch.optim.Optimizer, ...]:
    answering = {
        id(weight)
        for layer in (net.shadow, net.coarse, net.head[-1])
        for weight in layer.parameters()
    }
    hidden = [w for w in net.parameters() if w.ndim > 1 and id(w) not in answering]
    others = [w for w in net.parameters() if w.ndim == 1 or id(w) in answering]
    decay = training.weight_decay
    muon = Muon(hidden, lr=training.hidden_rate, weight_decay=decay)
    adam = torch.optim.AdamW(
        others, lr=training.learning_rate, weight_decay=decay, betas=(0.9, 0.95)
    )
    for one in (muon, adam):
        for group in one.param_groups:
            group["full_rate"] = group["lr"]
    return muon, adam


def _halved(state: dict[str, Any]) -> dict[str, Any]:
    """The state of an optimiser, its moments in bfloat16."""
    moments = {
        weight: {
            name: value.bfloat16() if value.ndim > 1 else value for name, value in kept.items()
        }
        for weight, kept in state["state"].items()
    }
    return {**state, "state": moments}


def laid_out(net: nn.Module) -> None:
    """Channels last, which convolutions on a CPU are faster with."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.to(memory_format=torch.channels_last)
        if isinstance(module, nn.Conv3d):
            module.weight.data = module.weight.data.to(memory_format=torch.channels_last_3d)


def _step(run: Run, training: Training, batch: Batch, of: Team) -> dict[str, float]:
    rate = scheduled(run.step / training.steps, training.warm_up)
    for optimiser in run.optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group["full_rate"] * rate
    with in_half(batch.points.device.type):
        features = run.net.features(batch.seen)
        answer = run.net.at(features, batch.points)
    losses = loss_of(answer, batch.distances, batch.has)
    losses["shadow"] = shadow_loss_of(features, batch)
    losses["coarse"] = coarse_loss_of(features, batch)
    total = (
        losses["occupancy"]
        + 0.2 * losses["likelihood"]
        + 0.3 * losses["near_surface"]
        + 0.5 * losses["coarse"]
        + 0.5 * losses["shadow"]
    )
    run.net.zero_grad(set_to_none=True)
    total.backward()
    average(of, run.net.parameters())
    norm = nn.utils.clip_grad_norm_(run.net.parameters(), LARGEST_GRADIENT)
    if torch.isfinite(norm):
        for optimiser in run.optimisers:
            optimiser.step()
    run.step += 1
    # an average of few steps should forget the random beginning
    decay = min(training.average, run.step / (run.step + 10))
    with torch.no_grad():
        for kept, new in zip(run.average.parameters(), run.net.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)
    return {name: float(value.detach()) for name, value in losses.items()}


def scheduled(done: float, warm_up: float) -> float:
    """A share of the learning rate: a straight rise, then half a cosine."""
    if done < warm_up:
        return max(done / warm_up, 0.02)
    rest = (done - warm_up) / (1 - warm_up)
    return 0.01 + 0.99 * 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * min(rest, 1.0)))))


def batches(
    pool: Path,
    training: Training,
    first: int,
    of: Team = ALONE,
    bodies: Sequence[RealBody] = (),
    cut: Cut | None = None,
) -> Iterator[Batch]:
    """The batches of steps `first` and on; `ahead` are made while one is learned from."""

    def made(step: int) -> Batch:
        generator = torch.Generator().manual_seed(
            training.seed * 1_000_003 + step * of.size + of.rank
        )
        files = sorted(pool.glob("*.npz"))
        if not files:
            raise FileNotFoundError(f"There are no scenes in {pool}")
        chosen = torch.randint(len(files), (training.batch,), generator=generator)
        scenes = [load(files[int(n)]) for n in chosen]
        is_eased = float(torch.rand(1, generator=generator)) * training.ease > step / training.steps
        conditions = training.conditions
        if is_eased:
            conditions = replace(conditions, exposure=CLEAN, wrong=0.0)
        return assembled(scenes, conditions, generator, bodies, cut)

    to_come = iter(range(first, training.steps))
    with ThreadPoolExecutor(training.ahead) as makers:
        coming = deque(makers.submit(made, step) for step in islice(to_come, training.ahead))
        while coming:
            batch = coming.popleft().result()
            coming.extend(makers.submit(made, step) for step in islice(to_come, 1))
            yield batch


def on(batch: Batch, device: torch.device) -> Batch:
    """The batch, on the device."""
    seen = type(batch.seen)(*(part.to(device) for part in batch.seen))
    return Batch(seen, *(part.to(device) for part in batch[1:]))


def _append(path: Path, line: dict[str, Any]) -> None:
    with path.open("a") as file:
        file.write(json.dumps({k: round(v, 6) for k, v in line.items()}) + "\n")
