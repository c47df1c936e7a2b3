"""The checks of a learned result: is it where the radiographs have edges, and is it sure of itself?

A network answers anything, also a chest or two views of different people. What it says is held
against what it cannot have made up: the edges of the radiographs themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.coverage import Coverage, coverage_figures
from pipeline.models.framing import framed
from pipeline.outlines import agreement
from pipeline.quality import OUTLINE, OWN_ERROR
from pipeline.types import Bone, Figure, Radiograph
from pipeline.weights import Trained


def trust(
    radiographs: Sequence[Radiograph],
    bones: Sequence[Bone],
    errors: Sequence[float],
    covered: Sequence[Coverage],
    trained: Trained,
) -> tuple[Figure, ...]:
    """What was measured about a learned result, each with its limits.

    Args:
        radiographs: What the result was made of.
        bones: The result.
        errors: Of each bone, the mean error that the network expects of its surface, mm.
        covered: How much of each bone the radiographs show.
        trained: Whose limits hold.
    """
    limits = trained.limits
    own = (
        Figure(f"{OWN_ERROR} {bone.name}", error, "mm", None, limits.own_error_mm)
        for bone, error in zip(bones, errors, strict=True)
    )
    shares = (
        figure
        for bone, one in zip(bones, covered, strict=True)
        for figure in coverage_figures(bone, one, limits.unseen)
    )
    outlines = (_outline(radiograph, bones, trained) for radiograph in radiographs)
    return (*outlines, *own, *shares)


def _outline(radiograph: Radiograph, bones: Sequence[Bone], trained: Trained) -> Figure:
    image, is_valid, view = framed(
        radiograph.attenuation,
        radiograph.is_valid,
        radiograph.view,
        cube_mm=float(trained.shape["cube_mm"]),
        size=int(trained.shape["image_size"]),
    )
    value = agreement([bone.mesh for bone in bones], np.asarray(image), np.asarray(is_valid), view)
    return Figure(f"{OUTLINE} {view.name}", value, "", trained.limits.outline_agreement, None)
