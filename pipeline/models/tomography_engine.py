"""Single-image tomography as an engine: the density behind one radiograph, and bone cut out of it.

The network's coarse density is brought to the detail of the radiograph, taken from the frame of the
detector to a grid of the patient, and kept as it is: values between 0 and 1, the share of cortical
bone as far as a displayed radiograph can tell, and no Hounsfield units. Bone is what exceeds the
threshold of the weights. How deep anything lies is what the network learned of other people.

The network knows the right side: a left one is seen by a mirrored camera, and mirrored back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from pipeline.coverage import coverage, coverage_assumptions
from pipeline.errors import MissingView, StudyError
from pipeline.familiar import unfamiliar
from pipeline.frustum import Frustum, path, regular
from pipeline.geometry import mirror
from pipeline.models.framing import FIELD, Framed, cut_out
from pipeline.models.lifting_engine import ONE_VIEW
from pipeline.models.tomography import (
    Tomography,
    agreement,
    detailed,
    integrals_of,
    rescaled,
)
from pipeline.models.visual_hull import BONE
from pipeline.quality import DENSITY
from pipeline.surface import surface
from pipeline.tomography_weights import TrainedTomography, load, tomography_for
from pipeline.types import (
    Algorithm,
    Assumption,
    Bone,
    Figure,
    Radiograph,
    Reconstruction,
    Side,
    Volume,
)

SIZE = 128
"""Voxels along each edge of the result."""
FINER = 2
"""Pixels of the radiograph, for the fusion, along each of those that the network sees."""
REACH_MM = 8.0
"""At the isocentre: over so much around a pixel soft tissue counts as even."""
RELATIVE = Assumption(
    "Density",
    "relative",
    "",
    "The grey values of a displayed radiograph tell no absolute attenuation",
)


@dataclass(frozen=True, slots=True)
class Estimated:
    """What the network makes of one radiograph."""

    density: Volume
    """(Z, Y, X) 0 to 1, share of cortical bone; 0 where no ray of the radiograph passes."""
    agreement: float
    """Of its line integrals with the radiograph, -1 to 1."""


def reconstruct(
    radiographs: Sequence[Radiograph], region: str, side: Side, made_by: Algorithm
) -> Reconstruction:
    """The density behind the radiograph, and the bone in it as one structure.

    Raises:
        NotTrained: there is no tomography of the region.
        MissingView: there is not exactly one radiograph, or it is of another kind of view.
        StudyError: the side is not known, or nothing like this radiograph was learned from.
        NoBone: the density reaches the threshold nowhere.
        BrokenWeights: the weights cannot be used.
    """
    trained = tomography_for(region)
    if why := trained.familiar.views.refusal([one.view.name for one in radiographs]):
        raise MissingView(f"The tomography of the {region} {why}")
    if trained.is_paired and side not in (Side.LEFT, Side.RIGHT):
        raise StudyError(f"The side of the {region} is not known, and the bones differ by it")
    radiograph = radiographs[0]
    with torch.inference_mode():
        found = estimated(
            radiograph,
            trained,
            _net(trained.path, trained.digest),
            is_mirrored=trained.is_paired and side is Side.LEFT,
        )
    bone = _cut_out_of(
        found.density, trained.threshold, side if trained.is_paired else Side.UNPAIRED
    )
    cut = Assumption(
        "Bone",
        f"density of at least {trained.threshold:.2f}",
        "",
        "The threshold that agreed best with the bones of the people that were learned from",
    )
    ends = coverage_assumptions(bone, coverage(bone, [radiograph]))
    figure = Figure(
        f"{DENSITY} {radiograph.view.name}", found.agreement, "", trained.least_agreement, None
    )
    return Reconstruction(
        bones=(bone,),
        algorithm=made_by,
        assumptions=(*radiograph.assumptions, ONE_VIEW, RELATIVE, cut, *ends),
        figures=(figure,),
        density=found.density,
    )


def estimated(
    radiograph: Radiograph, trained: TrainedTomography, net: Tomography, *, is_mirrored: bool
) -> Estimated:
    """The density behind a radiograph, about the isocentre.

    Args:
        radiograph: As it came.
        trained: What the network has learned from.
        net: Of these weights.
        is_mirrored: The radiograph shows the side that the network does not know.

    Raises:
        StudyError: it was not taken like those that were learned from, or shows too little.
    """
    if why := unfamiliar(trained.familiar, radiograph.view):
        raise StudyError(f"The tomography of the {trained.region} has seen no such view: {why}")
    as_right = replace(radiograph, view=mirror(radiograph.view)) if is_mirrored else radiograph
    coarse, fine = (
        cut_out([as_right], cube_mm=trained.cube_mm, size=factor * trained.image_size)[0]
        for factor in (1, FINER)
    )
    _require_shown(coarse, trained)
    volume = net(rescaled(coarse.image[None], coarse.is_valid[None])).volume
    frustum = Frustum(fine.view, net.shape.planes, trained.cube_mm)
    along, is_valid = path(frustum), fine.is_valid[None]
    image = rescaled(fine.image[None], is_valid)[:, 0, 0]
    reach = reach_px(trained.cube_mm, fine.view.rows)
    dense = detailed(volume, image, is_valid, along, reach=reach)
    same = agreement(image, is_valid, integrals_of(volume, along), reach=reach)
    found = regular(dense[0].clamp(max=1), frustum, extent_mm=trained.cube_mm, size=SIZE)
    if is_mirrored:
        found = replace(found, array=np.ascontiguousarray(found.array[..., ::-1]))
    return Estimated(found, float(same))


def reach_px(cube_mm: float, rows: int) -> int:
    """`REACH_MM` in the pixels of a square that shows a cube in so many rows."""
    return max(1, round(REACH_MM * rows / (cube_mm * FIELD)))


def warm(region: str) -> None:
    """The network of `region` is in memory."""
    trained = tomography_for(region)
    _net(trained.path, trained.digest)


def _require_shown(framed: Framed, trained: TrainedTomography) -> None:
    shown = float(framed.is_valid.float().mean())
    if shown < trained.least_shown:
        raise StudyError(
            f"The radiograph shows {shown:.0%} of the {trained.cube_mm * FIELD:.0f} mm about its"
            f" centre that the tomography of the {trained.region} looks at, and it needs"
            f" {trained.least_shown:.0%}: it is collimated too far, or centred elsewhere"
        )


def _cut_out_of(density: Volume, threshold: float, side: Side) -> Bone:
    """All that is as dense as bone; the probability is 0.5 at the threshold, and only a ramp.

    Raises:
        NoBone: nothing is.
    """
    ramp = (density.array * np.float32(0.5 / threshold)).clip(0, 1)
    probability = Volume(ramp, density.patient_from_index)
    name = "Bone by threshold, depth estimated from one view"
    return Bone(name, BONE, side, probability, surface(probability))


@cache
def _net(path: Path, digest: str) -> Tomography:
    """Once a process; a file that was replaced has another digest."""
    return load(path)
