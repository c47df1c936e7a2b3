"""From the thickness of bone to an image as a detector and its console would show it.

Drawn anew each time a scene is used: soft tissue and metal once, for they are the patient's and
all views show the same; a tube, scatter, blur, counted photons, collimation, a lead letter and the
console's display for each view. The physics is that of `acquisition` and `presentation`; nothing
here knows which renderer made the thickness. `Exposure` says how much of each there is, and
`CLEAN` has none of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.acquisition import Acquisition, acquired
from pipeline.beam import Beam, beam, pitches, source_to_detectors, source_to_isocentres
from pipeline.implants import Implant
from pipeline.materials import Material, linear_attenuation
from pipeline.physics import FULL_WIDTH_PER_SIGMA
from pipeline.presentation import collimated, lettered, percentiles, presented
from pipeline.thickness import thickness as mesh_thickness
from pipeline.training.extents import extent
from pipeline.training.real_bodies import RealBody, placed
from pipeline.training.surroundings import Body, body, metal, soft_tissue, view
from pipeline.types import View

METALS = (Material.TITANIUM, Material.STEEL, Material.COBALT_CHROME)
IN_LIGHT = 0.9
"""Share of the beam from which a pixel counts: the half shadow of the leaves does not."""
OPEN = 1e6
"""The edge of a leaf that is not in the beam."""
BEHIND_KEV = 55.0
"""Effective energy of such beams behind a body."""
EVERY = 8
"""Pixels between those in the middle of the image that the exposure control looks at."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """What stands between the bones and the image."""

    soft_mm: float = 180.0
    """Largest thickness of soft tissue from front to back."""
    lumps: float = 0.4
    """Deviation of folds and layers in it, as a share of it."""
    scatter: float = 0.8
    """Largest ratio of scattered to primary radiation."""
    blur_pixels: float = 1.0
    """Largest standard deviation, by the focus and the detector together."""
    noise: float = 0.03
    """Largest deviation by counted photons, as a share of the signal behind the body."""
    gamma: float = 0.35
    """Deviation of the logarithm of the presentation curve's exponent; 0 shows the logarithm."""
    collimation: float = 0.18
    """Largest share that each border may lose."""
    markers: float = 0.3
    """How often a lead letter lies on the detector."""
    implants: float = 0.0
    """How often there is metal in a patient, seen in all views; people are judged without."""
    voltage: float = 25.0
    """Largest deviation from `KVP`, kV."""
    sharpening: float = 0.4
    """Largest share of fine detail that the console adds."""


KVP = 80.0
CLEAN = Exposure(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""The bones alone."""


def in_finer_pixels(exposure: Exposure, factor: float) -> Exposure:
    """The same in pixels of which `factor` stand along each of those before."""
    return replace(
        exposure, blur_pixels=exposure.blur_pixels * factor, noise=exposure.noise * factor
    )


class _Patient(NamedTuple):
    body: Body | None
    metal: Implant | None
    made_of: Material


class _Shown(NamedTuple):
    image: Tensor
    """(H, W)."""
    is_valid: Tensor
    """(H, W) bool."""


def exposed(
    thickness: Tensor,
    exposure: Exposure,
    generator: torch.Generator,
    views: Sequence[View] | None = None,
    real: RealBody | None = None,
) -> tuple[Tensor, Tensor]:
    """Attenuation of any scale (N, H, W) and what of it counts, (N, H, W) bool.

    Args:
        thickness: (N, H, W) mm of cortical bone.
        exposure: How much of each effect.
        generator: Of all that is drawn, on the CPU, as the thickness.
        views: The true cameras of one patient's images, about the isocentre; by default each
            image is a frontal one of a patient of its own.
        real: The body of a person, which the patient in `views` has.
    """
    if views is None:
        frontal = view(*thickness.shape[1:])
        shown = [
            _shown(
                bone,
                _patient(bone[None], [frontal], exposure, generator),
                frontal,
                exposure,
                generator,
            )
            for bone in thickness
        ]
    else:
        patient = _patient(thickness, views, exposure, generator, real)
        shown = [
            _shown(bone, patient, seen_by, exposure, generator)
            for bone, seen_by in zip(thickness, views, strict=True)
        ]
    return torch.stack([one.image for one in shown]), torch.stack([one.is_valid for one in shown])


def _patient(
    thickness: Tensor,
    views: Sequence[View],
    exposure: Exposure,
    generator: torch.Generator,
    real: RealBody | None = None,
) -> _Patient:
    u = torch.rand(2, generator=generator).tolist()
    implant = metal(generator) if u[0] < exposure.implants else None
    around = None
    if exposure.soft_mm:
        bones = extent(thickness, views)
        around = body(exposure.soft_mm, exposure.lumps, generator, bones)
        if real is not None:
            around = around._replace(real=placed(real, bones, generator))
    return _Patient(around, implant, METALS[int(u[1] * len(METALS))])


def _shown(
    bone: Tensor, patient: _Patient, seen_by: View, exposure: Exposure, generator: torch.Generator
) -> _Shown:
    room = beam([seen_by])
    lengths = _lengths(bone, patient, seen_by, room)
    if float(torch.rand(1, generator=generator)) < exposure.markers:
        lengths[Material.LEAD] = _letter(bone.shape, generator)
    stacked = torch.stack(list(lengths.values()))[None]
    acquisition = _acquisition(stacked, list(lengths), room, exposure, generator)
    light = _light(bone.shape, exposure, generator)
    signal = acquired(
        stacked,
        list(lengths),
        room,
        [acquisition],
        generator if exposure.noise else None,
        light=light,
    )
    is_valid = torch.ones_like(bone, dtype=torch.bool) if light is None else light[0] > IN_LIGHT
    return _Shown(_display(signal, is_valid, exposure, generator), is_valid)


def _lengths(bone: Tensor, patient: _Patient, seen_by: View, room: Beam) -> dict[Material, Tensor]:
    """(H, W) mm of each material; what is harder takes the place of what is softer."""
    lengths = {Material.CORTICAL_BONE: bone}
    if patient.metal is not None:
        hard = mesh_thickness(patient.metal.vertices, patient.metal.faces, room)[0].float()
        lengths = {Material.CORTICAL_BONE: (bone - hard).clamp(min=0), patient.made_of: hard}
    if patient.body is not None:
        hard = torch.stack(list(lengths.values())).sum(dim=0)
        soft = soft_tissue(patient.body, seen_by)
        lengths[Material.SOFT_TISSUE] = (soft.muscle - hard).clamp(min=0)
        lengths[Material.FAT] = (soft.fat - (hard - soft.muscle).clamp(min=0)).clamp(min=0)
    return lengths


def _acquisition(
    lengths: Tensor,
    materials: list[Material],
    room: Beam,
    exposure: Exposure,
    generator: torch.Generator,
) -> Acquisition:
    """A room whose exposure control ends the exposure by what is counted behind the body."""
    u = torch.rand(6, generator=generator).tolist()
    blur_mm = exposure.blur_pixels * u[1] * float(pitches(room))
    enlarged = float(source_to_detectors(room) / source_to_isocentres(room))
    middle = [slice(count // 4, -(count // 4), EVERY) for count in lengths.shape[2:]]
    per_mm = linear_attenuation(materials, np.array([BEHIND_KEV]))[:, 0]
    depth = torch.einsum("m,nmhw->nhw", per_mm, lengths[:, :, *middle]).median().clamp(max=9)
    behind = (exposure.noise * (0.1 + 0.9 * u[2])) ** -2 if exposure.noise else 0.0
    return Acquisition(
        kvp=KVP + exposure.voltage * (2 * u[0] - 1),
        photons=behind * float(depth.exp()),
        scatter_ratio=exposure.scatter * u[3],
        scatter_reach_mm=35 + 60 * u[4],
        # the share of the detector is small: it takes the noise away with the detail
        focus_mm=0.9 * blur_mm * FULL_WIDTH_PER_SIGMA / (enlarged - 1),
        detector_blur_mm=0.4 * blur_mm,
    )


def _light(size: torch.Size, exposure: Exposure, generator: torch.Generator) -> Tensor | None:
    """(1, H, W) share of the beam: each border loses some, half of the time nothing."""
    u = torch.rand(10, generator=generator).tolist()
    lost = [exposure.collimation * max(0.0, 2 * u[n] - 1) * u[n + 4] for n in range(4)]
    if not any(lost):
        return None
    rows, columns = size
    edges = [
        lost[0] * rows if lost[0] else -OPEN,
        (1 - lost[1]) * rows if lost[1] else OPEN,
        lost[2] * columns if lost[2] else -OPEN,
        (1 - lost[3]) * columns if lost[3] else OPEN,
    ]
    return collimated(
        (rows, columns),
        torch.tensor([edges]) - 0.5,
        turn_deg=4 * (u[8] - 0.5),
        penumbra_px=0.3 + u[9],
    )


def _letter(size: torch.Size, generator: torch.Generator) -> Tensor:
    """(H, W) mm of lead near the left or the right border."""
    u = torch.rand(6, generator=generator).tolist()
    rows, columns = size
    height = (0.04 + 0.05 * u[0]) * rows
    aside = (0.03 + 0.1 * u[1]) * columns
    return lettered(
        (rows, columns),
        "LR"[int(2 * u[2])],
        centre=(u[3] * rows, aside if u[4] < 0.5 else columns - 1 - aside),
        height_px=height,
        turn_deg=30 * (u[5] - 0.5),
    )


def _display(
    signal: Tensor, is_valid: Tensor, exposure: Exposure, generator: torch.Generator
) -> Tensor:
    """(H, W) as the console shows it, bone light; the plain logarithm without any display."""
    if not exposure.gamma:
        return -torch.log(signal[0].clamp(min=1e-5))
    u = torch.rand(5, generator=generator).tolist()
    exponent = torch.exp(exposure.gamma * torch.randn(1, generator=generator))
    attenuation = -torch.log(signal.clamp(min=1e-5))
    low, high = percentiles(attenuation, 0.005, 0.995, is_valid[None])[0].tolist()
    # wider than what is there, or so narrow that the brightest and the darkest are cut off
    below, above = ((high - low) * (0.25 * u[n] - 0.02) for n in range(2))
    grey = presented(
        signal,
        window=torch.tensor([[low - below, high + above]]),
        contrast=2.0 * u[2] if u[3] < 0.5 else 0.0,
        sharpening=exposure.sharpening * max(0.0, 2 * u[4] - 1),
    )
    # rounding may leave the darkest a little below zero
    return grey[0].clamp(min=0) ** exponent
