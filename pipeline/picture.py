"""One picture of the demo: the key image of a result whose truth is known, and how near it came.

It is a preview for people, never a measurement, and says so. The same result gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from pipeline import drawing
from pipeline.drawing import Box
from pipeline.panels import Sheet, bone_panels, radiograph_panels
from pipeline.render import simplified
from pipeline.types import Bone, Code, Mesh, Radiograph, Side, Volume

WIDTH, HEIGHT = 1920, 1080
STRIP, MARGIN, GAP = 44, 44, 28
LEFT_SHARE = 0.48
MAX_FACES = 50_000
BONE = Code("272673000", "SCT", "Bone")


def compose(
    radiographs: Sequence[Radiograph],
    mesh: Mesh,
    *,
    dice: float | None = None,
    assd: float | None = None,
    title: str = "Bones from radiographs",
) -> bytes:
    """A PNG of the radiographs, the reprojected outline of `mesh` over them, and `mesh` lit.

    Args:
        radiographs: One to four, shown as they are stored.
        mesh: The surface of the bones, LPS mm.
        dice: Overlap with the truth, where that is known.
        assd: Average symmetric surface distance to the truth, mm.
        title: The headline.
    """
    canvas = Image.new("RGB", (WIDTH, HEIGHT), drawing.GROUND)
    assumed = tuple(one for radiograph in radiographs for one in radiograph.assumptions)
    sheet = Sheet(canvas, ImageDraw.Draw(canvas), HEIGHT / 1080, assumed)
    drawing.caution_strip(canvas, Box(0, 0, WIDTH, STRIP))
    drawing.write(canvas, (MARGIN, STRIP + 60), title, 42, drawing.INK)
    subtitle = f"{_counted(len(radiographs))} in, one closed surface out. Coloured line: outline of"
    words = f"{subtitle} the surface as each view would see it."
    drawing.write(canvas, (MARGIN, STRIP + 98), words, 22, drawing.QUIET)
    top, bottom = STRIP + 122, HEIGHT - 30
    width = int((WIDTH - 2 * MARGIN) * LEFT_SHARE) - GAP
    bones = simplified((_bone(mesh),), MAX_FACES)
    left = Box(MARGIN, top, width, bottom - top)
    end = radiograph_panels(sheet, left, radiographs, bones)
    _figures(canvas, Box(MARGIN, end + 34, width, 0), mesh, dice, assd)
    x = left.right + GAP
    bone_panels(sheet, Box(x, top, WIDTH - MARGIN - x, bottom - top), bones)
    file = BytesIO()
    canvas.save(file, format="PNG", compress_level=6)
    return file.getvalue()


def _bone(mesh: Mesh) -> Bone:
    nothing = Volume(np.zeros((1, 1, 1), np.float32), np.eye(4))
    return Bone("Bone", BONE, Side.UNPAIRED, nothing, mesh)


def _counted(radiographs: int) -> str:
    names = {1: "One radiograph", 2: "Two radiographs"}
    return names.get(radiographs, f"{radiographs} radiographs")


def _figures(
    canvas: Image.Image, box: Box, mesh: Mesh, dice: float | None, assd: float | None
) -> None:
    """A few numbers in a row, each over its name."""
    shown = [
        (f"{dice:.2f}" if dice is not None else "", "Dice against the phantom"),
        (f"{assd:.1f} mm" if assd is not None else "", "mean surface distance"),
        (f"{len(mesh.faces):,}".replace(",", " "), "triangles, closed"),
    ]
    shown = [(value, name) for value, name in shown if value]
    step = box.width // max(3, len(shown))
    for number, (value, name) in enumerate(shown):
        x = box.x + number * step
        drawing.write(canvas, (x, box.y), value, 46, drawing.INK, "lt")
        drawing.write(canvas, (x, box.y + 58), name, 20, drawing.QUIET, "lt")
