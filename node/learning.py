"""`osteon train` and `osteon evaluate`: networks from a run file, on this machine.

A node never trains; the command is here because there is one command. What it needs beyond the
node, matplotlib for the curves, comes with the extra `train`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console

from pipeline.training import command, evaluating
from pipeline.training.settings import RunFault, read


class LearningError(Exception):
    """A run cannot be followed; the message says what to change."""


def train(out: Console, run: Path) -> bool:
    """Train on as the run file says; True when all steps are done.

    Raises:
        LearningError: the run file or its archive cannot be used.
    """
    try:
        is_done = command.train(run, lambda line: out.print(line, markup=False))
        folder = read(run).folder
    except (RunFault, OSError) as fault:
        raise LearningError(str(fault)) from None
    if find_spec("matplotlib"):
        out.print(f"Curves: {import_module('pipeline.training.curves').draw(folder)}")
    else:
        out.print("No curves are drawn: install the extra `train`, as in pip install .[train]")
    return is_done


def evaluate(out: Console, run: Path) -> None:
    """Judge the network of a run on the people that it has not seen.

    Raises:
        LearningError: the run has no checkpoint, or nobody to judge on.
    """
    try:
        table = evaluating.evaluate(run, lambda line: out.print(line, markup=False))
    except (RunFault, OSError) as fault:
        raise LearningError(str(fault)) from None
    out.print(f"Table: {table}", markup=False)
