"""One picture of a result: the radiographs with the outline of the bones, and the bones lit.

It is a preview for people, never a measurement, and says so. The same result gives the same bytes:
the letters are those that Pillow brings along, and nothing asks the system for a font.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.geometry import magnification
from pipeline.render import outline, shaded, silhouette, viewpoint
from pipeline.types import Float, Mesh, Radiograph, View

WARNING = "MODEL FROM RADIOGRAPHS - NOT A CT - research use"

WIDTH, HEIGHT, MARGIN, GAP = 1920, 1020, 56, 20
HEADER, FOOTER = 118, 72
SPLIT = 0.5
"""Share of the width that the radiographs take."""

GROUND = (11, 14, 18)
PANEL = (18, 22, 28)
INK = (226, 231, 236)
QUIET = (128, 140, 152)
LETTER = (190, 200, 210)
OUTLINE = (72, 209, 196)
CAUTION = (240, 178, 92)

DIRECTIONS = (
    ("from the front", (0.0, 1.0, 0.0)),
    ("from the patient's left", (-1.0, 0.0, 0.0)),
    ("oblique, from above", (-0.62, 0.70, -0.36)),
    ("from behind", (0.0, -1.0, 0.0)),
)
"""Caption, and the direction in which one looks, LPS."""
SCALE_BAR_MM = 50.0


@dataclass(frozen=True, slots=True)
class _Box:
    x: int
    y: int
    width: int
    height: int


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
    canvas = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    draw = ImageDraw.Draw(canvas)
    _text(draw, (MARGIN, 42), title, 40, INK)
    subtitle = f"{_counted(len(radiographs))} in, one closed surface out. Outline: the surface"
    _text(draw, (MARGIN, 92), f"{subtitle} as each view would see it.", 20, QUIET)
    left = _Box(MARGIN, HEADER + 32, int((WIDTH - 2 * MARGIN) * SPLIT) - GAP, 0)
    bottom = _radiographs(canvas, left, radiographs, mesh)
    _figures(draw, _Box(left.x, bottom + 34, left.width, 0), mesh, dice, assd)
    right = left.x + left.width + 2 * GAP
    below = HEIGHT - FOOTER - left.y
    _surfaces(canvas, _Box(right, left.y, WIDTH - MARGIN - right, below), mesh)
    draw.line([(MARGIN, HEIGHT - FOOTER), (WIDTH - MARGIN, HEIGHT - FOOTER)], fill=(38, 45, 54))
    _text(draw, (MARGIN, HEIGHT - FOOTER / 2), WARNING, 20, CAUTION, anchor="lm")
    _text(draw, (WIDTH - MARGIN, HEIGHT - FOOTER / 2), "Osteon", 20, QUIET, anchor="rm")
    file = BytesIO()
    canvas.save(file, format="PNG", compress_level=6)
    return file.getvalue()


def _counted(radiographs: int) -> str:
    names = {1: "One radiograph", 2: "Two radiographs"}
    return names.get(radiographs, f"{radiographs} radiographs")


def _radiographs(
    canvas: Image.Image, box: _Box, radiographs: Sequence[Radiograph], mesh: Mesh
) -> int:
    """The radiographs side by side; returns where the tallest of them ends."""
    shown = radiographs[:4]
    width = (box.width - GAP * (len(shown) - 1)) // len(shown)
    bottom = box.y
    for number, radiograph in enumerate(shown):
        view = radiograph.view
        scale = min(width / view.columns, 640 / view.rows)
        size = (round(view.columns * scale), round(view.rows * scale))
        x = box.x + number * (width + GAP) + (width - size[0]) // 2
        cell = _Box(x, box.y, *size)
        canvas.paste(_with_outline(radiograph, mesh, size), (cell.x, cell.y))
        mm_px = scale * magnification(view) / float(np.linalg.norm(_step(view, 1)))
        _annotate(canvas, cell, view, mm_px, f"{view.name}")
        bottom = max(bottom, cell.y + cell.height)
    return bottom


def _with_outline(radiograph: Radiograph, mesh: Mesh, size: tuple[int, int]) -> Image.Image:
    values = radiograph.attenuation[radiograph.is_valid]
    low, high = np.percentile(values, [2, 99.8]) if values.size else (0.0, 1.0)
    shown = np.clip((radiograph.attenuation - low) / max(high - low, 1e-6), 0, 1) ** 1.25
    grey = Image.fromarray(np.round(235 * shown * radiograph.is_valid).astype(np.uint8))
    picture = grey.resize(size, Image.Resampling.LANCZOS).convert("RGB")
    width = max(1, round(2.2 * radiograph.view.columns / size[0]))
    rim = outline(silhouette(mesh, radiograph.view), width)
    line = Image.fromarray(255 * rim.astype(np.uint8)).resize(size, Image.Resampling.BOX)
    picture.paste(Image.new("RGB", size, OUTLINE), (0, 0), line)
    return picture


def _surfaces(canvas: Image.Image, box: _Box, mesh: Mesh) -> None:
    """The surface from four directions, all at one scale."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    field = 1.26 * float((high - low).max())
    width, height = (box.width - GAP) // 2, (box.height - 2 * GAP) // 2
    size = min(width, height)
    for number, (caption, towards) in enumerate(DIRECTIONS):
        column, row = number % 2, number // 2
        cell = _Box(box.x + column * (width + GAP), box.y + row * (height + GAP), width, height)
        draw = ImageDraw.Draw(canvas)
        corner = (cell.x + cell.width - 1, cell.y + cell.height - 1)
        draw.rounded_rectangle([(cell.x, cell.y), corner], 10, fill=PANEL)
        view = viewpoint(towards, size_px=size, field_mm=field, centre=(low + high) / 2)
        lit = Image.fromarray(shaded(mesh, view))
        at = (cell.x + (width - size) // 2, cell.y + (height - size) // 2)
        canvas.paste(lit, at, lit)
        _annotate(canvas, cell, view, size / field, caption)


def _annotate(canvas: Image.Image, cell: _Box, view: View, px_per_mm: float, caption: str) -> None:
    """The caption, the letters of the directions, and the scale bar, inside the cell."""
    draw, edge = ImageDraw.Draw(canvas), 14
    middle = (cell.x + cell.width / 2, cell.y + cell.height / 2)
    bottom_left = (cell.x + edge, cell.y + cell.height - edge)
    _text(draw, bottom_left, caption, 17, INK, anchor="ls")
    left, right = _letters(_step(view, 1))
    top, bottom = _letters(_step(view, 0))
    _text(draw, (cell.x + edge, middle[1]), left, 20, LETTER, anchor="lm")
    _text(draw, (cell.x + cell.width - edge, middle[1]), right, 20, LETTER, anchor="rm")
    _text(draw, (middle[0], cell.y + edge), top, 20, LETTER, anchor="mt")
    _text(draw, (middle[0], cell.y + cell.height - edge), bottom, 20, LETTER, anchor="mb")
    end = (cell.x + cell.width - edge, cell.y + cell.height - edge)
    start = (end[0] - SCALE_BAR_MM * px_per_mm, end[1])
    draw.line([start, end], fill=INK, width=2)
    for x in (start[0], end[0]):
        draw.line([(x, end[1] - 5), (x, end[1])], fill=INK, width=2)
    _text(draw, (end[0], end[1] - 10), f"{SCALE_BAR_MM:.0f} mm", 15, INK, anchor="rb")


def _step(view: View, axis: int) -> Float:
    """The way in the patient from one pixel to the next along rows (0) or columns (1)."""
    step: Float = view.patient_from_detector[:3, :3] @ view.detector_from_index[:3, axis]
    return step


def _letters(step: Float) -> tuple[str, str]:
    """What lies at the start and at the end of `step`. Source: PS3.3 C.7.6.1.1.1."""
    axis = int(np.abs(step).argmax())
    start, end = (("R", "L"), ("A", "P"), ("F", "H"))[axis]
    return (start, end) if step[axis] > 0 else (end, start)


def _figures(
    draw: ImageDraw.ImageDraw, box: _Box, mesh: Mesh, dice: float | None, assd: float | None
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
        _text(draw, (box.x + number * step, box.y), value, 44, INK, anchor="lt")
        _text(draw, (box.x + number * step, box.y + 54), name, 18, QUIET, anchor="lt")


def _text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    rgb: tuple[int, int, int],
    anchor: str = "lm",
) -> None:
    """Letters with a thin dark rim, so that they read over bone as well."""
    font = ImageFont.load_default(size)
    draw.text(at, text, font=font, fill=rgb, anchor=anchor, stroke_width=1, stroke_fill=GROUND)
