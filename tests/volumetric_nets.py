"""Volumetric networks whose answer is known by hand: a ball, whatever the radiographs show."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from pipeline.familiar import Familiar, Range, Views
from pipeline.models.pix2vox import Pix2Vox, Pix2VoxShape
from pipeline.stated import Judged, Stated
from pipeline.types import Code
from pipeline.volumetric_weights import TrainedVolumetric, export, file_name
from pipeline.weights import Closer, TrainedBone
from tests.lifting_nets import LENIENT

SHAPE = Pix2VoxShape(
    depth=18, image_size=64, stem=8, heads=(8, 8, 8), decoder=(8, 4), refiner=(), hidden=8
)
"""Of 8 voxels."""
CUBE_MM, RADIUS = 160.0, 50.0
FAMILIAR = Familiar(Views(1, 3), Range(900.0, 1800.0), Range(1.1, 1.4), 45.0, 15.0)
STATED = Stated("none: made by hand", (Judged("2 views", "Femur", 3, "IoU", 0.75),))
OF_HIP = Closer("hip", "Femur", 200.0, False, (5.0, 0.0, -10.0))
"""Where the cube lies about the bone that the lifting network finds."""
TOLD = TrainedVolumetric(
    engine="pix2vox++/F",
    region="proximal_femur",
    bone=TrainedBone("Femur", Code("71341001", "SCT", "Femur"), error_factor=2.0),
    shape={},
    grid=8,
    cube_mm=CUBE_MM,
    image_size=64,
    level=0.5,
    familiar=FAMILIAR,
    limits=replace(LENIENT, own_error_mm=50.0),
    trained="made by hand",
    within=OF_HIP,
    stated=STATED,
)


def ball() -> Tensor:
    """(8, 8, 8) share of each voxel within the ball about the centre of the cube."""
    along = ((torch.arange(64) + 0.5) / 64 - 0.5) * CUBE_MM
    z, y, x = torch.meshgrid(along, along, along, indexing="ij")
    inside = ((x**2 + y**2 + z**2).sqrt() < RADIUS).float()
    return torch.nn.functional.avg_pool3d(inside[None], 8)[0]


@cache
def of_balls() -> Pix2Vox:
    """Sees the ball in everything: its encoder says the same of every image."""
    torch.manual_seed(0)
    net = Pix2Vox(SHAPE).eval()
    last = [layer for layer in net.encoder if isinstance(layer, torch.nn.BatchNorm2d)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.rand(len(last.bias)) + 0.5)
        cells = net.encoder(torch.zeros(1, 3, 64, 64))
    net.decoder.train()
    optimiser = torch.optim.Adam(net.decoder.parameters(), lr=0.1)
    for _ in range(300):
        optimiser.zero_grad()
        binary_cross_entropy(net.decoder(cells)[0, -1], ball()).backward()
        optimiser.step()
    return net.eval()


def shipped(folder: Path, told: TrainedVolumetric = TOLD, **changes: object) -> TrainedVolumetric:
    """The network of balls as a weights file of `folder`, `told` with these changes."""
    described = replace(told, **changes)  # type: ignore[arg-type]  # fields of the header
    return export(of_balls(), folder / file_name(described.region, described.engine), described)
