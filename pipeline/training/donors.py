"""Knees that belong to nobody: the synthetic ones of `bones/knee_ssm`, completed to whole images.

They are drawn from one shape model and cut off a hand's breadth above and below the joint, without
a fibula, and with the patella in a frame of its own. A radiograph shows shafts that run out of
the picture, a fibula, and a patella before the trochlea; so shafts are drawn out, the patella is
laid on its groove, and a fibula is made up. These knees are trained on and never judged on, and
they also lend tibia, patella and fibula to people of whom only the femur is known: no bone of a
person who is judged ever stands beside somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from pipeline.training.bones import surface
from pipeline.training.signed_distance import Float, Surface

LICENCE = "GPL-3.0 (synthetic, from a shape model)"
MADE_UP = "made up"
STRETCHED = 15.0
"""At the end of a shaft that is cut off; what is drawn out lies outside of the region's cube."""
RING = 6.0
"""Between two rings of the shaft of a made-up fibula."""
CARTILAGE = 4.0
"""Between patella and trochlea, bone to bone."""
PATELLA_HEIGHT = (0.48, 0.05)
"""Of the middle of the patella over the joint line, the knee being straight, as a share of the
width of the condyles: mean and standard deviation of eight knees of five people (0.37 to 0.53)."""
CLEARANCE = 1.5
"""Between tibia and fibula."""
LEVEL = 4.0
"""Points so far above or below are taken to be at one height."""
RIM = 40
"""Points that a level has at least; a shaft that was drawn out has few."""
FIBULA_RADII = ((0.0, 3.0), (3.0, 8.5), (9.0, 11.0), (20.0, 9.5), (32.0, 6.5), (55.0, 6.0))
"""Millimetres below the apex of the head, and radius there; the last holds down the shaft."""


@dataclass(frozen=True, slots=True)
class Knee:
    """A synthetic knee in its own frame."""

    name: str
    bones: Mapping[str, Surface]
    """femur, tibia and patella; the patella about the origin of a frame of its own."""


def read_synthetic(path: Path) -> list[Knee]:
    """The knees of `knees.npz`."""
    with np.load(path) as file:
        shapes = {
            bone.lower(): (file[f"{bone}/v"].astype(np.float64), file[f"{bone}/f"])
            for bone in ("Femur", "Tibia", "Patella")
        }
        names = [str(name) for name in file["ids"]]
    return [
        Knee(name, {bone: surface(v[i], faces) for bone, (v, faces) in shapes.items()})
        for i, name in enumerate(names)
    ]


def drawn_out(mesh: Surface, upwards: bool, until: float) -> Surface:
    """The mesh with the last `STRETCHED` mm of its shaft drawn out to the height `until`.

    It goes on in the direction of the 25 mm before.
    """
    sign = 1.0 if upwards else -1.0
    level = sign * mesh.vertices[:, 2]
    start = level.max() - STRETCHED
    middle, before = (
        mesh.vertices[np.abs(level - height) < 4].mean(axis=0) for height in (start, start - 25)
    )
    direction = (middle - before) / np.abs(middle - before)[2]
    factor = (sign * until - start) / STRETCHED
    beyond = np.maximum(level - start, 0) * (factor - 1)
    return Surface(mesh.vertices + beyond[:, None] * direction, mesh.faces)


def _band_of_faces(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Two triangles between each pair of neighbours; a border runs against its own faces."""
    a, b = lower, np.roll(lower, -1)
    c, d = upper, np.roll(upper, -1)
    return np.concatenate([np.stack([b, a, c], axis=1), np.stack([b, c, d], axis=1)])


def drawn_height(seed: int) -> float:
    """How high a patella lies, of the width of the condyles; within two deviations."""
    mean, deviation = PATELLA_HEIGHT
    return mean + deviation * float(np.clip(np.random.default_rng(seed).normal(), -2, 2))


def laid_on_groove(patella: Surface, femur: Surface, height: float) -> Surface:
    """The patella before the trochlea of a straight knee, `CARTILAGE` mm away from it.

    Args:
        patella: Upright about any centre, in the frame of the knee.
        femur: In the frame of the knee.
        height: Of its middle, as a share of the width of the condyles.
    """
    low = femur.vertices[femur.vertices[:, 2] < 30, 0]
    middle, width = (low.min() + low.max()) / 2, low.max() - low.min()
    tree = cKDTree(femur.vertices)
    start = np.array([middle, femur.vertices[:, 1].min() - 40, height * width])
    points = patella.vertices - patella.vertices.mean(axis=0) + start
    for _ in range(40):
        gap = float(tree.query(points)[0].min())
        if gap - CARTILAGE < 0.05:
            break
        points = points + np.array([0.0, gap - CARTILAGE, 0.0])
    return Surface(points, patella.faces)


def made_up_fibula(tibia: Surface, until: float, seed: int) -> Surface:
    """A fibula beside a right tibia: a head behind and outside of the plateau, a slender shaft.

    It keeps `CLEARANCE` away from the tibia and reaches down to the height `until`.
    """
    random = np.random.default_rng(seed)
    top = float(np.quantile(tibia.vertices[:, 2], 0.98)) - random.uniform(12, 18)
    scale = random.uniform(0.9, 1.15)
    outwards = np.deg2rad(random.uniform(42, 58))
    towards = np.array([-np.cos(outwards), np.sin(outwards)])
    depths = np.array([d for d, _ in FIBULA_RADII] + list(np.arange(65.0, top - until, RING)))
    radii = scale * np.interp(depths, *np.array(FIBULA_RADII).T)
    levels = [_level(tibia, top - depth) for depth in depths]
    path = _smoothed(np.array([_beside(*at, towards) for at in zip(levels, radii, strict=True)]))
    while (lack := CLEARANCE - _clearance(path, radii, levels)) > 0:
        path = path + (lack + 0.1) * towards
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    edge = 1 + random.uniform(0.0, 0.12) * np.cos(3 * angle + random.uniform(0, 6))
    outline = np.stack([np.cos(angle), np.sin(angle)], axis=1) * edge[:, None]
    rings = path[:, None, :] + radii[:, None, None] * outline
    heights = np.repeat((top - depths)[:, None, None], len(angle), axis=1)
    return _tube(np.concatenate([rings, heights], axis=2))


def _level(tibia: Surface, height: float) -> Float:
    """(N, 2) points of the tibia at about this height; at its end, those of its end."""
    lowest = float(tibia.vertices[:, 2].min()) + LEVEL
    away = np.abs(tibia.vertices[:, 2] - max(height, lowest))
    enough = np.partition(away, RIM)[RIM]
    return np.asarray(tibia.vertices[away <= max(LEVEL, enough), :2])


def _beside(level: Float, radius: float, towards: Float) -> Float:
    """(2,) where a disc just clears the tibia, or 24 mm from its middle where it is slender."""
    middle = (level.min(axis=0) + level.max(axis=0)) / 2
    away = 24.0
    while np.linalg.norm(level - (middle + away * towards), axis=1).min() < radius + CLEARANCE:
        away += 0.5
    return np.asarray(middle + away * towards)


def _clearance(path: Float, radii: Float, levels: list[Float]) -> float:
    """From the widest part of any ring to the tibia; rings have at most an eighth more."""
    return min(
        float(np.linalg.norm(level - centre, axis=1).min() - 1.12 * radius)
        for centre, radius, level in zip(path, radii, levels, strict=True)
    )


def _smoothed(path: Float) -> Float:
    """A path without kinks."""
    padded = np.pad(path, ((4, 4), (0, 0)), mode="edge")
    kernel = np.hanning(11)[1:-1] / np.hanning(11).sum()
    return np.stack([np.convolve(padded[:, i], kernel, mode="valid") for i in range(2)], axis=1)


def _tube(rings: Float) -> Surface:
    """Rings of points from the top down, closed at both ends."""
    count, around = rings.shape[:2]
    index = np.arange(count * around).reshape(count, around)
    sides = [_band_of_faces(index[i], index[i + 1]) for i in range(count - 1)]
    top, bottom = count * around, count * around + 1
    first, last = index[0], index[-1]
    caps = [
        np.stack([first, np.roll(first, -1), np.full(around, top)], axis=1),
        np.stack([np.roll(last, -1), last, np.full(around, bottom)], axis=1),
    ]
    ends = np.stack([rings[0].mean(axis=0), rings[-1].mean(axis=0)])
    return surface(np.concatenate([rings.reshape(-1, 3), ends]), np.concatenate([*sides, *caps]))
