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

import torch

from pipeline.metrics import dice
from pipeline.models.framing import FIELD
from pipeline.projection import binned
from pipeline.training.archive import Archive, Case
from pipeline.training.exposure import CLEAN, Exposure
from pipeline.training.given import FINER, Reconstruct, given_of
from pipeline.training.joints import JOINTS
from pipeline.training.outlines import true_outlines
from pipeline.training.over_people import by_person, interval
from pipeline.training.pool import simulate
from pipeline.training.posing import RIGID, PoseRange
from pipeline.training.real_bodies import RealBody
from pipeline.training.regions import Region
from pipeline.training.shots import Shot
from pipeline.training.surfaces import MARGIN_MM, apart, in_scene, isosurface, laid_on
from pipeline.types import Mesh, ViewName


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
    bodies: tuple[RealBody, ...] = ()
    """The patient has one of these, of real people."""
    pose: PoseRange = RIGID


BODY = "neighbours, in the body of a real person"
BENT = "neighbours, {}"
CONDITIONS = (
    Condition("clean, known geometry", CLEAN, is_alone=True, without_neighbours=True),
    Condition("neighbours, soft tissue, noise, collimation", Exposure()),
    Condition("the same, other leg out of the lateral view", Exposure(), is_alone=True),
    Condition("+ angles and SID wrong, not told", Exposure(), is_told_wrongly=True),
    Condition("one view (frontal)", Exposure(), views=(0,)),
)


def conditions_of(
    region: Region, learned: Sequence[RealBody], others: Sequence[RealBody]
) -> tuple[Condition, ...]:
    """Those that a region is judged under.

    Args:
        region: One with a joint is judged bent, too.
        learned: Bodies that were in the scenes of the training.
        others: Bodies that were not.
    """
    made = list(CONDITIONS)
    for name, bodies in ((BODY, others), (f"{BODY} that was learned from", learned)):
        if bodies:
            made.append(Condition(name, Exposure(), bodies=tuple(bodies)))
    if joint := JOINTS.get(region.name):
        name = BENT.format(joint.in_words.format(joint.most_deg))
        made.append(Condition(name, Exposure(), pose=replace(RIGID, bent=1.0)))
    return tuple(made)


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


def summarised(judgements: Sequence[Judgement]) -> list[Summary]:
    """Means over people, of the means of each person, with 95 % bootstrap intervals."""
    made = []
    for condition, bone in dict.fromkeys((j.condition, j.bone) for j in judgements):
        here = [j for j in judgements if (j.condition, j.bone) == (condition, bone)]
        overlap = interval(list(by_person(here, "dice").values()))
        distance = interval(list(by_person(here, "assd_mm").values()))
        shapes = by_person(here, "shape_mm")
        made.append(
            Summary(
                condition,
                bone,
                len(shapes),
                overlap.mean,
                overlap.low,
                overlap.high,
                min(j.dice for j in here),
                distance.mean,
                distance.low,
                distance.high,
                max(j.assd_mm for j in here),
                fmean(shapes.values()),
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
        pose=condition.pose,
        shots=shots,
        generator=generator,
        targets_only=condition.without_neighbours,
    )
    given = given_of(
        simulated,
        condition.views,
        condition.exposure,
        is_told_wrongly=condition.is_told_wrongly,
        bodies=condition.bodies,
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
        placed = Mesh(in_scene(true.vertices, pose, channel), true.faces.numpy())
        made = isosurface(distances[channel], edge)
        overlap = dice(truth[channel] < 0, distances[channel] < 0)
        reach = edge / 2 - MARGIN_MM
        assd, hd95 = apart(made, placed, reach)
        shape, _ = apart(laid_on(made, placed, reach), placed, reach)
        found.append(
            Judgement(condition.name, case.person, case.name, bone, overlap, assd, hd95, shape)
        )
    return found


def standard(
    view: str,
    cube_mm: float,
    size: int,
    is_alone: bool,
    generator: torch.Generator,
    *,
    turned_deg: float = 0.0,
) -> Shot:
    """An exposure as a department makes it: SID 1,150 mm, within 3 degrees of the nominal view.

    With `turned_deg`, of a view that is turned so far about the long axis.
    """
    turns = (3 * torch.randn(2, generator=generator)).clamp(-6, 6).tolist()
    return Shot(
        ViewName.AP if view == "F" else ViewName.LL,
        1150.0,
        950.0,
        turned_deg + turns[0],
        turns[1],
        cube_mm * FIELD * 1150 / 950 / size,
        is_alone,
    )
