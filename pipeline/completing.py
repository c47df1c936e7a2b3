"""Anatomy completion as a stage: what a map of labels lacks is added, and stays apart from it.

The rule, which holds whatever the network says:
- what was given keeps its label, everywhere;
- where a structure was seen, its surroundings were seen too: inside the field of view nothing is
  added to it, only beyond the edge;
- a structure that is absent may be added anywhere it does not touch a label;
- what is added is returned beside what was given, never mixed with it: predicted, not imaged.

A completer knows its structures in a box of the patient's directions. The box is laid where the
middles of the structures that are given fit best those of the people that it learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline.errors import PipelineError, StudyError
from pipeline.structures import LabelMap, Labels, Structure, voxel_mm3
from pipeline.types import Float

LARGEST_GRID: Final = 400_000_000
"""Voxels of a completed map."""
SMALLEST_PIECE: Final = 0.02
"""Share of a structure's usual volume: what is added in smaller pieces is noise."""

LARGEST_CUT_MM2: Final = 200.0
"""Of a structure on one face of the box: less is the rim of a structure that ends there."""
WHOLE: Final = (slice(None), slice(None), slice(None))


class NothingKnown(StudyError):
    """The label map holds none of the structures that the completion knows."""


@dataclass(frozen=True, slots=True)
class Completer:
    """A network and the box that it knows."""

    structures: tuple[Structure, ...]
    """Structure n has the number n + 1 in the network's maps."""
    box_mm: tuple[float, float, float]
    """Edges along z, y, x."""
    size: int
    """Voxels along each edge."""
    chances: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    """From a map (size, size, size) to probabilities (structures + 1, size, size, size), the
    background first."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What was given and what was added, on one grid; no voxel is in both."""

    given: LabelMap
    """On the grid of the input, which may have grown."""
    added: LabelMap
    """Numbers of the completer's structures, from 1."""
    field: tuple[slice, slice, slice] = WHOLE
    """Where the grid of the input lies in this one."""
    cut_by_box: frozenset[int] = frozenset()
    """Numbers of the structures that go on where the completer's box ends."""


def complete(
    given: LabelMap,
    known: Mapping[int, int],
    completer: Completer,
    *,
    wanted: frozenset[int] | None = None,
) -> Completed:
    """`given`, and apart from it what is missing.

    Args:
        given: The map; labels beyond `known` are kept, and are not looked at.
        known: From a label of the map to the number of the structure it is.
        completer: What completes.
        wanted: Numbers of the structures that may be added; None: all.

    Raises:
        NothingKnown: none of the labels is a structure of the completer.
        PipelineError: the completed map would be too large.
    """
    number = np.zeros(int(given.array.max(initial=0)) + 1, np.uint8)
    for label, structure in known.items():
        if 0 < label < len(number):
            number[label] = structure
    seen = LabelMap(number[given.array].astype(np.uint16), given.patient_from_index)
    present = np.unique(seen.array[seen.array > 0])
    if not len(present):
        raise NothingKnown
    box = _Box(completer, placed(seen, completer.structures))
    sampled = box.sampled(seen)
    chances = _with_seen(_allowed(completer.chances(sampled), wanted), sampled)
    grown = _grown(given, box, chances)
    added = _predicted(grown, box, chances)
    added[grown.field][np.isin(added[grown.field], present)] = 0
    apart = only_added(grown.map, replace(grown.map, array=added))
    _without_crumbs(apart.added, completer.structures)
    return replace(apart, field=grown.field, cut_by_box=_cut_by(box, chances, sampled))


def only_added(given: LabelMap, predicted: LabelMap) -> Completed:
    """What was given, untouched, and what of `predicted` lies where nothing was given."""
    free = np.where(given.array > 0, 0, predicted.array).astype(np.uint16)
    return Completed(given, replace(predicted, array=free))


def placed(seen: LabelMap, structures: tuple[Structure, ...]) -> Float:
    """(3,) LPS mm where the middle of the box lies.

    Structures that touch the edge of the map are cut, and their middles are shifted: they count
    only where there is no whole one, and then only that of which the most was seen.
    """
    whole: list[Float] = []
    most, likeliest = 0.0, np.zeros(3)
    voxel = voxel_mm3(seen)
    for number, place in enumerate(ndimage.find_objects(seen.array), start=1):
        if place is None or number > len(structures):
            continue
        known, mask = structures[number - 1], seen.array[place] == number
        index = np.argwhere(mask).mean(axis=0) + [one.start for one in place]
        middle = (seen.patient_from_index @ np.append(index, 1.0))[:3] - np.array(known.middle)
        if all(n.start > 0 and n.stop < e for n, e in zip(place, seen.array.shape, strict=True)):
            whole.append(middle)
        share = float(mask.sum()) * voxel / known.volume_mm3
        if share > most:
            most, likeliest = share, middle
    return np.asarray(np.mean(whole, axis=0) if whole else likeliest, np.float64)


@dataclass(frozen=True, slots=True)
class _Box:
    completer: Completer
    middle: Float

    @property
    def patient_from_index(self) -> Float:
        """(4, 4) voxel centre (k, j, i, 1) of the box to LPS mm."""
        size, edges = self.completer.size, np.array(self.completer.box_mm)
        made = np.zeros((4, 4))
        made[[2, 1, 0], [0, 1, 2]] = edges / size
        made[:3, 3] = self.middle - edges[::-1] * (size - 1) / size / 2
        made[3, 3] = 1.0
        return made

    def sampled(self, of: LabelMap) -> NDArray[np.uint8]:
        """The labels at the centres of the box, the background beyond the map."""
        size = self.completer.size
        index = np.indices((size,) * 3).reshape(3, -1)
        at = _index_from_index(of.patient_from_index, self.patient_from_index, index)
        nearest = np.round(at).astype(np.intp)
        shape = np.array(of.array.shape)[:, None]
        inside = ((nearest >= 0) & (nearest < shape)).all(axis=0)
        found = np.zeros(size**3, np.uint8)
        found[inside] = of.array[tuple(nearest[:, inside])]
        return found.reshape((size,) * 3)


@dataclass(frozen=True, slots=True)
class _Grown:
    """A map on a grid that goes on beyond its own."""

    map: LabelMap
    field: tuple[slice, slice, slice]
    """Where the input lies in it."""


def _allowed(chances: NDArray[np.float32], wanted: frozenset[int] | None) -> NDArray[np.float32]:
    """What may not be added is background."""
    if wanted is None:
        return chances
    made = chances.copy()
    for number in set(range(1, len(made))) - wanted:
        made[0] += made[number]
        made[number] = 0
    return made


def _with_seen(chances: NDArray[np.float32], sampled: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What was seen is certain, so that no gap is left before what is predicted to go on from it.

    A network that answers with what is missing calls the seen part of a structure background.
    """
    classes = np.arange(len(chances), dtype=np.uint8)[:, None, None, None]
    return np.where(sampled > 0, (sampled == classes).astype(np.float32), chances)


def _cut_by(box: _Box, chances: NDArray[np.float32], sampled: NDArray[np.uint8]) -> frozenset[int]:
    """The structures that the box cuts, where they were not seen."""
    predicted = np.where(sampled > 0, 0, chances.argmax(axis=0))
    steps = np.array(box.completer.box_mm) / box.completer.size
    found: set[int] = set()
    for axis in range(3):
        area = float(np.delete(steps, axis).prod())
        for side in (0, -1):
            counts = np.bincount(predicted.take(side, axis).ravel())[1:]
            found |= {int(n) + 1 for n in np.flatnonzero(counts * area > LARGEST_CUT_MM2)}
    return frozenset(found)


def _grown(given: LabelMap, box: _Box, chances: NDArray[np.float32]) -> _Grown:
    """The map on a grid that holds every voxel of the box that is likely some structure."""
    shape = given.array.shape
    before = after = np.zeros(3, np.intp)
    places = np.argwhere(chances.argmax(axis=0) > 0).T
    if places.size:
        at = _index_from_index(given.patient_from_index, box.patient_from_index, places)
        low, high = at.min(axis=1), at.max(axis=1)
        # a voxel of the box reaches half its edges beyond its centre
        reach = _steps(given, box).sum(axis=1) / 2
        before = np.where(low < -0.5, np.ceil(reach - low), 0).astype(np.intp)
        beyond = high - (np.array(shape) - 1)
        after = np.where(beyond > 0.5, np.ceil(reach + beyond), 0).astype(np.intp)
    new = np.array(shape) + before + after
    if prod(int(n) for n in new) > LARGEST_GRID:
        raise PipelineError(
            f"The completed map would have {new.tolist()} voxels: resample it first"
        )
    affine = given.patient_from_index.copy()
    affine[:3, 3] -= affine[:3, :3] @ before
    pad = [(int(a), int(b)) for a, b in zip(before, after, strict=True)]
    k, j, i = (slice(int(a), int(a) + n) for a, n in zip(before, shape, strict=True))
    return _Grown(LabelMap(np.pad(given.array, pad), affine), (k, j, i))


def _steps(given: LabelMap, box: _Box) -> Float:
    """(3, 3) how many voxels of the map, along k, j, i, each axis of the box runs through."""
    inverse = np.linalg.inv(given.patient_from_index[:3, :3])
    return np.asarray(np.abs(inverse @ box.patient_from_index[:3, :3]), np.float64)


def _predicted(grown: _Grown, box: _Box, chances: NDArray[np.float32]) -> Labels:
    """The likeliest structure of each voxel, probabilities linear between those of the box."""
    shape = grown.map.array.shape
    made = np.zeros(shape, np.uint16)
    places = np.argwhere(chances.argmax(axis=0) > 0).T
    if not places.size:
        return made
    at = _index_from_index(grown.map.patient_from_index, box.patient_from_index, places)
    reach = _steps(grown.map, box).sum(axis=1)
    low = np.clip(np.floor(at.min(axis=1) - reach), 0, shape).astype(int)
    high = np.clip(np.ceil(at.max(axis=1) + reach) + 1, 0, shape).astype(int)
    plane = np.indices((1, high[1] - low[1], high[2] - low[2])) + low[:, None, None, None]
    for k in range(low[0], high[0]):
        plane[0] = k
        index = _index_from_index(
            box.patient_from_index, grown.map.patient_from_index, plane.reshape(3, -1)
        )
        # beyond the box everything is background
        each = [
            ndimage.map_coordinates(one, index, order=1, cval=float(number == 0))
            for number, one in enumerate(chances)
        ]
        likeliest = np.argmax(each, axis=0).reshape(plane.shape[2:])
        made[k, low[1] : high[1], low[2] : high[2]] = likeliest
    return made


def _without_crumbs(added: LabelMap, structures: tuple[Structure, ...]) -> None:
    """Pieces of `added` that are too small to be a part of their structure are taken out."""
    voxel = voxel_mm3(added)
    for number, place in enumerate(ndimage.find_objects(added.array), start=1):
        if place is None:
            continue
        part = added.array[place]
        pieces, count = ndimage.label(part == number)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1) * voxel
        is_crumb = sizes < SMALLEST_PIECE * structures[number - 1].volume_mm3
        is_crumb[0] = False
        part[is_crumb[pieces]] = 0


def _index_from_index(to: Float, came: Float, index: NDArray[np.intp]) -> Float:
    """(3, N) indices of one grid as indices of another, both by their affines."""
    affine = np.linalg.inv(to) @ came
    return np.asarray(affine[:3, :3] @ index + affine[:3, 3:], np.float64)
