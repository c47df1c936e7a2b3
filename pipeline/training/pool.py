"""A pool of scenes: simulated once, kept on disk, and drawn from again and again.

Marching rays costs more than a step of training, so each scene is rendered from a few cameras and
its distances are read at points; noise, soft tissue, windows and wrong angles are added anew each
time a scene is drawn. A scene is one file, written whole or not at all, and depends on its number
alone: a pool that was interrupted is continued.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool3d

from pipeline.training.archive import NEAR_STEP, Archive, Case, quantised
from pipeline.training.bending import bent, draw_bend
from pipeline.training.modes import drawn as drawn_shape
from pipeline.training.modes import registered
from pipeline.training.posing import (
    Pose,
    PoseRange,
    Scene,
    draw,
    posed,
    reshaped,
    without_neighbours,
)
from pipeline.training.regions import WITHIN, Region, region_named
from pipeline.training.rendering import bone_shadows, bone_thickness, draw_tissue
from pipeline.training.shots import FINER, Shot, draw_shots, draw_wider
from pipeline.types import ViewName

POINTS = 16_384
"""Near the surface of each bone, and as many anywhere in the cube."""
NEAR_MM = 4.0
FIELD_SIZE = 64
"""Along each edge: what the grid of the network is taught with."""
STEPS_PER_MM = 256


@dataclass(frozen=True, slots=True)
class Simulated:
    """One scene of the pool."""

    thickness: Tensor
    """(V, H, W) mm of cortical bone."""
    shots: tuple[Shot, ...]
    shadows: Tensor
    """(V, T, H / 2, W / 2) bool: which target bones lie on the ray of a pixel."""
    field: Tensor
    """(T, D, D, D) signed distance, mm, at the voxel centres of the cube, axes z, y, x."""
    points: Tensor
    """(N, 3) mm about the middle of the cube."""
    distances: Tensor
    """(N, T) mm."""
    has: Tensor
    """(T,) bool: which bones are known in this scene."""

    @property
    def is_wider(self) -> bool:
        """The radiographs show a larger region, and the cube is a piece of it."""
        return any(self.shots[0].isocentre)


def simulate(
    case: Case,
    archive: Archive,
    *,
    image_size: int,
    pose: PoseRange,
    shots: Sequence[Shot],
    generator: torch.Generator,
    targets_only: bool = False,
    shape: Tensor | None = None,
) -> tuple[Simulated, Scene, Pose]:
    """A person's bones in a drawn pose, seen from `shots`, and where the bones are.

    They have the person's own shape, or one of `modes`.
    """
    region = archive.region
    drawn = draw(pose, region.far_mm, generator)
    if shape is not None:
        drawn = reshaped(drawn, shape)
    near, far = archive.near(case), archive.far(case)
    bend = draw_bend(region, pose, generator)
    if bend is None:
        scene = posed(near, region.cube_mm, far, drawn)
    else:
        scene, drawn = bent(region, near, far, drawn, bend)
    cameras = [shot.about_cube(image_size) for shot in shots]
    thickness = bone_thickness(
        without_neighbours(scene) if targets_only else scene,
        draw_tissue(generator),
        cameras,
        without_other_side=[shot.is_alone for shot in shots],
        other_side_mm=_other_side(region, shots),
    )
    points, distances = _points(scene, generator)
    has = torch.tensor(case.has) | torch.tensor(case.borrowed)
    shadows = bone_shadows(scene, cameras)
    field = adaptive_avg_pool3d(scene.near[:-1], min(FIELD_SIZE, scene.near.shape[-1]))
    made = Simulated(thickness, tuple(shots), shadows, field, points, distances, has)
    return made, scene, drawn


def fill(
    archive: Archive,
    cases: Sequence[Case],
    folder: Path,
    count: int,
    *,
    image_size: int,
    seed: int,
    part: tuple[int, int] = (0, 1),
    between: float = 0.5,
    wider: float = 0.0,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Make `folder` hold scenes 0 to `count` of these cases, in turn.

    Args:
        archive: Of the region.
        cases: Scene n shows the case n modulo their number.
        folder: Is made where it does not exist.
        count: Scenes.
        image_size: Rows and columns, and `FINER` times as many of a larger region.
        seed: Of the pool.
        part: (i, n): only every n-th scene, from the i-th, so that n processes share the work.
        between: Share of the scenes whose bones have a shape between people, of these cases.
        wider: Share of the scenes whose radiographs show the larger region that this one lies
            within; nothing is drawn where it is 0.
        is_over: Asked before each scene: True stops.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {n: folder / f"{n:06d}.npz" for n in range(part[0], count, part[1])}
    missing = {number: path for number, path in paths.items() if not path.exists()}
    people = registered(archive, cases) if missing and between else {}
    for number, path in missing.items():
        if is_over():
            return
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        case = cases[number % len(cases)]
        is_between = float(torch.rand(1, generator=generator)) < between
        far_mm, size = archive.region.far_mm, image_size
        if wider and float(torch.rand(1, generator=generator)) < wider:
            size = int(FINER * image_size)
            shots = draw_wider(archive.region, size, generator)
        else:
            shots = draw_shots(archive.region.cube_mm, size, generator)
        scene, _, _ = simulate(
            case,
            archive,
            image_size=size,
            pose=PoseRange(),
            shots=shots,
            generator=generator,
            shape=drawn_shape(people, case, cases, far_mm, generator) if is_between else None,
        )
        save(scene, path)


def save(scene: Simulated, path: Path) -> None:
    """Write a scene, whole or not at all."""
    shots = [[str(v) for v in (*astuple(shot)[:-1], *shot.isocentre)] for shot in scene.shots]
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez(
            file,
            thickness=scene.thickness.half().numpy(),
            shots=np.array(shots),
            shadows=np.packbits(scene.shadows.numpy(), axis=-1),
            field=quantised(scene.field.numpy(), NEAR_STEP),
            points=(scene.points * STEPS_PER_MM).round().short().numpy(),
            distances=(scene.distances * STEPS_PER_MM).round().short().numpy(),
            has=scene.has.numpy(),
        )
    partial.replace(path)


def load(path: Path) -> Simulated:
    """A scene that `save` wrote."""
    with np.load(path) as stored:
        return Simulated(
            thickness=torch.from_numpy(stored["thickness"]).float(),
            shots=tuple(_shot(row) for row in stored["shots"].tolist()),
            shadows=torch.from_numpy(np.unpackbits(stored["shadows"], axis=-1).astype(np.bool_)),
            field=torch.from_numpy(stored["field"]).float() * NEAR_STEP,
            points=torch.from_numpy(stored["points"]).float() / STEPS_PER_MM,
            distances=torch.from_numpy(stored["distances"]).float() / STEPS_PER_MM,
            has=torch.from_numpy(stored["has"]),
        )


def shows_larger(path: Path) -> bool:
    """The radiographs of a scene that `save` wrote show a larger region; nothing else is read."""
    with np.load(path) as stored:
        return any(any(_shot(row).isocentre) for row in stored["shots"].tolist())


def _shot(row: list[str]) -> Shot:
    sid, sod, primary, secondary, spacing = (float(number) for number in row[1:6])
    # pools of before have no tube beside the isocentre, and no isocentre beside the cube
    along, down, x, y, z = (*(float(number) for number in row[7:]), *[0.0] * 5)[:5]
    is_alone = row[6] == "True"
    name = ViewName(row[0])
    return Shot(name, sid, sod, primary, secondary, spacing, is_alone, along, down, (x, y, z))


def _other_side(region: Region, shots: Sequence[Shot]) -> float | None:
    """mm along x: what lies beyond the cube of the larger region belongs to the other leg."""
    aside = shots[0].isocentre
    if not any(aside):
        return None
    return aside[0] + region_named(WITHIN[region.name].region).cube_mm / 2


def _points(scene: Scene, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points and the distance of each to every bone: near each surface, and anywhere."""
    targets = scene.near[:-1]
    size, edge = targets.shape[-1], scene.near_cube_mm
    voxel = edge / size
    chosen = [torch.randint(size, (POINTS, 3), generator=generator)]
    for bone in targets:
        close = (bone.abs() < NEAR_MM).nonzero()
        if len(close):
            chosen.append(close[torch.randint(len(close), (POINTS,), generator=generator)])
    index = torch.cat(chosen)
    moved = index + torch.rand(index.shape, generator=generator) - 0.5
    points = ((moved + 0.5) * voxel - edge / 2).flip(-1)
    at = (points / (edge / 2))[None, :, None, None]
    found = torch.nn.functional.grid_sample(
        targets[None], at, padding_mode="border", align_corners=False
    )[0, :, :, 0, 0]
    return points, found.T
