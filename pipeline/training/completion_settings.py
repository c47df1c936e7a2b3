"""The run file of a completion: of what maps, which network, how long."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.models.completion import CompletionShape, Kind, Task
from pipeline.training.removing import Variety
from pipeline.training.settings import RunFault, as_dataclass

EDGE_MULTIPLE = 16
SMALLEST_EDGE = {Kind.PLAIN: 16, Kind.SKIP: 16, Kind.INCEPTION: 32}
"""Voxels: an instance norm needs more than one at the narrowest level."""


@dataclass(frozen=True, slots=True)
class Network:
    """Which network, and how wide; its classes follow from the maps."""

    kind: str = Kind.SKIP
    """plain, skip or inception."""
    task: str = Task.RESIDUAL
    """many-to-one or residual."""
    divided_by: int = 4
    """Of all channels."""
    one_hot: bool = True
    size: int = 64
    """Voxels along each edge of the box."""
    published_start: bool = False
    """Draw the first weights as the authors do."""


@dataclass(frozen=True, slots=True)
class Steps:
    """How the network is trained. Published: batch 1, rate 1e-4, beta1 0.3, for 50 to 500 epochs,
    with a constant rate and no average."""

    steps: int = 6000
    batch: int = 1
    """Complete maps of a step."""
    instances: int = 1
    """Incomplete maps of each complete one, whose losses are taken together."""
    learning_rate: float = 1e-3
    beta1: float = 0.9
    warm_up: float = 0.05
    """Share of the steps in which the rate rises; afterwards it falls as half a cosine."""
    average: float = 0.99
    """Of the weights, over the steps: what is judged and exported."""
    seed: int = 1
    device: str = "cpu"
    threads: int = 1
    checkpoint_every: int = 50
    log_every: int = 20


@dataclass(frozen=True, slots=True)
class CompletionRun:
    """A run."""

    folder: Path
    """Of the checkpoint, the curve and the tables."""
    archive: Path | None = None
    """What `python -m pipeline.training.label_sets` wrote."""
    published: Path | None = None
    """Instead: a folder with `train` and `test`, each of sXXXX_full and sXXXX_0 to _9."""
    names: tuple[str, ...] = ()
    """Of a published folder: the labels, in the order of their numbers."""
    fold: int | None = 0
    """The people of this fold are judged and never learned from; none: all are learned from."""
    limit_minutes: float | None = None
    """Of one call; the next goes on."""
    regions: tuple[str, ...] = ()
    """Whose reconstructions its weights complete, as rules name them; none: label maps alone."""
    placed_by: tuple[str, ...] = ()
    """Labels without their sides, one of which must have been reconstructed to find the rest."""
    judged_instances: int = 9
    """Incomplete maps that are judged of each person, and as many that a plane cuts."""
    judged_seed: int = 7
    network: Network = field(default_factory=Network)
    training: Steps = field(default_factory=Steps)
    variety: Variety = field(default_factory=Variety)


def read(path: Path) -> CompletionRun:
    """The run that the file describes; paths in it are relative to the file.

    Raises:
        RunFault: naming the key, or the place of a syntax error.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise RunFault(f"{path}: {fault}") from None
    for key in ("archive", "published", "folder"):
        if isinstance(told.get(key), str):
            told[key] = str(path.parent / told[key])
    run: CompletionRun = as_dataclass(CompletionRun, told, "")
    _check(run)
    return run


def shape_of(run: CompletionRun, labels: int) -> CompletionShape:
    """The network of a run whose maps have so many labels."""
    asked = run.network
    return CompletionShape(
        kind=Kind(asked.kind),
        classes=labels + 1,
        divided_by=asked.divided_by,
        one_hot=asked.one_hot,
        task=Task(asked.task),
    )


def _check(run: CompletionRun) -> None:
    if (run.archive is None) == (run.published is None):
        raise RunFault("A run has either the key archive or the key published")
    if run.published is not None and not run.names:
        raise RunFault("The key names is missing: a published folder does not say its labels")
    for key, value, known in (
        ("kind", run.network.kind, Kind),
        ("task", run.network.task, Task),
    ):
        if value not in list(known):
            raise RunFault(f"network.{key} is {' or '.join(known)}, not {value!r}")
    smallest = SMALLEST_EDGE[Kind(run.network.kind)]
    if bool(run.regions) != bool(run.placed_by):
        raise RunFault("regions and placed_by go together: a region is completed from some label")
    if run.network.size % EDGE_MULTIPLE or run.network.size < smallest:
        raise RunFault(
            f"network.size must be a multiple of {EDGE_MULTIPLE}, and at least {smallest} for"
            f" {run.network.kind}"
        )
    if run.network.divided_by not in (1, 2, 4, 8):
        raise RunFault("network.divided_by is 1, 2, 4 or 8: channels must stay whole quarters")
