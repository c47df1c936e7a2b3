"""`export` of a run of tomography: its network as weights, with what it may be trusted in.

Where bone is cut out was found on those who were learned from, so that the figures in the header,
of people left out, are those of the engine as it is shipped. At which agreement with its
radiograph a density is withheld follows from the least that was seen of people left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import torch

from pipeline.encode.codes import is_paired
from pipeline.stated import Judged, Stated
from pipeline.tomography_weights import TrainedTomography, export, file_name
from pipeline.training.archive import Archive
from pipeline.training.densities import DensityRun, Say, archive_of, learned_from, read
from pipeline.training.density_judging import Engine, Judgement, Verdict, judge
from pipeline.training.density_pairs import drawn_shots
from pipeline.training.describing import familiar_of, licences_of, people_line
from pipeline.training.settings import RunFault

SCENES = 200
"""Whose cameras say which views the network knows."""
WITHHELD = 0.5
"""Share of the least agreement of people left out, below which a result is withheld."""


def export_run(path: Path, out: Path, say: Say = print) -> TrainedTomography:
    """`out` holds the network of the run, with its figures on people left out.

    Raises:
        RunFault: the run has no checkpoint, nobody is left to judge on, it learned from images
            that no device sends, or the name is not that of its weights.
    """
    settings = read(path)
    archive = archive_of(settings)
    _require_asked_for(settings)
    name = file_name(archive.region.name)
    if out.name != name:
        raise RunFault(f"The file must be called {name}, not {out.name}")
    found = judge(settings)
    made = export(found.net, out, _described(found, archive, settings))
    say(f"bone from a density of {made.threshold:.2f}; withheld below {made.least_agreement:.2f}")
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, SHA-256 {made.digest}")
    return made


def _require_asked_for(settings: DensityRun) -> None:
    """Nothing, if the network can be asked of what a node receives."""
    sight = settings.sight
    if not sight.is_displayed:
        raise RunFault("Devices send displayed radiographs: a node needs sight.is_displayed = true")
    if sight.bone:
        raise RunFault("The engine cuts out all bones: it takes no network of sight.bone")
    if sight.view == "any":
        raise RunFault("The engine needs one kind of view: sight.view frontal or lateral")


def _described(found: Verdict, archive: Archive, settings: DensityRun) -> TrainedTomography:
    region, sight = archive.region, settings.sight
    generator = torch.Generator().manual_seed(settings.seed)
    shots = [shot for _ in range(SCENES) for shot in drawn_shots(sight, region.cube_mm, generator)]
    cases = learned_from(archive, settings)
    left = [] if settings.fold is None else [settings.fold]
    given = [one for one in found.judgements if one.engine is Engine.NETWORK]
    lost = 2 * settings.exposure.collimation
    return TrainedTomography(
        region=region.name,
        is_paired=is_paired(region.name),
        familiar=familiar_of(shots, sight.image_size, fewest=1, most=1),
        image_size=sight.image_size,
        cube_mm=region.cube_mm,
        threshold=found.cuts[Engine.FUSED],
        least_shown=round((1 - lost) ** 2, 2),
        least_agreement=round(WITHHELD * min(one.agreement for one in given), 2),
        trained=f"{people_line(cases, left)}, {found.taken.steps} steps of"
        f" {settings.batch} radiographs{found.taken.since}, seed {settings.seed}",
        shape={},
        stated=Stated(licences_of(cases), _judged(found.judgements, sight.view)),
    )


def _judged(judgements: Sequence[Judgement], view: str) -> tuple[Judged, ...]:
    """The means over people, of the answer that is shipped and of the mean density."""
    made = []
    for engine, condition in (
        (Engine.FUSED, f"1 view ({view}), soft tissue, noise, collimation"),
        (Engine.MEAN, "mean density of those learned from, no radiograph"),
    ):
        here = [one for one in judgements if one.engine is engine]
        people = sorted({one.person for one in here})
        for measure, value in (
            ("relative error of the density", [_mean(here, one, "error") for one in people]),
            ("IoU of bone", [_mean(here, one, "iou") for one in people]),
        ):
            made.append(
                Judged(condition, "all bones", len(people), measure, round(fmean(value), 3))
            )
    return tuple(made)


def _mean(judgements: Sequence[Judgement], person: str, measure: str) -> float:
    return fmean(getattr(one, measure) for one in judgements if one.person == person)
