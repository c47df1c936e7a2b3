"""Training of a volumetric family: stages with an optimiser each, one checkpoint, one curve.

A run is its run file and its checkpoint: it stops at a time limit and goes on from where it was,
with the same samples to come.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.training.loop import laid_out, scheduled
from pipeline.training.parallel import ALONE, Team, any_of, average
from pipeline.training.precision import in_half
from pipeline.training.settings import RunFault
from pipeline.training.taken import Taken
from pipeline.training.volumes_data import Batch, Source, batch
from pipeline.training.volumes_families import Family
from pipeline.training.volumes_settings import Plan, Stage

WARM_UP = 0.03
"""Share of a stage in which the learning rates of the cosine schedule rise."""
SETTLING = 32
"""Items that first weights are fitted to."""
Line = dict[str, float]


@dataclass(frozen=True, slots=True)
class Learned:
    """What is learned from."""

    source: Source
    clean: Source
    """The same without what makes images hard; the training begins with it."""
    ease: float
    """Share of the steps over which the one gives way to the other."""


@dataclass(slots=True)
class Run:
    """A training under way."""

    family: Family
    optimiser: torch.optim.Optimizer
    stage: int = 0
    """That the optimiser belongs to."""
    step: int = 0
    """Over all stages."""
    begun: str = ""
    """The weights that it began with, in words."""


def start(family: Family, plan: Plan, checkpoint: Path) -> Run:
    """A run from its checkpoint, or from the beginning where there is none.

    Raises:
        RunFault: the checkpoint is of another network, or that to begin with is of no use.
    """
    laid_out(family.network.to(plan.device))
    stored = _stored(checkpoint, plan.device)
    if stored is None:
        if plan.begin_with is not None:
            _begin(family.network, plan.begin_with, plan.device)
        return Run(family, _optimiser(family, plan, plan.stages[0]))
    try:
        family.network.load_state_dict(stored["net"])
        optimiser = _optimiser(family, plan, plan.stages[stored["stage"]])
        optimiser.load_state_dict(stored["optimiser"])
    except (KeyError, IndexError, ValueError, RuntimeError) as fault:
        raise RunFault(f"{checkpoint} is of another run: {fault}") from fault
    return Run(family, optimiser, stored["stage"], stored["step"], stored.get("begun", ""))


def train(
    run: Run,
    plan: Plan,
    learned: Learned,
    *,
    until: float,
    told: Callable[[Line], None] = lambda _: None,
    of: Team = ALONE,
) -> bool:
    """Train until the last step, or until `time.monotonic()` is `until`.

    Args:
        run: Is changed.
        plan: How.
        learned: What from.
        until: When to stop.
        told: Is given what each line of `curve.jsonl` says, and the seconds that are left.
        of: The processes that train together; the first one writes and tells.

    Returns:
        Whether all steps are done.

    Raises:
        RunFault: the loss is no number, or larger than the family allows.
    """
    torch.set_num_threads(plan.threads)
    if run.step == 0 and plan.begin_with is None and not run.begun:
        _settle(run.family, plan, learned)
    run.family.network.train()
    sums: Line = {}
    began, first, total = time.monotonic(), run.step, sum(stage.steps for stage in plan.stages)
    for here in _batches(plan, learned, first, of):
        if any_of(of, until <= time.monotonic()):
            break
        for name, value in _step(run, plan, here, of).items():
            sums[name] = sums.get(name, 0.0) + value
        if of.is_first and run.step % plan.log_every == 0:
            each = (time.monotonic() - began) / (run.step - first)
            # the first line after a resumption is a mean over fewer steps
            count = min(plan.log_every, run.step - first)
            means = {name: value / count for name, value in sums.items()}
            line = {"step": float(run.step), **means, "seconds_a_step": each}
            _append(plan.folder / "curve.jsonl", line)
            told({**line, "left_s": each * (total - run.step)})
        if run.step % plan.log_every == 0:
            sums = {}
        if of.is_first and run.step % plan.checkpoint_every == 0:
            save(run, plan.folder / "checkpoint.pt")
    if of.is_first:
        save(run, plan.folder / "checkpoint.pt")
    return run.step >= total


def save(run: Run, path: Path) -> None:
    """Write the checkpoint, whole or not at all."""
    partial = path.with_suffix(".part")
    stored = {
        "net": run.family.network.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "stage": run.stage,
        "step": run.step,
        "begun": run.begun,
    }
    torch.save(stored, partial)
    partial.replace(path)


def trained(family: Family, checkpoint: Path) -> Taken:
    """How far a checkpoint has come; the family's network holds its weights, to be judged.

    Raises:
        RunFault: there is no checkpoint, or it is of another network.
    """
    stored = _stored(checkpoint, "cpu")
    if stored is None:
        raise RunFault(f"There is no {checkpoint}: train first")
    try:
        family.network.load_state_dict(stored["net"])
    except (KeyError, RuntimeError) as fault:
        raise RunFault(f"{checkpoint} is of another network: {fault}") from fault
    family.network.eval()
    return Taken(int(stored["step"]), stored.get("begun", ""))


def _begin(network: nn.Module, checkpoint: Path, device: str) -> None:
    stored = _stored(checkpoint, device)
    if stored is None:
        raise RunFault(f"There is no {checkpoint} to begin with")
    own = network.state_dict()
    alike = {
        name: value
        for name, value in stored.get("net", {}).items()
        if name in own and value.shape == own[name].shape
    }
    if not alike:
        raise RunFault(f"{checkpoint} is no beginning for this run: nothing in it is alike")
    network.load_state_dict(alike, strict=False)


def stage_at(plan: Plan, step: int) -> int:
    """The number of the stage that a step, counted from 0, belongs to."""
    ends = list(accumulate(stage.steps for stage in plan.stages))
    return next(number for number, end in enumerate(ends) if step < end)


def _step(run: Run, plan: Plan, here: Batch, of: Team) -> Line:
    number = stage_at(plan, run.step)
    stage = plan.stages[number]
    if number != run.stage:
        run.stage, run.optimiser = number, _optimiser(run.family, plan, stage)
    before = sum(one.steps for one in plan.stages[:number])
    rate = _rate(run.family, plan, stage, (run.step - before) / stage.steps)
    for group in run.optimiser.param_groups:
        group["lr"] = group["full_rate"] * rate
    images, wanted, *poses = (part.to(plan.device) for part in here if part is not None)
    with in_half(torch.device(plan.device).type):
        losses = run.family.loss(images, wanted, stage.name, *poses)
    values = {name: float(value.detach()) for name, value in losses.items()}
    if not isfinite(values["total"]) or values["total"] > run.family.largest_loss:
        raise RunFault(f"The loss of step {run.step} is {values['total']:g}: lower the rate")
    run.family.network.zero_grad(set_to_none=True)
    losses["total"].backward()
    average(of, _weights(run.optimiser))
    run.optimiser.step()
    run.step += 1
    return values


def _rate(family: Family, plan: Plan, stage: Stage, done: float) -> float:
    """What every learning rate is multiplied by."""
    falls = scheduled(done, WARM_UP) if plan.schedule == "cosine" else family.rate(stage.name, done)
    return stage.rate * falls


def _settle(family: Family, plan: Plan, learned: Learned) -> None:
    """The same in every process of a team; nothing where the authors' way is followed."""
    if family.settle is None or plan.schedule != "cosine":
        return
    generator = torch.Generator().manual_seed(plan.seed)
    views = plan.stages[0].fewest_views
    first = batch(learned.source, SETTLING, views, generator).images
    family.settle(first.to(plan.device))


def _optimiser(family: Family, plan: Plan, stage: Stage) -> torch.optim.Optimizer:
    """Adam as published, or with decay apart from its gradient.

    Adam divides by the size of the gradient: decay that is added to one so small as that of an
    encoder without norms is all that is left of it.
    """
    kind = torch.optim.AdamW if plan.schedule == "cosine" else torch.optim.Adam
    made = kind(family.groups(stage.name), betas=(0.9, 0.999), weight_decay=0.0, fused=True)
    for group in made.param_groups:
        group["full_rate"] = group["lr"]
    return made


def _weights(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [weight for group in optimiser.param_groups for weight in group["params"]]


def _batches(plan: Plan, learned: Learned, first: int, of: Team) -> Iterator[Batch]:
    """The batches of steps `first` and on; the next one is made while one is learned from."""
    total = sum(stage.steps for stage in plan.stages)

    def made(step: int) -> Batch:
        seed = plan.seed * 1_000_003 + step * of.size + of.rank
        generator = torch.Generator().manual_seed(seed)
        stage = plan.stages[stage_at(plan, step)]
        views = int(
            torch.randint(stage.fewest_views, stage.most_views + 1, (1,), generator=generator)
        )
        is_eased = float(torch.rand(1, generator=generator)) * learned.ease > step / total
        source = learned.clean if is_eased else learned.source
        return batch(source, plan.batch, views, generator)

    if first >= total:
        return
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(made, first)
        for step in range(first + 1, total):
            here = coming.result()
            coming = ahead.submit(made, step)
            yield here
        yield coming.result()


def _stored(checkpoint: Path, device: str) -> dict[str, Any] | None:
    if not checkpoint.exists():
        return None
    stored: dict[str, Any] = torch.load(checkpoint, map_location=device, weights_only=True)
    return stored


def _append(path: Path, line: Line) -> None:
    with path.open("a") as file:
        file.write(json.dumps({k: round(v, 6) for k, v in line.items()}) + "\n")
