"""A hip that exists only in code: the test object whose truth is known.

A femur (head, neck, both trochanters, shaft with a marrow cavity) and half a pelvis (cup, iliac
wing, ischium, pubic ring) stand in a thigh of soft tissue. Every body is a smooth union of simple
signed distances (negative inside, mm), so its truth can be asked for on any grid. It has no plane
of symmetry: a flip or a swap of axes anywhere in the pipeline changes the result.

Neck-shaft angle, anteversion, head and shaft diameters are those of an adult: Noble 1988, Clin.
Orthop. 235:148. Attenuation is that of the tissues near 60 keV: ICRU Report 44.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.types import Float, Side, Volume

Array = NDArray[np.float32]

CORTICAL = 0.055
SPONGY = 0.029
MARROW = 0.019
SOFT_TISSUE = 0.0205
"""Linear attenuation, 1/mm."""

NEAR, FAR = 4.0, 99.0
"""Distances are exact up to `NEAR` mm outside a body, and at most `FAR`."""

EXTENT = (300.0, 210.0, 226.0)
"""Size of the field along (z, y, x), mm: taller than what a radiograph of the hip shows."""

HEAD = (-13.0, -6.0, 42.0)
HEAD_RADIUS = 23.5
NECK_SHAFT_DEG = 127.0
ANTEVERSION_DEG = 14.0
NECK_LENGTH = 49.0
"""The left hip, LPS mm; the right one is its mirror image."""


@dataclass(frozen=True, slots=True)
class Phantom:
    """The phantom on a grid: what the rays meet, and the truth about its bones."""

    density: Volume
    """Linear attenuation, 1/mm."""
    occupancy: Volume
    """Share of each voxel inside the bones, marrow included."""
    femur: Volume
    pelvis: Volume
    """The same, for each bone alone."""


def phantom(side: Side = Side.LEFT, *, spacing: float = 1.25) -> Phantom:
    """The hip of `side` around the isocentre, its axes the patient's.

    Raises:
        ValueError: the side is neither left nor right.
    """
    shape = tuple(round(extent / spacing) for extent in EXTENT)
    patient_from_index = np.zeros((4, 4))
    patient_from_index[[0, 1, 2], [2, 1, 0]] = spacing
    patient_from_index[:3, 3] = [-0.5 * spacing * (count - 1) for count in shape[::-1]]
    patient_from_index[3, 3] = 1.0
    points = _points(shape, patient_from_index, side)
    femur, pelvis = _nearby(_femur, points), _nearby(_pelvis, points)
    density = SOFT_TISSUE * _inside(_thigh(points), spacing)
    for bone, cortex in ((femur, _femoral_cortex(points)), (pelvis, np.float32(1.6))):
        density = _filled(density, bone, cortex, spacing)
    density = _mixed(density, MARROW, _inside(_nearby(_marrow, points), spacing))
    volumes = (density, _inside(np.minimum(femur, pelvis), spacing))
    bones = (_inside(femur, spacing), _inside(pelvis, spacing))
    return Phantom(*(Volume(array, patient_from_index) for array in (*volumes, *bones)))


def occupancy(side: Side, shape: tuple[int, int, int], patient_from_index: Float) -> Volume:
    """The truth about the bones of `phantom(side)` on any grid, such as that of a result."""
    points = _points(shape, patient_from_index, side)
    spacing = float(np.linalg.norm(patient_from_index[:3, 0]))
    bones = np.minimum(_nearby(_femur, points), _nearby(_pelvis, points))
    return Volume(_inside(bones, spacing), patient_from_index)


def _points(shape: tuple[int, ...], patient_from_index: Float, side: Side) -> Array:
    """Voxel centres, (Z, Y, X, 3) LPS mm, mirrored into the left hip."""
    if side is Side.UNPAIRED:
        raise ValueError("a hip has a side")
    axes = np.meshgrid(*(np.arange(count, dtype=np.float32) for count in shape), indexing="ij")
    affine = patient_from_index.astype(np.float32)
    points: Array = np.stack(axes, axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    if side is Side.RIGHT:
        points[..., 0] *= -1
    return points


def _nearby(body: Callable[[Array], Array], points: Array, every: int = 4) -> Array:
    """The distance to `body` inside and near it, `FAR` elsewhere: most of the field is far away."""
    coarse = body(points[::every, ::every, ::every])
    reach = np.linalg.norm(points[0, 0, 0] - points[tuple(min(1, n - 1) for n in points.shape[:3])])
    is_near = coarse < every * reach + NEAR
    for axis, count in enumerate(points.shape[:3]):
        is_near = np.take(is_near, np.arange(count) // every, axis=axis)
    distance = np.full(points.shape[:3], FAR, np.float32)
    distance[is_near] = body(points[is_near])
    return distance


def _inside(distance: Array, spacing: float) -> Array:
    """Share of each voxel that is inside, for a boundary that is flat at the scale of a voxel."""
    share: Array = np.clip(0.5 - distance / np.float32(spacing), 0, 1).astype(np.float32)
    return share


def _mixed(below: Array, value: float, share: Array) -> Array:
    mixed: Array = below + share * (np.float32(value) - below)
    return mixed


def _filled(density: Array, bone: Array, cortex: Array | np.float32, spacing: float) -> Array:
    """A shell of `cortex` mm over spongy bone that grows denser towards the shell."""
    density = _mixed(density, CORTICAL, _inside(bone, spacing))
    depth = -(bone + cortex)
    spongy = np.float32(SPONGY) * (1 + 0.25 * np.exp(-np.clip(depth, 0, None) / 5))
    mixed: Array = density + _inside(-depth, spacing) * (spongy - density)
    return mixed


def _femoral_axes() -> tuple[Array, Array]:
    """The end of the neck on the axis of the shaft, and the distal end of that axis."""
    down = np.array([-13.0, -6.0, -190.0]) / math.hypot(13, 6, 190)
    tilt, turn = math.radians(180 - NECK_SHAFT_DEG), math.radians(ANTEVERSION_DEG)
    medial = np.array([-math.cos(turn), -math.sin(turn), 0.0])
    medial -= (medial @ down) * down
    medial /= np.linalg.norm(medial)
    up_the_neck = math.sin(tilt) * medial - math.cos(tilt) * down
    junction = np.array(HEAD) - NECK_LENGTH * up_the_neck
    return junction.astype(np.float32), (junction + 190 * down).astype(np.float32)


def _femur(points: Array) -> Array:
    junction, distal = _femoral_axes()
    head, thigh = np.array(HEAD, np.float32), _from(junction)
    waist = head + 0.55 * (junction - head)
    shaft = _cone(points, thigh(0, 0, -6), thigh(-5, 1, -60), 18.5, 14.0)
    shaft = _union(shaft, _cone(points, thigh(-5, 1, -60), distal, 13.5, 14.0), 10)
    greater = _cone(points, thigh(8, 3, -10), thigh(12, 10, 22), 15.5, 8.5)
    lesser = _cone(points, thigh(-8, 6, -38), thigh(-13, 15, -41), 11.0, 6.0)
    neck = _cone(points, waist, junction, 15.0, 17.5)
    body = _union(_union(shaft, greater, 10), lesser, 10)
    body = _union(body, neck, 10)
    return _union(body, _ball(points, head, HEAD_RADIUS), 7)


def _femoral_cortex(points: Array) -> Array:
    """1.3 mm over the head, 6 mm in the shaft, the change along the metaphysis."""
    share = np.clip((points[..., 2] + 10) / -60, 0, 1)
    cortex: Array = (1.3 + 4.7 * share * share * (3 - 2 * share)).astype(np.float32)
    return cortex


def _marrow(points: Array) -> Array:
    junction, distal = _femoral_axes()
    thigh = _from(junction)
    isthmus = thigh(-5, 1, -60)
    return _union(
        _cone(points, thigh(-3, 0, -34), isthmus, 9.5, 8.0),
        _cone(points, isthmus, distal, 7.5, 8.0),
        6,
    )


def _pelvis(points: Array) -> Array:
    head = np.array(HEAD, np.float32)
    hip = _from(head)
    opening = np.array([0.72, -0.32, -0.62], np.float32)
    opening /= np.linalg.norm(opening)
    beyond = np.asarray((points - head) @ opening - 4, np.float32)
    cup = _intersection(_ball(points, hip(-4, 2, 4), 33.0), beyond, 4)
    column = _cone(points, hip(-7, 6, 28), hip(-11, 12, 62), 20.0, 15.0)
    wing = _plate(points, hip(-11, 12, 84), (9.0, 46.0, 48.0), 68.0)
    ischium = _cone(points, hip(-13, 13, -14), hip(-24, 15, -58), 16.0, 14.0)
    tuber = _cone(points, hip(-24, 15, -58), hip(-52, 1, -72), 13.0, 7.5)
    superior = _cone(points, hip(-24, -4, -8), hip(-60, -10, -20), 12.5, 10.0)
    body = _cone(points, hip(-64, -10, -24), hip(-66, -7, -48), 11.0, 10.0)
    lower = _cone(points, hip(-52, 1, -72), hip(-66, -7, -48), 7.5, 9.5)
    bone = _union(_union(cup, column, 16), wing, 14)
    bone = _union(bone, ischium, 12)
    bone = _union(bone, _union(_union(superior, body, 8), _union(tuber, lower, 6), 6), 9)
    return _intersection(bone, -_ball(points, head, HEAD_RADIUS + 3.2), 2)


def _thigh(points: Array) -> Array:
    """An ellipse that narrows slowly downwards; its distance is first order."""
    x, y, z = (points[..., axis] for axis in range(3))
    width = 93 + 0.07 * z
    depth = 84 + 0.08 * z
    radius = np.sqrt(((x + 8) / width) ** 2 + ((y - 4) / depth) ** 2)
    distance: Array = ((radius - 1) * np.minimum(width, depth)).astype(np.float32)
    return distance


def _from(origin: Array) -> Callable[[float, float, float], Array]:
    """Points named by their way from `origin`, mm."""
    return lambda x, y, z: origin + np.array((x, y, z), np.float32)


def _ball(points: Array, centre: Array, radius: float) -> Array:
    return _length(points - centre) - np.float32(radius)


def _cone(points: Array, start: Array, end: Array, r_start: float, r_end: float) -> Array:
    """A capsule whose radius runs from one value to the other; exact where they are equal."""
    axis = end - start
    away = points - start
    share = np.clip(away @ axis / (axis @ axis), 0, 1)
    radius = np.float32(r_start) + share * np.float32(r_end - r_start)
    return np.asarray(_length(away - share[..., None] * axis) - radius, np.float32)


def _plate(
    points: Array, centre: Array, half_axes: tuple[float, float, float], turn_deg: float
) -> Array:
    """A flat ellipsoid turned about z; the first-order distance, good near its surface."""
    cos, sin = math.cos(math.radians(turn_deg - 90)), math.sin(math.radians(turn_deg - 90))
    turned = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32)
    axes = np.array(half_axes, np.float32)
    scaled = np.asarray((points - centre) @ turned.T / axes, np.float32)
    radius, slope = _length(scaled), _length(scaled / axes)
    return np.asarray(radius * (radius - 1) / np.maximum(slope, 1e-6), np.float32)


def _length(vectors: Array) -> Array:
    length: Array = np.sqrt(np.einsum("...i,...i->...", vectors, vectors))
    return length


def _union(a: Array, b: Array, blend: float) -> Array:
    """The smooth minimum: bodies grow together over `blend` mm, as bone does."""
    width = np.float32(blend)
    overlap = np.clip(width - np.abs(a - b), 0, None) / width
    blended: Array = np.minimum(a, b) - overlap * overlap * width / np.float32(4)
    return blended


def _intersection(a: Array, b: Array, blend: float) -> Array:
    return -_union(-a, -b, blend)
