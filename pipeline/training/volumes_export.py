"""`export` of a run of a volumetric family: its network as weights, with what it may be trusted in.

Which views the network knows is read off the scenes that it learned from. On people that it did
not learn from it is found out at which probability its surface lies best, and how far it is then
from the true one, beside what the probabilities themselves say of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from pipeline.familiar import Familiar, Views
from pipeline.models.recurrent import overlap
from pipeline.models.solid import Solid, solid
from pipeline.stated import Judged, Stated
from pipeline.training import volumes_scenes
from pipeline.training.describing import (
    bones_of,
    closer_of,
    familiar_of,
    licences_of,
    people_line,
)
from pipeline.training.pool import load
from pipeline.training.settings import RunFault
from pipeline.training.volumes import Say
from pipeline.training.volumes_data import Source
from pipeline.training.volumes_families import Family, family
from pipeline.training.volumes_loop import trained as trained_steps
from pipeline.training.volumes_settings import Plan, Regional, read
from pipeline.types import Float
from pipeline.volumetric_weights import TrainedVolumetric, export, file_name
from pipeline.weights import Limits

LEVELS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
"""Probabilities at which a surface may lie; the papers take 0.3 and 0.4."""
VIEWS = (1, 2, 3)
"""How many views are calibrated on, as far as they were learned."""
SCENES = 12
"""That are calibrated on, at most."""
LOOKED_AT = 200
"""Scenes of the pool whose cameras are looked at, at most."""
SEED = 77
MARGIN_MM = 6.0
"""A surface this near to a face of the cube is cut off, and not judged."""


class _Answer(NamedTuple):
    """What the network says of one item, and the truth."""

    views: int
    person: str
    occupancy: Tensor
    """(D, D, D)."""
    wanted: Tensor
    """(D, D, D)."""
    distance: Tensor
    """(N, N, N) mm to the true surface."""


class _Off(NamedTuple):
    """How far one answer is from the truth, mean over its surface, mm."""

    views: int
    person: str
    true: float
    said: float
    overlap: float
    """With the truth, voxel by voxel; 0 to 1."""


def export_run(path: Path, out: Path, say: Say = print) -> TrainedVolumetric:
    """`out` holds the network of the run, calibrated on people left out.

    Raises:
        RunFault: the run has no checkpoint or no region, or the name is not that of its weights.
    """
    run = read(path)
    plan, data = run.plan, run.data
    if not isinstance(data, Regional):
        raise RunFault("Published folders show nobody that a node could meet: nothing to export")
    archive = volumes_scenes.archive_of(data)
    region = archive.region
    name = file_name(region.name, plan.family)
    if out.name != name:
        raise RunFault(f"The file must be called {name}, not {out.name}")
    torch.set_num_threads(plan.threads)
    made = family(plan, run.network)
    taken = trained_steps(made, plan.folder / "checkpoint.pt")
    volumes_scenes.simulate_held(data, plan.threads)
    held = volumes_scenes.held(data, made.size)
    known = known_views(plan, data)
    answers = list(_answers(made, held, data, region.targets.index(data.bone), known.views))
    level = best_level(answers)
    off = [one for one in (_off(each, level, region.cube_mm) for each in answers) if one]
    if not off:
        raise RunFault("The network finds no bone in anybody left out: train on")
    factor = sum(one.true for one in off) / sum(one.said for one in off)
    bone = bones_of(region)[region.targets.index(data.bone)]
    cases = archive.trained_in(data.fold)
    told = TrainedVolumetric(
        engine=plan.family,
        region=region.name,
        bone=replace(bone, error_factor=round(factor, 2)),
        shape={},
        grid=made.size.grid,
        cube_mm=region.cube_mm,
        image_size=data.image_size,
        level=level,
        familiar=known,
        limits=Limits(),
        trained=f"{people_line(cases, [data.fold])}, {taken.steps} steps of {plan.batch} items"
        f"{taken.since}, seed {plan.seed}",
        within=closer_of(region),
        stated=Stated(licences_of(cases), judged_of(off, bone.name)),
    )
    written = export(made.network, out, told)  # type: ignore[arg-type]  # every family is one
    say(f"{bone.name}: surface at {level:g}, its own error times {factor:.2f}")
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, SHA-256 {written.digest}")
    return written


def known_views(plan: Plan, data: Regional) -> Familiar:
    """What the scenes of the pool look like, about the centre of the cube."""
    return familiar_of(
        [shot for file in sorted(data.pool.glob("*.npz")) for shot in load(file).shots],
        data.image_size,
        fewest=min(stage.fewest_views for stage in plan.stages),
        most=max(stage.most_views for stage in plan.stages),
    )


def best_level(answers: Sequence[_Answer]) -> float:
    """Of `LEVELS`, where what is filled overlaps best with the truth, in the mean."""

    def mean_overlap(level: float) -> float:
        return fmean(float(overlap(a.occupancy[None], a.wanted[None], level)) for a in answers)

    return max(LEVELS, key=mean_overlap)


def judged_of(off: Sequence[_Off], bone: str) -> tuple[Judged, ...]:
    """How good the bones are, mean over people, by the number of views."""
    made = []
    for views in dict.fromkeys(one.views for one in off):
        here = [one for one in off if one.views == views]
        condition = f"{views} simulated view{'s' if views > 1 else ''}"
        people = len({one.person for one in here})
        mm, share = (_over_people(here, attrgetter(name)) for name in ("true", "overlap"))
        made.append(Judged(condition, bone, people, "distance of the surface", mm, "mm"))
        made.append(Judged(condition, bone, people, "IoU", share))
    return tuple(made)


def _over_people(off: Sequence[_Off], measure: Callable[[_Off], float]) -> float:
    people = dict.fromkeys(one.person for one in off)
    means = [fmean(measure(one) for one in off if one.person == person) for person in people]
    return round(fmean(means), 3)


@torch.no_grad()
def _answers(
    made: Family, held: Source, data: Regional, channel: int, views: Views
) -> Iterator[_Answer]:
    """Every item from each number of views, the same images at each."""
    counts = [n for n in VIEWS if views.fewest <= n <= min(views.most or n, held.views)]
    for number, item in enumerate(held.items[:SCENES]):
        generator = torch.Generator().manual_seed(SEED + 1000 * number)
        sample = held.sample(number, range(max(counts)), generator)
        distance = load(data.held / f"{item.name}.npz").field[channel]
        for count in counts:
            found = made.occupancy(*sample.seen(slice(count)))[0]
            yield _Answer(count, item.owner, found, sample.wanted, distance)


def _off(answer: _Answer, level: float, cube_mm: float) -> _Off | None:
    """None where nothing was found whose surface could be judged."""
    found = solid(answer.occupancy, level, cube_mm=cube_mm)
    if found is None or not len(_judged_points(found, cube_mm)):
        return None
    share = float(overlap(answer.occupancy[None], answer.wanted[None], level))
    true = _distance(found, answer.distance, cube_mm)
    return _Off(answer.views, answer.person, true, found.spread_mm, share)


def _distance(found: Solid, distance: Tensor, cube_mm: float) -> float:
    """Mean distance, mm, of the surface from the true one, away from the faces of the cube."""
    points = _judged_points(found, cube_mm)
    at = torch.from_numpy(points / (cube_mm / 2)).float()[None, None, None]
    there = grid_sample(distance[None, None], at, padding_mode="border", align_corners=False)
    return float(there.abs().mean())


def _judged_points(found: Solid, cube_mm: float) -> Float:
    """(N, 3) vertices, mm, that are no cut at a face of the cube."""
    points = found.mesh.vertices
    return points[(np.abs(points) < cube_mm / 2 - MARGIN_MM).all(axis=1)]
