"""Archives of label maps, from which completion is learned: one file a set, read with numpy alone.

An `.npz` with `c/labels`, uint8 (Z, Y, X), for every case `c`, and `meta`, JSON: the names of the
labels, the edges of the box and the cases. Label number n is `names[n - 1]`, 0 the background; the
names of pairs end in _R and _L. Voxel i along an axis has its centre at
-edge/2 + (i + 0.5) edge/voxels from the middle of the box; the axes run as those of the patient (x
to the left, y backwards, z up). Label maps are only ever resampled by nearest neighbour: a mean of
two labels is a third one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]
Triple = tuple[float, float, float]
OTHER = {"_R": "_L", "_L": "_R"}


@dataclass(frozen=True, slots=True)
class LabelledPerson:
    """What is known of one label map, without its voxels."""

    name: str
    """Unique in an archive."""
    person: str
    """Splits into folds go by it."""
    source: str
    licence: str
    fold: int
    """In which the person is judged; `folds.NEVER` where in none."""
    borrowed: tuple[str, ...] = ()
    """Labels that are not truly this person's own: learned from, never judged on."""


@dataclass(frozen=True, slots=True)
class LabelMaps:
    """A set of label maps in one frame; voxels are read when they are asked for."""

    path: Path
    names: tuple[str, ...]
    box_mm: Triple
    """Edges of the box along z, y, x."""
    cases: tuple[LabelledPerson, ...]

    def labels(self, case: LabelledPerson) -> Labels:
        """(Z, Y, X)."""
        with np.load(self.path, allow_pickle=False) as file:
            return np.asarray(file[f"{case.name}/labels"])

    def judged_in(self, fold: int) -> tuple[LabelledPerson, ...]:
        """The cases of the people that are judged in `fold`."""
        return tuple(case for case in self.cases if case.fold == fold)

    def trained_in(self, fold: int | None) -> tuple[LabelledPerson, ...]:
        """All other cases; of no fold, all."""
        return tuple(case for case in self.cases if fold is None or case.fold != fold)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The archive at `path`, without its voxels."""
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(str(file["meta"]))
        cases = [{**case, "borrowed": tuple(case["borrowed"])} for case in meta["cases"]]
        z, y, x = meta["box_mm"]
        return cls(path, tuple(meta["names"]), (z, y, x), tuple(LabelledPerson(**c) for c in cases))


def write(
    path: Path,
    names: tuple[str, ...],
    box_mm: Triple,
    cases: Mapping[LabelledPerson, Labels],
) -> None:
    """`path` holds the archive."""
    meta = {"names": names, "box_mm": box_mm, "cases": [asdict(case) for case in cases]}
    arrays = {f"{case.name}/labels": labels for case, labels in cases.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, meta=np.array(json.dumps(meta)), **arrays)  # type: ignore[arg-type]  # its stub takes a bool for all


def zoomed(labels: Labels, shape: tuple[int, int, int]) -> Labels:
    """The same box in `shape` voxels: each has the label that lies at its centre."""
    grid = (
        ((np.arange(made) + 0.5) * came / made).astype(np.intp)
        for made, came in zip(shape, labels.shape, strict=True)
    )
    return labels[np.ix_(*grid)]


def mirrored_numbers(names: tuple[str, ...]) -> NDArray[np.uint8]:
    """(labels + 1,) what each number becomes where right and left are exchanged.

    Raises:
        ValueError: one of a pair has no partner.
    """
    partners = [f"{name[:-2]}{OTHER[name[-2:]]}" if name[-2:] in OTHER else name for name in names]
    lonely = sorted(set(partners) - set(names))
    if lonely:
        raise ValueError(f"A label set is no mirror image of itself: there is no {lonely[0]}")
    return np.array([0, *(names.index(partner) + 1 for partner in partners)], np.uint8)
