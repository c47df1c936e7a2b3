"""Lifting networks whose answer is known by hand: octahedra, whatever the radiographs show."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch

from pipeline.camera import camera
from pipeline.models.lifting import Lifting, Shape
from pipeline.types import Code, View, ViewName
from pipeline.weights import Closer, Limits, Trained, TrainedBone, described, export

Triple = tuple[float, float, float]
SHARPNESS = 4.0
"""1/mm: within less than a millimetre of its middle planes an octahedron is rounded."""
LENIENT = Limits(outline_agreement=0.0, own_error_mm=10.0, unseen=1.0)
"""An octahedron explains no radiograph."""
FEMUR = TrainedBone("Femur", Code("71341001", "SCT", "Femur"))
TIBIA = TrainedBone("Tibia", Code("12611008", "SCT", "Tibia"))


def a_view(name: ViewName, **angles: float) -> View:
    """140 x 140 pixels of 2 mm, the source 1150 mm from them and 950 mm from the isocentre."""
    return camera(
        name,
        source_to_detector=1150.0,
        source_to_patient=950.0,
        row_spacing=2.0,
        column_spacing=2.0,
        rows=140,
        columns=140,
        **angles,
    )


def octahedra(
    *bones: tuple[Triple, float],
    cube_mm: float = 160.0,
    error: float = 0.7,
    sized_as: Shape | None = None,
) -> Lifting:
    """A network that sees an octahedron for each (centre, half its diagonal), mm.

    Its distances are exact: (|x| + |y| + |z| - r) / sqrt(3) about the centre of a face. Each
    absolute value is made of two units, silu(k x) + silu(-k x), that pass the second layer on the
    straight part of its silu.
    """
    count, straight = len(bones), 50.0
    names = tuple(f"bone {n}" for n in range(count))
    small = Shape(names, cube_mm, 32, 8, planar=(8, 16), spatial=(8, 16), hidden=6 * count)
    shape = replace(sized_as, bones=names, cube_mm=cube_mm) if sized_as else small
    torch.manual_seed(0)
    net = Lifting(shape).eval()
    first, second, last = net.head[0], net.head[2], net.head[4]
    with torch.no_grad():
        for layer in (net.coarse, first, second, last):
            layer.weight.zero_()
            layer.bias.zero_()
        net.coarse.bias.fill_(-1.0)
        second.weight.copy_(torch.eye(shape.hidden))
        second.bias.fill_(straight)
        for number, (centre, radius) in enumerate(bones):
            for axis in range(3):
                for sign, unit in ((1.0, 6 * number + 2 * axis), (-1.0, 6 * number + 2 * axis + 1)):
                    first.weight[unit, axis - 3] = sign * SHARPNESS * cube_mm / 2
                    first.bias[unit] = -sign * SHARPNESS * centre[axis]
            units = slice(6 * number, 6 * number + 6)
            scale = 1 / math.sqrt(3)
            last.weight[3 * number + 1, units] = scale / SHARPNESS
            last.bias[3 * number + 1] = -scale * (radius + 6 * straight / SHARPNESS)
            last.bias[3 * number + 2] = math.log(error)
    return net


def shipped(
    net: Lifting,
    folder: Path,
    *bones: TrainedBone,
    region: str = "hip",
    limits: Limits | None = None,
    closer: Closer | None = None,
) -> Trained:
    """The network as a weights file of `folder`."""
    told = described(region, bones or (FEMUR,), limits or LENIENT, "made by hand", closer)
    return export(net, folder / f"{region}.safetensors", told)
