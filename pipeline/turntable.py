"""The bones on a turntable: 36 frames around the axis from foot to head.

One looks down on them a little, so that a ring with the letters of the directions lies open below
the bones and turns with them; the letters at the edges and the words say the same once more. The
first frame is seen from the front, and the viewer walks round by the patient's left side.

The frames are as tall as the bones ask for, within a number of pixels that an archive takes without
compression.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pipeline import drawing
from pipeline.drawing import Box
from pipeline.geometry import project
from pipeline.panels import coloured
from pipeline.render import Painted, painted, shaded, simplified, viewpoint
from pipeline.types import Assumption, Bone, Float, Side, View
from pipeline.wording import SIDE_ASSUMED, is_assumed, is_scale_assumed, titled

FRAMES: Final = 36
STEP_DEG: Final = 360 / FRAMES
ELEVATION_DEG: Final = 14.0
PIXELS: Final = 66_000
"""Of a frame: 36 of them in colour are 7 MB."""
COLUMNS: Final = (256, 360)
MAX_FACES: Final = 6_000
THREADS: Final = 2

STRIP, CAPTION, EDGE = 20, 40, 26
"""Pixels: of the warning above, of the words below, of the letters at both sides."""
RING_SHARE = 1.12
"""Radius of the ring over that of the bones."""
RING_GAP = 0.04
"""Between the bones and the ring, as a share of the height."""

DIRECTIONS: Final = (
    "FRONT",
    "FRONT LEFT",
    "LEFT",
    "BACK LEFT",
    "BACK",
    "BACK RIGHT",
    "RIGHT",
    "FRONT RIGHT",
)
COMPASS: Final = {"A": (0.0, -1.0), "L": (1.0, 0.0), "P": (0.0, 1.0), "R": (-1.0, 0.0)}
"""Where each letter stands on the ring, LPS x and y."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """What is the same in all frames."""

    bones: Painted
    ground: Image.Image
    centre: Float
    ring_mm: float
    floor_mm: float
    mm_per_px: float
    columns: int
    rows: int
    """Of the part that shows the bones."""


def turntable(
    bones: Sequence[Bone], region: str, side: Side, assumptions: Sequence[Assumption] = ()
) -> NDArray[np.uint8]:
    """The frames, (36, rows, columns, 3) RGB, 10 degrees apart, the first from the front."""
    stage = _stage(bones, titled(region, side), assumptions)
    with ThreadPoolExecutor(THREADS) as pool:
        return np.stack(list(pool.map(lambda number: _frame(stage, number), range(FRAMES))))


def _stage(bones: Sequence[Bone], title: str, assumptions: Sequence[Assumption]) -> _Stage:
    surface = painted(simplified(coloured(bones), MAX_FACES))
    low, high = surface.mesh.vertices.min(axis=0), surface.mesh.vertices.max(axis=0)
    centre = (low + high) / 2
    radius = float(np.hypot(*(surface.mesh.vertices - centre)[:, :2].T).max())
    ring = max(1.0, RING_SHARE * radius)
    height = max(1.0, float(high[2] - low[2]))
    floor = float(low[2]) - RING_GAP * height
    tilt = math.radians(ELEVATION_DEG)
    wide = 2 * ring
    tall = (height * (1 + RING_GAP)) * math.cos(tilt) + 2 * ring * math.sin(tilt)
    columns, rows = _shape(wide, tall)
    room = (columns - 2 * EDGE, rows - STRIP - CAPTION - 2 * 14)
    # 5 %: what is nearer than the middle looks larger
    mm_per_px = 1.05 * max(wide / room[0], tall / room[1])
    middle = centre - [0, 0, RING_GAP * height / 2]
    ground = _ground(columns, rows, title)
    if is_assumed(assumptions, SIDE_ASSUMED):
        drawing.write(ground, (8, rows - CAPTION - 2), "SIDE ASSUMED", 11, drawing.CAUTION)
    if any(bone.is_predicted for bone in bones):
        drawing.write(ground, (8, STRIP + 13), "PALE: NOT IMAGED", 11, drawing.CAUTION)
    box, is_of_rule = Box(0, 0, columns, rows - 2), is_scale_assumed(assumptions)
    drawing.scale_bar(ground, box, 1 / mm_per_px, 11, 0.3 * columns, is_assumed=is_of_rule)
    return _Stage(surface, ground, middle, ring, floor, mm_per_px, columns, rows - STRIP - CAPTION)


def _shape(wide: float, tall: float) -> tuple[int, int]:
    """Columns and rows in the proportions of the bones; even, as some decoders want."""
    aspect = min(2.0, max(0.6, tall / wide))
    columns = min(COLUMNS[1], max(COLUMNS[0], math.sqrt(PIXELS / aspect)))
    columns = 2 * int(columns / 2)
    return columns, 2 * int(PIXELS / columns / 2)


def _ground(columns: int, rows: int, title: str) -> Image.Image:
    """The warning above, the part and its side below."""
    ground = Image.new("RGB", (columns, rows), drawing.GROUND)
    # in letters as small as these "A CT" would run together
    warning = drawing.WARNING.replace(" ", "  ")
    drawing.caution_strip(ground, Box(0, 0, columns, STRIP), warning)
    words = drawing.cut(f"{title}, research use", 12, 0.6 * columns)
    drawing.write(ground, (8, rows - 7), words, 12, drawing.QUIET)
    return ground


def _frame(stage: _Stage, number: int) -> NDArray[np.uint8]:
    turn = math.radians(STEP_DEG * number)
    towards = (-math.sin(turn), math.cos(turn), -math.tan(math.radians(ELEVATION_DEG)))
    view = viewpoint(
        towards,
        size_px=stage.columns,
        rows=stage.rows,
        field_mm=stage.columns * stage.mm_per_px,
        centre=stage.centre,
    )
    canvas = stage.ground.copy()
    ring = _ring(stage, view)
    draw = ImageDraw.Draw(canvas)
    draw.line([*ring, ring[0]], fill=drawing.RULE, width=2)
    _compass(canvas, stage, view, is_near=False)
    lit = Image.fromarray(shaded(stage.bones.mesh, view, rgb=stage.bones.rgb))
    canvas.paste(lit, (0, STRIP), lit)
    _compass(canvas, stage, view, is_near=True)
    _edges(canvas, stage, view)
    seen_from = DIRECTIONS[round(STEP_DEG * number / 45) % 8]
    at = (8, canvas.height - 22)
    drawing.write(canvas, at, f"from the {seen_from}", 15, drawing.INK)
    return np.asarray(canvas)


def _ring(stage: _Stage, view: View) -> list[tuple[float, float]]:
    """The ring on the floor, in pixels x, y of the frame."""
    angles = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    around = stage.ring_mm * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return _on_floor(stage, view, around)


def _on_floor(stage: _Stage, view: View, places: Float) -> list[tuple[float, float]]:
    points = np.column_stack([places + stage.centre[:2], np.full(len(places), stage.floor_mm)])
    return [(float(column), float(row) + STRIP) for row, column in project(view, points)]


def _compass(canvas: Image.Image, stage: _Stage, view: View, *, is_near: bool) -> None:
    """The near or the far letters on the ring: the nearer, the larger and brighter."""
    places = stage.ring_mm * np.array(list(COMPASS.values()))
    ray = view.patient_from_detector[:2, 2]
    for letter, place, at in zip(COMPASS, places, _on_floor(stage, view, places), strict=True):
        nearness = 0.5 - 0.5 * float(place @ ray) / stage.ring_mm
        if (nearness >= 0.5) != is_near:
            continue
        size = 13 + 2 * round(4 * nearness)
        light = 0.55 + 0.45 * round(4 * nearness) / 4
        red, green, blue = (round(light * value) for value in drawing.LETTER)
        drawing.write(canvas, at, letter, size, (red, green, blue), "mm")


def _edges(canvas: Image.Image, stage: _Stage, view: View) -> None:
    """What lies to the left and to the right, of two directions where both are meant, and above."""
    y = STRIP + stage.rows * 0.42
    step = drawing.step(view, 1)
    for way, x, anchor in ((-step, 6, "lm"), (step, canvas.width - 6, "rm")):
        drawing.write(canvas, (x, y), _towards(way), 18, drawing.LETTER, anchor)
    drawing.write(canvas, (canvas.width / 2, STRIP + 4), "H", 15, drawing.LETTER, "mt")


def _towards(way: Float) -> str:
    """The letter of a direction, or two where it lies between. Source: PS3.3 C.7.6.1.1.1."""
    x, y = way[:2] / np.linalg.norm(way[:2])
    parts = [(abs(x), "L" if x > 0 else "R"), (abs(y), "P" if y > 0 else "A")]
    least = math.sin(math.radians(22.5))
    return "".join(letter for share, letter in sorted(parts, reverse=True) if share > least)
