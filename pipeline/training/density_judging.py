"""How far a density from one radiograph is from the truth, for people who were not learned from.

    python -m pipeline.training.density_judging run.toml

Three answers are compared voxel by voxel in the frame of the detector: the mean density of those
who were learned from, seen from the same kind of camera; the network's; and the network's after
the fusion with the radiograph, averaged back to the same voxels. Bone is cut out of each where it
agrees best with the bone of those who were learned from, so that none is judged by the threshold
of another. What the collimation hides is not judged. A network of one bone is not fused: the
radiograph shows the others as well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from pipeline.frustum import Frustum, path
from pipeline.models.tomography import (
    Tomography,
    agreement,
    detailed,
    fused,
    integrals_of,
    relative_error,
)
from pipeline.models.tomography_engine import reach_px
from pipeline.training.archive import Archive, Case
from pipeline.training.densities import (
    DensityRun,
    archive_of,
    learned_files,
    read,
    seen,
    start,
)
from pipeline.training.density_pairs import (
    Sight,
    bone_equivalent,
    drawn_pairs,
    drawn_shots,
    load,
)
from pipeline.training.over_people import interval
from pipeline.training.posing import RIGID
from pipeline.training.settings import RunFault
from pipeline.training.taken import Taken

BONE = 0.06
"""Share of cortical bone from which a voxel is bone: half of the thinnest spongy bone."""
HALF = 0.5
"""Share of a voxel from which it belongs to one bone."""
CUTS = tuple(0.02 * n for n in range(1, 36))
"""The thresholds that are tried on those who were learned from."""
LEARNED = 24
"""Scenes of these that they are tried on."""
SEED = 7


class Engine(StrEnum):
    """What is compared."""

    MEAN = "mean of those learned from"
    NETWORK = "network"
    FUSED = "network, fused with the radiograph"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One answer about one leg."""

    engine: Engine
    person: str
    case: str
    error: float
    """Norm of what is wrong over the norm of the truth."""
    iou: float
    reprojection: float
    """Root mean square of the line integrals' error, mm of cortical bone."""
    agreement: float
    """Of its line integrals with the radiograph, as `tomography.agreement`."""


class Verdict(NamedTuple):
    """What became of a run."""

    net: Tomography
    taken: Taken
    cuts: dict[Engine, float]
    """Density from which each answer is bone."""
    judgements: list[Judgement]


def evaluate(run_file: Path, say: Callable[[str], None] = print) -> Path:
    """Judge the run's network on the people left out; the path of the table.

    Raises:
        RunFault: the run file or its archive cannot be used, nothing was trained, or nobody is
            left out.
    """
    settings = read(run_file)
    found = judge(settings)
    table = f"After {found.taken}.\n\n{as_markdown(found.judgements)}"
    (settings.folder / "results.md").write_text(table, encoding="utf-8")
    say(table)
    return settings.folder / "results.md"


def judge(settings: DensityRun) -> Verdict:
    """The run's network, and how far it is from the people left out.

    Raises:
        RunFault: as `evaluate`.
    """
    archive = archive_of(settings)
    if settings.fold is None:
        raise RunFault("fold is none: everyone was learned from, nobody is left to judge on")
    if not (settings.folder / "checkpoint.pt").exists():
        raise RunFault(f"There is no {settings.folder / 'checkpoint.pt'}: train first")
    torch.set_num_threads(settings.threads)
    run = start(replace(settings, device="cpu"))
    net = run.net.eval()
    files = learned_files(settings)
    mean = mean_density(files)
    cuts = thresholds(net, mean, files, settings)
    return Verdict(net, run.taken, cuts, judged(net, mean, cuts, archive, settings))


def mean_density(files: Sequence[Path]) -> Tensor:
    """(D, h, w) over all cameras of all scenes: the best that can be said without looking.

    Args:
        files: Scenes that `density_pairs.fill` drew.
    """
    total = torch.zeros(())
    for file in files:
        total = total + load(file).density.mean(dim=0)
    return total / len(files)


def thresholds(
    net: Tomography, mean: Tensor, files: Sequence[Path], settings: DensityRun
) -> dict[Engine, float]:
    """Where each answer is cut: there its bone agrees best with that of those learned from.

    The fused answer is cut as the network's.
    """
    scores: dict[Engine, list[list[float]]] = {Engine.MEAN: [], Engine.NETWORK: []}
    generator = torch.Generator().manual_seed(SEED)
    for file in files[:LEARNED]:
        pairs = load(file)
        true = pairs.density[0] >= least(settings)
        images = seen(settings, pairs.thickness[:1], generator)
        for engine, answer in ((Engine.MEAN, mean), (Engine.NETWORK, _answer(net, images))):
            scores[engine].append([iou(answer >= cut, true) for cut in CUTS])
    best = {
        engine: max(zip(map(fmean, zip(*rows, strict=True)), CUTS, strict=True))[1]
        for engine, rows in scores.items()
    }
    return {**best, Engine.FUSED: best[Engine.NETWORK]}


def least(settings: DensityRun) -> float:
    """Of the true density of a voxel of bone."""
    return HALF if settings.sight.bone else BONE


def judged(
    net: Tomography,
    mean: Tensor,
    cuts: Mapping[Engine, float],
    archive: Archive,
    settings: DensityRun,
) -> list[Judgement]:
    """Every answer about every case, in a pose and from cameras of its own; the same each time."""
    found = []
    sight, edge = settings.sight, archive.region.cube_mm
    for number, case in enumerate(left_out(archive, settings)):
        generator = torch.Generator().manual_seed(SEED + 1000 * number)
        shots = drawn_shots(sight, edge, generator)
        pairs = drawn_pairs(case, archive, sight, shots, pose=RIGID, generator=generator)
        images = seen(settings, pairs.thickness, generator)
        for view, shot in enumerate(shots):
            true, frustum = pairs.density[view], sight.frustum(shot, edge)
            fine = sight.fine_frustum(shot, edge)
            image = images[view : view + 1]
            is_shown = _is_shown(image, sight)
            answers = {Engine.MEAN: mean, Engine.NETWORK: _answer(net, image)}
            if not sight.bone:
                answers[Engine.FUSED] = _fused(answers[Engine.NETWORK], image, fine, sight)
            true = true * is_shown
            for engine, given in answers.items():
                answer = given * is_shown
                found.append(
                    Judgement(
                        engine,
                        case.person,
                        case.name,
                        error=float(relative_error(answer, true)),
                        iou=iou(answer >= cuts[engine], true >= least(settings)),
                        reprojection=_misfit(answer, true, frustum),
                        agreement=_agreement(given, image, fine),
                    )
                )
    return found


def left_out(archive: Archive, settings: DensityRun) -> list[Case]:
    """The cases of the run's fold whose bone is known and their own."""
    channel = settings.sight.channel(archive.region)
    cases = [] if settings.fold is None else archive.judged_in(settings.fold)
    return [case for case in cases if channel is None or case.has[channel]]


def as_markdown(judgements: Sequence[Judgement]) -> str:
    """The table: means over people, of the means of each, with 95 % bootstrap intervals."""
    lines = [
        "| answer | people | volume error (95 %) | IoU of bone (95 %) | worst | reprojection mm"
        " | agreement with the radiograph | worst |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for engine in dict.fromkeys(one.engine for one in judgements):
        here = [one for one in judgements if one.engine is engine]
        people = sorted({one.person for one in here})
        own = [[one for one in here if one.person == person] for person in people]
        error = interval([fmean(one.error for one in ones) for ones in own])
        overlap = interval([fmean(one.iou for one in ones) for ones in own])
        lines.append(
            f"| {engine} | {len(people)} | {error.mean:.3f} ({error.low:.3f} to {error.high:.3f})"
            f" | {overlap.mean:.3f} ({overlap.low:.3f} to {overlap.high:.3f})"
            f" | {min(one.iou for one in here):.3f}"
            f" | {fmean(one.reprojection for one in here):.2f}"
            f" | {fmean(one.agreement for one in here):.2f}"
            f" | {min(one.agreement for one in here):.2f} |"
        )
    return "\n".join(lines) + "\n"


def iou(found: Tensor, true: Tensor) -> float:
    """What two masks have in common over what either has; 1 where both are empty."""
    union = int((found | true).sum())
    return int((found & true).sum()) / union if union else 1.0


@torch.no_grad()
def _answer(net: Tomography, image: Tensor) -> Tensor:
    volume: Tensor = net(image).volume[0]
    return volume


def _fused(coarse: Tensor, image: Tensor, frustum: Frustum, sight: Sight) -> Tensor:
    if sight.is_displayed:
        shown, reach = image[:, 0, 0], reach_px(frustum.depth_mm, frustum.view.rows)
        # what the collimation hides is 0
        fine = detailed(coarse[None], shown, shown > 0, path(frustum), reach=reach)
    else:
        fine = fused(coarse[None], bone_equivalent(image), path(frustum))
    return avg_pool2d(fine, 2)[0]


def _is_shown(image: Tensor, sight: Sight) -> Tensor:
    """(H / 2, W / 2) bool: the rays that are judged; behind the collimation an engine says nothing.

    What the collimation hides is 0; in radiographs that are not displayed so is air.
    """
    hidden = 1.0 * (image[:, 0, 0] == 0) * sight.is_displayed
    return avg_pool2d(hidden, 2)[0] <= HALF


def _agreement(answer: Tensor, image: Tensor, frustum: Frustum) -> float:
    shown, reach = image[:, 0, 0], reach_px(frustum.depth_mm, frustum.view.rows)
    present = integrals_of(answer[None], path(frustum))
    return float(agreement(shown, shown > 0, present, reach=reach))


def _misfit(answer: Tensor, true: Tensor, frustum: Frustum) -> float:
    off = ((answer - true) * path(frustum)).sum(dim=0)
    return float(off.square().mean().sqrt())


if __name__ == "__main__":
    try:
        evaluate(Path(sys.argv[1]))
    except RunFault as fault:
        sys.exit(str(fault))
