"""`osteon complete`: what a map of labels lacks is predicted, and written beside what it has.

What was given keeps its labels. Of an image, as NIfTI, what is predicted gets labels of its own,
and a JSON file beside it says what each label is; of a DICOM segmentation, segments of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import completion_weights
from pipeline.completing import Completed, Completer, complete
from pipeline.encode.completed import CompletedSegmentation, named_segments
from pipeline.encode.completed import write as write_segmentation
from pipeline.errors import PipelineError
from pipeline.label_files import MOST, is_dicom, read_image, read_segmentation, write_image
from pipeline.structures import PREDICTED, LabelMap, voxel_mm3

NAMED = re.compile(r"(\d+)=(\S+)")


class CompletionError(Exception):
    """Nothing can be completed; the message is for whoever called."""


@dataclass(frozen=True, slots=True)
class Addition:
    """One structure that was added."""

    label: int
    """In the written file."""
    name: str
    volume_ml: float


def complete_file(
    source: Path, target: Path, weights: Path, *, labels: Sequence[str], only: Sequence[str]
) -> tuple[Addition, ...]:
    """`target` holds what `source` holds, and apart from it what it lacks.

    Args:
        source: A DICOM segmentation, or an image of labels.
        target: A new file of the same kind.
        weights: Of the completion.
        labels: Which label is what, as `5=femur_R`; segments of DICOM are also known by code.
        only: Structures that may be added; none given: all.

    Raises:
        CompletionError: something of this cannot be used.
    """
    for path in (source, weights):
        if not path.is_file():
            raise CompletionError(f"There is no file {path}")
    if target.exists():
        raise CompletionError(f"{target} is there already: name a new file")
    try:
        if is_dicom(source) != (target.suffix == ".dcm"):
            raise CompletionError(
                f"{target.name} is of another kind: .dcm for DICOM and only for it"
            )
        trained = completion_weights.read_header(weights)
        completer = completion_weights.load(weights)
        names = tuple(one.name for one in completer.structures)
        told, wanted = _told(labels, names), _wanted(only, names)
        if not is_dicom(source):
            given = read_image(source)
            known = _checked(told, given, names)
            made = complete(given, known, completer, wanted=wanted)
            return _written(target, made, known, completer)
        file = read_segmentation(source)
        known = {**named_segments(file.dataset, names), **told}
        known = _checked(known, file.map, names)
        made = complete(file.map, known, completer, wanted=wanted)
        segmentation = CompletedSegmentation(source, file.dataset, made, names, trained.digest)
        numbers = write_segmentation(segmentation, target)
    except (PipelineError, OSError) as fault:
        raise CompletionError(str(fault)) from None
    return _additions(made, completer, numbers)


def _told(labels: Sequence[str], names: Sequence[str]) -> dict[int, int]:
    """From a label to the number of its structure."""
    made = {}
    for text in labels:
        match = NAMED.fullmatch(text)
        if match is None or match[2] not in names:
            known = ", ".join(names)
            raise CompletionError(f"--label is like 5={names[0]}, not {text}; known are {known}")
        made[int(match[1])] = names.index(match[2]) + 1
    return made


def _wanted(only: Sequence[str], names: Sequence[str]) -> frozenset[int] | None:
    unknown = sorted(set(only) - set(names))
    if unknown:
        raise CompletionError(f"There is no {unknown[0]}; known are {', '.join(names)}")
    return frozenset(names.index(name) + 1 for name in only) or None


def _checked(known: dict[int, int], given: LabelMap, names: Sequence[str]) -> dict[int, int]:
    """Those labels of `known` that the map has."""
    present = [int(label) for label in np.unique(given.array) if label]
    found = {label: structure for label, structure in known.items() if label in present}
    if not found:
        raise CompletionError(
            f"Say which label is what, as --label {present[0] if present else 1}={names[0]}: the"
            f" file has {', '.join(map(str, present)) or 'none'}, known are {', '.join(names)}"
        )
    return found


def _written(
    target: Path, made: Completed, known: dict[int, int], completer: Completer
) -> tuple[Addition, ...]:
    """The image, and what its labels are beside it."""
    present = [int(label) for label in np.unique(made.given.array) if label]
    offset = 100
    while offset <= max(present):
        offset *= 10
    if offset + len(completer.structures) > MOST:
        raise CompletionError(
            f"Its labels reach {max(present)}: above them is no room for new ones"
        )
    numbers = {n: offset + n for n in range(1, 1 + len(completer.structures))}
    shift = np.array([0, *numbers.values()], np.uint16)
    union = np.where(made.given.array > 0, made.given.array, shift[made.added.array])
    write_image(target, LabelMap(union.astype(np.uint16), made.given.patient_from_index))
    names = {
        label: completer.structures[known[label] - 1].name if label in known else f"label {label}"
        for label in present
    }
    added = _additions(made, completer, numbers)
    names |= {one.label: f"{one.name}, {PREDICTED}" for one in added}
    beside = target.with_name(f"{target.name.partition('.')[0]}.json")
    beside.write_text(json.dumps(names, indent=1), encoding="utf-8")
    return added


def _additions(
    made: Completed, completer: Completer, numbers: dict[int, int]
) -> tuple[Addition, ...]:
    voxel = voxel_mm3(made.added)
    counts = np.bincount(made.added.array.ravel(), minlength=1 + len(completer.structures))
    return tuple(
        Addition(numbers[number], one.name, float(counts[number]) * voxel / 1000)
        for number, one in enumerate(completer.structures, start=1)
        if counts[number]
    )
