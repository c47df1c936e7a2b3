"""The lifting network as an engine: radiographs to bones, with what is known of their error.

The network knows right bones: a left one is seen by mirrored cameras, and its distances are
mirrored back before any surface is cut, so that volumes and surfaces are those of the left side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from pipeline.coverage import coverage, coverage_assumptions
from pipeline.errors import MissingView, NoBone, StudyError
from pipeline.geometry import grid, mirror
from pipeline.models.bones import apart, mesh_of, one_piece, probability_of
from pipeline.models.closer import Look, Near, distances_of, looked_at
from pipeline.models.field import Field, asked, encoded
from pipeline.models.framing import Framed, cut_out, seen_in
from pipeline.models.lifting import Lifting
from pipeline.outlines import Plate
from pipeline.trust import trust
from pipeline.types import (
    Algorithm,
    Assumption,
    Bone,
    Mesh,
    Radiograph,
    Reconstruction,
    Side,
)
from pipeline.weights import Trained, closer_looks, load, trained_for

SIZE = 128
"""Voxels along each edge of the result."""
ONE_VIEW = Assumption(
    "Depth", "estimated from one view", "", "No second view shows how deep the bones lie"
)


COLOURS = ((233, 217, 186), (126, 190, 230), (236, 150, 128), (160, 214, 140))
"""Of the bones of a region, in their order: viewers lay them over a grey volume."""


@dataclass(frozen=True, slots=True)
class _Found:
    bone: Bone
    error: float
    """That the network expects of its surface, mean in mm."""


@dataclass(frozen=True, slots=True)
class Understood:
    """What a network has made of radiographs, in the frame of a right bone."""

    trained: Trained
    field: Field
    radiographs: tuple[Radiograph, ...]
    """Of a right bone: those of a left one with mirrored cameras."""
    is_mirrored: bool
    plates: tuple[Plate, ...]
    """What the network saw, and where it was taken from: of the patient, not of a mirror image."""

    def own_error(self, number: int, mesh: Mesh, looks: Sequence[Look]) -> float:
        """The error that the networks expect of the surface of bone `number`, mean in mm."""
        points = torch.from_numpy(mesh.vertices).float()
        if self.is_mirrored:
            points = points * torch.tensor([-1.0, 1.0, 1.0])
        expected = asked(self.field, points).log_error[:, number].exp()
        expected = expected * self.trained.bones[number].error_factor
        return float(looked_at(looks, number, points, expected, Look.error).mean())


def reconstruct(
    radiographs: Sequence[Radiograph], region: str, side: Side, made_by: Algorithm
) -> Reconstruction:
    """The bones of `region` that the radiographs show, and how well they explain them.

    Raises:
        StudyError: there is no view, the side is not known, or no bone is found.
        BrokenWeights: the weights of the region cannot be used.
    """
    in_order = sorted(radiographs, key=lambda one: (one.sop_instance_uid, one.frame_number or 0))
    with torch.inference_mode():
        understood = understand(in_order, region, side)
        made = _bones(understood, side)
    bones = tuple(one.bone for one in made)
    covered = [coverage(bone, in_order) for bone in bones]
    assumptions = [assumed for radiograph in radiographs for assumed in radiograph.assumptions]
    if len(radiographs) == 1:
        assumptions.append(ONE_VIEW)
    for bone, shares in zip(bones, covered, strict=True):
        assumptions += coverage_assumptions(bone, shares)
    errors = [one.error for one in made]
    figures = trust(understood.plates, bones, errors, covered, understood.trained.limits)
    return Reconstruction(bones, made_by, tuple(assumptions), figures)


def understand(radiographs: Sequence[Radiograph], region: str, side: Side) -> Understood:
    """The radiographs, encoded by the network of `region`.

    Raises:
        StudyError: there is no view, or the side of a paired bone is not known.
    """
    if not radiographs:
        raise MissingView("A reconstruction needs at least one radiograph")
    trained = trained_for(region)
    net = _net(trained.path, trained.digest)
    is_paired = any(bone.is_paired for bone in trained.bones)
    if is_paired and side not in (Side.LEFT, Side.RIGHT):
        raise StudyError(f"The side of the {region} is not known, and the bones differ by it")
    is_mirrored = is_paired and side is Side.LEFT
    as_right = tuple(
        replace(one, view=mirror(one.view)) if is_mirrored else one for one in radiographs
    )
    frames = cut_out(as_right, cube_mm=net.shape.cube_mm, size=net.shape.image_size)
    plates = tuple(_plate(one, is_mirrored=is_mirrored) for one in frames)
    return Understood(trained, encoded(net, seen_in(frames)), as_right, is_mirrored, plates)


def nears_of(trained: Trained) -> tuple[Near, ...]:
    """The networks that look closer at bones of the region that `trained` knows."""
    names = [bone.name for bone in trained.bones]
    return tuple(
        Near(
            _net(one.path, one.digest),
            names.index(one.closer.bone),
            one.closer.reach_mm,
            one.closer.is_from_below,
            one.closer.offset,
            one.bones[0].error_factor,
        )
        for one in closer_looks(trained.region)
        if one.closer and one.closer.bone in names
    )


def warm(region: str) -> None:
    """The networks of `region` are in memory."""
    trained = trained_for(region)
    _net(trained.path, trained.digest)
    nears_of(trained)


def _plate(one: Framed, *, is_mirrored: bool) -> Plate:
    """The mirrored camera of a mirrored patient sees the same image as the true one."""
    view = mirror(one.view) if is_mirrored else one.view
    return Plate(one.image.numpy(), one.is_valid.numpy(), view)


def _bones(understood: Understood, side: Side) -> tuple[_Found, ...]:
    """The bones that are there; those that are not are left out.

    Raises:
        NoBone: one that a result cannot be without is not there.
    """
    nears = nears_of(understood.trained)
    distances, looks = distances_of(understood.field, understood.radiographs, nears, SIZE)
    distances = apart(distances)
    if understood.is_mirrored:
        distances = distances.flip(-1)
    affine = grid(understood.field.net.shape.cube_mm, SIZE)
    bones = []
    for number, (known, raw) in enumerate(
        zip(understood.trained.bones, distances.numpy(), strict=True)
    ):
        distance = one_piece(raw)
        if distance is None:
            if known.is_required:
                raise NoBone(f"No {known.name.lower()} is found where the radiographs look")
            continue
        mesh = mesh_of(distance, affine, bones=len(distances))
        error = understood.own_error(number, mesh, looks)
        probability = probability_of(distance, error, affine)
        of_side = side if known.is_paired else Side.UNPAIRED
        rgb = COLOURS[number % len(COLOURS)]
        bones.append(_Found(Bone(known.name, known.code, of_side, probability, mesh, rgb), error))
    return tuple(bones)


@cache
def _net(path: Path, digest: str) -> Lifting:
    """Once a process; a file that was replaced has another digest."""
    net = load(path)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data = module.weight.data.to(memory_format=torch.channels_last)
        if isinstance(module, torch.nn.Conv3d):
            module.weight.data = module.weight.data.to(memory_format=torch.channels_last_3d)
    return net
