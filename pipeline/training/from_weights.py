"""`begin` of a run file: the network of a weights file is that of the run, at its first step.

So shipped weights can be judged and compared by the run files that they come from, and trained
on: with other scenes, or with people of one's own. A weights file keeps less than a checkpoint, no
state of an optimiser and half the precision, so a training that goes on from it is not the same as
one that was never interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from torch import nn

from pipeline import completion_weights, tomography_weights, volumetric_weights, weights
from pipeline.training import (
    command,
    completion_pairs,
    completion_settings,
    completions,
    densities,
    loop,
    volumes_loop,
    volumes_scenes,
    volumes_settings,
)
from pipeline.training.describing import folds_line, named
from pipeline.training.settings import RunFault
from pipeline.training.settings import read as read_lifting
from pipeline.training.taken import SINCE
from pipeline.training.volumes_families import family
from pipeline.training.volumes_settings import Regional

Say = Callable[[str], None]


def lifting(path: Path, file: Path, say: Say = print) -> None:
    """The run begins with a lifting network of the same region and shape.

    Args:
        path: The run file.
        file: Weights.
        say: Is given what was done.

    Raises:
        RunFault: the run has a checkpoint, judges people that the weights have learned from, or
            is of another network.
        BrokenWeights: the file is damaged or of another kind.
    """
    settings = read_lifting(path)
    checkpoint = _new(settings.folder)
    told, net = weights.read_header(file), weights.load(file)
    archive = command.archive_of(settings)
    _require_region(archive.region.name, told.region)
    _require_left_out(settings.fold or (), told.trained)
    shape = command.shape_of(archive, settings)
    _require_alike(asdict(shape), asdict(net.shape))
    run = loop.start(shape, settings.training, checkpoint)
    for one in (run.net, run.average):
        one.load_state_dict(net.state_dict())
    run.begun = _words(file, told.digest, told.trained)
    loop.save(run, checkpoint)
    say(f"{checkpoint} is the network of {run.begun}")


def volumetric(path: Path, file: Path, say: Say = print) -> None:
    """The run begins with a network of the same family, bone and shape; else as `lifting`."""
    run = volumes_settings.read(path)
    plan, data = run.plan, run.data
    if not isinstance(data, Regional):
        raise RunFault("Published folders show nobody that weights are of: nothing to begin with")
    checkpoint = _new(plan.folder)
    told, net = volumetric_weights.read_header(file), volumetric_weights.load(file)
    if told.engine != plan.family:
        raise RunFault(f"The weights are of {told.engine}, the run trains {plan.family}")
    archive = volumes_scenes.archive_of(data)
    _require_region(archive.region.name, told.region)
    if told.bone.name != (bone := named(data.bone)):
        raise RunFault(f"The weights give the {told.bone.name}, the run the {bone}")
    _require_left_out((data.fold,), told.trained)
    made = family(plan, run.network)
    _take(made.network, net)
    # with these weights, and not with those that the run file names
    begun = volumes_loop.start(made, replace(plan, begin_with=None), checkpoint)
    begun.begun = _words(file, told.digest, told.trained)
    volumes_loop.save(begun, checkpoint)
    say(f"{checkpoint} is the network of {begun.begun}")


def tomography(path: Path, file: Path, say: Say = print) -> None:
    """The run begins with a network of the same region, images and shape; else as `lifting`."""
    settings = densities.read(path)
    checkpoint = _new(settings.folder)
    told, net = tomography_weights.read_header(file), tomography_weights.load(file)
    _require_region(densities.archive_of(settings).region.name, told.region)
    _require_left_out(() if settings.fold is None else (settings.fold,), told.trained)
    _require_alike({"image_size": settings.sight.image_size}, {"image_size": told.image_size})
    run = densities.start(settings)
    _take(run.net, net)
    run.begun = _words(file, told.digest, told.trained)
    densities.save(run, checkpoint)
    say(f"{checkpoint} is the network of {run.begun}")


def completion(path: Path, file: Path, say: Say = print) -> None:
    """The run begins with a network of the same structures and shape; else as `lifting`."""
    run = completion_settings.read(path)
    checkpoint = _new(run.folder)
    told, net = completion_weights.read_header(file), completion_weights.network(file)
    names = completion_pairs.pairs_of(run).names
    _require_alike({"names": list(names)}, {"names": [one.name for one in told.structures]})
    _require_left_out(() if run.fold is None else (run.fold,), told.trained)
    learning = completions.start(run, len(names))
    for one in (learning.net, learning.average):
        _take(one, net)
    learning.begun = _words(file, told.digest, told.trained)
    completions.save(learning, checkpoint)
    say(f"{checkpoint} is the network of {learning.begun}")


def _new(folder: Path) -> Path:
    """Where the checkpoint will be; its folder is made."""
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        raise RunFault(f"The run has begun: move {checkpoint} away, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    return checkpoint


def _require_region(run: str, file: str) -> None:
    if run != file:
        raise RunFault(f"The weights are of the {file}, the run is of the {run}")


def _require_left_out(folds: Sequence[int], trained: str) -> None:
    """Nothing, if the weights have not seen those whom the run judges."""
    left = folds_line(folds)
    # of weights that began with others, the last training may have taken in whom theirs left out
    last, _, _ = trained.partition(SINCE)
    if left and f"{left} left out" not in last:
        raise RunFault(
            f"The run judges {left}, and the weights may have learned from it: {trained}"
        )


def _require_alike(run: dict[str, object], file: dict[str, object]) -> None:
    other = [f"{key} {file.get(key)} instead of {run[key]}" for key in run if run[key] != file[key]]
    if other:
        raise RunFault(f"The weights are of another network: {', '.join(other)}")


def _take(net: nn.Module, of: nn.Module) -> None:
    """The weights of `of` are those of `net`, too."""
    try:
        net.load_state_dict(of.state_dict())
    except RuntimeError as fault:
        raise RunFault(f"The weights are of another network than the run file's: {fault}") from None


def _words(file: Path, digest: str, trained: str) -> str:
    return f"{file.name} {digest[:12]} ({trained})"
