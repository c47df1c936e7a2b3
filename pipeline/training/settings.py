"""One TOML a run: what is learned, from what, how long. Unknown keys and wrong types are faults."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pipeline.training.folds import FOLDS
from pipeline.training.loop import Training


class RunFault(ValueError):
    """A run file says something that cannot be followed; the message names the key."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The scenes that are simulated before the training."""

    scenes: int = 600
    seed: int = 1
    wider: float = 0.7
    """Of a region that takes a closer look: share of the scenes that are pieces of radiographs of
    the larger region, as it will be given."""


@dataclass(frozen=True, slots=True)
class Network:
    """The size of the network."""

    image_size: int = 256
    grid_size: int = 48
    lifted: int = 8
    planar: tuple[int, ...] = (32, 48, 64, 96, 128)
    spatial: tuple[int, ...] = (16, 32, 64, 96)
    hidden: int = 96


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How often each case is judged, and the seed of its poses."""

    repeats: int = 1
    seed: int = 7
    closer: tuple[str, ...] = ()
    """Run files, beside this one, of the networks that look closer at its bones."""


@dataclass(frozen=True, slots=True)
class Peers:
    """What the network is compared with, and how large it is."""

    engines: tuple[str, ...] = ("attention-unet", "swin-unetr", "shape-model", "visual-hull")
    grid: int = 64
    """Voxels along each edge of the cube that radiographs are repeated in; a multiple of 32."""
    attention: tuple[int, ...] = (16, 32, 64, 128, 256)
    """Channels of the AttentionUnet, from the whole grid downwards, halved each time."""
    swin: int = 24
    """Features of the SwinUNETR; a multiple of 12."""
    learning_rate: float = 1e-3
    """Of AdamW."""
    modes: int = 12
    """Of the shape model of each bone."""
    rounds: int = 150
    """Steps in which the shape model is fitted to the outlines."""


@dataclass(frozen=True, slots=True)
class Compared:
    """On what `compare` judges, and which networks with run files of their own it judges too."""

    runs: tuple[str, ...] = ()
    """Run files, beside this one, of volumetric families and of tomography."""
    views: tuple[int, ...] = (1, 2, 3, 5)
    """How many views of a sample are given; there are five."""
    legs: int = 2
    """Of each person who is left out, at most."""
    threads: int = 1
    """Of each engine while it is judged."""
    seed: int = 7
    """Of the samples."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """A run."""

    archive: Path
    """What `python -m pipeline.training.prepare` wrote."""
    folder: Path
    """Of the pool, the checkpoint, the curve and the tables."""
    fold: tuple[int, ...] | None = (0,)
    """The people of this fold, or of these, are judged and never learned from; none: all are
    learned from."""
    bodies: Path | None = None
    """What `label_sets --set hip_bodies` wrote; none: all bodies are of closed form."""
    begin_with: Path | None = None
    """A checkpoint of another run, whose network is the beginning of this one; it knows all bones
    of this region, and its layers are of the same size."""
    limit_minutes: float | None = None
    """Of one call; the next goes on."""
    pool: Pool = field(default_factory=Pool)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)
    evaluation: Evaluation = field(default_factory=Evaluation)
    peers: Peers = field(default_factory=Peers)
    comparison: Compared = field(default_factory=Compared)


def read(path: Path) -> RunSettings:
    """The run that the file describes; paths in it are relative to the file.

    Raises:
        RunFault: naming the key, or the place of a syntax error.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise RunFault(f"{path}: {fault}") from None
    for key in ("archive", "folder", "bodies", "begin_with"):
        if isinstance(told.get(key), str):
            told[key] = str(path.parent / told[key])
    if type(told.get("fold")) is int:
        told["fold"] = [told["fold"]]
    made: RunSettings = as_dataclass(RunSettings, told, "")
    _check_folds(made.fold or ())
    return made


def of_folds(settings: RunSettings, folds: Sequence[int]) -> RunSettings:
    """The same run of people of whom another fold is left out, or several are together.

    For a cross-validation. It has a folder of its own within that of the run, and begins with the
    same folds of what the run begins with. The fold of the run file itself is the run itself.

    Raises:
        RunFault: there is no such fold.
    """
    _check_folds(folds)
    left = tuple(sorted(set(folds)))
    if settings.fold is not None and left == tuple(sorted(set(settings.fold))):
        return settings
    name, first = f"fold-{'-'.join(map(str, left))}", settings.begin_with
    return replace(
        settings,
        fold=left,
        folder=settings.folder / name,
        begin_with=first.parent / name / first.name if first else None,
    )


def _check_folds(folds: Sequence[int]) -> None:
    for fold in folds:
        if not 0 <= fold < FOLDS:
            raise RunFault(f"There is no fold {fold}: they are counted from 0 to {FOLDS - 1}")


def as_dataclass(kind: Any, told: Mapping[str, Any], where: str) -> Any:
    """A table of a run file as the dataclass `kind`, whose fields are its keys.

    Raises:
        RunFault: naming a key that is unknown, missing or of a wrong type, after `where`.
    """
    hints = get_type_hints(kind)
    known = {one.name: one for one in fields(kind)}
    for key in told:
        if key not in known:
            raise RunFault(f"Unknown key {where}{key}; known are {', '.join(known)}")
    for name, one in known.items():
        if name not in told and one.default is MISSING and one.default_factory is MISSING:
            raise RunFault(f"The key {where}{name} is missing")
    return kind(**{key: _value(hints[key], value, where + key) for key, value in told.items()})


def _value(hint: Any, value: Any, key: str) -> Any:
    if is_dataclass(hint):
        if not isinstance(value, dict):
            raise RunFault(f"{key} must be a table")
        return as_dataclass(hint, value, f"{key}.")
    if get_origin(hint) in (Union, UnionType):
        # TOML has no null: "none" stands for it
        if value == "none":
            return None
        hint = get_args(hint)[0]
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise RunFault(f"{key} must be a list")
        return tuple(_value(get_args(hint)[0], one, key) for one in value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise RunFault(f"{key} must be {_words(hint)}, not {value!r}")
    return value


def _words(hint: Any) -> str:
    names = {int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))
