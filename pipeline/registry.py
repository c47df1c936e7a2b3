"""Every engine that makes bones of radiographs, and what each of them offers for which region.

An engine is a row. What it offers stands in the headers of its weights, so that weights which are
put beside the others are there at once: nothing here loads a network, or torch. The node asks for
every job.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline import weights
from pipeline.errors import PipelineError
from pipeline.familiar import Views
from pipeline.stated import UNSTATED, Stated
from pipeline.tomography_weights import ENGINE as TOMOGRAPHY
from pipeline.tomography_weights import trained_tomographies
from pipeline.types import Algorithm
from pipeline.volumetric_weights import TrainedVolumetric, trained_networks
from pipeline.weights import NotTrained, closer_looks

LIFTING: Final = "lifting"
VISUAL_HULL: Final = "visual-hull"
HULL_GRID, LIFTING_GRID, TOMOGRAPHY_GRID = 128, 128, 128
"""Voxels along each edge of a result."""
ANY_REGION: Final = ""


class UnknownEngine(PipelineError):
    """There is no such engine."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A way to make bones."""

    name: str
    """As a rule names it."""
    title: str
    """As results name it, after "Osteon"."""
    version: str
    module: str
    """That does the work, imported when there is some."""
    memory_mib: int
    """Of a process that makes one result from two views, at its largest (`benchmarks.predict`)."""
    recipe: str = ""
    """How its weights are made where there are none: a run file."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What an engine gives of one region."""

    engine: Engine
    region: str
    """`ANY_REGION` of an engine that knows no anatomy."""
    bones: tuple[str, ...]
    views: Views
    grid: int
    """Voxels along each edge."""
    digest: str = ""
    """SHA-256, hex, of all weights that a result comes from; empty without weights."""
    stated: Stated = UNSTATED
    parameters: tuple[tuple[str, str], ...] = ()
    """That a result names beside the grid."""
    files: tuple[tuple[Path, str], ...] = ()
    """The weights, each with its own SHA-256."""


_VOLUMETRIC: Final = "pipeline.models.volumetric_engine"
_PIX2VOX: Final = "config/train-pix2vox.toml"
_RECURRENT: Final = "config/train-recurrent.toml"
_ROWS: Final = (
    Engine(LIFTING, "lifting network", "1.2.0", "pipeline.models.lifting_engine", 646),
    Engine(VISUAL_HULL, "visual hull", "1.0.0", "pipeline.models.visual_hull", 495),
    Engine("pix2vox++/F", "Pix2Vox++/F", "1.0.0", _VOLUMETRIC, 523, _PIX2VOX),
    Engine("pix2vox++/A", "Pix2Vox++/A", "1.0.0", _VOLUMETRIC, 1693, "config/train-pix2vox-a.toml"),
    *(
        Engine(name, name, "1.0.0", _VOLUMETRIC, memory_mib, _RECURRENT)
        for name, memory_mib in (
            ("3D-LSTM-1", 905),
            ("3D-LSTM-3", 797),
            ("3D-GRU-1", 906),
            ("3D-GRU-3", 774),
            ("Res3D-GRU-3", 809),
        )
    ),
    Engine(
        TOMOGRAPHY,
        "single-image tomography",
        "1.0.0",
        "pipeline.models.tomography_engine",
        776,
        "config/train-tomography.toml",
    ),
)
ENGINES: Final = {row.name: row for row in _ROWS}
"""By the name that a rule uses."""


def engine_named(name: str) -> Engine:
    """The row.

    Raises:
        UnknownEngine: naming those that there are.
    """
    if name not in ENGINES:
        raise UnknownEngine(f"There is no engine {name!r}; there is {', '.join(ENGINES)}")
    return ENGINES[name]


def offers() -> tuple[Offer, ...]:
    """All that can be chosen, in the order of the engines.

    Raises:
        BrokenWeights: a file of weights is damaged.
    """
    found = [offer for offered in _OFFERED for offer in offered()]
    order = list(ENGINES)
    return tuple(sorted(found, key=lambda one: order.index(one.engine.name)))


def offer(name: str, region: str) -> Offer:
    """What the engine `name` gives of `region`.

    Raises:
        UnknownEngine: naming those that there are.
        NotTrained: the engine knows nothing of the region; what it knows is named.
        BrokenWeights: a file of weights is damaged.
    """
    engine = engine_named(name)
    mine = [one for one in offers() if one.engine == engine]
    for one in mine:
        if one.region in {region, ANY_REGION}:
            return one
    unplaced = [one for one in trained_networks() if (one.engine, one.serves) == (name, region)]
    if unplaced:
        raise NotTrained(f"{name} needs the lifting network of the {region} to find its cube")
    if not mine:
        make = f": train it ({engine.recipe}) and export it" if engine.recipe else ""
        raise NotTrained(f"There are no weights of {name} here{make}")
    known = ", ".join(one.region for one in mine)
    raise NotTrained(f"{name} has no trained network for the region {region!r}; there is {known}")


def default_engine(region: str) -> str:
    """Of a rule that names none: the lifting network where the region has one."""
    return LIFTING if region in weights.regions() else VISUAL_HULL


def algorithm(name: str, region: str = ANY_REGION) -> Algorithm:
    """What an engine is called in a result for `region`, where the visual hull is named a fallback.

    Raises:
        UnknownEngine: as `offer`.
        NotTrained: the same.
    """
    chosen = offer(name, region)
    engine = chosen.engine
    title = f"Osteon {engine.title}"
    if name == VISUAL_HULL:
        is_trained = region in weights.regions()
        title += ", chosen by rule" if is_trained else ", no trained network for this region"
    grid = ("grid", " x ".join([str(chosen.grid)] * 3))
    return Algorithm(title, engine.version, chosen.digest, (grid, *chosen.parameters))


def _lifting() -> Iterator[Offer]:
    for region, trained in weights.regions().items():
        yield Offer(
            engine=ENGINES[LIFTING],
            region=region,
            bones=tuple(bone.name for bone in trained.bones),
            views=Views(),
            grid=LIFTING_GRID,
            digest=weights.digest_for(region),
            stated=trained.stated,
            files=tuple((one.path, one.digest) for one in (trained, *closer_looks(region))),
        )


def _hull() -> Iterator[Offer]:
    views = Views(fewest=2, needs_both=True)
    stated = Stated(licence="none is needed")
    bones = ("all bones as one",)
    yield Offer(ENGINES[VISUAL_HULL], ANY_REGION, bones, views, HULL_GRID, stated=stated)


def _volumetric() -> Iterator[Offer]:
    placing = weights.regions()
    for trained in trained_networks():
        if trained.within is None or trained.within.region in placing:
            yield _of_volumes(trained)


def _of_volumes(trained: TrainedVolumetric) -> Offer:
    """A cube that another network finds makes the result come from both."""
    parameters = [("engine", trained.engine), ("network_sha256", trained.digest)]
    digest, files = trained.digest, [(trained.path, trained.digest)]
    if trained.within:
        placing = weights.trained_for(trained.within.region)
        parameters.append(("cube_found_by_sha256", placing.digest))
        digest = hashlib.sha256(f"{digest}{placing.digest}".encode()).hexdigest()
        files.append((placing.path, placing.digest))
    return Offer(
        engine=engine_named(trained.engine),
        region=trained.serves,
        bones=(trained.bone.name,),
        views=trained.familiar.views,
        grid=trained.grid,
        digest=digest,
        stated=trained.stated,
        parameters=tuple(parameters),
        files=tuple(files),
    )


def _tomography() -> Iterator[Offer]:
    for region, trained in trained_tomographies().items():
        yield Offer(
            engine=ENGINES[TOMOGRAPHY],
            region=region,
            bones=("all bones as one", "density"),
            views=trained.familiar.views,
            grid=TOMOGRAPHY_GRID,
            digest=trained.digest,
            stated=trained.stated,
            parameters=(("threshold", f"{trained.threshold:g}"),),
        )


_OFFERED: Final[tuple[Callable[[], Iterator[Offer]], ...]] = (
    _lifting,
    _hull,
    _volumetric,
    _tomography,
)
"""One for each kind of weights; a new kind is a function here."""
