"""`osteon train`, `begin`, `evaluate`, `compare`, `export`: networks from a run file, here.

A node never trains; the commands are here because there is one command. What they need beyond the
node, matplotlib for the curves and MONAI for the comparison, comes with the extra `train`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from pipeline.safetensors_header import BrokenWeights
from pipeline.training import peers
from pipeline.training.following import kind_of
from pipeline.training.settings import RunFault


class LearningError(Exception):
    """A run cannot be followed; the message says what to change."""


def train(out: Console, run: Path, folds: Sequence[int] = ()) -> bool:
    """Train on as the run file says; True when all steps are done.

    `folds` as `pipeline.training.settings.of_folds` says.

    Raises:
        LearningError: the run file or its archive cannot be used.
    """
    try:
        kind = kind_of(run)
        say = partial(out.print, markup=False)
        if folds:
            by_fold = kind.crossed()
            is_done, folder = by_fold.train(run, say, folds), by_fold.folder(run, folds)
        else:
            is_done, folder = kind.train(run, say), kind.folder(run)
    except (RunFault, OSError) as fault:
        raise LearningError(str(fault)) from None
    if find_spec("matplotlib"):
        out.print(f"Curves: {import_module(kind.curves).draw(folder)}")
    else:
        out.print("No curves are drawn: install the extra `train`, as in pip install .[train]")
    return is_done


def begin(out: Console, run: Path, weights: Path) -> None:
    """The first checkpoint of a run is the network of a weights file.

    Raises:
        LearningError: the file is damaged, or the run has begun or is of another network.
    """
    try:
        kind_of(run).begin(run, weights, partial(out.print, markup=False))
    except (RunFault, BrokenWeights, OSError) as fault:
        raise LearningError(str(fault)) from None


def evaluate(out: Console, run: Path, folds: Sequence[Sequence[int]] = ()) -> None:
    """Judge the network of a run on the people that it has not seen.

    `folds` as `pipeline.training.evaluating` says.

    Raises:
        LearningError: the run has no checkpoint, or nobody to judge on.
    """
    try:
        kind, say = kind_of(run), partial(out.print, markup=False)
        table = kind.crossed().evaluate(run, say, folds) if folds else kind.evaluate(run, say)
    except (RunFault, OSError) as fault:
        raise LearningError(str(fault)) from None
    out.print(f"Table: {table}", markup=False)


def folds_of(told: str) -> tuple[int, ...]:
    """The folds that are named, as "1" or "1,2".

    Raises:
        LearningError: it is no list of numbers.
    """
    try:
        return tuple(int(one) for one in told.split(","))
    except ValueError:
        raise LearningError(f"Name folds by their numbers, as 1 or 1,2, not {told!r}") from None


def compare(out: Console, run: Path, *, minutes: float | None) -> None:
    """Judge the network of a run beside others; `minutes` as `pipeline.training.peers` says.

    Raises:
        LearningError: MONAI is to be trained and not installed, or the run cannot be compared.
    """
    if minutes is not None and not (find_spec("monai") and find_spec("einops")):
        raise LearningError("The peers need the extra `train`, as in pip install .[train]")
    try:
        table = peers.compare(run, minutes=minutes, say=partial(out.print, markup=False))
    except (RunFault, OSError) as fault:
        raise LearningError(str(fault)) from None
    out.print(f"Table: {table}", markup=False)


def export(out: Console, run: Path, to: Path, may_be_missing: Sequence[str]) -> None:
    """Write the network of a run as weights; the arguments as `pipeline.training.following` says.

    Raises:
        LearningError: the run has no checkpoint, or cannot be calibrated.
    """
    try:
        kind_of(run).export(run, to, may_be_missing, partial(out.print, markup=False))
    except (RunFault, BrokenWeights, OSError) as fault:
        raise LearningError(str(fault)) from None
