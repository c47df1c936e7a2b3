"""`compare` of a run file: the network beside published ones, the visual hull and a shape model.

All are judged on the people that are left out, from the same samples, in the same cube, as far as
they are trained. Networks with run files of their own are trained by these. Those over cubes, and
lifting once more from scratch, are trained here on the run's scenes, each for the same minutes by
the clock on the wall: what they reach is told beside what the others reach at their end, and is
named as such.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path

from pipeline.training import loop, peers_samples
from pipeline.training.command import Say, cut_of, shape_of
from pipeline.training.describing import folds_line
from pipeline.training.evaluating import left_out
from pipeline.training.peers_budget import spend
from pipeline.training.peers_engines import (
    ANEW,
    CUBE_VIEWS,
    LIFTING,
    Comparison,
    comparison_of,
    entrants,
)
from pipeline.training.peers_judging import Found, Judge, found_of
from pipeline.training.peers_table import as_markdown, compared

TRAINED_HERE = ("attention-unet", "swin-unetr")


def compare(
    path: Path, *, minutes: float | None = None, say: Say = print, judge: Judge | None = None
) -> Path:
    """Judge every engine of the run's `peers` and `comparison`; the path of the table.

    Args:
        path: The run file of the lifting network.
        minutes: Train each network over cubes, for each number of views that it takes, and
            lifting from scratch, for so long; the run's pool must have been simulated. By
            default nobody is trained.
        say: Is given what happens, a line at a time.
        judge: Judges an entrant; by default in a process of its own.

    Raises:
        RunFault: there is nobody to judge on, or an engine that is unknown.
    """
    of = comparison_of(path)
    settings = of.settings
    cases = peers_samples.chosen(left_out(of.archive, settings), settings.comparison.legs)
    of.folder.mkdir(parents=True, exist_ok=True)
    if minutes is not None:
        _train(of, 60 * minutes, say)
    files = peers_samples.kept(
        of.folder,
        of.archive,
        cases,
        image_size=settings.network.image_size,
        seed=settings.comparison.seed,
    )
    found = []
    for entrant in entrants(of):
        one = found_of(entrant, of, files, judge)
        say(f"{one.name}: {one.failed or f'{len(one.judgements)} bones judged'}")
        found.append(one)
    return _written(of, found, say)


def _written(of: Comparison, found: list[Found], say: Say) -> Path:
    settings = of.settings.comparison
    rows = compared(found, LIFTING)
    title = (
        f"Region {of.archive.region.name}, people of {folds_line(of.settings.fold or ())},"
        " simulated: neighbours, soft tissue, noise, collimation; the cameras are known. Cube of"
        f" {of.archive.region.cube_mm:.0f} mm, {of.archive.region.voxels} voxels along each edge;"
        f" {settings.threads} thread{'s' if settings.threads > 1 else ''}.\n\n"
    )
    table = title + as_markdown(found, rows, settings.views, LIFTING)
    (of.folder / "compared.md").write_text(table, encoding="utf-8")
    told = {"rows": [asdict(one) for one in rows], "engines": [asdict(one) for one in found]}
    (of.folder / "compared.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
    say(table)
    return of.folder / "compared.md"


def _train(of: Comparison, seconds: float, say: Say) -> None:
    """Each trains on until its minutes are over; who was trained as long before is left alone."""
    _train_lifting(of, seconds, say)
    for name in of.settings.peers.engines:
        if name in TRAINED_HERE:
            for views in CUBE_VIEWS:
                if views in of.settings.comparison.views:
                    _train_cubes(of, name, views, seconds, say)


def _train_lifting(of: Comparison, seconds: float, say: Say) -> None:
    home = _made(of.home(ANEW))
    training = of.settings.training
    run = loop.start(shape_of(of.archive, of.settings), training, home / "checkpoint.pt")

    def go(steps: int, until: float) -> None:
        loop.train(
            run,
            replace(training, steps=steps),
            of.settings.folder / "pool",
            home,
            until=until,
            cut=cut_of(of.archive.region, of.settings),
        )
        say(f"{ANEW}: step {run.step} of about {steps}")

    spend(seconds, home, lambda: run.step, go)


def _train_cubes(of: Comparison, name: str, views: int, seconds: float, say: Say) -> None:
    # MONAI takes seconds to import: who only judges what is trained does without
    peers_nets = import_module("pipeline.training.peers_nets")
    peers, region, home = of.settings.peers, of.archive.region, _made(of.home(name, views))
    training, checkpoint = of.settings.training, home / "checkpoint.pt"
    run = peers_nets.start(
        name,
        peers,
        training,
        checkpoint,
        views=views,
        bones=len(region.targets),
        cube_mm=region.cube_mm,
    )

    def go(steps: int, until: float) -> None:
        pool, scheduled = of.settings.folder / "pool", replace(training, steps=steps)
        cut = cut_of(region, of.settings)
        loss = peers_nets.train(run, peers, scheduled, pool, checkpoint, until=until, cut=cut)
        say(f"{name}, {views} views: step {run.step} of about {steps}, loss {loss:.3f}")

    spend(seconds, home, lambda: run.step, go)


def _made(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    return home
