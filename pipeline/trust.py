"""The checks of a learned result: is it where the radiographs have edges, and is it sure of itself?

A network answers anything, also a chest or two views of different people. What it says is held
against what it cannot have made up: the edges of the radiographs themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.coverage import Coverage, coverage_figures
from pipeline.outlines import Plate, agreement
from pipeline.quality import OUTLINE, OWN_ERROR
from pipeline.types import Bone, Figure
from pipeline.weights import Limits


def trust(
    plates: Sequence[Plate],
    bones: Sequence[Bone],
    errors: Sequence[float],
    covered: Sequence[Coverage],
    limits: Limits,
) -> tuple[Figure, ...]:
    """What was measured about a learned result, each with its limits.

    Args:
        plates: What the result was made of.
        bones: The result.
        errors: Of each bone, the mean error that the network expects of its surface, mm.
        covered: How much of each bone the radiographs show.
        limits: Of the weights.
    """
    own = (
        Figure(f"{OWN_ERROR} {bone.name}", error, "mm", None, limits.own_error_mm)
        for bone, error in zip(bones, errors, strict=True)
    )
    shares = (
        figure
        for bone, one in zip(bones, covered, strict=True)
        for figure in coverage_figures(bone, one, limits.unseen)
    )
    outlines = (_outline(one, bones, limits.outline_agreement) for one in plates)
    return (*outlines, *own, *shares)


def _outline(one: Plate, bones: Sequence[Bone], least: float) -> Figure:
    value = agreement([bone.mesh for bone in bones], one.image, one.is_valid, one.view)
    return Figure(f"{OUTLINE} {one.view.name}", value, "", least, None)
