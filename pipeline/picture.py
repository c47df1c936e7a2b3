"""One picture of the demo: bones whose truth is known, and how near the result came.

It is a preview for people, never a measurement, and says so. The same result gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from pipeline import drawing
from pipeline.drawing import Box
from pipeline.panels import Sheet, bone_panels, coloured, radiograph_panels
from pipeline.render import painted, simplified
from pipeline.types import Bone, Code, Mesh, Radiograph, Side, Volume

WIDTH, HEIGHT = 1920, 1080
STRIP, MARGIN, GAP = 44, 44, 28
TITLE = "Bones from radiographs"
LEFT_SHARE = 0.48
MAX_FACES = 50_000
BONE = Code("272673000", "SCT", "Bone")


@dataclass(frozen=True, slots=True)
class Nearness:
    """How near one bone of the result is to the truth."""

    bone: str
    dice: float
    assd: float
    """Symmetric mean distance of the surfaces, mm."""


def compose(
    radiographs: Sequence[Radiograph], meshes: Sequence[Mesh], found: Sequence[Nearness]
) -> bytes:
    """A PNG of the radiographs, the outlines of the bones over them, and the bones lit.

    Args:
        radiographs: One to four, shown as they are stored.
        meshes: The surface of each bone, LPS mm.
        found: How near each is to the truth.
    """
    canvas = Image.new("RGB", (WIDTH, HEIGHT), drawing.GROUND)
    assumed = tuple(one for radiograph in radiographs for one in radiograph.assumptions)
    sheet = Sheet(canvas, ImageDraw.Draw(canvas), HEIGHT / 1080, assumed)
    drawing.caution_strip(canvas, Box(0, 0, WIDTH, STRIP))
    drawing.write(canvas, (MARGIN, STRIP + 60), TITLE, 42, drawing.INK)
    subtitle = f"{_counted(len(radiographs))} in, closed surfaces out. Coloured lines: outlines of"
    words = f"{subtitle} the surfaces as each view would see them."
    drawing.write(canvas, (MARGIN, STRIP + 98), words, 22, drawing.QUIET)
    top, bottom = STRIP + 122, HEIGHT - 30
    width = int((WIDTH - 2 * MARGIN) * LEFT_SHARE) - GAP
    named = zip(meshes, found, strict=True)
    bones = simplified([_bone(mesh, near.bone) for mesh, near in named], MAX_FACES)
    left = Box(MARGIN, top, width, bottom - top)
    end = radiograph_panels(sheet, left, radiographs, bones)
    _figures(canvas, Box(MARGIN, end + 34, width, 0), found)
    x = left.right + GAP
    surface = painted(coloured(bones))
    bone_panels(sheet, Box(x, top, WIDTH - MARGIN - x, bottom - top), surface)
    file = BytesIO()
    canvas.save(file, format="PNG", compress_level=6)
    return file.getvalue()


def _bone(mesh: Mesh, name: str) -> Bone:
    nothing = Volume(np.zeros((1, 1, 1), np.float32), np.eye(4))
    return Bone(name, BONE, Side.UNPAIRED, nothing, mesh)


def _counted(radiographs: int) -> str:
    names = {1: "One radiograph", 2: "Two radiographs"}
    return names.get(radiographs, f"{radiographs} radiographs")


def _figures(canvas: Image.Image, box: Box, found: Sequence[Nearness]) -> None:
    """A row of numbers for each bone, over their names."""
    for row, near in enumerate(found):
        y = box.y + 92 * row
        shown = (
            (near.bone, "against the truth"),
            (f"{near.dice:.2f}", "Dice"),
            (f"{near.assd:.1f} mm", "mean surface distance"),
        )
        for number, (value, name) in enumerate(shown):
            x = box.x + number * box.width // len(shown)
            drawing.write(canvas, (x, y), value, 40, drawing.INK, "lt")
            drawing.write(canvas, (x, y + 50), name, 20, drawing.QUIET, "lt")
