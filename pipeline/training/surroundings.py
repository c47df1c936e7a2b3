"""What surrounds the bones of a patient: a body with muscles and gas, and now and then metal.

A patient is drawn once, in three dimensions, LPS mm about the isocentre, and then seen by every
camera: all radiographs of one patient show the same body and the same implant. The bodies are of
closed form, with the extent and the shadow of their originals, or those of real people. What is
known of the bones is how far they reach, so that they lie within the skin, and that regions are
right-sided, so that the midline lies towards +x.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from pipeline.beam import Beam, beam, towards_pixels
from pipeline.camera import camera
from pipeline.implants import Implant, hip_stem, moved, screw, tube, united
from pipeline.physics import blurred
from pipeline.projection import binned
from pipeline.tissue import ellipsoid_spans, united_length
from pipeline.training.extents import Extent
from pipeline.training.posing import rotation
from pipeline.training.real_bodies import Placed, lengths
from pipeline.types import View, ViewName

SID, SOD = 1150.0, 950.0
FIELD_MM = 300.0
"""What an image of any region shows at the isocentre."""
COARSE = 4
"""Soft tissue has no edge as sharp as a pixel: one ray for so many pixels, squared."""
MUSCLES, BUBBLES, LUMPS = 4, 3, 24
OUTWARDS_MM, INWARDS_MM = (75.0, 160.0), (75.0, 275.0)
"""From the isocentre to the skin of its own side, and to that beyond the midline."""
SKIN_MM = (12.0, 45.0)
"""What covers bones at least, on each side."""
UPRIGHT = 0.3
"""A body leans by so much of what its muscles do: it must not lean off its bones."""
UNEVEN = 0.3
"""Of a real body has folds and layers of its own: so much of what is drawn comes on top."""
LUMP_MM = (15.0, 60.0)
"""Standard deviations: from a fold of the skin to a layer of fat."""


class Lumps(NamedTuple):
    """What is denser or less dense than its surroundings, as Gaussians in space."""

    centres: Tensor
    """(L, 3) LPS mm."""
    sigmas: Tensor
    """(L,) mm."""
    heights: Tensor
    """(L,) share of soft tissue that is added in the middle; below 0, taken away."""


class Body(NamedTuple):
    """A patient without bones."""

    centres: Tensor
    """(1 + `MUSCLES` + `BUBBLES`, 3) of ellipsoids, LPS mm."""
    half_axes: Tensor
    """(1 + `MUSCLES` + `BUBBLES`, 3, 3) in rows, mm."""
    lumps: Lumps
    real: Placed | None = None
    """Of a real person, in the place of the ellipsoids of body and muscles."""


class SoftTissue(NamedTuple):
    """(H, W) mm along each ray."""

    muscle: Tensor
    fat: Tensor


def view(rows: int, columns: int) -> View:
    """The camera of the frame in which surroundings are drawn."""
    return camera(
        ViewName.AP,
        source_to_detector=SID,
        source_to_patient=SOD,
        row_spacing=FIELD_MM * SID / SOD / rows,
        column_spacing=FIELD_MM * SID / SOD / columns,
        rows=rows,
        columns=columns,
    )


def body(
    deep_mm: float,
    lumps: float,
    generator: torch.Generator,
    bones: Extent | None = None,
) -> Body:
    """A body of fat with muscles and gas in it, whose skin may be seen on either side.

    Args:
        deep_mm: Largest thickness from front to back; from side to side it may have more.
        lumps: Standard deviation of the heights of folds and layers, at most.
        generator: Of all that is drawn.
        bones: What the body is around; it is as thick as these need.
    """
    u = torch.rand(6, generator=generator).tolist()
    cover = SKIN_MM[0] + (SKIN_MM[1] - SKIN_MM[0]) * torch.rand(4, generator=generator)
    # more narrow ones: of a limb, or of a pelvis that ends beyond the image
    across = torch.tensor([-_share(OUTWARDS_MM, u[1]), _share(INWARDS_MM, u[3] ** 2)])
    deep = deep_mm * (0.55 + 0.45 * u[0]) / 2
    # more of it lies behind the bones of a pelvis than before them
    along = deep * (0.6 * u[5] - 0.2) + torch.tensor([-deep, deep])
    low = torch.stack([across[0], along[0]])
    high = torch.stack([across[1], along[1]])
    if bones is not None:
        low = torch.minimum(low, bones.low - cover[:2])
        high = torch.maximum(high, bones.high + cover[2:])
    half = torch.cat([(high - low) / 2, torch.tensor([400 + 400 * u[2]])])
    middle = torch.cat([(high + low) / 2, torch.zeros(1)])
    centres, half_axes = _ellipsoids(half, middle, generator)
    return Body(centres, half_axes, _lumps(half, centres[0], lumps * u[4], generator))


def soft_tissue(of: Body, seen_by: View) -> SoftTissue:
    """The body along each ray of a camera."""
    rows, columns = seen_by.rows, seen_by.columns
    coarsely = binned(seen_by, min(COARSE, rows, columns))
    coarse = beam([coarsely])
    spans = ellipsoid_spans(of.centres, of.half_axes, coarse)
    body_spans, muscle_spans, gas_spans = spans.split((1, MUSCLES, BUBBLES))
    whole, gas = (
        (each[..., 1] - each[..., 0]).sum(dim=0).float() for each in (body_spans, gas_spans)
    )
    lumps = lump_length(of.lumps, coarse)
    if of.real is None:
        muscles = united_length(muscle_spans).float()
    else:
        muscles, fat = lengths(of.real, coarsely)[:, None]
        whole, lumps = muscles + fat, UNEVEN * lumps
    whole = (whole + lumps - gas).clamp(min=0)
    muscle = torch.minimum(whole, muscles)
    # the edge of an ellipsoid is steep: without the blur the coarse rays would be seen in it
    both = blurred(torch.cat([muscle, whole - muscle]), 0.7)[:, None]
    return SoftTissue(*interpolate(both, size=(rows, columns), mode="bilinear")[:, 0])


def lump_length(lumps: Lumps, beams: Beam) -> Tensor:
    """(N, H, W) mm of soft tissue that the lumps add to each ray, below 0 where they take away."""
    along = normalize(towards_pixels(beams), dim=-1)
    length = torch.zeros_like(along[..., 0])
    for centre, sigma, height in zip(*lumps, strict=True):
        away = (centre - beams.source)[:, None, None]
        square = away.square().sum(dim=-1) - (away * along).sum(dim=-1).square()
        # the integral of a Gaussian along a line that passes at this distance
        length += height * sigma * math.sqrt(2 * math.pi) * torch.exp(-square / (2 * sigma**2))
    return length.float()


def metal(generator: torch.Generator) -> Implant:
    """A stem, a plate with its screws, or a nail, somewhere about the isocentre."""
    kind, about, lean = torch.rand(3, generator=generator).tolist()
    made = (_stem, _plate, _nail)[int(3 * kind)]()
    turn = rotation(torch.tensor([0.0, 0.7 * (lean - 0.5), 0.0]))
    affine = torch.eye(4)
    affine[:3, :3] = turn @ rotation(torch.tensor([0.0, 0.0, 2 * math.pi * about]))
    affine[:3, 3] = 0.25 * FIELD_MM * (torch.rand(3, generator=generator) - 0.5)
    return moved(made, affine)


def _ellipsoids(body: Tensor, middle: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Centres (K, 3) and half axes (K, 3, 3) of a body, its muscles and its bubbles of gas.

    Args:
        body: (3,) half axes, mm.
        middle: (3,) of the body, mm.
        generator: Of all that is drawn.
    """
    wide, deep, _ = body.tolist()
    muscles = torch.tensor([50.0, 0.6 * deep, 250.0])
    muscles = muscles * (0.4 + 0.6 * torch.rand(MUSCLES, 3, generator=generator))
    bubbles = 0.3 * deep * torch.rand(BUBBLES, 3, generator=generator)
    half = torch.cat([body[None], muscles, bubbles])
    away = torch.tensor([1.6 * wide, 0.8 * deep, FIELD_MM])
    centres = away * (torch.rand(len(half), 3, generator=generator) - 0.5)
    centres[0] = 0
    centres += middle
    lean = torch.zeros(len(half), 3)
    lean[:, 1] = 0.2 * torch.randn(len(half), generator=generator)
    lean[0] *= UPRIGHT
    # rows are the axes, so each is turned from the left by the transpose
    return centres, torch.diag_embed(half) @ rotation(lean).transpose(-1, -2)


def _lumps(half: Tensor, middle: Tensor, most: float, generator: torch.Generator) -> Lumps:
    """Lumps within a body of these half axes (3,) about its middle (3,)."""
    away = torch.tensor([1.6, 1.6, 0.0]) * half + torch.tensor([0.0, 0.0, FIELD_MM])
    centres = middle + away * (torch.rand(LUMPS, 3, generator=generator) - 0.5)
    least, widest = LUMP_MM
    sigmas = least + (widest - least) * torch.rand(LUMPS, generator=generator)
    return Lumps(centres, sigmas, most * torch.randn(LUMPS, generator=generator))


def _share(of: tuple[float, float], share: float) -> float:
    return of[0] + (of[1] - of[0]) * share


def _stem() -> Implant:
    head, junction, distal = torch.tensor([[38.0, 0.0, 70.0], [0.0, 0.0, 40.0], [0.0, 0.0, -80.0]])
    return united(hip_stem(head, junction, distal))


def _plate() -> Implant:
    """A bar of twice its own width along the bone, and five screws across it."""
    ends = torch.tensor([[0.0, 0.0, -60.0], [0.0, 0.0, 60.0]])
    bars = [tube(ends + torch.tensor([0.0, y, 0.0]), torch.tensor([2.8]), 4) for y in (-4, 4)]
    heights = torch.arange(-50.0, 51.0, 25.0)
    screws = [screw(torch.tensor([3.0, 0.0, z]), torch.tensor([38.0, 0.0, z])) for z in heights]
    return united([*bars, *screws])


def _nail() -> Implant:
    ends = torch.tensor([[0.0, 0.0, -120.0], [0.0, 0.0, 60.0]])
    lag = screw(torch.tensor([-25.0, 0.0, 10.0]), torch.tensor([45.0, 0.0, 70.0]), radius=5.0)
    return united([tube(ends, torch.tensor([5.5])), lag])
