"""The archive that networks are trained from: one file a region, read with numpy and torch alone.

An `.npz` whose entries are, for a case `c`:
    c/near      int8 (T + 1, Z, Y, X): signed distance, negative inside, of each target and, last,
                of the union of all neighbours, in the region's cube, in steps of `NEAR_STEP`.
    c/far       int8 (Z, Y, X): of the union of all bones of the person in the wide cube, in steps
                of `FAR_STEP`.
    c/landmarks float32 (L, 3), region frame, nan where unknown.
    c/has       bool (T,): the bone is this person's own and true, so that it may be judged.
    c/borrowed  bool (T,): another's, or mirrored from the other side; it may be learned from.
    c/mesh/t/v  int16 (N, 3), steps of `VERTEX_STEP`, and c/mesh/t/f int32 (M, 3): the true closed
                surface of target t, *whole*: who judges clips both surfaces to the cube.
and `meta`, JSON: the region's row, the names of the landmarks, the folds and the list of cases.
Entries are compressed by bzip2, which loses nothing and takes 0.54 of the room of deflate (41 legs,
meshes and all: 24.2 of 44.8 MiB); a case is read in 0.1 s. Archives by deflate are read as well.
Voxel i has its centre at -edge/2 + (i + 0.5) edge/voxels along each axis of the region frame.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self
from zipfile import ZIP_BZIP2, ZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.training.regions import Region

NEAR_STEP: Final = 0.125
NEAR_LIMIT: Final = 127 * NEAR_STEP
FAR_STEP: Final = 0.25
FAR_LIMIT: Final = 127 * FAR_STEP
VERTEX_STEP: Final = 0.02
SYNTHETIC: Final = -1
"""The fold of cases that are never judged on."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is known of one leg of one person, without its voxels."""

    name: str
    person: str
    side: str
    """R or L; a left one is mirrored into the region frame."""
    source: str
    licence: str
    fold: int
    """The fold in which this person is judged; `SYNTHETIC` where never."""
    patient_from_region: tuple[tuple[float, ...], ...]
    """(4, 4); it mirrors where the side is left."""
    has: tuple[bool, ...]
    borrowed: tuple[bool, ...]
    scenery: tuple[str, ...] = ()
    """Neighbours that are not this person's own, and where they come from."""

    @property
    def is_mirrored(self) -> bool:
        """True of left legs."""
        return self.side == "L"


@dataclass(frozen=True, slots=True)
class TriangleMesh:
    """A closed surface in the region frame, mm."""

    vertices: Tensor
    """(N, 3) float32."""
    faces: Tensor
    """(M, 3) int64, counter-clockwise seen from outside."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The cases of a region; voxels are read when they are asked for."""

    path: Path
    region: Region
    landmark_names: tuple[str, ...]
    cases: tuple[Case, ...]

    def near(self, case: Case) -> Tensor:
        """(T + 1, Z, Y, X) float32, mm, clipped to +-`NEAR_LIMIT`; the last are neighbours."""
        return torch.from_numpy(self._read(f"{case.name}/near")).float() * NEAR_STEP

    def far(self, case: Case) -> Tensor:
        """(Z, Y, X) float32, mm, of all bones, clipped to +-`FAR_LIMIT`."""
        return torch.from_numpy(self._read(f"{case.name}/far")).float() * FAR_STEP

    def landmarks(self, case: Case) -> Tensor:
        """(L, 3) float32, mm, region frame, nan where unknown, as `landmark_names`."""
        return torch.from_numpy(self._read(f"{case.name}/landmarks"))

    def mesh(self, case: Case, target: str) -> TriangleMesh | None:
        """The true surface of a target, whole; None where it is unknown or not its own."""
        key = f"{case.name}/mesh/{target}"
        with np.load(self.path, allow_pickle=False) as file:
            if f"{key}/v" not in file.files:
                return None
            vertices, faces = file[f"{key}/v"], file[f"{key}/f"]
        points = torch.from_numpy(vertices).float() * VERTEX_STEP
        return TriangleMesh(points, torch.from_numpy(faces).long())

    def judged_in(self, *folds: int) -> tuple[Case, ...]:
        """The cases of the people that are judged in `folds`."""
        return tuple(case for case in self.cases if case.fold in folds)

    def trained_in(self, *folds: int) -> tuple[Case, ...]:
        """All other cases."""
        return tuple(case for case in self.cases if case.fold not in folds)

    def _read(self, key: str) -> NDArray[np.generic]:
        with np.load(self.path, allow_pickle=False) as file:
            return np.asarray(file[key])

    @classmethod
    def load(cls, path: Path) -> Self:
        """The archive at `path`, without its voxels."""
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(str(file["meta"]))
        return cls(
            path=path,
            region=_region(meta["region"]),
            landmark_names=tuple(meta["landmark_names"]),
            cases=tuple(_case(row) for row in meta["cases"]),
        )


def load(path: Path | str) -> Archive:
    """The archive at `path`; voxels are read when they are asked for."""
    return Archive.load(Path(path))


def write(
    path: Path,
    region: Region,
    landmark_names: tuple[str, ...],
    cases: tuple[Case, ...],
    entries: Mapping[str, NDArray[np.generic]],
) -> None:
    """`path` holds the archive; `entries` are the arrays by their full name."""
    meta = {
        "region": asdict(region),
        "landmark_names": list(landmark_names),
        "cases": [asdict(case) for case in cases],
    }
    arrays = {**entries, "meta": np.array(json.dumps(meta))}
    with ZipFile(path, "w", ZIP_BZIP2) as file:
        for name, array in arrays.items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(array), allow_pickle=False)


def quantised(distance: NDArray[np.float32], step: float) -> NDArray[np.int8]:
    """Distances in whole steps, clipped to what an int8 holds."""
    return np.clip(np.round(distance / step), -127, 127).astype(np.int8)


def _region(row: dict[str, object]) -> Region:
    return Region(**{key: _tuples(value) for key, value in row.items()})  # type: ignore[arg-type]


def _case(row: dict[str, object]) -> Case:
    return Case(**{key: _tuples(value) for key, value in row.items()})  # type: ignore[arg-type]


def _tuples(value: object) -> object:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
