"""The key image: one page that says what was made of which radiographs, and how far to trust it.

On the left what is known (the radiographs, the outline of the result over them, words), on the
right what was estimated (the bones from four sides, at one scale). Lengths are in mm at the
isocentre. The page holds no word about the patient: who it is stands in the header, where an
archive can correct it.

The layout follows the shape of the page, so that 4:3 and 16:9 both fill it; every size is a share
of the height.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline import drawing
from pipeline.colours import colours
from pipeline.contributions import NOTE, Entry, by_view, explained, legend
from pipeline.drawing import Box
from pipeline.panels import Sheet, bone_panels, coloured, radiograph_panels
from pipeline.paragraphs import paragraphs
from pipeline.render import painted, simplified
from pipeline.structures import PREDICTED
from pipeline.types import Radiograph, Reconstruction, Share, Side
from pipeline.wording import (
    SIDE_ASSUMED,
    SIDE_WORDS,
    assumed_section,
    bones_section,
    is_assumed,
    plain,
    quality_section,
    titled,
)

WIDTH, HEIGHT = 1440, 1080
"""4:3, the shape of most viewports; 4.7 MB, and letters that survive being shown at half size."""
MAX_FACES = 20_000
LEFT_SHARE = 0.45
HEADLINE = 44
TOP_FREE, BOTTOM_FREE = 64, 80
"""Pixels at 1080 rows: viewers write name and date, window and image number near these edges."""


@dataclass(frozen=True, slots=True)
class Page:
    """What the page says beside the reconstruction."""

    region: str
    side: Side
    footer: str
    """Who made it, where and when; never the patient."""
    title: str = ""
    """In place of the part and its side."""


def key_image(
    made: Reconstruction,
    radiographs: Sequence[Radiograph],
    page: Page,
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> NDArray[np.uint8]:
    """The page, (height, width, 3) RGB.

    Args:
        made: The bones, their quality, and all that was assumed, for the images as well.
        radiographs: In the order in which they are shown; at most four are.
        page: What is said beside it.
        width: Columns.
        height: Rows; the letters are a share of it.
    """
    canvas = Image.new("RGB", (width, height), drawing.GROUND)
    sheet = Sheet(canvas, ImageDraw.Draw(canvas), height / 1080, made.assumptions)
    strip = Box(0, 0, width, sheet.px(HEADLINE))
    drawing.caution_strip(sheet.canvas, strip)
    margin = sheet.px(28)
    top = strip.bottom + sheet.px(TOP_FREE)
    header = Box(margin, top, width - 2 * margin, sheet.px(96))
    _header(sheet, header, page, radiographs, has_predicted=len(made.bones) > len(made.bones_seen))
    body = Box(margin, header.bottom, header.width, height - header.bottom - sheet.px(BOTTOM_FREE))
    left = Box(body.x, body.y, int(body.width * LEFT_SHARE) - margin, body.height)
    right = Box(left.right + margin, body.y, body.right - left.right - margin, body.height)
    drawn = simplified(made.bones, MAX_FACES)
    # an outline over a radiograph would say that what is predicted was found there
    seen = [bone for bone in drawn if not bone.is_predicted]
    bottom = radiograph_panels(sheet, left, radiographs, seen)
    if made.shares:
        right = right.inset(0, 0, 0, _legend(sheet, right, made.shares))
        bone_panels(sheet, right, by_view(drawn, made.shares))
    else:
        bone_panels(sheet, right, painted(coloured(drawn)))
    _words(sheet, Box(left.x, bottom, left.width, body.bottom - bottom), made)
    _footer(sheet, page)
    return np.asarray(canvas)


def _header(
    sheet: Sheet,
    box: Box,
    page: Page,
    radiographs: Sequence[Radiograph],
    *,
    has_predicted: bool,
) -> None:
    """The side in a box of its own, the part of the body, and what it was made of."""
    x, middle = box.x, box.y + box.height / 2
    if page.side in SIDE_WORDS:
        x = side_badge(sheet.draw, Box(x, box.y + sheet.px(14), 0, sheet.px(68)), page.side)
        x += sheet.px(22)
    room = box.right - x
    title = page.title or titled(page.region, page.side)
    size = sheet.px(40)
    at = (x, middle - sheet.px(2))
    drawing.write(sheet.canvas, at, drawing.cut(plain(title), size, room), size, drawing.INK)
    y, size = middle + sheet.px(30), sheet.px(20)
    if is_assumed(sheet.assumptions, SIDE_ASSUMED):
        words = "SIDE ASSUMED.  "
        drawing.write(sheet.canvas, (x, y), words, size, drawing.CAUTION)
        x += round(drawing.font(size).getlength(words))
    views = ", ".join(str(radiograph.view.name) for radiograph in radiographs)
    counted = f"{len(radiographs)} radiograph" + ("s" if len(radiographs) != 1 else "")
    said = f"3D bones estimated from {counted} ({views}). Coloured line: outline of the 3D bones."
    if has_predicted:
        said = f"3D bones estimated from {counted} ({views}). PALE BONES ARE {PREDICTED.upper()}."
    drawing.write(sheet.canvas, (x, y), drawing.cut(said, size, box.right - x), size, drawing.QUIET)


def side_badge(draw: ImageDraw.ImageDraw, box: Box, side: Side) -> int:
    """The letter of the side and its word, dark on light; returns where the badge ends.

    A whole word in a filled box cannot be taken for a letter of direction at the edge of a view.
    """
    word, letter = SIDE_WORDS[side], str(side)
    big, small = round(box.height * 0.72), round(box.height * 0.36)
    pad = round(box.height * 0.22)
    at_word = box.x + 2 * pad + round(drawing.font(big).getlength(letter))
    right = at_word + round(drawing.font(small).getlength(word)) + pad
    corners = [(box.x, box.y), (right, box.bottom)]
    draw.rounded_rectangle(corners, round(box.height * 0.12), fill=drawing.INK)
    middle, ground = box.y + box.height // 2, drawing.GROUND
    for x, text, size, rim in ((box.x + pad, letter, big, 1), (at_word, word, small, 0)):
        face = drawing.font(size)
        draw.text((x, middle), text, font=face, fill=ground, anchor="lm", stroke_width=rim)
    return right


def _legend(sheet: Sheet, box: Box, shares: Sequence[Share]) -> int:
    """What the colours of the bones say, and what not, at the foot of `box`; how high it is."""
    size, step = sheet.px(17), sheet.px(24)
    rows: list[list[Entry]] = [[]]
    for entry in legend(shares):
        if rows[-1] and _length([*rows[-1], entry], size) > box.width:
            rows.append([])
        rows[-1].append(entry)
    height = step * (len(rows) + 2) + sheet.px(20)
    y = box.bottom - height + sheet.px(6)
    for row in rows:
        x, y, side = float(box.x), y + step, 0.7 * size
        for rgb, words in row:
            sheet.draw.rectangle([(x, y - side), (x + side, y)], fill=rgb)
            drawing.write(sheet.canvas, (x + 1.15 * size, y), words, size, drawing.INK)
            x += _length([Entry(rgb, words)], size)
    for said in (explained(shares), NOTE):
        y += step
        words = drawing.cut(said, size, box.width)
        drawing.write(sheet.canvas, (box.x, y), words, size, drawing.QUIET)
    return height


def _length(entries: Sequence[Entry], size: int) -> float:
    """Pixels of a row of entries, each with its square before it and a gap behind."""
    return sum(2.4 * size + drawing.font(size).getlength(entry.words) for entry in entries)


def _words(sheet: Sheet, box: Box, made: Reconstruction) -> None:
    """What was assumed, how good it is, and which bones there are, as far as there is room."""
    sections = (
        assumed_section(made.assumptions),
        quality_section(made.figures),
        bones_section(made.bones, scale_assumed=sheet.scale_assumed),
    )
    sizes = tuple(sheet.px(size) for size in (19, 17, 15))
    paragraphs(sheet.canvas, box, sections, sizes, swatches=colours(made.bones))


def _footer(sheet: Sheet, page: Page) -> None:
    """Who made the page, and what it is not for."""
    size, margin = sheet.px(16), sheet.px(28)
    width, height = sheet.canvas.size
    y = height - sheet.px(13)
    note = "Overview: lengths are not to be measured in this picture"
    drawing.write(sheet.canvas, (width - margin, y), note, size, drawing.QUIET, "rs")
    room = width - 3 * margin - drawing.font(size).getlength(note)
    footer = drawing.cut(plain(page.footer), size, room)
    drawing.write(sheet.canvas, (margin, y), footer, size, drawing.QUIET)
