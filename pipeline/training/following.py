"""Which kind of network a run file is of, and what trains, judges and exports such networks.

A file tells its kind by what only that kind has; so a key that is wrong in it is told by the reader
of its own kind.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.training import (
    command,
    completion_export,
    completion_judging,
    completion_settings,
    completions,
    densities,
    density_export,
    density_judging,
    evaluating,
    exporting,
    from_weights,
    settings,
    volumes,
    volumes_evaluating,
    volumes_export,
    volumes_settings,
)
from pipeline.training.settings import RunFault

Say = Callable[[str], None]
Table = dict[str, Any]
Export = Callable[[Path, Path, Sequence[str], Say], None]
"""Of a run file: the weights file, the bones that a result may lack, and who is told."""


class Crossed(NamedTuple):
    """What follows run files for a cross-validation, of which each fold has a network."""

    train: Callable[[Path, Say, Sequence[int]], bool]
    folder: Callable[[Path, Sequence[int]], Path]
    evaluate: Callable[[Path, Say, Sequence[Sequence[int]]], Path]


class Kind(NamedTuple):
    """A kind of network, and what follows its run files."""

    name: str
    mark: str
    """What its run files have and no others, in words."""
    is_marked: Callable[[Table], bool]
    train: Callable[[Path, Say], bool]
    folder: Callable[[Path], Path]
    """Of the checkpoint, the curve and the tables."""
    evaluate: Callable[[Path, Say], Path]
    export: Export
    begin: Callable[[Path, Path, Say], None]
    """With a weights file."""
    curves: str = "pipeline.training.volumes_curve"
    """The module that draws them; it needs matplotlib."""
    by_fold: Crossed | None = None
    """None where a network is trained for the fold of its run file alone."""

    def crossed(self) -> Crossed:
        """What follows a run file fold by fold.

        Raises:
            RunFault: nothing does.
        """
        if self.by_fold is None:
            raise RunFault(
                f"A {self.name} network is judged on the fold of its run file: leave out --fold"
            )
        return self.by_fold


def _has_kind(told: Table) -> bool:
    network = told.get("network")
    return isinstance(network, dict) and "kind" in network


def _lifting(run: Path, out: Path, may_be_missing: Sequence[str], say: Say) -> None:
    exporting.export(run, out, may_be_missing=may_be_missing, say=say)


def _whole(export_run: Callable[[Path, Path, Say], object]) -> Export:
    """The export of networks that answer with all that they know, or with nothing."""

    def export(run: Path, out: Path, may_be_missing: Sequence[str], say: Say) -> None:
        if may_be_missing:
            raise RunFault("Only of a lifting network's answer a bone can be missing")
        export_run(run, out, say)

    return export


KINDS: Final = (
    Kind(
        "volumes",
        "a family",
        lambda told: "family" in told,
        volumes.train,
        lambda run: volumes_settings.read(run).plan.folder,
        volumes_evaluating.evaluate,
        _whole(volumes_export.export_run),
        from_weights.volumetric,
    ),
    Kind(
        "tomography",
        "a table [sight]",
        lambda told: "sight" in told,
        densities.main,
        lambda run: densities.read(run).folder,
        density_judging.evaluate,
        _whole(density_export.export_run),
        from_weights.tomography,
    ),
    Kind(
        "completion",
        "a kind in its table [network]",
        _has_kind,
        completions.train,
        lambda run: completion_settings.read(run).folder,
        completion_judging.evaluate,
        _whole(completion_export.export_run),
        from_weights.completion,
    ),
    Kind(
        "lifting",
        "an archive and none of the others",
        lambda told: "archive" in told,
        command.train,
        lambda run: settings.read(run).folder,
        evaluating.evaluate,
        _lifting,
        from_weights.lifting,
        "pipeline.training.curves",
        Crossed(
            command.train,
            lambda run, folds: settings.of_folds(settings.read(run), folds).folder,
            evaluating.evaluate,
        ),
    ),
)
"""In the order in which they are asked; the lifting network has no mark of its own."""


def kind_of(run: Path) -> Kind:
    """The kind of network that a run file is of.

    Raises:
        RunFault: it is no TOML, or of no kind.
    """
    try:
        told = tomllib.loads(run.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise RunFault(f"{run}: {fault}") from None
    for kind in KINDS:
        if kind.is_marked(told):
            return kind
    marks = "; ".join(f"{kind.name}: {kind.mark}" for kind in KINDS)
    raise RunFault(f"{run} describes no network. What tells the kinds apart: {marks}")
