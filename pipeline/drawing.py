"""What every picture of a result is drawn with: colours, letters, scale bars, outlines.

The same result gives the same bytes: the letters are those that Pillow brings along, and nothing
asks the system for a font. Words are ASCII, as in the headers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.geometry import binned, magnification
from pipeline.render import outline, silhouette
from pipeline.types import Float, Mesh, Radiograph, View

WARNING = "MODEL FROM RADIOGRAPHS - NOT A CT"
USE = "RESEARCH USE"

GROUND = (11, 14, 18)
PANEL = (18, 22, 28)
RULE = (44, 52, 62)
INK = (226, 231, 236)
QUIET = (150, 161, 172)
LETTER = (255, 222, 120)
OUTLINE = (72, 209, 196)
CAUTION = (240, 178, 92)

BAR_LENGTHS = (200.0, 100.0, 50.0, 20.0, 10.0, 5.0, 2.0)
"""mm, the longest that fits is drawn."""
RIM_PX = 1.1
"""Half of what an outline is wide in the picture."""

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Box:
    """A part of the picture, in pixels; x and y of its upper left corner."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column that is beyond it."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row that is beyond it."""
        return self.y + self.height

    def inset(self, left: int, top: int, right: int, bottom: int) -> Box:
        """The box without so many pixels on each side."""
        width, height = self.width - left - right, self.height - top - bottom
        return Box(self.x + left, self.y + top, max(1, width), max(1, height))


@cache
def font(size_px: int) -> ImageFont.FreeTypeFont:
    """The letters in a size; the same on every machine."""
    made = ImageFont.load_default(size_px)
    if not isinstance(made, ImageFont.FreeTypeFont):
        raise TypeError("Pillow lacks FreeType")
    return made


def write(
    canvas: Image.Image,
    at: tuple[float, float],
    text: str,
    size_px: float,
    rgb: Rgb,
    anchor: str = "ls",
) -> None:
    """Letters with a dark rim, so that they read over bone as well."""
    stamp = _stamp(text, max(8, round(size_px)), rgb, anchor)
    canvas.paste(stamp.image, (round(at[0]) + stamp.x, round(at[1]) + stamp.y), stamp.image)


@dataclass(frozen=True, slots=True)
class _Stamp:
    """Drawn letters, and where they go from the point that their anchor names."""

    image: Image.Image
    x: int
    y: int


@lru_cache(512)
def _stamp(text: str, size_px: int, rgb: Rgb, anchor: str) -> _Stamp:
    """Kept, because a rim costs a millisecond, and a turntable says the same in many frames."""
    face, rim = font(size_px), 2
    left, top, right, bottom = face.getbbox(text, anchor=anchor, stroke_width=rim)
    x, y = math.floor(left), math.floor(top)
    size = (max(1, math.ceil(right) - x), max(1, math.ceil(bottom) - y))
    image = Image.new("RGBA", size, (*GROUND, 0))
    draw = ImageDraw.Draw(image)
    draw.text((-x, -y), text, font=face, fill=GROUND, anchor=anchor, stroke_width=rim)
    draw.text((-x, -y), text, font=face, fill=rgb, anchor=anchor)
    return _Stamp(image, x, y)


def wrapped(text: str, size_px: float, width_px: float) -> list[str]:
    """The text in lines that fit into `width_px`; a word that is longer is cut."""
    face = font(max(8, round(size_px)))
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if face.getlength(longer) <= width_px:
            lines[-1] = longer
        else:
            lines.append(cut(word, size_px, width_px))
    return [line for line in lines if line]


def cut(text: str, size_px: float, width_px: float) -> str:
    """The text, with three dots for what does not fit into `width_px`."""
    face = font(max(8, round(size_px)))
    if face.getlength(text) <= width_px:
        return text
    kept = text
    while kept and face.getlength(f"{kept}...") > width_px:
        kept = kept[:-1]
    return f"{kept.rstrip()}..."


def caution_strip(canvas: Image.Image, box: Box, text: str = f"{WARNING}  -  {USE}") -> None:
    """Dark words on amber: nobody who looks at the picture can miss them."""
    draw = ImageDraw.Draw(canvas)
    draw.rectangle([(box.x, box.y), (box.right - 1, box.bottom - 1)], fill=CAUTION)
    size = max(8, round(0.56 * box.height))
    while size > 8 and font(size).getlength(text) > 0.96 * box.width:
        size -= 1
    at = (box.x + box.width // 2, box.y + box.height // 2)
    draw.text(at, text, font=font(size), fill=GROUND, anchor="mm")


def step(view: View, axis: int) -> Float:
    """The way in the patient from one pixel to the next along rows (0) or columns (1)."""
    way: Float = view.patient_from_detector[:3, :3] @ view.detector_from_index[:3, axis]
    return way


def letters(way: Float) -> tuple[str, str]:
    """What lies at the start and at the end of `way`. Source: PS3.3 C.7.6.1.1.1."""
    axis = int(np.abs(way).argmax())
    start, end = (("R", "L"), ("A", "P"), ("F", "H"))[axis]
    return (start, end) if way[axis] > 0 else (end, start)


def orientation(canvas: Image.Image, box: Box, view: View, size_px: int) -> None:
    """The letters of the patient's directions at the middle of each edge of `box`."""
    left, right = letters(step(view, 1))
    top, bottom = letters(step(view, 0))
    x, y, edge = box.x + box.width / 2, box.y + box.height / 2, size_px * 0.35
    write(canvas, (box.x + edge, y), left, size_px, LETTER, "lm")
    write(canvas, (box.right - edge, y), right, size_px, LETTER, "rm")
    write(canvas, (x, box.y + edge), top, size_px, LETTER, "mt")
    write(canvas, (x, box.bottom - edge), bottom, size_px, LETTER, "mb")


def scale_bar(
    canvas: Image.Image,
    box: Box,
    px_per_mm: float,
    size_px: int,
    limit_px: float,
    *,
    is_assumed: bool = False,
) -> None:
    """A bar in the lower right corner of `box`, its length in mm, and whether that is assumed.

    It is the longest of `BAR_LENGTHS` that has at most `limit_px` pixels. In a box that is lower
    than three lines the words stand left of the bar, which leaves them their room, else above it.
    """
    edge, rgb = round(size_px * 0.7), CAUTION if is_assumed else INK
    is_low = box.height < 3 * size_px
    words = ["scale assumed"] if is_assumed else []
    if is_low:
        widest = font(max(8, size_px)).getlength(", ".join(["100 mm", *words]))
        limit_px = min(limit_px, box.width - 3 * edge - widest)
    length = next((mm for mm in BAR_LENGTHS if mm * px_per_mm <= limit_px), BAR_LENGTHS[-1])
    end = (box.right - edge, box.bottom - edge)
    start = (round(end[0] - length * px_per_mm), end[1])
    draw = ImageDraw.Draw(canvas)
    for width, colour in ((6, GROUND), (2, rgb)):
        draw.line([start, end], fill=colour, width=width)
        for x in (start[0], end[0]):
            draw.line([(x, end[1] - 6), (x, end[1])], fill=colour, width=width)
    lines = [f"{length:g} mm", *words]
    if is_low:
        write(canvas, (start[0] - edge, end[1] + 1), ", ".join(lines), size_px, rgb, "rs")
        return
    for number, line in enumerate(reversed(lines)):
        at = (end[0], round(end[1] - size_px * (0.6 + 1.15 * number)))
        write(canvas, at, line, size_px, rgb, "rs")


@dataclass(frozen=True, slots=True)
class Outlined:
    """A surface whose shadow is drawn over a radiograph, and in which colour."""

    mesh: Mesh
    rgb: Rgb


def size_within(view: View, width: float, height: float) -> tuple[int, int]:
    """Columns and rows of the largest picture of a radiograph that fits, true to its mm."""
    tall, wide = (float(np.linalg.norm(step(view, axis))) for axis in (0, 1))
    tall, wide = tall * view.rows, wide * view.columns
    scale = min(width / wide, height / tall)
    return max(1, int(wide * scale)), max(1, int(tall * scale))


def resampled(view: View, columns: int, rows: int) -> View:
    """The camera of the same image in another number of pixels."""
    factors = view.rows / rows, view.columns / columns
    old_from_new = np.diag([*factors, 1.0, 1.0])
    old_from_new[:2, 3] = [(factor - 1) / 2 for factor in factors]
    matrix = view.detector_from_index @ old_from_new
    return replace(view, detector_from_index=matrix, rows=rows, columns=columns)


def px_per_mm(view: View) -> float:
    """Pixels along a row for a mm at the isocentre."""
    return magnification(view) / float(np.linalg.norm(step(view, 1)))


def with_outlines(
    radiograph: Radiograph, shown: Sequence[Outlined], columns: int, rows: int
) -> Image.Image:
    """The radiograph in `columns` x `rows` pixels, bone light, with the outlines over it."""
    picture = Image.fromarray(_greys(radiograph, columns, rows))
    picture = picture.resize((columns, rows), Image.Resampling.LANCZOS).convert("RGB")
    fine = resampled(radiograph.view, 2 * columns, 2 * rows)
    for one in shown:
        rim = outline(silhouette(one.mesh, fine), round(2 * RIM_PX + 1))
        line = Image.fromarray(255 * rim.astype(np.uint8))
        line = line.resize((columns, rows), Image.Resampling.BOX)
        picture.paste(Image.new("RGB", picture.size, one.rgb), (0, 0), line)
    return picture


def _greys(radiograph: Radiograph, columns: int, rows: int) -> NDArray[np.uint8]:
    """Means over blocks, so that a large radiograph costs no more than a small one to resize."""
    view = radiograph.view
    factor = max(1, min(view.rows // rows, view.columns // columns))
    small = binned(view, factor)
    blocks = (slice(small.rows * factor), slice(small.columns * factor))
    is_valid = radiograph.is_valid[blocks]
    values = np.where(is_valid, radiograph.attenuation[blocks], 0)
    share = _means(is_valid.astype(np.float32), factor)
    mean = _means(values, factor) / np.maximum(share, np.float32(1e-6))
    known = mean[share > 0.5]
    low, high = np.percentile(known, [2, 99.8]) if known.size else (0.0, 1.0)
    light = np.clip((mean - low) / max(high - low, 1e-6), 0, 1) ** 1.25
    return np.rint(235 * light * (share > 0.5)).astype(np.uint8)


def _means(image: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    rows, columns = (side // factor for side in image.shape)
    by_column = image.reshape(rows, factor, columns * factor).mean(axis=1)
    return np.asarray(by_column.reshape(rows, columns, factor).mean(axis=2), np.float32)
