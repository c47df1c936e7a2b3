"""What a completion learns from: a complete label map, and the same with something missing.

Whole anatomies are taken away, as published, or everything beyond a plane, as the edge of a field
of view does. What is kept keeps its labels, and the complete map is not touched.

Source: Li 2023, arXiv:2309.04956: random anatomies that add up to at least 10, 20 or 40 % of what
is segmented, ten times for each person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.training.label_maps import Labels, Triple

SHARES = (0.1, 0.2, 0.4)
"""Of the segmented volume, of which at least one is taken away."""
JOINT_SHIFT_MM = 20.0
JOINT_EDGES_MM = (200.0, 280.0)
JOINT_VOXELS = (1, 2)
"""From a label to one that it meets, across the space between them."""
INSTANCES = 10
"""Incomplete maps that are published of each person."""


def without_anatomies(complete: Labels, share: float, random: np.random.Generator) -> Labels:
    """`complete` without whole labels, drawn until at least `share` of its volume is gone.

    Some label is always kept.

    Raises:
        ValueError: no choice of labels takes so much and leaves one.
    """
    numbers, counts = np.unique(complete[complete > 0], return_counts=True)
    wanted = share * counts.sum()
    order = random.permutation(len(numbers))
    gone = order[: 1 + int(np.searchsorted(np.cumsum(counts[order]), wanted))]
    if len(gone) == len(numbers):
        spare = [one for one in gone if counts[gone].sum() - counts[one] >= wanted]
        if not spare:
            raise ValueError(f"{share:.0%} of the volume cannot be removed from {len(numbers)}")
        gone = gone[gone != spare[0]]
    return np.where(np.isin(complete, numbers[gone]), 0, complete).astype(complete.dtype)


def cut_off(complete: Labels, share: float, random: np.random.Generator) -> Labels:
    """`complete` without what lies beyond a plane across one axis: about `share` of its volume.

    At least one layer of what is segmented goes, and one is kept.

    Raises:
        ValueError: what is segmented is not two layers thick along any axis.
    """
    layers = [_layers(complete, axis) for axis in range(3)]
    thick = [axis for axis in range(3) if len(layers[axis].places) > 1]
    if not thick:
        raise ValueError("There is nothing in the map that a plane could cut")
    axis, is_lower = thick[int(random.integers(len(thick)))], bool(random.integers(2))
    places, counts = layers[axis]
    if not is_lower:
        places, counts = places[::-1], counts[::-1]
    beyond = np.cumsum(counts)[:-1] / counts.sum()
    first_kept = places[1 + int(np.abs(beyond - share).argmin())]
    line = np.arange(complete.shape[axis])
    is_kept = line >= first_kept if is_lower else line <= first_kept
    shape = [1, 1, 1]
    shape[axis] = -1
    return np.where(is_kept.reshape(shape), complete, 0).astype(complete.dtype)


def about_a_joint(
    complete: Labels, box_mm: Triple, random: np.random.Generator, among: Sequence[int] = ()
) -> Labels:
    """What a reconstruction of a joint has of `complete`: two labels that meet, in a cube.

    The cube has edges of 200 to 280 mm, and lies within some 20 mm of where they meet.

    Args:
        complete: The map.
        box_mm: Its edges.
        random: Of all that is drawn.
        among: The labels that may be left; none: all.

    Raises:
        ValueError: no two of these labels meet.
    """
    joints = _joints(np.where(np.isin(complete, among), complete, 0) if among else complete)
    if not joints:
        raise ValueError("No two labels of the map meet")
    pair = list(joints)[int(random.integers(len(joints)))]
    place = joints[pair][int(random.integers(len(joints[pair])))]
    steps = np.array(box_mm) / complete.shape
    middle = place + random.normal(0.0, JOINT_SHIFT_MM, 3) / steps
    reach = random.uniform(*JOINT_EDGES_MM) / 2 / steps
    low = np.clip(np.round(middle - reach), 0, None).astype(int)
    high = np.clip(np.round(middle + reach), 0, complete.shape).astype(int)
    field = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    made = np.zeros_like(complete)
    made[field] = np.where(np.isin(complete[field], pair), complete[field], 0)
    return made


def _joints(complete: Labels) -> dict[tuple[int, int], NDArray[np.int64]]:
    """From two labels, the lower first, to the places (N, 3) where they come near each other."""
    found: dict[tuple[int, int], list[NDArray[np.int64]]] = {}
    for axis in range(3):
        for step in JOINT_VOXELS:
            here = complete.swapaxes(0, axis)[:-step].swapaxes(0, axis)
            there = complete.swapaxes(0, axis)[step:].swapaxes(0, axis)
            places = np.argwhere((here > 0) & (there > 0) & (here != there))
            ends = np.stack([here[tuple(places.T)], there[tuple(places.T)]], axis=1)
            ends.sort(axis=1)
            for one, other in np.unique(ends, axis=0):
                is_pair = (ends == (one, other)).all(axis=1)
                found.setdefault((int(one), int(other)), []).append(places[is_pair])
    return {pair: np.concatenate(each) for pair, each in sorted(found.items())}


class _Layers(NamedTuple):
    places: NDArray[np.int64]
    """Of the layers across an axis in which there is anything."""
    counts: NDArray[np.int64]
    """The voxels of each."""


def _layers(complete: Labels, axis: int) -> _Layers:
    others = tuple(other for other in range(3) if other != axis)
    counts = np.count_nonzero(complete, axis=others)
    places = np.flatnonzero(counts)
    return _Layers(places, counts[places])


@dataclass(frozen=True, slots=True)
class Variety:
    """How a map is varied before something is taken from it."""

    cut: float = 0.3
    """How often a plane cuts it, rather than whole anatomies go."""
    largest_cut: float = 0.6
    """Of the volume."""
    joint: float = 0.0
    """How often only two labels are left, in a cube about where they meet: what a reconstruction
    of a joint has."""
    joint_labels: tuple[int, ...] = ()
    """The numbers of those that may be left then: the bones of a region, of both sides; none: all
    labels."""
    mirrored: float = 0.5
    """How often right and left are exchanged, their labels with them."""
    turn_deg: float = 6.0
    """Standard deviation about each axis."""
    scale: float = 0.04
    """Standard deviation along each axis, as a share."""
    shift_mm: float = 10.0
    """Standard deviation along each axis."""


PUBLISHED = Variety(cut=0.0, mirrored=0.0, turn_deg=0.0, scale=0.0, shift_mm=0.0)


def incomplete(
    complete: Labels, box_mm: Triple, variety: Variety, random: np.random.Generator
) -> Labels:
    """`complete` with something missing.

    Raises:
        ValueError: nothing can be taken from it.
    """
    if variety.joint and random.random() < variety.joint:
        return about_a_joint(complete, box_mm, random, variety.joint_labels)
    if random.random() < variety.cut:
        return cut_off(complete, random.uniform(SHARES[0], variety.largest_cut), random)
    return without_anatomies(complete, float(random.choice(SHARES)), random)


def varied(
    labels: Labels,
    box_mm: Triple,
    size: int,
    mirror: NDArray[np.uint8],
    variety: Variety,
    random: np.random.Generator,
) -> Labels:
    """(size, size, size) of the same box: turned, scaled, shifted, perhaps mirrored.

    Args:
        labels: (Z, Y, X).
        box_mm: Edges of the box along z, y, x.
        size: Voxels along each edge of the result.
        mirror: What each number becomes where right and left are exchanged.
        variety: How much.
        random: Of all that is drawn.
    """
    is_mirrored = random.random() < variety.mirrored
    angles = np.deg2rad(random.normal(0.0, variety.turn_deg, 3))
    stretch = np.exp(random.normal(0.0, variety.scale, 3))
    shift = random.normal(0.0, variety.shift_mm, 3)
    edges = np.array(box_mm)
    matrix = _turned(angles) * stretch
    if is_mirrored:
        matrix[:, 2] *= -1
    line = (np.arange(size) + 0.5) / size - 0.5
    # three planes of sums, so that no product over all voxels is needed
    columns = [matrix[:, axis, None] * (line * edges[axis]) for axis in range(3)]
    index = []
    for axis, (voxels, edge) in enumerate(zip(labels.shape, edges, strict=True)):
        z, y, x = (columns[other][axis] for other in range(3))
        place = z[:, None, None] + y[:, None] + (x + shift[axis])
        index.append(np.floor((place / edge + 0.5) * voxels).astype(np.intp))
    inside = np.logical_and.reduce(
        [(i >= 0) & (i < n) for i, n in zip(index, labels.shape, strict=True)]
    )
    flat = np.ravel_multi_index(tuple(index), labels.shape, mode="clip")
    found = np.where(inside, labels.ravel()[flat], 0).astype(np.uint8)
    return mirror[found] if is_mirrored else found


def _turned(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) rotation about the three axes, one after the other."""
    made = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        made = turn @ made
    return made
