"""A pool of scenes: simulated once, kept on disk, and drawn from again and again.

Marching rays costs more than a step of training, so each scene is rendered from a few cameras and
its distances are read at points; noise, soft tissue, windows and wrong angles are added anew each
time a scene is drawn. A scene is one file, written whole or not at all, and depends on its number
alone: a pool that was interrupted is continued.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool3d

from pipeline.camera import camera
from pipeline.models.framing import FIELD
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
from pipeline.training.rendering import bone_shadows, bone_thickness, draw_tissue
from pipeline.types import View, ViewName

POINTS = 16_384
"""Near the surface of each bone, and as many anywhere in the cube."""
NEAR_MM = 4.0
FIELD_SIZE = 64
"""Along each edge: what the grid of the network is taught with."""
STEPS_PER_MM = 256
BESIDE_MM = 15.0
"""Deviation of the tube from its place before the isocentre; never beyond twice that."""
FRONTAL = (ViewName.AP, ViewName.PA)
LATERAL = (ViewName.LL, ViewName.RL)


@dataclass(frozen=True, slots=True)
class Shot:
    """Where a simulated exposure was taken from."""

    name: ViewName
    source_to_detector: float
    source_to_patient: float
    primary_deg: float
    secondary_deg: float
    spacing: float
    """mm at the detector."""
    is_alone: bool
    """The other leg is out of the way."""
    along: float = 0.0
    """mm by which the tube stands beside the isocentre, in the direction of the rows."""
    down: float = 0.0
    """And in that of the columns."""

    def camera(self, size: int) -> View:
        """The camera of this exposure, of `size` rows and columns, about the isocentre's image."""
        central = camera(
            self.name,
            source_to_detector=self.source_to_detector,
            source_to_patient=self.source_to_patient,
            row_spacing=self.spacing,
            column_spacing=self.spacing,
            rows=size,
            columns=size,
            primary_deg=self.primary_deg,
            secondary_deg=self.secondary_deg,
        )
        beside = np.array([self.along, self.down])
        shift, offset = np.zeros((4, 4)), np.zeros((4, 4))
        shift[:3, 3] = central.patient_from_detector[:3, :2] @ beside
        # the principal point moves with the tube, the image stays where the isocentre is seen
        offset[:2, 3] = -beside * self.source_to_detector / self.source_to_patient
        return replace(
            central,
            source=central.source + shift[:3, 3],
            patient_from_detector=central.patient_from_detector + shift,
            detector_from_index=central.detector_from_index + offset,
        )


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
    """(N, 3) mm about the isocentre."""
    distances: Tensor
    """(N, T) mm."""
    has: Tensor
    """(T,) bool: which bones are known in this scene."""


def draw_shots(cube_mm: float, size: int, generator: torch.Generator) -> tuple[Shot, ...]:
    """A frontal view, a lateral one, and one from any direction, about as large as `FIELD`."""
    u = torch.rand(12, generator=generator).tolist()
    turns = (torch.randn(6, generator=generator).clamp(-2, 2) * 7).tolist()
    beside = (torch.randn(6, generator=generator).clamp(-2, 2) * BESIDE_MM).tolist()
    shots = []
    for number, names in enumerate((FRONTAL, LATERAL, FRONTAL + LATERAL)):
        chance, distance, gap, zoom = u[4 * number : 4 * number + 4]
        name = names[int(chance * len(names))]
        wide = 6.0 if number == 2 else 1.0
        sid = 900 + 900 * distance
        sod = sid * (1 - 0.11 - 0.19 * gap)
        shots.append(
            Shot(
                name=name,
                source_to_detector=sid,
                source_to_patient=sod,
                primary_deg=float(np.clip(turns[2 * number] * wide, -44, 44)),
                secondary_deg=turns[2 * number + 1],
                spacing=cube_mm * FIELD * sid / sod / size * (0.88 + 0.24 * zoom),
                is_alone=number > 0 and chance * 8 % 2 < 1,
                along=beside[2 * number],
                down=beside[2 * number + 1],
            )
        )
    return tuple(shots)


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
    cameras = [shot.camera(image_size) for shot in shots]
    thickness = bone_thickness(
        without_neighbours(scene) if targets_only else scene,
        draw_tissue(generator),
        cameras,
        without_other_side=[shot.is_alone for shot in shots],
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
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Make `folder` hold scenes 0 to `count` of these cases, in turn.

    Args:
        archive: Of the region.
        cases: Scene n shows the case n modulo their number.
        folder: Is made where it does not exist.
        count: Scenes.
        image_size: Rows and columns.
        seed: Of the pool.
        part: (i, n): only every n-th scene, from the i-th, so that n processes share the work.
        between: Share of the scenes whose bones have a shape between people, of these cases.
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
        far_mm = archive.region.far_mm
        scene, _, _ = simulate(
            case,
            archive,
            image_size=image_size,
            pose=PoseRange(),
            shots=draw_shots(archive.region.cube_mm, image_size, generator),
            generator=generator,
            shape=drawn_shape(people, case, cases, far_mm, generator) if is_between else None,
        )
        save(scene, path)


def save(scene: Simulated, path: Path) -> None:
    """Write a scene, whole or not at all."""
    shots = [[str(v) for v in astuple(shot)] for shot in scene.shots]
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


def _shot(row: list[str]) -> Shot:
    sid, sod, primary, secondary, spacing = (float(number) for number in row[1:6])
    # pools of before have no tube beside the isocentre
    beside = (float(number) for number in row[7:])
    return Shot(ViewName(row[0]), sid, sod, primary, secondary, spacing, row[6] == "True", *beside)


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
