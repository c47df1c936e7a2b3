"""`compare` of a run file: the network beside published ones, the visual hull and a shape model.

All learn from the people and the scenes of the run, for the same time by the clock on the wall,
and are judged on the people that are left out, in the same poses and images as by `evaluate`. What
learns is trained for the views that are asked for; lifting learns from one to three of any views,
as the run says, which costs it some of its time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from pipeline.training import loop, peers_nets, peers_shape
from pipeline.training.archive import Archive
from pipeline.training.command import Say, archive_of, learned_from, shape_of, trained
from pipeline.training.evaluating import left_out
from pipeline.training.given import Given, Reconstruct, network
from pipeline.training.judging import CONDITIONS, Judgement, judged
from pipeline.training.peers_budget import spend
from pipeline.training.peers_cubes import cube_engine
from pipeline.training.peers_hull import hull_engine
from pipeline.training.peers_table import Engine, as_json, as_markdown, compared
from pipeline.training.settings import Peers, RunFault, RunSettings, read

LIFTING = "lifting"
OUTLINES = "true outlines of each bone are given to it"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What every candidate is made for."""

    archive: Archive
    settings: RunSettings
    views: int
    minutes: float | None
    """None: as long as the run has trained."""
    folder: Path
    """Of the checkpoints of the peers, and of the tables."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An engine that is ready to be judged."""

    name: str
    reconstruct: Reconstruct
    parameters: int
    trained_s: float
    remark: str


def compare(path: Path, *, views: int = 2, minutes: float | None = None, say: Say = print) -> Path:
    """Train and judge every engine of the run's `peers`; the path of the table.

    Args:
        path: The run file; its pool must have been simulated.
        views: 1 (frontal) or 2 (frontal and lateral): what is given.
        minutes: Of the training of each engine, lifting too, from scratch. By default lifting is
            the run's checkpoint, and the others are trained for as long as that was.
        say: Is given what happens, a line at a time.

    Raises:
        RunFault: the run has no checkpoint, nobody to judge on, or an engine that is unknown.
    """
    settings = read(path)
    unknown = set(settings.peers.engines) - set(Peers().engines)
    if unknown:
        raise RunFault(f"peers.engines: {', '.join(sorted(unknown))} is none of them")
    archive = archive_of(settings)
    cases = left_out(archive, settings)
    folder = settings.folder / f"compare-{views}"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[Judgement]] = {}
    engines = []
    for candidate in _candidates(Comparison(archive, settings, views, minutes, folder), say):
        seconds: list[float] = []
        found[candidate.name] = judged(
            _timed(candidate.reconstruct, seconds),
            archive,
            cases,
            [one for one in CONDITIONS if len(one.views) == views],
            image_size=settings.network.image_size,
            seed=settings.evaluation.seed,
            repeats=settings.evaluation.repeats,
            told=_teller(candidate.name, say),
        )
        mean = sum(seconds) / len(seconds)
        engines.append(
            Engine(
                candidate.name, candidate.parameters, candidate.trained_s, mean, candidate.remark
            )
        )
    rows = compared(found, LIFTING)
    table = as_markdown(engines, rows, LIFTING)
    title = f"Region {archive.region.name}, people of fold {settings.fold}, views: {views}.\n\n"
    (folder / "compared.md").write_text(title + table, encoding="utf-8")
    (folder / "compared.json").write_text(json.dumps(as_json(engines, rows, found), indent=1))
    say(table)
    return folder / "compared.md"


def _candidates(of: Comparison, say: Say) -> Iterator[Candidate]:
    """Lifting and each peer, trained when its turn has come."""
    torch.set_num_threads(of.settings.training.threads)
    lifting = _lifting(of, say)
    yield lifting
    region = of.archive.region
    for name in of.settings.peers.engines:
        if name == "visual-hull":
            if of.views > 1:
                reconstruct = hull_engine(cube_mm=region.cube_mm, size=region.voxels)
                yield Candidate(name, reconstruct, 0, 0.0, OUTLINES)
        elif name == "shape-model":
            yield _shape_model(of)
        else:
            budget = lifting.trained_s if of.minutes is None else 60 * of.minutes
            yield _cube_network(of, name, budget, say)


def _lifting(of: Comparison, say: Say) -> Candidate:
    settings, size = of.settings, of.archive.region.voxels
    if of.minutes is None:
        net, step = trained(of.archive, settings)
        seconds = _seconds_of(settings)
    else:
        home, shape = _home(of, LIFTING), shape_of(of.archive, settings)
        run = loop.start(shape, settings.training, home / "checkpoint.pt")

        def go(steps: int, until: float) -> None:
            training = replace(settings.training, steps=steps)
            loop.train(run, training, settings.folder / "pool", home, until=until)
            say(f"{LIFTING}: step {run.step} of about {steps}")

        seconds = spend(60 * of.minutes, home, lambda: run.step, go)
        net, step = run.average.cpu().eval(), run.step
    return Candidate(LIFTING, network(net, size=size), _count(net), seconds, f"{step} steps")


def _cube_network(of: Comparison, name: str, budget_s: float, say: Say) -> Candidate:
    peers, region, home = of.settings.peers, of.archive.region, _home(of, name)
    training, checkpoint = of.settings.training, home / "checkpoint.pt"
    run = peers_nets.start(
        name,
        peers,
        training,
        checkpoint,
        views=of.views,
        bones=len(region.targets),
        cube_mm=region.cube_mm,
    )

    def go(steps: int, until: float) -> None:
        pool, scheduled = of.settings.folder / "pool", replace(training, steps=steps)
        loss = peers_nets.train(run, peers, scheduled, pool, checkpoint, until=until)
        say(f"{name}: step {run.step} of about {steps}, loss {loss:.3f}")

    seconds = spend(budget_s, home, lambda: run.step, go)
    net = run.net.cpu().eval()
    reconstruct = cube_engine(net, grid=peers.grid, cube_mm=region.cube_mm, size=region.voxels)
    return Candidate(name, reconstruct, _count(net), seconds, f"{run.step} steps")


def _shape_model(of: Comparison) -> Candidate:
    peers, region = of.settings.peers, of.archive.region
    began = time.monotonic()
    shapes = peers_shape.learned(of.archive, learned_from(of.archive, of.settings), peers.modes)
    seconds = time.monotonic() - began
    reconstruct = peers_shape.shape_engine(
        shapes, cube_mm=region.cube_mm, size=region.voxels, rounds=peers.rounds
    )
    numbers = sum(shape.mean.numel() + shape.modes.numel() for shape in shapes)
    return Candidate("shape-model", reconstruct, numbers, seconds, OUTLINES)


def _seconds_of(settings: RunSettings) -> float:
    """How long the run was trained, as its curve tells: a line for every so many steps."""
    lines = (settings.folder / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    each = [float(json.loads(line)["seconds_a_step"]) for line in lines]
    return sum(each) * settings.training.log_every


def _home(of: Comparison, name: str) -> Path:
    home = of.folder / name
    home.mkdir(exist_ok=True)
    return home


def _count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def _timed(reconstruct: Reconstruct, seconds: list[float]) -> Reconstruct:
    def timed(given: Given) -> Tensor:
        began = time.monotonic()
        made = reconstruct(given)
        seconds.append(time.monotonic() - began)
        return made

    return timed


def _teller(name: str, say: Say) -> Callable[[Judgement], None]:
    def told(one: Judgement) -> None:
        say(
            f"{name}, {one.case} {one.bone}, {one.condition}:"
            f" Dice {one.dice:.3f}, ASSD {one.assd_mm:.2f} mm"
        )

    return told
