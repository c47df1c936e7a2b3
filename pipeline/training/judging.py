"""How far a network's bones are from those of people it has not seen.

Surfaces against surfaces, in mm, within the part of the cube that both could show; means over
people with a bootstrap interval over people, and the worst case beside them. Each condition names
what the simulator did to the images. The measures need SciPy and scikit-image, so that this file
runs where `evaluate` runs, not on a bare GPU machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.measure import marching_cubes
from torch import Tensor

from pipeline.metrics import dice, one_way_distances
from pipeline.models.framing import FIELD
from pipeline.projection import binned
from pipeline.training.archive import Archive, Case
from pipeline.training.exposure import CLEAN, Exposure
from pipeline.training.given import FINER, Reconstruct, given_of
from pipeline.training.outlines import true_outlines
from pipeline.training.pool import Shot, simulate
from pipeline.training.pose import rigid_fit
from pipeline.training.posing import RIGID, Pose
from pipeline.types import Mesh, ViewName

FEWEST_POINTS = 100
"""Of a surface: with fewer there is nothing to be laid on."""
MARGIN_MM = 6.0
"""A surface this near to a face of the cube is cut off, and not judged."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One column of the table."""

    name: str
    exposure: Exposure
    views: tuple[int, ...] = (0, 1)
    """Which of the two shots, frontal and lateral, are given."""
    is_told_wrongly: bool = False
    is_alone: bool = False
    """Without the other leg in the lateral view."""
    without_neighbours: bool = False
    """The target bones alone."""


CONDITIONS = (
    Condition("clean, known geometry", CLEAN, is_alone=True, without_neighbours=True),
    Condition("neighbours, soft tissue, noise, collimation", Exposure()),
    Condition("the same, other leg out of the lateral view", Exposure(), is_alone=True),
    Condition("+ angles and SID wrong, not told", Exposure(), is_told_wrongly=True),
    Condition("one view (frontal)", Exposure(), views=(0,)),
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """One bone of one case under one condition."""

    condition: str
    person: str
    case: str
    bone: str
    dice: float
    assd_mm: float
    hd95_mm: float
    shape_mm: float
    """ASSD after the surface was laid on the true one: the shape's error without the place's."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over people, and where 95 % of the means of as many people drawn anew lie."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Summary:
    """One bone under one condition, over people."""

    condition: str
    bone: str
    people: int
    dice: float
    dice_low: float
    dice_high: float
    dice_worst: float
    assd_mm: float
    assd_low: float
    assd_high: float
    assd_worst: float
    shape_mm: float


def judged(
    reconstruct: Reconstruct,
    archive: Archive,
    cases: Sequence[Case],
    conditions: Sequence[Condition] = CONDITIONS,
    *,
    image_size: int,
    seed: int = 7,
    repeats: int = 1,
    told: Callable[[Judgement], None] = lambda _: None,
) -> list[Judgement]:
    """Every case under every condition, each time in `repeats` poses; the same seed, the same."""
    found = []
    for number, case in enumerate(cases):
        for repeat in range(repeats):
            for condition in conditions:
                # every condition, and every engine, sees the same poses and the same cameras
                generator = torch.Generator().manual_seed(seed + 1000 * number + repeat)
                for one in _one(reconstruct, archive, case, condition, image_size, generator):
                    told(one)
                    found.append(one)
    return found


def interval(values: Sequence[float], *, seed: int = 7) -> Interval:
    """The mean of one value a person, and its 95 % bootstrap interval over people."""
    of = np.asarray(values, np.float64)
    draws = np.random.default_rng(seed).integers(len(of), size=(2000, len(of)))
    low, high = np.percentile(of[draws].mean(axis=1), (2.5, 97.5))
    return Interval(float(of.mean()), float(low), float(high))


def summarised(judgements: Sequence[Judgement]) -> list[Summary]:
    """Means over people, of the means of each person, with 95 % bootstrap intervals."""
    made = []
    for condition, bone in dict.fromkeys((j.condition, j.bone) for j in judgements):
        here = [j for j in judgements if (j.condition, j.bone) == (condition, bone)]
        people = sorted({j.person for j in here})
        overlap = interval([fmean(j.dice for j in here if j.person == p) for p in people])
        apart = interval([fmean(j.assd_mm for j in here if j.person == p) for p in people])
        made.append(
            Summary(
                condition,
                bone,
                len(people),
                overlap.mean,
                overlap.low,
                overlap.high,
                min(j.dice for j in here),
                apart.mean,
                apart.low,
                apart.high,
                max(j.assd_mm for j in here),
                fmean(fmean(j.shape_mm for j in here if j.person == p) for p in people),
            )
        )
    return made


def as_markdown(summaries: Sequence[Summary]) -> str:
    """The table of results."""
    lines = [
        "| condition (simulated) | bone | people | Dice (95 %) | worst | ASSD mm (95 %) | worst"
        " | laid on each other |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for s in summaries:
        dices = f"{s.dice:.3f} ({s.dice_low:.3f} to {s.dice_high:.3f})"
        distances = f"{s.assd_mm:.2f} ({s.assd_low:.2f} to {s.assd_high:.2f})"
        lines.append(
            f"| {s.condition} | {s.bone.replace('_', ' ')} | {s.people} | {dices} "
            f"| {s.dice_worst:.3f} | {distances} | {s.assd_worst:.2f} | {s.shape_mm:.2f} |"
        )
    return "\n".join(lines) + "\n"


def as_json(judgements: Sequence[Judgement], summaries: Sequence[Summary]) -> Mapping[str, object]:
    """The same with every single case."""
    return {
        "summaries": [asdict(one) for one in summaries],
        "cases": [asdict(one) for one in judgements],
    }


def _one(
    reconstruct: Reconstruct,
    archive: Archive,
    case: Case,
    condition: Condition,
    image_size: int,
    generator: torch.Generator,
) -> list[Judgement]:
    edge, fine = archive.region.cube_mm, image_size * FINER
    shots = [standard(name, edge, fine, condition.is_alone, generator) for name in "FL"]
    simulated, scene, pose = simulate(
        case,
        archive,
        image_size=fine,
        pose=RIGID,
        shots=shots,
        generator=generator,
        targets_only=condition.without_neighbours,
    )
    given = given_of(
        simulated,
        condition.views,
        condition.exposure,
        is_told_wrongly=condition.is_told_wrongly,
        outlines=true_outlines(
            scene, [binned(shots[n].camera(fine), FINER) for n in condition.views]
        ),
        cube_mm=edge,
        generator=generator,
    )
    distances = reconstruct(given).numpy()
    truth = scene.near.numpy()
    found = []
    for channel, bone in enumerate(archive.region.targets):
        true = archive.mesh(case, bone)
        if true is None or not case.has[channel]:
            continue
        placed = Mesh(_placed(true.vertices, pose), true.faces.numpy())
        made = isosurface(distances[channel], edge)
        overlap = dice(truth[channel] < 0, distances[channel] < 0)
        reach = edge / 2 - MARGIN_MM
        assd, hd95 = _apart(made, placed, reach)
        shape, _ = _apart(_laid_on(made, placed, reach), placed, reach)
        found.append(
            Judgement(condition.name, case.person, case.name, bone, overlap, assd, hd95, shape)
        )
    return found


def standard(
    view: str, cube_mm: float, size: int, is_alone: bool, generator: torch.Generator
) -> Shot:
    """An exposure as a department makes it: SID 1,150 mm, within 3 degrees of the nominal view."""
    turns = (3 * torch.randn(2, generator=generator)).clamp(-6, 6).tolist()
    return Shot(
        ViewName.AP if view == "F" else ViewName.LL,
        1150.0,
        950.0,
        turns[0],
        turns[1],
        cube_mm * FIELD * 1150 / 950 / size,
        is_alone,
    )


def isosurface(distance: NDArray[np.float32], cube_mm: float) -> Mesh | None:
    """The zero of a signed distance (Z, Y, X) over the cube, open at its faces."""
    if distance.min() >= 0 or distance.max() <= 0:
        return None
    vertices, faces, _, _ = marching_cubes(distance, 0.0)
    voxel = cube_mm / distance.shape[-1]
    points = (vertices[:, ::-1] + 0.5) * voxel - cube_mm / 2
    return Mesh(points.astype(np.float64), faces[:, ::-1].astype(np.int64))


def _placed(vertices: Tensor, pose: Pose) -> NDArray[np.float64]:
    """Vertices of the region frame in the scene; a rigid pose has no displacement."""
    affine = torch.linalg.inv(pose.region_from_scene.double())
    return _moved(vertices.double().numpy(), affine.numpy())


def _moved(points: NDArray[np.float64], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(points @ affine[:3, :3].T + affine[:3, 3])


def _laid_on(made: Mesh | None, true: Mesh, reach: float) -> Mesh | None:
    """The surface, moved as a whole to where all but its worst tenth fits the true one best."""
    if made is None:
        return None
    inside = [one.vertices[(np.abs(one.vertices) < reach).all(axis=1)] for one in (made, true)]
    if min(len(points) for points in inside) < FEWEST_POINTS:
        return made
    thin = inside[0][:: max(1, len(inside[0]) // 4000)]
    return replace(
        made, vertices=_moved(made.vertices, rigid_fit(thin, inside[1], start=np.eye(4)))
    )


def _apart(made: Mesh | None, true: Mesh, reach: float) -> tuple[float, float]:
    """ASSD and HD95, mm, of the parts whose points lie within the cube of half edge `reach`."""
    if made is None:
        # a bone that was not found is as far away as the cube is long
        return 2 * reach, 2 * reach
    sides = []
    for one, other in ((made, true), (true, made)):
        points, distances = one_way_distances(one, other)
        sides.append(distances[(np.abs(points) < reach).all(axis=1)])
    both = np.concatenate(sides)
    hd95 = max(float(np.percentile(side, 95)) for side in sides if len(side))
    return float(both.mean()), hd95
