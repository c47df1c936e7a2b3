"""Training of a completion network, its judgement, and its export.

    python -m pipeline.training.completions run.toml
    python -m pipeline.training.completions run.toml --evaluate
    python -m pipeline.training.completions run.toml --export pelvis.safetensors

A run is its settings and its checkpoint: it stops at its time limit, and the next call goes on
with the same pairs to come. From an archive it needs torch and numpy alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.models.completion import Completion, loss, start_as_published, wanted_of
from pipeline.training.completion_pairs import Pair, Pairs, pairs_of
from pipeline.training.completion_settings import CompletionRun, read, shape_of
from pipeline.training.loop import scheduled
from pipeline.training.settings import RunFault
from pipeline.training.taken import Taken

Say = Callable[[str], None]
LARGEST_GRADIENT = 5.0
"""Its norm."""
SECONDS_BETWEEN_LINES = 15.0


@dataclass(slots=True)
class Learning:
    """A training under way."""

    net: Completion
    average: Completion
    optimiser: torch.optim.Optimizer
    step: int = 0
    begun: str = ""
    """The weights that it began with, in words."""

    @property
    def taken(self) -> Taken:
        """How far it has come."""
        return Taken(self.step, self.begun)


def train(path: Path, say: Say = print) -> bool:
    """Train on from the checkpoint of the run file, to the last step or to the time limit.

    Returns:
        Whether all steps are done.

    Raises:
        RunFault: the run file, its maps or its checkpoint cannot be used.
    """
    began = time.monotonic()
    run = read(path)
    pairs = pairs_of(run)
    until = began + 60 * run.limit_minutes if run.limit_minutes is not None else float("inf")
    run.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(run.training.threads)
    learning = start(run, len(pairs.names))
    is_done = proceed(learning, run, pairs, until=until, say=say)
    say("all steps are done" if is_done else f"stopped at step {learning.step}; call again")
    return is_done


def start(run: CompletionRun, labels: int) -> Learning:
    """A training from its checkpoint, or from the beginning where there is none.

    Raises:
        RunFault: the checkpoint is that of another network.
    """
    torch.manual_seed(run.training.seed)
    shape = shape_of(run, labels)
    device = torch.device(run.training.device)
    net, average = Completion(shape).to(device), Completion(shape).to(device)
    if run.network.published_start:
        start_as_published(net)
    average.load_state_dict(net.state_dict())
    betas = (run.training.beta1, 0.999)
    optimiser = torch.optim.Adam(net.parameters(), lr=run.training.learning_rate, betas=betas)
    learning = Learning(net, average, optimiser)
    checkpoint = run.folder / "checkpoint.pt"
    if checkpoint.exists():
        stored = torch.load(checkpoint, map_location=device, weights_only=True)
        try:
            net.load_state_dict(stored["net"])
            average.load_state_dict(stored["average"])
            optimiser.load_state_dict(stored["optimiser"])
        except (KeyError, ValueError, RuntimeError) as fault:
            raise RunFault(f"{checkpoint} is of another network: {fault}") from fault
        learning.step, learning.begun = int(stored["step"]), stored.get("begun", "")
    return learning


def proceed(
    learning: Learning, run: CompletionRun, pairs: Pairs, *, until: float, say: Say
) -> bool:
    """Train until the last step, or until `time.monotonic()` is `until`; whether all are done."""
    plan, began, first, said = run.training, time.monotonic(), learning.step, 0.0
    means: dict[str, float] = {}
    while learning.step < plan.steps and time.monotonic() < until:
        # the draw of a step follows from its number, so that a resumed run sees the same pairs
        random = np.random.default_rng([plan.seed, learning.step])
        drawn = [pair for _ in range(plan.batch) for pair in pairs.drawn(plan.instances, random)]
        for name, value in _step(learning, run, drawn).items():
            means[name] = means.get(name, 0.0) + value / plan.log_every
        if learning.step % plan.log_every == 0:
            each = (time.monotonic() - began) / (learning.step - first)
            _append(run.folder / "curve.jsonl", {"step": float(learning.step), **means})
            if time.monotonic() - said > SECONDS_BETWEEN_LINES:
                said = time.monotonic()
                left = each * (plan.steps - learning.step) / 60
                say(
                    f"step {learning.step} of {plan.steps}: loss {means['total']:.3f},"
                    f" {left:.0f} minutes left"
                )
            means = {}
        if learning.step % plan.checkpoint_every == 0:
            save(learning, run.folder / "checkpoint.pt")
    save(learning, run.folder / "checkpoint.pt")
    return learning.step >= plan.steps


def _step(learning: Learning, run: CompletionRun, drawn: Sequence[Pair]) -> dict[str, float]:
    plan, net = run.training, learning.net
    for group in learning.optimiser.param_groups:
        group["lr"] = plan.learning_rate * scheduled(learning.step / plan.steps, plan.warm_up)
    complete = _stacked([pair.complete for pair in drawn], plan.device)
    given = _stacked([pair.incomplete for pair in drawn], plan.device)
    losses = loss(net(given), wanted_of(complete, given, net.shape.task))
    learning.optimiser.zero_grad(set_to_none=True)
    losses["total"].backward()
    norm = nn.utils.clip_grad_norm_(net.parameters(), LARGEST_GRADIENT)
    if torch.isfinite(norm):
        learning.optimiser.step()
    learning.step += 1
    # an average of few steps should forget the random beginning
    decay = min(plan.average, learning.step / (learning.step + 10))
    with torch.no_grad():
        for kept, new in zip(learning.average.parameters(), net.parameters(), strict=True):
            kept.lerp_(new, 1 - decay)
    return {name: float(value.detach()) for name, value in losses.items()}


def save(learning: Learning, path: Path) -> None:
    """Write the checkpoint, whole or not at all."""
    partial = path.with_suffix(".part")
    stored = {
        "net": learning.net.state_dict(),
        "average": learning.average.state_dict(),
        "optimiser": learning.optimiser.state_dict(),
        "step": learning.step,
        "begun": learning.begun,
    }
    torch.save(stored, partial)
    partial.replace(path)


def trained(run: CompletionRun, labels: int) -> Learning:
    """The training of the run's checkpoint, its average ready to be asked.

    Raises:
        RunFault: there is none.
    """
    if not (run.folder / "checkpoint.pt").exists():
        raise RunFault(f"There is no checkpoint in {run.folder}: train first")
    learning = start(run, labels)
    learning.average.eval()
    return learning


def _stacked(maps: Sequence[np.ndarray], device: str) -> Tensor:
    return torch.from_numpy(np.stack(maps)).to(device, torch.int64)


def _append(path: Path, line: dict[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({key: round(value, 6) for key, value in line.items()}) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """What the command line asks for is done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--evaluate", action="store_true", help="judge on the people left out")
    parser.add_argument("--export", type=Path, help="write the weights as a file for `osteon`")
    given = parser.parse_args(arguments)
    try:
        if given.evaluate:
            # judging needs scipy, which a bare machine to train on may lack
            from pipeline.training.completion_judging import evaluate  # noqa: PLC0415

            evaluate(given.run)
        elif given.export:
            from pipeline.training.completion_export import export_run  # noqa: PLC0415

            export_run(given.run, given.export)
        else:
            train(given.run)
    except (RunFault, OSError) as fault:
        sys.exit(str(fault))


if __name__ == "__main__":
    main()
