"""The panels of the key image: radiographs with outlines, and the bones from four sides.

Each panel has a caption in a line of its own, so that no letter of direction is ever covered.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline import drawing
from pipeline.colours import colours
from pipeline.drawing import Box, Outlined
from pipeline.render import Painted, shaded, viewpoint
from pipeline.types import Assumption, Bone, Radiograph, View
from pipeline.views import labels
from pipeline.wording import ORIENTATION_ASSUMED, is_assumed, is_scale_assumed

TITLE, STRIP = 34, 34
"""Pixels at 1080 rows: of a caption, of the scale below a radiograph."""
MOST_RADIOGRAPHS = 4
MOST_HEIGHT = 0.54
"""Of the column; words need the rest."""
THREADS = 2

DIRECTIONS = (
    ("from the front", (0.0, 1.0, 0.0)),
    ("from behind", (0.0, -1.0, 0.0)),
    ("from the patient's left", (-1.0, 0.0, 0.0)),
    ("from the patient's right", (1.0, 0.0, 0.0)),
)
"""Caption, and the direction in which one looks, LPS."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page while it is drawn."""

    canvas: Image.Image
    draw: ImageDraw.ImageDraw
    unit: float
    """Pixels of the page for each pixel of a page that is 1080 high."""
    assumptions: tuple[Assumption, ...]

    def px(self, size: float) -> int:
        """A size on this page."""
        return max(1, round(size * self.unit))

    @property
    def scale_assumed(self) -> bool:
        """Whether every length must be said to be assumed."""
        return is_scale_assumed(self.assumptions)


def coloured(bones: Sequence[Bone]) -> tuple[Bone, ...]:
    """The bones as they are lit: one in the colour of bone, several tinted like their outlines."""
    if len(bones) < 2:
        return tuple(bones)
    return tuple(
        replace(bone, rgb=(_half(bone.rgb[0], r), _half(bone.rgb[1], g), _half(bone.rgb[2], b)))
        for bone, (r, g, b) in zip(bones, colours(bones), strict=True)
    )


def _half(one: int, other: int) -> int:
    return (one + other) // 2


def radiograph_panels(
    sheet: Sheet, box: Box, radiographs: Sequence[Radiograph], bones: Sequence[Bone]
) -> int:
    """The radiographs, at most `MOST_HEIGHT` of the box; returns where they end."""
    shown, gap = radiographs[:MOST_RADIOGRAPHS], sheet.px(14)
    if not shown:
        return box.y
    layouts = [_laid_out(sheet, box, shown, across) for across in range(1, len(shown) + 1)]
    cells = max(layouts, key=lambda cells: min(c.columns * c.rows for c in cells))
    with ThreadPoolExecutor(THREADS) as pool:
        outlined = [
            Outlined(bone.mesh, rgb) for bone, rgb in zip(bones, colours(bones), strict=True)
        ]
        pictures = pool.map(
            lambda one, cell: drawing.with_outlines(one, outlined, cell.columns, cell.rows),
            shown,
            cells,
        )
        named = zip(shown, labels(shown), cells, pictures, strict=True)
        for radiograph, label, cell, picture in named:
            _radiograph(sheet, radiograph, label, cell, picture)
    return max(cell.box.bottom for cell in cells) + gap


@dataclass(frozen=True, slots=True)
class _Cell:
    """Where a radiograph goes, and how many pixels it has there."""

    box: Box
    columns: int
    rows: int


def _laid_out(sheet: Sheet, box: Box, shown: Sequence[Radiograph], across: int) -> list[_Cell]:
    """The cells of a grid with `across` radiographs in a row."""
    gap, frame = sheet.px(14), sheet.px(TITLE) + sheet.px(STRIP)
    down = -(-len(shown) // across)
    width = (box.width - gap * (across - 1)) // across
    room = int(MOST_HEIGHT * box.height - gap * (down - 1)) // down - frame
    sizes = [drawing.size_within(one.view, width, max(8, room)) for one in shown]
    height = frame + max(rows for _, rows in sizes)
    return [
        _Cell(
            Box(
                box.x + number % across * (width + gap),
                box.y + number // across * (height + gap),
                width,
                height,
            ),
            columns,
            rows,
        )
        for number, (columns, rows) in enumerate(sizes)
    ]


def _radiograph(
    sheet: Sheet, radiograph: Radiograph, label: str, cell: _Cell, picture: Image.Image
) -> None:
    """The picture with its caption above and its scale below: neither covers the image."""
    box, title, strip = cell.box, sheet.px(TITLE), sheet.px(STRIP)
    _panel(sheet, box, _caption(sheet, radiograph, label), sheet.px(18))
    x = box.x + (box.width - cell.columns) // 2
    y = box.y + title + (box.height - title - strip - cell.rows) // 2
    sheet.canvas.paste(picture, (x, y))
    view = drawing.resampled(radiograph.view, cell.columns, cell.rows)
    drawing.orientation(sheet.canvas, Box(x, y, cell.columns, cell.rows), view, sheet.px(24))
    below = Box(box.x, box.bottom - strip, box.width, strip)
    scale, size = drawing.px_per_mm(view), sheet.px(16)
    limit = 0.4 * cell.columns
    drawing.scale_bar(sheet.canvas, below, scale, size, limit, is_assumed=sheet.scale_assumed)


def _caption(sheet: Sheet, radiograph: Radiograph, label: str) -> str:
    uid = radiograph.sop_instance_uid
    assumed = is_assumed(sheet.assumptions, ORIENTATION_ASSUMED, uid)
    return f"{label}, directions assumed" if assumed else f"{label} radiograph"


def _panel(sheet: Sheet, cell: Box, caption: str, size: int) -> None:
    """A panel whose caption has a line of its own, so that it never meets a letter."""
    corner = (cell.right - 1, cell.bottom - 1)
    sheet.draw.rounded_rectangle([(cell.x, cell.y), corner], sheet.px(6), fill=drawing.PANEL)
    pad = sheet.px(10)
    words = drawing.cut(caption, size, cell.width - 2 * pad)
    drawing.write(sheet.canvas, (cell.x + pad, cell.y + sheet.px(23)), words, size, drawing.INK)


def bone_panels(sheet: Sheet, box: Box, surface: Painted) -> None:
    """The bones from four sides, all at one scale."""
    gap, title = sheet.px(14), sheet.px(TITLE)
    width, height = (box.width - gap) // 2, (box.height - gap) // 2
    inner = Box(0, 0, width, height).inset(0, title, 0, 0)
    room = inner.inset(sheet.px(34), sheet.px(38), sheet.px(34), sheet.px(46))
    low, high = surface.mesh.vertices.min(axis=0), surface.mesh.vertices.max(axis=0)
    extent = np.maximum(high - low, 1.0)
    # what is nearer than the middle looks larger, by half the extent in 1200 mm
    near = 1 + float(extent.max()) / 2400
    mm_per_px = near * max(float(max(extent[:2])) / room.width, float(extent[2]) / room.height)
    views = [
        viewpoint(
            towards,
            size_px=inner.width,
            rows=inner.height,
            field_mm=inner.width * mm_per_px,
            centre=(low + high) / 2,
        )
        for _, towards in DIRECTIONS
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        lit = pool.map(lambda view: shaded(surface.mesh, view, rgb=surface.rgb), views)
        for number, (view, pixels) in enumerate(zip(views, lit, strict=True)):
            x = box.x + number % 2 * (width + gap)
            y = box.y + number // 2 * (height + gap)
            cell = Box(x, y, width, height)
            _panel(sheet, cell, DIRECTIONS[number][0].upper(), sheet.px(20))
            _side(sheet, cell.inset(0, title, 0, 0), view, pixels, 1 / mm_per_px)


def _side(sheet: Sheet, box: Box, view: View, pixels: NDArray[np.uint8], px_per_mm: float) -> None:
    lit = Image.fromarray(pixels)
    sheet.canvas.paste(lit, (box.x, box.y), lit)
    drawing.orientation(sheet.canvas, box, view, sheet.px(28))
    size = sheet.px(16)
    limit = 0.36 * box.width
    drawing.scale_bar(sheet.canvas, box, px_per_mm, size, limit, is_assumed=sheet.scale_assumed)
