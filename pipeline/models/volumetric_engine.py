"""The published volumetric networks as engines: pictures in, one bone of a region out.

They know no camera. So the lifting network of the region says where the bone is, the radiographs
are cut out about it as in the training, and what was taken otherwise than anything in the training
is refused. The voxels that come back are coarse: the surface is cut from them on a finer at
the probability that fitted people left out best. Like all networks here they know right bones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.coverage import coverage, coverage_assumptions
from pipeline.errors import MissingView, NoBone, StudyError
from pipeline.familiar import unfamiliar
from pipeline.geometry import mirror, shifted
from pipeline.models import lifting_engine
from pipeline.models.closer import centre_of
from pipeline.models.field import signed_distances
from pipeline.models.framing import Framed, cut_out
from pipeline.models.lifting_engine import ONE_VIEW
from pipeline.models.pictures import pictures
from pipeline.models.solid import placed, solid
from pipeline.models.volumetric import Asked, Volumetric, asked
from pipeline.outlines import Plate
from pipeline.trust import trust
from pipeline.types import (
    Algorithm,
    Assumption,
    Bone,
    Figure,
    Float,
    Radiograph,
    Reconstruction,
    Share,
    Side,
    ViewName,
)
from pipeline.views import labels
from pipeline.volumetric_weights import TrainedVolumetric, load, trained_networks

PLACING = 64
"""Voxels along each edge where the bone is looked for: its mean needs no more."""
SHARE = "share of the model taken from the view"


@dataclass(frozen=True, slots=True)
class _Cut:
    """The radiographs as the network sees them."""

    frames: tuple[Framed, ...]
    """About the centre of the cube, of a right bone."""
    centre: Float
    """(3,) mm, x y z, of the cube in the frame of the radiographs of a right bone."""
    is_mirrored: bool

    def plates(self) -> list[Plate]:
        """The squares with the cameras of the patient, as they were before all this."""
        found = []
        for one in self.frames:
            view = shifted(one.view, self.centre)
            view = mirror(view) if self.is_mirrored else view
            found.append(Plate(one.image.numpy(), one.is_valid.numpy(), view))
        return found


def reconstruct(
    radiographs: Sequence[Radiograph], region: str, side: Side, made_by: Algorithm
) -> Reconstruction:
    """The bone that the engine knows of the region, and how well it explains the radiographs.

    Raises:
        StudyError: there are too few or too many views, they were taken as none that the network
            has learned from, the side is not known, or no bone is found.
        BrokenWeights: the weights cannot be used.
    """
    in_order = _in_order(radiographs)
    trained = _trained(dict(made_by.parameters)["engine"], region)
    if reason := trained.familiar.views.refusal([one.view.name for one in in_order]):
        raise MissingView(f"{trained.engine} {reason}")
    with torch.inference_mode():
        cut = _cut(trained, in_order, region, side)
        _require_familiar(trained, cut.frames)
        views = [one.view for one in cut.frames]
        said = asked(_net(trained.path, trained.digest), _pictures(trained, cut.frames), views)
        found = solid(
            said.occupancy,
            trained.level,
            cube_mm=trained.cube_mm,
            centre=cut.centre,
            is_mirrored=cut.is_mirrored,
        )
        taken = _taken(said, in_order, trained, cut)
        shares = _shares(said, taken, trained.level)
    known = trained.bone
    if found is None:
        raise NoBone(f"{trained.engine} finds no {known.name.lower()} in the radiographs")
    of_side = side if known.is_paired else Side.UNPAIRED
    bone = Bone(known.name, known.code, of_side, found.probability, found.mesh)
    covered = coverage(bone, in_order)
    error = found.spread_mm * known.error_factor
    figures = trust(cut.plates(), (bone,), [error], [covered], trained.limits)
    assumptions = (
        *(assumed for one in in_order for assumed in one.assumptions),
        *((ONE_VIEW,) if len(in_order) == 1 else ()),
        _coarse(trained),
        *coverage_assumptions(bone, covered),
    )
    return Reconstruction((bone,), made_by, assumptions, (*figures, *shares), shares=taken)


def warm(region: str) -> None:
    """The networks that serve the region are in memory, and what places their cubes."""
    for trained in trained_networks():
        if trained.serves == region:
            _net(trained.path, trained.digest)


def _in_order(radiographs: Sequence[Radiograph]) -> list[Radiograph]:
    """Frontal views first, whatever the UIDs are: some of the networks hear the order."""
    names = list(ViewName)
    return sorted(
        radiographs,
        key=lambda one: (names.index(one.view.name), one.sop_instance_uid, one.frame_number or 0),
    )


def _pictures(trained: TrainedVolumetric, frames: Sequence[Framed]) -> Tensor:
    """(V, C, H, W), 0 to 1: the squares as the pictures that the network has learned from."""
    shape = _net(trained.path, trained.digest).shape
    images = torch.stack([one.image for one in frames])
    is_valid = torch.stack([one.is_valid for one in frames])
    return pictures(images, is_valid, shape.image_size)


def _cut(
    trained: TrainedVolumetric, radiographs: Sequence[Radiograph], region: str, side: Side
) -> _Cut:
    """The squares about the bone.

    Raises:
        StudyError: the side is not known, or there is no bone to cut out about.
    """
    is_paired = trained.bone.is_paired
    if is_paired and side not in (Side.LEFT, Side.RIGHT):
        raise StudyError(f"The side of the {region} is not known, and the bones differ by it")
    is_mirrored = is_paired and side is Side.LEFT
    as_right = [replace(r, view=mirror(r.view)) if is_mirrored else r for r in radiographs]
    centre = _centre(trained, radiographs, side)
    frames = cut_out(as_right, cube_mm=trained.cube_mm, size=trained.image_size, about=centre)
    return _Cut(frames, centre, is_mirrored)


def _centre(trained: TrainedVolumetric, radiographs: Sequence[Radiograph], side: Side) -> Float:
    """(3,) mm, x y z, of the cube, in the frame of a right bone.

    Raises:
        StudyError: the lifting network cannot find the bone.
    """
    within = trained.within
    if within is None:
        return np.zeros(3)
    found = lifting_engine.understand(radiographs, within.region, side)
    number = [bone.name for bone in found.trained.bones].index(within.bone)
    middle = centre_of(
        signed_distances(found.field, PLACING)[number],
        found.field.net.shape.cube_mm,
        within.reach_mm,
        is_from_below=within.is_from_below,
    )
    if middle is None:
        raise NoBone(f"No {within.bone.lower()} is found where the radiographs look")
    return np.asarray(middle.double().numpy() + np.array(within.offset))


def _require_familiar(trained: TrainedVolumetric, frames: Sequence[Framed]) -> None:
    for one in frames:
        if reason := unfamiliar(trained.familiar, one.view):
            raise StudyError(
                f"{trained.engine} knows no view like {one.view.name}: {reason}. It is given no"
                " camera and cannot allow for it; the engine 'lifting' can"
            )


def _coarse(trained: TrainedVolumetric) -> Assumption:
    voxel = trained.cube_mm / trained.grid
    return Assumption(
        "Scale and direction",
        "as in the training of the network",
        "",
        f"{trained.engine} is given no camera; its voxels are {voxel:.1f} mm",
    )


def _taken(
    said: Asked, radiographs: Sequence[Radiograph], trained: TrainedVolumetric, cut: _Cut
) -> tuple[Share, ...]:
    """Which view contributed where; of one view there is nothing to tell."""
    if len(radiographs) == 1:
        return ()
    volumes = [
        placed(one.numpy(), trained.cube_mm, cut.centre, is_mirrored=cut.is_mirrored)
        for one in said.shares.float()
    ]
    named = zip(radiographs, labels(radiographs), volumes, strict=True)
    return tuple(Share(one.view.name, label, volume) for one, label, volume in named)


def _shares(said: Asked, taken: Sequence[Share], level: float) -> tuple[Figure, ...]:
    """Which view how much of the bone was taken from; they share 1."""
    inside = said.occupancy > level
    shares = said.shares[:, inside].mean(dim=1).tolist()
    return tuple(
        Figure(f"{SHARE} {one.label}", share, "") for one, share in zip(taken, shares, strict=False)
    )


def _trained(engine: str, region: str) -> TrainedVolumetric:
    """The weights that `pipeline.registry` offered."""
    return next(one for one in trained_networks() if (one.engine, one.serves) == (engine, region))


@cache
def _net(path: Path, digest: str) -> Volumetric:
    """Once a process; a file that was replaced has another digest."""
    return load(path)
