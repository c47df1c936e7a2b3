"""What surrounds the bones of an exposure: a body with muscles and gas, and now and then metal.

Bodies of closed form, drawn in the frame of one exposure: x across the image, y along the central
ray, z up, mm about the isocentre. They have the extent and the shadow of their originals; which
bone stands where is not known here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pipeline.beam import Beam, beam
from pipeline.camera import camera
from pipeline.implants import Implant, hip_stem, moved, screw, tube, united
from pipeline.physics import blurred
from pipeline.thickness import thickness
from pipeline.tissue import ellipsoid_spans, united_length
from pipeline.training.posing import rotation
from pipeline.types import View, ViewName

SID, SOD = 1150.0, 950.0
FIELD_MM = 300.0
"""What an image of any region shows at the isocentre."""
COARSE = 4
"""Soft tissue has no edge as sharp as a pixel: one ray for so many pixels, squared."""
MUSCLES, BUBBLES = 4, 3


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


def soft_tissue(
    size: tuple[int, int], deep_mm: float, lumps: float, generator: torch.Generator
) -> SoftTissue:
    """A body of fat with muscles and gas in it, which may end within the image.

    Args:
        size: Rows and columns of the image.
        deep_mm: Largest thickness of the body along the central ray.
        lumps: Depth of folds and layers, as a share of the thickness.
        generator: Of all that is drawn.
    """
    u = torch.rand(5, generator=generator).tolist()
    depth = deep_mm * (0.3 + 0.7 * u[0])
    body = torch.tensor([0.5 * FIELD_MM * (0.6 + 1.4 * u[1]), depth / 2, 250 + 350 * u[2]])
    aside = 0.3 * FIELD_MM * (u[3] - 0.5)
    coarse = beam([view(*(max(1, count // COARSE) for count in size))])
    parts = _ellipsoids(body, aside, generator)
    spans = ellipsoid_spans(*parts, coarse)
    body_spans, muscle_spans, gas_spans = spans.split((1, MUSCLES, BUBBLES))
    whole, gas = (
        (each[..., 1] - each[..., 0]).sum(dim=0).float() for each in (body_spans, gas_spans)
    )
    muscles = united_length(muscle_spans).float()
    extent = whole.shape[1:]
    uneven = _smooth_noise(extent, 5, generator) + 0.5 * _smooth_noise(extent, 13, generator)
    whole = (whole * (1 + lumps * u[4] * uneven) - gas).clamp(min=0)
    muscle = torch.minimum(whole, muscles)
    # the edge of an ellipsoid is steep: without the blur the coarse rays would be seen in it
    both = blurred(torch.cat([muscle, whole - muscle]), 0.7)[:, None]
    return SoftTissue(*interpolate(both, size=size, mode="bilinear")[:, 0])


def metal_thickness(room: Beam, generator: torch.Generator) -> Tensor:
    """(H, W) mm of a stem, a plate with its screws, or a nail, somewhere about the isocentre."""
    kind, about, lean = torch.rand(3, generator=generator).tolist()
    made = (_stem, _plate, _nail)[int(3 * kind)]()
    turn = rotation(torch.tensor([0.0, 0.7 * (lean - 0.5), 0.0]))
    affine = torch.eye(4)
    affine[:3, :3] = turn @ rotation(torch.tensor([0.0, 0.0, 2 * math.pi * about]))
    affine[:3, 3] = 0.25 * FIELD_MM * (torch.rand(3, generator=generator) - 0.5)
    placed = moved(made, affine)
    return thickness(placed.vertices, placed.faces, room)[0].float()


def _ellipsoids(body: Tensor, aside: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Centres (K, 3) and half axes (K, 3, 3) of a body, its muscles and its bubbles of gas.

    Args:
        body: (3,) half axes, mm.
        aside: Of its middle, across the image.
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
    centres[:, 0] += aside
    lean = torch.zeros(len(half), 3)
    lean[:, 1] = 0.2 * torch.randn(len(half), generator=generator)
    # rows are the axes, so each is turned from the left by the transpose
    return centres, torch.diag_embed(half) @ rotation(lean).transpose(-1, -2)


def _smooth_noise(size: torch.Size, knots: int, generator: torch.Generator) -> Tensor:
    """(H, W) deviation about 1."""
    coarse = torch.randn(1, 1, knots, knots, generator=generator)
    wide: Tensor = interpolate(coarse, size=tuple(size), mode="bicubic", align_corners=True)
    return wide[0, 0]


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
