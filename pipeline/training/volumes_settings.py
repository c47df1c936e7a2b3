"""The run file of a volumetric family: which network, of what data, in which stages.

It says either `[regional]`, one bone of a region of our own, or `[published]`, folders in the
layout of the papers; `[network]` changes fields of the family's shape, as narrower layers.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.training.exposure import Exposure
from pipeline.training.published_layout import Published
from pipeline.training.settings import RunFault, as_dataclass


@dataclass(frozen=True, slots=True)
class Regional:
    """One bone of a region, from scenes of a pool."""

    archive: Path
    """What `python -m pipeline.training.prepare` wrote."""
    pool: Path
    """Folder of the scenes that are learned from."""
    held: Path
    """Folder of the scenes of the people that are left out."""
    bone: str
    fold: int = 0
    """The people of this fold are judged and never learned from."""
    scenes: int = 0
    """What is missing of so many in the pool is simulated; 0 takes the pool as it is."""
    held_scenes: int = 0
    """The same of the scenes to judge on."""
    held_views: int = 5
    """Of each of these."""
    image_size: int = 256
    """Rows and columns of what is simulated."""
    seed: int = 1
    """Of the simulation."""
    exposure: Exposure = field(default_factory=lambda: Exposure(implants=0.05))
    """Of what is learned from; what is judged on has the default one, without metal."""
    ease: float = 0.3
    """Share of the steps over which clean images give way to the exposure."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of the training; the family says what is special about it."""

    name: str
    steps: int
    fewest_views: int = 1
    most_views: int = 5
    """How many views a batch has is drawn anew each time, evenly from the fewest to the most."""
    rate: float = 1.0
    """Times the family's learning rates."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained, and how long."""

    family: str
    """As `volumes_families` knows it, "pix2vox++/F"."""
    folder: Path
    """Of the checkpoint, the curve and the tables."""
    stages: tuple[Stage, ...]
    begin_with: Path | None = None
    """A checkpoint of another run: what is of the same name and size there is the beginning of
    this one, as of another grid or of another bone."""
    grid: int = 32
    """Voxels along each edge."""
    batch: int = 8
    schedule: str = "published"
    """Of the learning rates over a stage: the family's own steps, or "cosine" for short runs."""
    seed: int = 1
    device: str = "cpu"
    threads: int = 1
    limit_minutes: float | None = None
    """Of one call; the next goes on."""
    checkpoint_every: int = 100
    log_every: int = 10
    judged_views: tuple[int, ...] = (1, 2, 3, 5, 8, 12, 20)
    """How many views are judged, as far as the data has them."""
    judged_seed: int = 7


@dataclass(frozen=True, slots=True)
class VolumeRun:
    """A run."""

    plan: Plan
    data: Regional | Published
    network: Mapping[str, object]
    """Fields of the family's shape, where they differ from the published one."""


SCHEDULES = ("published", "cosine")


def is_volume_run(path: Path) -> bool:
    """Whether a run file names a family, which those of the lifting network never do."""
    return "family" in _table(path)


def read(path: Path) -> VolumeRun:
    """The run that the file describes; paths in it are relative to the file.

    Raises:
        RunFault: naming the key, or the place of a syntax error.
    """
    told = _table(path)
    network = told.pop("network", {})
    kinds: dict[str, type[Regional | Published]] = {"regional": Regional, "published": Published}
    given = [name for name in kinds if name in told]
    if len(given) != 1:
        raise RunFault(f"{path} must have one table of data, [regional] or [published]")
    if not isinstance(network, dict) or not isinstance(told[given[0]], dict):
        raise RunFault(f"network and {given[0]} must be tables")
    data = as_dataclass(kinds[given[0]], told.pop(given[0]), f"{given[0]}.")
    plan: Plan = as_dataclass(Plan, told, "")
    _check(plan)
    return VolumeRun(_beside(plan, path.parent), _beside(data, path.parent), network)


def shaped(shape: Any, told: Mapping[str, object]) -> Any:
    """The shape of a network, a dataclass, with these fields changed.

    Raises:
        RunFault: it has no such field, the value is of another type, or the parts do not fit.
    """
    known = {one.name: getattr(shape, one.name) for one in fields(shape)}
    for key in told:
        if key not in known:
            raise RunFault(f"Unknown key network.{key}; known are {', '.join(known)}")
    try:
        return replace(shape, **{key: _like(known[key], value) for key, value in told.items()})
    except (TypeError, ValueError) as fault:
        raise RunFault(f"network: {fault}") from fault


def _like(known: object, value: object) -> object:
    """`value` of the run file as what stands in its place.

    Raises:
        TypeError: it is something else.
        ValueError: there is no such choice.
    """
    if isinstance(known, StrEnum):
        return type(known)(str(value))
    if isinstance(known, tuple) and isinstance(value, list):
        return tuple(_like(0, one) for one in value)
    if type(value) is not type(known):
        raise TypeError(f"{value!r} should be like {known!r}")
    return value


def _check(plan: Plan) -> None:
    if plan.schedule not in SCHEDULES:
        raise RunFault(f"schedule must be one of {', '.join(SCHEDULES)}, not {plan.schedule!r}")
    if not plan.stages:
        raise RunFault("there must be a stage")
    for stage in plan.stages:
        if stage.steps < 1 or not 1 <= stage.fewest_views <= stage.most_views:
            raise RunFault(f"stage {stage.name}: it needs a step, and from 1 view upwards")
    if min(plan.batch, plan.checkpoint_every, plan.log_every, *plan.judged_views) < 1:
        raise RunFault("batch, checkpoint_every, log_every and judged_views must be at least 1")


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise RunFault(f"{path}: {fault}") from None


def _beside(made: Any, folder: Path) -> Any:
    """The same, its paths relative to the folder."""
    told = {one.name: getattr(made, one.name) for one in fields(made)}
    return replace(made, **{k: folder / v for k, v in told.items() if isinstance(v, Path)})
