"""Radiographs, and the density behind each of them in the frame of its detector.

What single-image tomography learns from. Both are made of the same drawn scene: the radiograph by
the projector and the exposure of all other training, the density by looking it up along the rays
of that camera. A radiograph is divided by one constant, never by what is in it: how much the rays
lost is what tells thick from thin. Scenes are drawn once and kept on disk; noise, soft tissue and
scatter are added anew each time one is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from pipeline.frustum import Frustum, places
from pipeline.models.tomography import rescaled
from pipeline.projection import binned
from pipeline.tissue import filled
from pipeline.training.archive import Archive, Case
from pipeline.training.exposure import CLEAN, Exposure, exposed
from pipeline.training.modes import drawn as drawn_shape
from pipeline.training.modes import registered
from pipeline.training.posing import PoseRange, Scene, draw, posed, reshaped, without_neighbours
from pipeline.training.regions import Region
from pipeline.training.rendering import (
    Tissue,
    bone_thickness,
    draw_tissue,
    far_density,
    near_density,
)
from pipeline.training.shots import Shot, draw_shots

ATTENUATION = 8.0
"""Natural logarithm of the loss that is shown as 1; at 55 keV, 180 mm of soft tissue and 50 mm of
cortical bone lose 7.5."""
THICKEST_MM = 150.0
"""Of cortical bone, three times what a ray through a hip passes; what loses more, as a lead letter,
is read as this."""
VIEWS = ("frontal", "lateral", "any")
"""The order in which `draw_shots` gives them."""


@dataclass(frozen=True, slots=True)
class Sight:
    """From where scenes are seen, and how finely."""

    view: str = "frontal"
    """One of `VIEWS`: one network knows one kind of view."""
    image_size: int = 128
    """Rows and columns of a radiograph; the density has half as many."""
    planes: int = 64
    """Of the density, over the depth of the region's cube."""
    shots: int = 4
    """Radiographs of one scene."""
    bone: str = ""
    """The target bone that is told apart; none: the density of all bones."""
    is_displayed: bool = False
    """Radiographs are as a console displays them, of any scale: what the files of most devices
    hold. Otherwise their values are the physical loss of the rays."""

    def channel(self, region: Region) -> int | None:
        """Of the bone among the region's targets; None where all bones are meant.

        Raises:
            ValueError: the region has no such target.
        """
        return region.targets.index(self.bone) if self.bone else None

    def frustum(self, shot: Shot, cube_mm: float) -> Frustum:
        """Where the density behind a shot lies."""
        return Frustum(binned(shot.camera(self.image_size), 2), self.planes, cube_mm)

    def fine_frustum(self, shot: Shot, cube_mm: float) -> Frustum:
        """The same, of voxels as wide as the radiograph's pixels."""
        return Frustum(shot.camera(self.image_size), self.planes, cube_mm)


@dataclass(frozen=True, slots=True)
class Pairs:
    """One scene from S cameras."""

    thickness: Tensor
    """(S, H, W) mm of cortical bone that each ray passes."""
    density: Tensor
    """(S, D, H / 2, W / 2) in the frame of each detector, 0 to 1: share of cortical bone, or, of
    one bone alone, of the voxel that lies in it."""


def drawn_shots(sight: Sight, cube_mm: float, generator: torch.Generator) -> list[Shot]:
    """The cameras of one scene."""
    which = VIEWS.index(sight.view)
    return [draw_shots(cube_mm, sight.image_size, generator)[which] for _ in range(sight.shots)]


def drawn_pairs(
    case: Case,
    archive: Archive,
    sight: Sight,
    shots: Sequence[Shot],
    *,
    pose: PoseRange,
    generator: torch.Generator,
    shape: Tensor | None = None,
    targets_only: bool = False,
) -> Pairs:
    """A person's bones in a drawn pose, with a drawn density, seen from `shots`.

    They have the person's own shape, or one of `modes`.
    """
    region = archive.region
    taken = draw(pose, region.far_mm, generator)
    if shape is not None:
        taken = reshaped(taken, shape)
    scene = posed(archive.near(case), region.cube_mm, archive.far(case), taken)
    if targets_only:
        scene = without_neighbours(scene)
    tissue = draw_tissue(generator)
    thickness = bone_thickness(
        scene,
        tissue,
        [shot.camera(sight.image_size) for shot in shots],
        without_other_side=[shot.is_alone for shot in shots],
    )
    channel = sight.channel(region)
    if channel is None:
        return Pairs(thickness, densities(scene, tissue, sight, shots))
    return Pairs(thickness, shares(scene, channel, sight, shots))


def known_in(cases: Sequence[Case], channel: int | None) -> tuple[Case, ...]:
    """The cases that can be learned from: the bone is there, be it another's."""
    if channel is None:
        return tuple(cases)
    return tuple(case for case in cases if case.has[channel] or case.borrowed[channel])


def shares(scene: Scene, channel: int, sight: Sight, shots: Sequence[Shot]) -> Tensor:
    """(S, D, H / 2, W / 2) of each voxel within one target bone, as far as the cube reaches."""
    edge = scene.near_cube_mm
    inside = filled(scene.near[channel], edge / scene.near.shape[-1])
    return torch.stack(
        [_looked_up(inside, places(sight.frustum(shot, edge)), edge) for shot in shots]
    )


def densities(scene: Scene, tissue: Tissue, sight: Sight, shots: Sequence[Shot]) -> Tensor:
    """(S, D, H / 2, W / 2) share of cortical bone in the frame of each shot's detector."""
    near = near_density(scene, tissue)
    far = {
        alone: far_density(scene, tissue, alone=alone)
        for alone in sorted({shot.is_alone for shot in shots})
    }
    made = []
    for shot in shots:
        at = places(sight.frustum(shot, scene.near_cube_mm))
        fine = _looked_up(near, at, scene.near_cube_mm)
        made.append(fine + _looked_up(far[shot.is_alone], at, scene.far_cube_mm))
    return torch.stack(made)


def shown(
    thickness: Tensor,
    exposure: Exposure,
    generator: torch.Generator,
    *,
    is_displayed: bool = False,
) -> Tensor:
    """Radiographs (N, 1, 1, H, W) in [0, 1] of thicknesses (N, H, W), mm of cortical bone.

    The logarithm of what was counted, over `ATTENUATION`; the console's display, which shows each
    image in a window of its own, is left out. With `is_displayed` it takes part, and `rescaled`
    undoes its window. What the collimation hides is 0.
    """
    if is_displayed:
        return rescaled(*exposed(thickness, exposure, generator))
    attenuation, is_valid = exposed(thickness, replace(exposure, gamma=0.0), generator)
    scaled = (attenuation / ATTENUATION).clamp(0, 1) * is_valid
    return scaled[:, None, None]


def bone_equivalent(images: Tensor) -> Tensor:
    """The line integrals (N, H, W) of radiographs (N, 1, 1, H, W), mm of cortical bone.

    The hardening of the beam by bone is undone. Soft tissue and scatter are in it as if they were
    bone: what the radiograph lost to them is not told apart.
    """
    ramp = torch.linspace(0, THICKEST_MM, 601)
    # without noise nothing is drawn
    lost = shown(ramp.expand(1, 2, -1), CLEAN, torch.Generator())[0, 0, 0, 0]
    found = np.interp(images[:, 0, 0].numpy(), lost.numpy(), ramp.numpy())
    return torch.from_numpy(found).float()


def fill(
    archive: Archive,
    cases: Sequence[Case],
    folder: Path,
    count: int,
    sight: Sight,
    *,
    seed: int,
    between: float = 0.5,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Make `folder` hold scenes 0 to `count` of these cases, in turn; see `pool.fill`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {number: folder / f"{number:06d}.npz" for number in range(count)}
    missing = {number: path for number, path in paths.items() if not path.exists()}
    people = registered(archive, cases) if missing and between else {}
    edge, far = archive.region.cube_mm, archive.region.far_mm
    for number, path in missing.items():
        if is_over():
            return
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        case = cases[number % len(cases)]
        is_between = float(torch.rand(1, generator=generator)) < between
        shape = drawn_shape(people, case, cases, far, generator) if is_between else None
        shots = drawn_shots(sight, edge, generator)
        pairs = drawn_pairs(
            case, archive, sight, shots, pose=PoseRange(), generator=generator, shape=shape
        )
        save(pairs, path)


def save(pairs: Pairs, path: Path) -> None:
    """Write a scene, whole or not at all; densities in steps of 1 / 255."""
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez_compressed(
            file,
            thickness=pairs.thickness.half().numpy(),
            density=(pairs.density.clamp(0, 1) * 255).round().byte().numpy(),
        )
    partial.replace(path)


def load(path: Path) -> Pairs:
    """A scene that `save` wrote."""
    with np.load(path) as stored:
        return Pairs(
            thickness=torch.from_numpy(stored["thickness"]).float(),
            density=torch.from_numpy(stored["density"]).float() / 255,
        )


def _looked_up(density: Tensor, points: Tensor, cube_mm: float) -> Tensor:
    """(D, H, W) of a density (N, N, N) at points (D, H, W, 3); nothing outside its cube."""
    at = (points / (cube_mm / 2))[None]
    found: Tensor = grid_sample(density[None, None], at, padding_mode="zeros", align_corners=False)
    return found[0, 0]
