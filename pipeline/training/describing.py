"""What a weights file says of a region, and of the people and views that were learned from."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pipeline.familiar import FRONTAL, LATERAL, Familiar, Range, Views, direction
from pipeline.projection import magnification
from pipeline.training.archive import SYNTHETIC, Case
from pipeline.training.regions import WITHIN, Region
from pipeline.training.shots import Shot
from pipeline.types import Code
from pipeline.weights import Closer, TrainedBone


def bones_of(region: Region, may_be_missing: Collection[str] = ()) -> tuple[TrainedBone, ...]:
    """The targets of the region as a network gives them, their errors not calibrated yet.

    Args:
        region: The row.
        may_be_missing: Targets that a result may lack.
    """
    return tuple(
        TrainedBone(
            name=named(target),
            code=Code(code, "SCT", meaning),
            is_required=target not in may_be_missing,
        )
        for target, (code, meaning) in zip(region.targets, region.codes, strict=True)
    )


def named(target: str) -> str:
    """A target as viewers and reports list it."""
    return target.replace("_", " ").capitalize()


def people_line(cases: Sequence[Case], folds: Sequence[int]) -> str:
    """On whom was learned, as "24 legs of 12 people, fold 0 left out"."""
    real = [case for case in cases if case.fold != SYNTHETIC]
    made = len(cases) - len(real)
    synthetic = f" and {made} synthetic ones" if made else ""
    left = folds_line(folds) or "nobody"
    people = len({case.person for case in real})
    return f"{len(real)} legs of {people} people{synthetic}, {left} left out"


def folds_line(folds: Sequence[int]) -> str:
    """As "fold 0" or "folds 1 and 2"; of no fold, nothing."""
    *others, last = [str(fold) for fold in folds] or [""]
    return f"folds {', '.join(others)} and {last}" if others else last and f"fold {last}"


def licences_of(cases: Sequence[Case]) -> str:
    """Those of all people that are learned from."""
    return "; ".join(sorted({case.licence for case in cases}))


def familiar_of(
    shots: Sequence[Shot], image_size: int, *, fewest: int, most: int | None
) -> Familiar:
    """What these exposures look like, about the centre of the cube.

    Args:
        shots: Of the scenes that were learned from.
        image_size: Rows and columns of their images.
        fewest: Views that the network takes.
        most: The same.
    """
    views = [shot.camera(image_size) for shot in shots]
    at = [direction(view) for view in views]
    sizes = [magnification(view) for view in views]
    distances = [shot.source_to_detector for shot in shots]
    names = {shot.name for shot in shots}
    sides = {"frontal": FRONTAL, "lateral": LATERAL}
    return Familiar(
        views=Views(fewest, most, tuple(side for side, of in sides.items() if names & of)),
        source_to_detector=Range(round(min(distances)), round(max(distances))),
        magnification=Range(round(min(sizes), 2), round(max(sizes), 2)),
        turn_deg=round(max(abs(one.turn_deg) for one in at), 1),
        tilt_deg=round(max(abs(one.tilt_deg) for one in at), 1),
    )


def closer_of(region: Region) -> Closer | None:
    """Where the cube of the region lies about a bone of a larger one."""
    within = WITHIN.get(region.name)
    if within is None:
        return None
    return Closer(
        within.region, named(within.bone), within.reach_mm, within.is_from_below, within.offset
    )
