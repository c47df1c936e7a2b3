"""A region of made-up bones: balls, whose distances, surfaces and shadows are known exactly."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from pipeline.models.framing import FIELD, seen
from pipeline.models.lifting import Seen, Shape
from pipeline.training import archive
from pipeline.training.archive import Archive, Case
from pipeline.training.regions import Region, region_named
from pipeline.training.shots import Shot
from pipeline.types import ViewName

REGION: Region = replace(
    region_named("hip"), cube_mm=120.0, voxels=48, far_mm=256.0, pivot=(0.0, 0.0, 0.0)
)
CENTRES = {"femur": (-10.0, 5.0, -20.0), "hip_bone": (15.0, -8.0, 22.0)}
OTHER = (75.0, 0.0, 0.0)
"""A bone of the other side, outside the cube."""
RUN = """
archive = "toy.npz"
folder = "run"
fold = {fold}
[pool]
scenes = {scenes}
[network]
image_size = 32
grid_size = 8
planar = [8, 16]
spatial = [8, 16]
hidden = 16
[training]
steps = {steps}
batch = {batch}
threads = 1
log_every = 1
[training.conditions]
points = 64
"""
"""A run that is learned in a second, beside its archive."""
SIZE = 32
"""Of the images of a toy run."""
SMALL = Shape(("femur", "hip_bone"), 120.0, SIZE, 8, planar=(8, 16), spatial=(8, 16), hidden=16)
IDENTITY = tuple(tuple(row) for row in np.eye(4).tolist())


def radius(person: int, bone: str) -> float:
    """mm."""
    return {"femur": 14.0, "hip_bone": 20.0}[bone] + person


def toy_archive(path: Path, people: int = 3, voxels: int = 48) -> Archive:
    """Balls of a different size for each person, written to and read from `path`."""
    region = replace(REGION, voxels=voxels)
    entries: dict[str, NDArray[np.generic]] = {}
    cases = []
    for person in range(people):
        name = f"toy-{person}-R"
        balls = [_ball(voxels, 120.0, CENTRES[bone], radius(person, bone)) for bone in CENTRES]
        nothing = np.full((voxels, voxels, voxels), 100.0)
        far = [_ball(128, 256.0, CENTRES[bone], radius(person, bone)) for bone in CENTRES]
        far.append(_ball(128, 256.0, OTHER, 10.0))
        entries[f"{name}/near"] = archive.quantised(
            np.stack([*balls, nothing]).astype(np.float32), archive.NEAR_STEP
        )
        entries[f"{name}/far"] = archive.quantised(
            np.min(far, axis=0).astype(np.float32), archive.FAR_STEP
        )
        entries[f"{name}/landmarks"] = np.zeros((0, 3), np.float32)
        entries[f"{name}/has"] = entries[f"{name}/borrowed"] = np.ones(2, np.bool_)
        for bone, centre in CENTRES.items():
            ball = trimesh.creation.icosphere(subdivisions=4, radius=radius(person, bone))
            steps = np.round((ball.vertices + centre) / archive.VERTEX_STEP)
            entries[f"{name}/mesh/{bone}/v"] = steps.astype(np.int16)
            entries[f"{name}/mesh/{bone}/f"] = ball.faces.astype(np.int32)
        cases.append(
            Case(
                name=name,
                person=f"toy-{person}",
                side="R",
                source="made up",
                licence="none",
                fold=person % 2,
                patient_from_region=IDENTITY,
                has=(True, True),
                borrowed=(False, False),
            )
        )
    archive.write(path, region, (), tuple(cases), entries)
    return archive.load(path)


def radii(near: Tensor) -> list[float]:
    """Of balls whose volumes are those of the targets in (T + 1, N, N, N) over the cube, mm."""
    voxel = REGION.cube_mm / near.shape[-1]
    inside = (0.5 - near[:-1] / voxel).clamp(0, 1).sum(dim=(1, 2, 3))
    return [float((3 * n * voxel**3 / (4 * math.pi)) ** (1 / 3)) for n in inside.tolist()]


def run_file(folder: Path, text: str) -> Path:
    """A run file in `folder`."""
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def straight(name: ViewName, primary_deg: float = 0.0, *, size: int) -> Shot:
    """A shot whose image shows `FIELD` times the cube at the isocentre."""
    spacing = REGION.cube_mm * FIELD * 1150 / 950 / size
    return Shot(name, 1150.0, 950.0, primary_deg, 0.0, spacing, True)


def as_seen(images: Tensor, *shots: Shot) -> Seen:
    """One sample of these images (V, H, W) as they are, not normalised."""
    cameras = [shot.camera(images.shape[-1]) for shot in shots]
    made = seen(images, torch.ones_like(images, dtype=torch.bool), cameras)
    return made._replace(images=images[None, :, None].repeat(1, 1, 2, 1, 1))


def _ball(
    size: int, edge: float, centre: tuple[float, float, float], r: float
) -> NDArray[np.float64]:
    along = ((np.arange(size) + 0.5) / size - 0.5) * edge
    z, y, x = np.meshgrid(along, along, along, indexing="ij")
    return np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2) - r
