"""Completion as a stage of a job: bones that are missing are added to a result, and marked.

What was reconstructed does not change: its probabilities keep their values and places on a grid
that may grow, its surfaces are the same ones, and so are the figures that it is judged by. What is
added lies where no reconstructed bone is; a bone that was reconstructed goes on only beyond the
grid that it was reconstructed in, because inside of it the engine has said where it is not.

An addition is refused, in words, where it is no plausible part of a body (`pipeline.plausible`).
The completer is shown right sides: a left one is mirrored on the way in, and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import completion_weights
from pipeline.completing import Completer, complete
from pipeline.encode.grid import common_grid, inside
from pipeline.errors import PipelineError
from pipeline.plausible import Refused, accepted, too_little_seen
from pipeline.structures import (
    OTHER_SIDE,
    PREDICTED,
    LabelMap,
    Labels,
    meaning_of,
    numbers_by_meaning,
)
from pipeline.surface import surface, volume_of
from pipeline.types import (
    Algorithm,
    Assumption,
    Bone,
    Figure,
    Float,
    Mask,
    Mesh,
    Reconstruction,
    Side,
    Volume,
)

ASSUMED: Final = "Completion"
"""What assumptions about additions are called."""
NOTHING: Final = "nothing added"
BEYOND: Final = "What was added ends where the completion is no longer sure, and not the bone"
MAX_FACES: Final = 20_000
"""Of an addition: it knows less than what was seen."""
SHADE: Final = (246, 240, 228)
"""How an addition is lit: paler than bone."""
MIRROR: Final = np.diag([-1.0, 1.0, 1.0, 1.0])
Slices = tuple[slice, slice, slice]


def with_additions(made: Reconstruction, region: str) -> Reconstruction:
    """`made`, and the bones that it lacks, as far as they are plausible.

    Raises:
        NothingCompletes: no weights complete the region.
        BrokenWeights: they cannot be used.
        PipelineError: the bones lie on several grids.
    """
    trained = completion_weights.trained_for(region)
    completer = _completer(trained.path, trained.digest)
    return added_by(completer, made, completion_weights.algorithm_for(region))


def added_by(completer: Completer, made: Reconstruction, made_by: Algorithm) -> Reconstruction:
    """`made`, and what `completer` adds to it, which results call `made_by`."""
    common_grid(made.bones)
    seen = _seen(made.bones, completer)
    if reason := too_little_seen(seen.map, seen.known, completer.structures):
        return _told(made, made_by, (), [(NOTHING, reason)])
    found = complete(seen.map, seen.known, completer)
    plausible = accepted(found, seen.known, completer.structures)
    before = np.array([one.start for one in found.field])
    grid = _moved(made.bones[0].probability.patient_from_index, -before)
    meshes, torn = _surfaces(replace(plausible.added, patient_from_index=grid))
    refused = [
        (f"no {seen.named(completer, one.number)} added", one.reason)
        for one in (*plausible.refused, *torn)
    ]
    if not meshes:
        return _told(made, made_by, (), refused or [(NOTHING, "Nothing is missing")])
    extent = _extent(np.isin(plausible.added.array, list(meshes)), found.field)
    bones = tuple(
        replace(bone, probability=_grown(bone.probability, found.field, extent))
        for bone in made.bones
    )
    if made.density is not None:
        made = replace(made, density=_grown(made.density, found.field, extent))
    part = replace(plausible.added, array=plausible.added.array[extent])
    part = replace(part, patient_from_index=bones[0].probability.patient_from_index)
    additions = tuple(_bone(part, number, mesh, completer, seen) for number, mesh in meshes.items())
    open_ended = [
        (f"{seen.named(completer, number)} goes on beyond what was added", BEYOND)
        for number in sorted(meshes)
        if not completer.structures[number - 1].ends_in_box
    ]
    return _told(replace(made, bones=bones), made_by, additions, [*open_ended, *refused])


@dataclass(frozen=True, slots=True)
class _Seen:
    """The bones as a map for the completer: a label is the place of a bone, from 1."""

    map: LabelMap
    known: dict[int, int]
    """From a label to the number of the structure that it is."""
    is_mirrored: bool

    def side(self, of: Side) -> Side:
        """A side of the patient as one of the map, or of the map as one of the patient."""
        return OTHER_SIDE.get(of, of) if self.is_mirrored else of

    def named(self, completer: Completer, number: int) -> str:
        """A structure as reports name it."""
        meaning = meaning_of(completer.structures[number - 1].name)
        return labelled(meaning.words, self.side(meaning.side))


def labelled(words: str, side: Side) -> str:
    """The name of a bone with its side, if it has one."""
    return words if side is Side.UNPAIRED else f"{words} {side}"


def _seen(bones: Sequence[Bone], completer: Completer) -> _Seen:
    """Of two bones in one voxel the first has it, as in a label map."""
    affine = bones[0].probability.patient_from_index
    array: Labels = np.zeros(bones[0].probability.array.shape, np.uint16)
    for label, bone in reversed(list(enumerate(bones, 1))):
        array[inside(bone)] = label
    is_mirrored = {bone.side for bone in bones} == {Side.LEFT}
    seen = _Seen(LabelMap(array, MIRROR @ affine if is_mirrored else affine), {}, is_mirrored)
    numbers = numbers_by_meaning([one.name for one in completer.structures])
    for label, bone in enumerate(bones, 1):
        if number := numbers.get((bone.code.value, seen.side(bone.side))):
            seen.known[label] = number
    return seen


def _surfaces(added: LabelMap) -> tuple[dict[int, Mesh], list[Refused]]:
    """A surface for each structure, and those that have none."""
    meshes, torn = {}, []
    for number, place in enumerate(ndimage.find_objects(added.array), start=1):
        if place is None:
            continue
        mask = (added.array[place] == number).astype(np.float32)
        affine = _moved(added.patient_from_index, np.array([one.start for one in place]))
        try:
            meshes[number] = surface(Volume(mask, affine), max_faces=MAX_FACES)
        except PipelineError as fault:
            torn.append(Refused(number, str(fault)))
    return meshes, torn


def _extent(kept: Mask, field: Slices) -> Slices:
    """The smallest part of the grid that holds what is kept and the grid of the input."""
    (place,) = ndimage.find_objects(kept.astype(np.uint8))
    k, j, i = (
        slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(place, field, strict=True)
    )
    return k, j, i


def _grown(volume: Volume, field: Slices, extent: Slices) -> Volume:
    """The same values at the same places, and 0 where the grid has grown."""
    pads = [(a.start - b.start, b.stop - a.stop) for a, b in zip(field, extent, strict=True)]
    before = np.array([pad[0] for pad in pads])
    return Volume(np.pad(volume.array, pads), _moved(volume.patient_from_index, -before))


def _moved(patient_from_index: Float, by: NDArray[np.intp]) -> Float:
    """The affine of a grid that begins `by` voxels further on."""
    made = patient_from_index.copy()
    made[:3, 3] += made[:3, :3] @ by
    return made


def _bone(added: LabelMap, number: int, mesh: Mesh, completer: Completer, seen: _Seen) -> Bone:
    """Of an addition the occupancy is 0 or 1: nobody has measured how sure it is."""
    meaning = meaning_of(completer.structures[number - 1].name)
    mask = (added.array == number).astype(np.float32)
    return Bone(
        name=meaning.words,
        code=meaning.code,
        side=seen.side(meaning.side),
        probability=Volume(mask, added.patient_from_index),
        mesh=mesh,
        rgb=SHADE,
        is_predicted=True,
    )


def _told(
    made: Reconstruction,
    made_by: Algorithm,
    additions: Sequence[Bone],
    remarks: Sequence[tuple[str, str]],
) -> Reconstruction:
    """The result with its additions, and with what is to be said of them: what, and why."""
    names = [labelled(bone.name, bone.side) for bone in additions]
    said = [Assumption(ASSUMED, what, "", why) for what, why in remarks]
    if names:
        title = f"{made_by.name} {made_by.version}, weights {made_by.weights_digest[:16]}"
        why = f"{PREDICTED.capitalize()}: by {title}, from the shapes of other people"
        said.insert(0, Assumption(ASSUMED, f"{', '.join(names)} added", "", why))
    figures = [
        Figure(f"{PREDICTED}: {name}", volume_of(bone.mesh) / 1000, "cm3")
        for name, bone in zip(names, additions, strict=True)
    ]
    return replace(
        made,
        bones=(*made.bones, *additions),
        assumptions=(*made.assumptions, *said),
        figures=(*made.figures, *figures),
        completed_by=made_by,
    )


@cache
def _completer(path: Path, digest: str) -> Completer:
    """Once a process; a file that was replaced has another digest."""
    return completion_weights.load(path)
