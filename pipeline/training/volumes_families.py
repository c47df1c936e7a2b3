"""The volumetric families as the training sees them: a network, its stages and learning rates.

A family is a row here and a file in `pipeline.models`; nothing else of the training knows names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Any

from torch import Tensor, nn

from pipeline.models import pix2vox
from pipeline.models.pix2vox import Pix2Vox
from pipeline.models.recurrent import VARIANTS, Recurrent
from pipeline.models.recurrent_schedule import Schedule, parameter_groups
from pipeline.training.centring import centre
from pipeline.training.settings import RunFault
from pipeline.training.volumes_data import Size
from pipeline.training.volumes_settings import Plan, shaped

Losses = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Family:
    """How one is trained."""

    network: nn.Module
    occupancy: Callable[..., Tensor]
    """From images (B, V, 3, H, W) in [0, 1], and poses (B, V, 5) where the size says that it is
    told them, to probabilities (B, D, D, D)."""
    size: Size
    stages: tuple[str, ...]
    """In their order; a run may leave some out."""
    groups: Callable[[str], list[dict[str, Any]]]
    """Of Adam in a stage."""
    loss: Callable[..., Losses]
    """Of images and wanted shares in a stage, and poses as above; "total" is minimised."""
    rate: Callable[[str, float], float]
    """What every learning rate is multiplied by when this share of a stage is done."""
    shares: Callable[..., Tensor]
    """Of images, and poses as above: which view contributed where, (B, V, D, D, D), sum 1 over
    V."""
    settle: Callable[[Tensor], None] | None = None
    """Given images (B, V, 3, H, W) once, before anything is learned, where a family wants them."""
    largest_loss: float = inf
    """Above it, a run is broken off."""


def family(plan: Plan, network: Mapping[str, object]) -> Family:
    """The family that a run names, its network new.

    Raises:
        RunFault: there is none of this name and grid, or it has no such stage or field.
    """
    if plan.family not in FAMILIES:
        raise RunFault(f"family must be one of {', '.join(FAMILIES)}, not {plan.family!r}")
    made = FAMILIES[plan.family](plan.grid, network)
    if made.size.grid != plan.grid:
        raise RunFault(f"grid is {plan.grid}, but the layers make {made.size.grid}")
    unknown = [stage.name for stage in plan.stages if stage.name not in made.stages]
    if unknown:
        raise RunFault(f"{plan.family} has no stage {unknown[0]!r}, only {', '.join(made.stages)}")
    return made


def _pix2vox(
    shapes: Mapping[int, pix2vox.Pix2VoxShape], grid: int, changes: Mapping[str, object]
) -> Family:
    net = Pix2Vox(shaped(shapes.get(grid, shapes[min(shapes)]), changes))
    epochs = {stage.value: count for stage, count in pix2vox.EPOCHS.items()}
    return Family(
        network=net,
        occupancy=net.occupancy,
        size=Size(net.shape.image_size, net.shape.grid_size),
        stages=tuple(epochs),
        groups=lambda stage: net.parameter_groups(pix2vox.Stage(stage)),
        loss=lambda images, wanted, stage: net.loss(images, wanted, pix2vox.Stage(stage)),
        rate=lambda stage, done: pix2vox.rate_factor(int(done * epochs[stage])),
        shares=lambda images: net(images).weights,
    )


def _recurrent(name: str, _: int, changes: Mapping[str, object]) -> Family:
    net, schedule = Recurrent(shaped(VARIANTS[name], changes)), Schedule()
    full = schedule.learning_rate(0)
    groups = [{**one, "lr": full} for one in parameter_groups(net, schedule.weight_decay)]
    return Family(
        network=net,
        occupancy=net.occupancy,
        size=Size(net.shape.image_size, net.shape.grid_size, net.shape.has_pose),
        stages=("whole",),
        groups=lambda _: groups,
        loss=lambda images, wanted, _, *poses: net.loss(images, wanted, *poses),
        rate=lambda _, done: schedule.learning_rate(int(done * schedule.iterations)) / full,
        shares=lambda *seen: net.answered(*seen).shares,
        settle=lambda images: centre(net.encoder, images.flatten(0, 1)),
        largest_loss=schedule.largest_loss,
    )


FAMILIES: Mapping[str, Callable[[int, Mapping[str, object]], Family]] = {
    "pix2vox++/F": lambda grid, changes: _pix2vox(pix2vox.FAST, grid, changes),
    "pix2vox++/A": lambda grid, changes: _pix2vox(pix2vox.ACCURATE, grid, changes),
    **{name: partial(_recurrent, name) for name in VARIANTS},
}
"""By the name in a run file: of a grid, and of changed fields of the shape."""
