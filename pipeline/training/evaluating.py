"""`evaluate` of a run file: the table of results, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from pipeline.models.closer import Near
from pipeline.training.archive import Archive, Case
from pipeline.training.command import Say, archive_of, bodies_of, trained
from pipeline.training.describing import folds_line
from pipeline.training.given import network
from pipeline.training.judging import (
    Judgement,
    as_json,
    as_markdown,
    conditions_of,
    judged,
    summarised,
)
from pipeline.training.regions import WITHIN, Region
from pipeline.training.settings import RunFault, RunSettings, of_folds, read
from pipeline.training.taken import Taken


def evaluate(path: Path, say: Say = print, folds: Sequence[Sequence[int]] = ()) -> Path:
    """Judge the run's network on the people that it did not learn from; the path of the table.

    Args:
        path: The run file.
        say: Is told.
        folds: Those that one network was trained without are judged by it, and all in one table;
            none: that of the run file.

    Raises:
        RunFault: a run has no checkpoint, or no people to judge on, or a fold would be judged
            twice.
    """
    settings = read(path)
    runs = [of_folds(settings, left) for left in folds] or [settings]
    _check_once([fold for run in runs for fold in run.fold or ()])
    judgements: list[Judgement] = []
    steps = []
    for run in runs:
        found, taken = _judged(path, run, say)
        judgements += found
        steps.append(str(taken))
    summaries = summarised(judgements)
    table = as_markdown(summaries)
    name = "results" if runs == [settings] else "crossed"
    of = f" of {len(runs)} networks, each without other people" if len(runs) > 1 else ""
    head = f"After {', '.join(dict.fromkeys(steps))}{of}.\n\n"
    (settings.folder / f"{name}.md").write_text(head + table, encoding="utf-8")
    stored = json.dumps(as_json(judgements, summaries), indent=1)
    (settings.folder / f"{name}.json").write_text(stored)
    say(table)
    return settings.folder / f"{name}.md"


def _judged(path: Path, settings: RunSettings, say: Say) -> tuple[list[Judgement], Taken]:
    """Every case of the people who are left out, and how far the network has come."""
    archive = archive_of(settings)
    cases = left_out(archive, settings)
    net, taken = trained(archive, settings)
    torch.set_num_threads(settings.training.threads)
    learned, others = (
        bodies_of(settings, archive.region, is_judged=judges) for judges in (False, True)
    )
    found = judged(
        network(net, size=archive.region.voxels, closer=nears_of(path, settings, archive.region)),
        archive,
        cases,
        conditions_of(archive.region, learned, others),
        image_size=settings.network.image_size,
        seed=settings.evaluation.seed,
        repeats=settings.evaluation.repeats,
        told=lambda one: say(
            f"{one.case} {one.bone}, {one.condition}:"
            f" Dice {one.dice:.3f}, ASSD {one.assd_mm:.2f} mm"
        ),
    )
    return found, taken


def nears_of(path: Path, settings: RunSettings, region: Region) -> tuple[Near, ...]:
    """The trained networks that look closer, of the run files that the run names, and of its fold.

    Raises:
        RunFault: one of them has no checkpoint, or is of no bone of the region.
    """
    nears = []
    for name in settings.evaluation.closer:
        of = read(path.parent / name)
        if settings.fold:
            of = of_folds(of, settings.fold)
        archive = archive_of(of)
        within = WITHIN.get(archive.region.name)
        if within is None or within.region != region.name:
            raise RunFault(f"{name} does not look closer at a bone of the {region.name}")
        net, _ = trained(archive, of)
        number = region.targets.index(within.bone)
        nears.append(Near(net, number, within.reach_mm, within.is_from_below, within.offset))
    return tuple(nears)


def left_out(archive: Archive, settings: RunSettings) -> tuple[Case, ...]:
    """The cases of the people that the run did not learn from.

    Raises:
        RunFault: it learned from all.
    """
    if not settings.fold:
        raise RunFault("fold is none: everyone was learned from, nobody is left to judge on")
    return archive.judged_in(*settings.fold)


def _check_once(folds: Sequence[int]) -> None:
    twice = sorted({fold for fold in folds if folds.count(fold) > 1})
    if twice:
        raise RunFault(f"The people of {folds_line(twice)} would be judged twice")
