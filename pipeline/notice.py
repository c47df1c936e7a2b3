"""The page that is sent in place of bones: that the node ran, why it made none, what to do.

It shows no image, because the images may be what is broken, and no word about the patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline import drawing
from pipeline.drawing import Box
from pipeline.paragraphs import paragraphs
from pipeline.wording import Section, plain

WIDTH, HEIGHT = 1024, 768
STRIP, MARGIN = 40, 44


@dataclass(frozen=True, slots=True)
class Notice:
    """What the page says."""

    title: str
    """What came of the study, in one line."""
    reasons: tuple[str, ...]
    """Why, a sentence each."""
    received: tuple[str, ...]
    """The images, a line each: modality, part and view."""
    advice: tuple[str, ...]
    """What to do, a sentence each."""
    footer: str
    """Who made the page, where and when."""


def notice_page(notice: Notice) -> NDArray[np.uint8]:
    """The page, (768, 1024, 3) RGB."""
    canvas = Image.new("RGB", (WIDTH, HEIGHT), drawing.GROUND)
    drawing.caution_strip(canvas, Box(0, 0, WIDTH, STRIP), "NO 3D BONES  -  RESEARCH USE")
    box = Box(MARGIN, STRIP + 26, WIDTH - 2 * MARGIN, HEIGHT - STRIP - 90)
    top = box.y
    for line in drawing.wrapped(plain(notice.title), 40, box.width)[:2]:
        drawing.write(canvas, (box.x, top + 40), line, 40, drawing.INK)
        top += 50
    draw = ImageDraw.Draw(canvas)
    draw.line([(box.x, top + 14), (box.right, top + 14)], fill=drawing.RULE, width=2)
    sections = _sections(notice)
    below = Box(box.x, top + 34, box.width, box.bottom - top - 34)
    paragraphs(canvas, below, sections, (24, 20, 17, 15), most_lines=4)
    footer = drawing.cut(plain(notice.footer), 16, box.width)
    drawing.write(canvas, (box.x, HEIGHT - 22), footer, 16, drawing.QUIET)
    return np.asarray(canvas)


def _sections(notice: Notice) -> Sequence[Section]:
    reasons = notice.reasons or ("No reason was given.",)
    return (
        Section("WHY", tuple(f"- {plain(reason)}" for reason in reasons), is_caution=True),
        Section("WHAT TO DO", tuple(plain(advice) for advice in notice.advice)),
        Section("RECEIVED", tuple(plain(line) for line in notice.received) or ("Nothing.",)),
    )
