"""How near a reconstruction can come at all, where part of the truth is not in the radiographs.

    python -m benchmarks.floors RUN.toml [RUN.toml ...]

The *true* surface of each bone that a run file leaves out is put where somebody would put it who
sees every point of it in the radiographs, and knows of cameras and depth what is told and what is
usual. What is left is the floor of the place: a method adds its error of shape. No radiograph is
looked at; poses, exposures and told cameras of the first draws are those of `osteon evaluate`,
others are drawn after them in the same way. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from trimesh.transformations import transform_points

from benchmarks.knowing import CLEAN, ONE_VIEW, WAYS, WRONG, Sight
from pipeline.training.archive import Archive, Case
from pipeline.training.batches import Conditions, told
from pipeline.training.command import archive_of, learned_from
from pipeline.training.evaluating import left_out
from pipeline.training.given import FINER
from pipeline.training.judging import standard
from pipeline.training.over_people import by_person
from pipeline.training.pool import simulate
from pipeline.training.posing import RIGID, Pose, Scene, draw
from pipeline.training.settings import read
from pipeline.training.shots import Shot
from pipeline.training.surfaces import MARGIN_MM, apart, in_scene, isosurface
from pipeline.types import Float, Mesh

FEW_PIXELS = 8
"""Of images that nobody looks at: what is drawn for them comes before the told cameras."""
POINTS = 500
"""Of a surface, that are known again in the radiographs."""
SAMPLES = 5_000
"""Of a surface: distances are those of 20,000 within 0.01 mm."""
BEYOND_MM = 30.0
"""A surface further outside the cube than this is nearest to nothing within."""
GRID = "the distances that networks learn, on their grid"
GOALS: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("hip", "femur"): {CLEAN: 0.35, WRONG: 0.8, ONE_VIEW: 1.5},
    ("hip", "hip_bone"): {CLEAN: 0.8, WRONG: 1.3, ONE_VIEW: 2.0},
    ("knee", "femur"): {CLEAN: 0.5, WRONG: 1.0, ONE_VIEW: 1.8},
    ("knee", "tibia"): {CLEAN: 0.5, WRONG: 1.0, ONE_VIEW: 1.8},
}
"""mm; of the table that is to be reached."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is drawn, and how it is measured."""

    size: int
    """Rows and columns of a radiograph."""
    seed: int
    """Of the evaluation."""
    judged: int
    """The first so many draws of each leg are those of the evaluation."""
    draws: int
    """Of each leg."""
    samples: int = SAMPLES
    """Of a surface."""


class Drawn(NamedTuple):
    """What one leg is judged in."""

    pose: Pose
    true: tuple[Shot, ...]
    """Frontal and lateral."""
    told: tuple[Shot, ...]
    scene: Scene | None
    """Of those that `osteon evaluate` judges."""


@dataclass(frozen=True, slots=True)
class Floor:
    """A bone that was put in one way."""

    condition: str
    known: str
    bone: str
    person: str
    assd_mm: float
    is_judged: bool
    """In just what `osteon evaluate` shows."""


def drawn(archive: Archive, case: Case, seed: int, size: int, *, is_judged: bool) -> Drawn:
    """Pose and cameras as `judging` draws them; told ones are the very same where `is_judged`."""
    generator = torch.Generator().manual_seed(seed)
    region = archive.region
    true = tuple(standard(view, region.cube_mm, size, False, generator) for view in "FL")
    scene = None
    if is_judged:
        _, scene, pose = simulate(
            case, archive, image_size=FEW_PIXELS, pose=RIGID, shots=true, generator=generator
        )
    else:
        pose = draw(RIGID, region.far_mm, generator)
    known = tuple(told(shot, Conditions(), generator) for shot in true)
    return Drawn(pose, true, known, scene)


def floors(
    archive: Archive, cases: Sequence[Case], others: Sequence[Case], plan: Plan
) -> Iterator[Floor]:
    """Every bone of `cases`, put in every way, in every pose; `others` tell what is usual."""
    usual, edge = usual_middles(archive, others), archive.region.cube_mm
    for number, case in enumerate(cases):
        meshes = {
            channel: mesh
            for channel, bone in enumerate(archive.region.targets)
            if case.has[channel] and (mesh := archive.mesh(case, bone)) is not None
        }
        for repeat in range(plan.draws):
            seed, is_judged = plan.seed + 1000 * number + repeat, repeat < plan.judged
            one = drawn(archive, case, seed, plan.size, is_judged=is_judged)
            for channel, mesh in meshes.items():
                bone = archive.region.targets[channel]
                whole = Mesh(in_scene(mesh.vertices, one.pose, channel), mesh.faces.numpy())
                true = within(whole, edge / 2 + BEYOND_MM)
                points = _judged(true.vertices, edge)
                thin = points[:: max(1, len(points) // POINTS)]
                sight = Sight(thin, usual[bone], one.pose, one.true, one.told, plan.size)
                for condition, known, put in _put(true, sight, edge, one.scene, channel):
                    assd_mm, _ = apart(put, true, edge / 2 - MARGIN_MM, samples=plan.samples)
                    yield Floor(condition, known, bone, case.person, assd_mm, is_judged)


def usual_middles(archive: Archive, cases: Sequence[Case]) -> dict[str, Float]:
    """(3,) mm for each target: the middle of its surface within the cube, over these cases."""
    found = {}
    for bone in archive.region.targets:
        meshes = [mesh for case in cases if (mesh := archive.mesh(case, bone)) is not None]
        points = [
            _judged(mesh.vertices.double().numpy(), archive.region.cube_mm) for mesh in meshes
        ]
        found[bone] = np.mean([own.mean(axis=0) for own in points], axis=0)
    return found


def within(mesh: Mesh, half_edge: float) -> Mesh:
    """The triangles that lie within a cube about the isocentre: open at its faces."""
    is_inside = np.all(np.abs(mesh.vertices) < half_edge, axis=1)
    return replace(mesh, faces=mesh.faces[is_inside[mesh.faces].all(axis=1)])


def _put(
    true: Mesh, sight: Sight, edge: float, scene: Scene | None, channel: int
) -> Iterator[tuple[str, str, Mesh | None]]:
    """Condition, what is known, and the surface where that puts it."""
    if scene is not None:
        yield CLEAN, GRID, isosurface(scene.near[channel].numpy(), edge)
    for way in WAYS:
        put = replace(true, vertices=transform_points(true.vertices, way.place(sight)))
        yield way.condition, way.known, within(put, edge / 2)


def _judged(points: Float, edge: float) -> Float:
    """Those that lie in the part of the cube that is judged."""
    return points[(np.abs(points) < edge / 2 - MARGIN_MM).all(axis=1)]


def table(region: str, found: Sequence[Floor]) -> str:
    """Markdown: means over people, of the means of each."""
    rows = [
        f"| condition ({region}) | bone | what is known | as judged, mm | all draws, mm"
        " | 5th to 95th percentile | draws | goal, mm |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for condition, bone, known in dict.fromkeys((f.condition, f.bone, f.known) for f in found):
        here = [f for f in found if (f.condition, f.bone, f.known) == (condition, bone, known)]
        judged = _mean([one for one in here if one.is_judged])
        low, high = np.percentile([one.assd_mm for one in here], (5, 95))
        goal = GOALS.get((region, bone), {}).get(condition, "")
        rows.append(
            f"| {condition} | {bone.replace('_', ' ')} | {known} | {judged:.2f} | {_mean(here):.2f}"
            f" | {low:.2f} to {high:.2f} | {len(here)} | {goal} |"
        )
    return "\n".join(rows)


def _mean(found: Sequence[Floor]) -> float:
    return fmean(by_person(found, "assd_mm").values())


def main() -> None:
    """Print a table for each run file."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("runs", type=Path, nargs="+", help="run files, with archive and fold")
    asked.add_argument("--draws", type=int, default=34, help="of each leg")
    given = asked.parse_args()
    torch.set_num_threads(1)
    for path in given.runs:
        settings = read(path)
        archive = archive_of(settings)
        plan = Plan(
            size=settings.network.image_size * FINER,
            seed=settings.evaluation.seed,
            judged=settings.evaluation.repeats,
            draws=given.draws,
        )
        cases, others = left_out(archive, settings), learned_from(archive, settings)
        found = floors(archive, cases, others, plan)
        print(f"{table(archive.region.name, list(found))}\n")


if __name__ == "__main__":
    main()
