"""Sections of text in a box: all of it where there is room, and else a word on what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from pipeline import drawing
from pipeline.drawing import Box, Rgb
from pipeline.wording import Section

LEADING = 1.32
"""From one line to the next, in sizes of the letters."""
GAP = 0.55
"""Above a heading, in lines."""


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    rgb: Rgb
    swatch: Rgb | None = None


_Block = list[_Line]


def paragraphs(
    canvas: Image.Image,
    box: Box,
    sections: Sequence[Section],
    sizes_px: Sequence[int],
    *,
    swatches: Sequence[Rgb] = (),
    most_lines: int = 2,
) -> int:
    """The sections one below the other; returns where they end.

    Where the box is too small the notes go first, then the letters become smaller, then the last
    entries of the longest sections go, and a line says how many.

    Args:
        canvas: The page.
        box: Nothing is written outside of it.
        sections: In the order in which they are read.
        sizes_px: Of the letters: the first that fits, else the last.
        swatches: The colours that stand before the entries of the last section.
        most_lines: Of an entry; what is longer is cut.
    """
    for size_px, with_notes in ((sizes_px[0], True), *((size, False) for size in sizes_px)):
        room = int(box.height / (size_px * LEADING) - GAP * (len(sections) - 1)) - len(sections)
        colours = [()] * (len(sections) - 1) + [swatches]
        blocks = [
            _blocks(section, size_px, box.width, its_colours, most_lines, with_notes=with_notes)
            for section, its_colours in zip(sections, colours, strict=True)
        ]
        if sum(_height(one) for one in blocks) <= room:
            break
    rooms = _shared([_height(one) for one in blocks], room)
    y = float(box.y)
    for section, its_blocks, lines in zip(sections, blocks, rooms, strict=True):
        rgb = drawing.CAUTION if section.is_caution else drawing.INK
        heading = _Line(drawing.cut(section.heading, size_px, box.width), rgb)
        for line in (heading, *_fitted(its_blocks, lines)):
            _write(canvas, line, box.x, y + size_px, size_px)
            y += size_px * LEADING
        y += size_px * LEADING * GAP
    return round(y)


def _blocks(
    section: Section,
    size_px: int,
    width: int,
    swatches: Sequence[Rgb],
    most_lines: int,
    *,
    with_notes: bool,
) -> list[_Block]:
    """The lines of each entry, its note among them."""
    blocks = []
    for number, entry in enumerate(section.entries):
        swatch = swatches[number] if number < len(swatches) else None
        room = width - (size_px if swatch else 0)
        block = [
            _Line(text, drawing.INK, swatch) for text in _lines(entry, size_px, room, most_lines)
        ]
        if with_notes and number < len(section.notes):
            notes = _lines(section.notes[number], size_px, width, most_lines)
            block += [_Line(text, drawing.QUIET) for text in notes]
        blocks.append(block)
    return blocks


def _lines(text: str, size_px: int, width: int, most: int) -> list[str]:
    lines = drawing.wrapped(text, size_px, width)
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], drawing.cut(" ".join(lines[most - 1 :]), size_px, width)]


def _height(blocks: list[_Block]) -> int:
    return sum(len(block) for block in blocks)


def _shared(wanted: list[int], room: int) -> list[int]:
    """Lines for each section: what it wants, or its share of what the modest ones leave over."""
    given = [0] * len(wanted)
    for _ in range(max(0, min(room, sum(wanted)))):
        hungry = [n for n in range(len(wanted)) if given[n] < wanted[n]]
        given[min(hungry, key=lambda n: given[n])] += 1
    return given


def _fitted(blocks: list[_Block], room: int) -> list[_Line]:
    """The blocks that fit into `room` lines, the last of which may say how many do not."""
    if _height(blocks) <= room:
        return [line for block in blocks for line in block]
    lines: list[_Line] = []
    kept = 0
    for block in blocks:
        if len(lines) + len(block) > room - 1:
            break
        lines += block
        kept += 1
    if room < 1:
        return []
    return [*lines, _Line(f"... and {len(blocks) - kept} more", drawing.QUIET)]


def _write(canvas: Image.Image, line: _Line, x: int, baseline: float, size_px: int) -> None:
    if line.swatch:
        side = round(size_px * 0.6)
        top = round(baseline) - side
        ImageDraw.Draw(canvas).rectangle([(x, top), (x + side, top + side)], fill=line.swatch)
        x += size_px
    drawing.write(canvas, (x, baseline), line.text, size_px, line.rgb)
