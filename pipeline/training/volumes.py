"""`train` of a run file that names a volumetric family.

    python -m pipeline.training.volumes run.toml

needs nothing but torch, numpy and Pillow. `volumes_evaluating` needs more.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pipeline.training import volumes_scenes
from pipeline.training.parallel import any_of, team
from pipeline.training.published_layout import Published, split
from pipeline.training.settings import RunFault
from pipeline.training.volumes_data import Size, objects
from pipeline.training.volumes_families import family
from pipeline.training.volumes_loop import Learned, Line, start
from pipeline.training.volumes_loop import train as train_run
from pipeline.training.volumes_settings import Regional, VolumeRun, read

Say = Callable[[str], None]
SECONDS_BETWEEN_LINES = 15.0


def train(path: Path, say: Say = print) -> bool:
    """Simulate what is missing of the pool, and train on from the checkpoint.

    Returns:
        Whether all steps are done; a run that reached its time limit is continued by another
        call.

    Raises:
        RunFault: the run file or its data cannot be used, or the training went astray.
    """
    began = time.monotonic()
    run = read(path)
    plan = run.plan
    until = began + 60 * plan.limit_minutes if plan.limit_minutes else float("inf")
    plan.folder.mkdir(parents=True, exist_ok=True)
    with team(plan.device) as of:
        if isinstance(run.data, Regional) and of.is_first:
            volumes_scenes.simulate_learned(run.data, plan.threads, until)
        # the others see the pool when it is whole
        any_of(of, True)
        torch.manual_seed(plan.seed)
        made = family(plan, run.network)
        learned = learned_by(run, made.size)
        tell = say if of.is_first else _silent
        tell(f"{plan.family}: {len(learned.source.items)} items of {learned.source.views} views")
        if isinstance(run.data, Published) and (gone := split(run.data).missing):
            tell(f"{gone} models of the taxonomy are not there")
        is_done = train_run(
            start(made, plan, plan.folder / "checkpoint.pt"),
            plan,
            learned,
            until=until,
            told=_teller(run, tell),
            of=of,
        )
        tell("all steps are done" if is_done else "stopped; call again to go on")
        return is_done


def learned_by(run: VolumeRun, size: Size) -> Learned:
    """What the run learns from.

    Raises:
        RunFault: there is nothing.
    """
    match run.data:
        case Regional():
            return volumes_scenes.learned(run.data, size)
        case Published():
            models = split(run.data).learned
            source = objects(models, run.data, size, is_learned=True)
            return Learned(source, source, 0.0)


def _teller(run: VolumeRun, say: Say) -> Callable[[Line], None]:
    """Says a line of the curve now and then."""
    said = [0.0]
    total = sum(stage.steps for stage in run.plan.stages)

    def tell(line: Line) -> None:
        if time.monotonic() - said[0] > SECONDS_BETWEEN_LINES:
            said[0] = time.monotonic()
            say(
                f"step {line['step']:.0f} of {total}: loss {line['total']:.4f},"
                f" {line['left_s'] / 60:.0f} minutes left"
            )

    return tell


def _silent(_: str) -> None:
    """Of several processes, the first one speaks."""


if __name__ == "__main__":
    try:
        train(Path(sys.argv[1]))
    except RunFault as fault:
        sys.exit(str(fault))
