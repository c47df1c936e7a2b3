"""The average of a completion run as a weights file, with what placing the box needs to know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.completion_weights import TrainedCompletion, export
from pipeline.stated import Judged, Stated
from pipeline.structures import Structure
from pipeline.training.completion_pairs import Pairs, pairs_of
from pipeline.training.completion_settings import CompletionRun, read
from pipeline.training.completions import Say, trained
from pipeline.training.label_maps import Labels, Triple
from pipeline.training.settings import RunFault
from pipeline.training.taken import Taken


def export_run(path: Path, out: Path, say: Say = print) -> TrainedCompletion:
    """`out` holds the averaged network of the run.

    Raises:
        RunFault: there is no checkpoint, or the maps do not say how large they are.
    """
    run = read(path)
    pairs = pairs_of(run)
    if pairs.box_mm is None:
        raise RunFault("A published folder does not say how large its maps are: nothing to export")
    learning = trained(run, len(pairs.names))
    described = TrainedCompletion(
        name=out.name.partition(".")[0],
        structures=structures_of(list(pairs.learned()), pairs.names, pairs.box_mm),
        box_mm=pairs.box_mm,
        size=run.network.size,
        trained=_words(run, pairs, learning.taken),
        regions=run.regions,
        placed_by=run.placed_by,
        stated=Stated(pairs.licence, _judged(run)),
    )
    made = export(learning.average, out, described)
    say(f"{out}: {out.stat().st_size / 2**20:.1f} MiB, SHA-256 {made.digest}")
    return made


def structures_of(
    maps: Sequence[Labels], names: Sequence[str], box_mm: Triple
) -> tuple[Structure, ...]:
    """The mean middle, volume and extent of each label over the maps that have it.

    And whether it ends in the box, in most of them.
    """
    found = []
    for number, name in enumerate(names, start=1):
        middles, volumes, extents, ends = [], [], [], []
        for labels in maps:
            index = np.argwhere(labels == number)
            if not len(index):
                continue
            step = np.array(box_mm) / labels.shape
            z, y, x = (index.mean(axis=0) + 0.5) * step - np.array(box_mm) / 2
            middles.append((x, y, z))
            volumes.append(len(index) * float(step.prod()))
            extents.append(((np.ptp(index, axis=0) + 1) * step)[::-1])
            ends.append(bool((index > 0).all() and (index < np.array(labels.shape) - 1).all()))
        if not middles:
            raise RunFault(f"Nobody that is learned from has a {name}")
        x, y, z = np.mean(middles, axis=0).tolist()
        wide, deep, tall = np.mean(extents, axis=0).tolist()
        volume = float(np.mean(volumes))
        is_whole = sum(ends) * 2 > len(ends)
        found.append(Structure(name, (x, y, z), volume, (wide, deep, tall), is_whole))
    return tuple(found)


def _judged(run: CompletionRun) -> tuple[Judged, ...]:
    """What `--evaluate` has found; nothing where it has not been called."""
    table = run.folder / "results.json"
    if not table.exists():
        return ()
    told = json.loads(table.read_text(encoding="utf-8"))
    made = []
    for row in told["summaries"]:
        label, _, condition = row["label"].partition(", ")
        people = {
            one["person"]
            for one in told["judgements"]
            if label in ("all", one["label"]) and condition in ("", one["condition"])
        }
        what = f"what was missing: {condition or 'all conditions'}"
        made.append(Judged(what, label, len(people), "Dice", row["network"]))
    return tuple(made)


def _words(run: CompletionRun, pairs: Pairs, taken: Taken) -> str:
    maps = len(list(pairs.learned()))
    left = "nobody left out" if run.fold is None else f"the people of fold {run.fold} left out"
    where = run.archive.name if run.archive is not None else "a published folder"
    maps_line = f"{maps} maps, mirror images included, of {where}"
    return f"{taken.steps} steps on {maps_line}; {left}{taken.since}"
