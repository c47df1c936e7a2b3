"""Which of the structures that a completion adds are plausible parts of a body, and why not.

A network answers anything. What it adds has to go on from what was seen, or to lie beside it as
bones of a joint do; it has to be about as large as such a bone is, and to end inside the box that
the network knows, if in people it does: else it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Final

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from pipeline.completing import Completed
from pipeline.structures import (
    OTHER_SIDE,
    LabelMap,
    Labels,
    Structure,
    meaning_of,
    voxel_mm3,
)
from pipeline.types import Float, Mask, Side

LEAST_SEEN: Final = 0.5
"""Share of a structure's usual volume: with less of every one, where the rest lies is a guess."""
LEAST_WHOLE: Final = 0.5
"""Of an absent structure's usual volume: people differ."""
LARGEST: Final = 1.5
"""The same, with what was seen of it."""
EXTENT: Final = 1.3
"""Of an absent structure: its extents over the usual ones, or these over its own, at most."""
SECTION: Final = 0.6
"""Of a section in which the field of view cuts a bone: from less of it no bone goes on, and what
does ends where it has less of it, or as much more."""
TWIN: Final = 1.3
"""Between the volumes of the right and the left bone of one person, the larger over the smaller."""
REACH_MM: Final = 15.0
"""Between neighbouring bones: a joint space, and a voxel of the network across (13 mm)."""
AROUND: Final = np.ones((3, 3, 3), np.bool_)

NOT_ATTACHED: Final = "it touches nothing that was seen, nor what was added to it"
CUT: Final = "it goes on where the box ends that the network knows"


@dataclass(frozen=True, slots=True)
class Refused:
    """A structure that is not added."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is added."""

    added: LabelMap
    """Without what is refused."""
    refused: tuple[Refused, ...]


def too_little_seen(
    seen: LabelMap, known: Mapping[int, int], structures: Sequence[Structure]
) -> str | None:
    """Why nothing can be placed from what was seen; None where it can.

    Args:
        seen: Labels.
        known: From a label to the number, from 1, of the structure that it is.
        structures: Of the completer.
    """
    voxel = voxel_mm3(seen)
    shares = {
        structures[number - 1].name: float((seen.array == label).sum())
        * voxel
        / structures[number - 1].volume_mm3
        for label, number in known.items()
    }
    if not shares:
        return "None of the bones is one that the completion knows"
    if max(shares.values()) < LEAST_SEEN:
        return f"Of no bone is {LEAST_SEEN:.0%} seen: where the others lie would be a guess"
    return None


def accepted(
    found: Completed, known: Mapping[int, int], structures: Sequence[Structure]
) -> Accepted:
    """What of `found` is plausible; the other arguments are those of `too_little_seen`."""
    made = replace(found.added, array=found.added.array.copy())
    refused: dict[int, str] = {}
    continued: list[int] = []
    absent: list[int] = []
    for number in (int(number) for number in np.unique(made.array) if number):
        seen = np.isin(found.given.array, [n for n, its in known.items() if its == number])
        structure = structures[number - 1]
        if not structure.ends_in_box:
            _end_flat(made.array, number, seen, found.field)
        _keep_pieces(made.array, number, seen)
        is_cut = number in found.cut_by_box and structure.ends_in_box
        reason = CUT if is_cut else _out_of_size(made, number, seen, structure)
        reason = reason or _unlike_its_twin(made, number, found, known, structures)
        reason = reason or _unlike_its_section(made.array == number, seen, found)
        if reason:
            refused[number] = reason
        else:
            (continued if seen.any() else absent).append(number)
    bones = np.isin(found.given.array, list(known)).astype(np.uint16)
    near = [_rim(replace(made, array=bones), 1), *(_rim(made, number) for number in continued)]
    refused |= dict.fromkeys(_out_of_reach(made, absent, near), NOT_ATTACHED)
    made.array[np.isin(made.array, list(refused))] = 0
    return Accepted(made, tuple(Refused(number, refused[number]) for number in sorted(refused)))


def _end_flat(added: Labels, number: int, seen: Mask, field: tuple[slice, slice, slice]) -> None:
    """A bone that goes on ends flat where its section is no longer that which the view cuts.

    A network that is not sure where a shaft runs lets it taper to a point, as if it ended.
    """
    for axis, place in enumerate(field):
        along, shown = np.moveaxis(added, axis, 0), np.moveaxis(seen, axis, 0)
        first, after, _ = place.indices(len(along))
        ways = (range(first - 1, -1, -1), range(after, len(along)))
        for way, face in zip(ways, (first, after - 1), strict=True):
            section = float(shown[face].sum())
            if section:
                shares = ((along[layer] == number).sum() / section for layer in way)
                sure = len(list(takewhile(lambda one: SECTION <= one <= 1 / SECTION, shares)))
                for layer in way[sure:]:
                    along[layer][along[layer] == number] = 0


def _keep_pieces(added: Labels, number: int, seen: Mask) -> None:
    """Of a structure that was seen only pieces that touch it are kept, of another the largest."""
    pieces, _ = ndimage.label(added == number, AROUND)
    if seen.any():
        touched = np.unique(pieces[ndimage.binary_dilation(seen, AROUND)])
        kept = touched[touched > 0]
    else:
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        kept = np.array([sizes.argmax()])
    added[(pieces > 0) & ~np.isin(pieces, kept)] = 0


def _out_of_size(made: LabelMap, number: int, seen: Mask, known: Structure) -> str | None:
    """Why the structure is too large or too small to be one."""
    voxel = voxel_mm3(made)
    added = float((made.array == number).sum()) * voxel
    if not added:
        return NOT_ATTACHED
    whole = added + float(seen.sum()) * voxel
    share = whole / known.volume_mm3
    if share > LARGEST or (share < LEAST_WHOLE and not seen.any()):
        size = "large" if share > 1 else "small"
        usual = known.volume_mm3 / 1000
        return f"it would be too {size}: {whole / 1000:.0f} cm3, usual are {usual:.0f} cm3"
    return None if seen.any() else _out_of_shape(made, number, known)


def _out_of_shape(made: LabelMap, number: int, known: Structure) -> str | None:
    """Why the structure is too long, or too short, along an axis of the patient to be one."""
    voxel = np.abs(made.patient_from_index[:3, :3]).sum(axis=1)
    found = np.ptp(_rim(made, number), axis=0) + voxel
    if known.extent is None or bool((np.abs(np.log(found / known.extent)) < np.log(EXTENT)).all()):
        return None
    its, usual = (" x ".join(f"{mm:.0f}" for mm in size) for size in (found, known.extent))
    return f"it would measure {its} mm, usual are {usual} mm"


def _unlike_its_section(added: Mask, seen: Mask, found: Completed) -> str | None:
    """Why a bone does not go on from the section in which the field of view cuts it."""
    around = ndimage.binary_dilation(added, AROUND)[found.field]
    shown = seen[found.field]
    for axis in range(3):
        for side in (0, -1):
            section = shown.take(side, axis)
            share = float((section & around.take(side, axis)).sum()) / max(1, section.sum())
            if 0 < share < SECTION:
                return f"it goes on from {share:.0%} of the section in which the view cuts the bone"
    return None


def _unlike_its_twin(
    made: LabelMap,
    number: int,
    found: Completed,
    known: Mapping[int, int],
    structures: Sequence[Structure],
) -> str | None:
    """Why the structure is none beside that of the other side, which was seen as a whole."""
    its = meaning_of(structures[number - 1].name)
    twins = [
        label
        for label, other in known.items()
        if its.side is not Side.UNPAIRED
        and meaning_of(structures[other - 1].name) == replace(its, side=OTHER_SIDE[its.side])
    ]
    twin = np.isin(found.given.array[found.field], twins)
    inner = twin[1:-1, 1:-1, 1:-1]
    if number in known.values() or not twin.any() or inner.sum() < twin.sum():
        return None
    added, seen = ((made.array == number).sum(), twin.sum())
    if max(added, seen) <= TWIN * min(added, seen):
        return None
    volume = voxel_mm3(made) / 1000
    return f"it would have {added * volume:.0f} cm3, that of the other side {seen * volume:.0f} cm3"


def _out_of_reach(made: LabelMap, waiting: Sequence[int], near: Sequence[Float]) -> list[int]:
    """Those of `waiting` that no chain of neighbours joins to the surfaces `near`."""
    rims = {number: _rim(made, number) for number in waiting}
    trees = [cKDTree(rim) for rim in near]
    while trees and rims:
        tree = trees.pop()
        reached = [
            number
            for number, rim in rims.items()
            if tree.query(rim, distance_upper_bound=REACH_MM)[0].min() <= REACH_MM
        ]
        trees += [cKDTree(rims.pop(number)) for number in reached]
    return list(rims)


def _rim(of: LabelMap, number: int) -> Float:
    """(N, 3) mm, where the voxels of a structure lie that have a neighbour outside of it."""
    place = ndimage.find_objects(of.array, max_label=number)[number - 1]
    mask = of.array[place] == number
    index = np.argwhere(mask & ~ndimage.binary_erosion(mask)) + [one.start for one in place]
    return np.asarray(index @ of.patient_from_index[:3, :3].T, np.float64)
