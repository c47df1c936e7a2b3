"""`evaluate` of a run file: the table of results, as Markdown and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from pipeline.training.archive import Archive, Case
from pipeline.training.command import Say, archive_of, trained
from pipeline.training.judging import as_json, as_markdown, judged, network, summarised
from pipeline.training.settings import RunFault, RunSettings, read


def evaluate(path: Path, say: Say = print) -> Path:
    """Judge the run's network on the people that it did not learn from; the path of the table.

    Raises:
        RunFault: the run has no checkpoint, or no people to judge on.
    """
    settings = read(path)
    archive = archive_of(settings)
    cases = left_out(archive, settings)
    net, step = trained(archive, settings)
    torch.set_num_threads(settings.training.threads)
    found = judged(
        network(net, size=archive.region.voxels),
        archive,
        cases,
        image_size=settings.network.image_size,
        seed=settings.evaluation.seed,
        repeats=settings.evaluation.repeats,
        told=lambda one: say(
            f"{one.case} {one.bone}, {one.condition}:"
            f" Dice {one.dice:.3f}, ASSD {one.assd_mm:.2f} mm"
        ),
    )
    summaries = summarised(found)
    table = as_markdown(summaries)
    (settings.folder / "results.md").write_text(f"After {step} steps.\n\n{table}", encoding="utf-8")
    (settings.folder / "results.json").write_text(json.dumps(as_json(found, summaries), indent=1))
    say(table)
    return settings.folder / "results.md"


def left_out(archive: Archive, settings: RunSettings) -> tuple[Case, ...]:
    """The cases of the people that the run did not learn from.

    Raises:
        RunFault: it learned from all.
    """
    if settings.fold is None:
        raise RunFault("fold is none: everyone was learned from, nobody is left to judge on")
    return archive.judged_in(settings.fold)
