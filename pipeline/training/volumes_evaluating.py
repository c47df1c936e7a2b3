"""`evaluate` of a run file that names a volumetric family: tables as Markdown and JSON, cubes.

python -m pipeline.training.volumes_evaluating run.toml
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from pipeline.training import volumes_scenes
from pipeline.training.published_layout import Published, split
from pipeline.training.settings import RunFault
from pipeline.training.volumes import Say, learned_by
from pipeline.training.volumes_cubes import write_cubes
from pipeline.training.volumes_data import Size, Source, objects
from pipeline.training.volumes_families import family
from pipeline.training.volumes_judging import (
    ORDERED,
    corrupted,
    gains,
    judged,
    mean_shape,
    orders,
)
from pipeline.training.volumes_loop import trained
from pipeline.training.volumes_settings import Regional, VolumeRun, read
from pipeline.training.volumes_table import as_json, as_markdown


def evaluate(path: Path, say: Say = print) -> Path:
    """Judge the run's network on what it did not learn from; the path of the table.

    Raises:
        RunFault: the run has no checkpoint, or nothing to judge on.
    """
    run = read(path)
    plan = run.plan
    torch.set_num_threads(plan.threads)
    made = family(plan, run.network)
    taken = trained(made, plan.folder / "checkpoint.pt")
    if isinstance(run.data, Regional):
        volumes_scenes.require_learned(run.data, plan.threads)
    mean = mean_shape(learned_by(run, made.size).source)
    held = held_by(run, made.size)
    if min(plan.judged_views) > held.views:
        raise RunFault(f"judged_views: there are no more than {held.views} views of an item")
    seed = plan.judged_seed
    found = judged(
        made.occupancy,
        mean,
        held,
        plan.judged_views,
        seed=seed,
        told=lambda one: say(f"{one.item}, {one.views} views: IoU {one.iou_40:.3f}"),
    )
    claims = gains(found)
    if held.views >= ORDERED:
        claims += orders(made.occupancy, held, seed=seed)
        claims += corrupted(made.occupancy, made.shares, held, seed=seed)
    text = as_markdown(found, claims)
    results = plan.folder / "results.md"
    results.write_text(f"{plan.family} after {taken}.\n\n{text}", encoding="utf-8")
    told = json.dumps(as_json(found, claims), indent=1)
    (plan.folder / "results.json").write_text(told, encoding="utf-8")
    say(text)
    for file in write_cubes(made, run, held):
        say(f"{file}: cubes of what is filled")
    return results


def held_by(run: VolumeRun, size: Size) -> Source:
    """What the run is judged on, simulated where it is missing.

    Raises:
        RunFault: there is nothing.
    """
    match run.data:
        case Regional():
            volumes_scenes.simulate_held(run.data, run.plan.threads)
            return volumes_scenes.held(run.data, size)
        case Published():
            models = split(run.data).judged
            return objects(models, run.data, size, is_learned=False)


if __name__ == "__main__":
    try:
        evaluate(Path(sys.argv[1]))
    except RunFault as fault:
        sys.exit(str(fault))
