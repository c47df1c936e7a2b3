"""Reading the bones of the data folder: closed surfaces, landmarks, and whose they are.

Coordinates are LPS, mm, as in the files; bones are named as in `regions` with the side appended
(`femur_R`, `hip_bone_L`), midline bones without it.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipeline.training.signed_distance import Float, Surface

VSD_LICENCE = "CC BY-NC-SA 4.0 (Fischer, Sci. Data 10:763, 2023)"
STAPLE_LICENCE = "CC BY-NC 4.0 (staple)"
LIBHIP_LICENCE = "MIT (libhip)"
STAPLE_PEOPLE: Final = {
    "ICL_MRI": "ICL",
    "MC22": "MC22",
    "TLEM2_CT": "TLEM2",
    "VAKHUM_CT": "VAKHUM",
}
"""File and person. TLEM2 and TLEM2_MRI show the same person as TLEM2_CT, less well; JIA_ANKLE_MRI
has no knee."""
STAPLE_PARTED: Final = ("VAKHUM",)
SCRAP = 3000.0
"""A part of a file below this volume, mm^3, is no bone."""
VSD_NAMES: Final = {"Hip": "hip_bone", "Sacrum": "sacrum"}
"""Where the file's word is not the region's own in lower case."""


@dataclass(frozen=True, slots=True)
class Person:
    """The bones of one person, as they lay in the scanner."""

    name: str
    """Splits into folds go by this name: one person, one name, however many scans there are."""
    source: str
    licence: str
    bones: Mapping[str, Surface]
    landmarks: Mapping[str, Float] = field(default_factory=dict)
    """(3,) by name; those of a side end in _R or _L."""
    parted: bool = False
    """True if thigh and shank are in two unrelated poses."""


def read_vsd(folder: Path) -> list[Person]:
    """The people of `bones/vsd`, in the order of their names."""
    landmarks = read_landmarks(folder / "landmarks.csv")
    return [
        Person(
            name=path.stem,
            source=f"vsd/{path.stem}",
            licence=VSD_LICENCE,
            bones=_read_surfaces(path),
            landmarks=landmarks.get(path.stem, {}),
        )
        for path in sorted(folder.glob("*.npz"))
    ]


def read_staple(folder: Path) -> list[Person]:
    """The people of `bones/staple` with a whole leg, one scan each."""
    return [
        Person(
            name=person,
            source=f"staple/{name}",
            licence=STAPLE_LICENCE,
            bones=_staple_bones(folder / f"{name}.npz"),
            parted=person in STAPLE_PARTED,
        )
        for name, person in STAPLE_PEOPLE.items()
    ]


def read_libhip(folder: Path) -> list[Person]:
    """The people of `bones/misc` with proximal femora, in the order of their names."""
    return [
        Person(
            name=path.stem,
            source=path.stem.replace("_", "/"),
            licence=LIBHIP_LICENCE,
            bones=_libhip_bones(path),
        )
        for path in sorted(folder.glob("libhip_*.npz"))
    ]


def _libhip_bones(path: Path) -> dict[str, Surface]:
    """The files say `m3_lfemur_mm`."""
    bones = {}
    with np.load(path) as file:
        for name in (key[:-2] for key in file.files if key.endswith("/v")):
            side = name.split("_")[1][0].upper()
            bones[f"femur_{side}"] = surface(file[f"{name}/v"], file[f"{name}/f"])
    return bones


def _staple_bones(path: Path) -> dict[str, Surface]:
    """Bones of the legs; the files put fibula, and once a patella, into the tibia's mesh."""
    bones: dict[str, Surface] = {}
    with np.load(path) as file:
        for side in ("R", "L"):
            for name in ("femur", "tibia", "patella"):
                key = f"{name}_{side.lower()}"
                if f"{key}/v" not in file.files:
                    continue
                found = parts(file[f"{key}/v"], file[f"{key}/f"])
                names = ("tibia", "fibula", "patella") if name == "tibia" else (name,)
                bones |= {f"{n}_{side}": part for n, part in zip(names, found, strict=False)}
    return bones


def parts(vertices: np.ndarray, faces: np.ndarray) -> list[Surface]:
    """The connected parts of a mesh by falling volume, without scraps."""
    points, inverse = np.unique(vertices, axis=0, return_inverse=True)
    corners = inverse.reshape(-1)[faces]
    pairs = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]]])
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(points),) * 2)
    label = connected_components(links, directed=False)[1]
    found = []
    for number in np.unique(label):
        chosen = corners[label[corners[:, 0]] == number]
        used, renumbered = np.unique(chosen, return_inverse=True)
        found.append(surface(points[used], renumbered.reshape(-1, 3)))
    return sorted((p for p in found if volume(p) > SCRAP), key=volume, reverse=True)


def _read_surfaces(path: Path) -> dict[str, Surface]:
    with np.load(path) as file:
        names = [key[:-2] for key in file.files if key.endswith("/v")]
        return {_bone_name(n): surface(file[f"{n}/v"], file[f"{n}/f"]) for n in names}


def _bone_name(name: str) -> str:
    """`Hip_R` is `hip_bone_R`."""
    word, _, side = name.partition("_")
    bone = VSD_NAMES.get(word, word.lower())
    return f"{bone}_{side.upper()}" if side else bone


def surface(vertices: np.ndarray, faces: np.ndarray) -> Surface:
    """A mesh turned outwards, where its enclosed volume says that it is turned inwards."""
    points = np.asarray(vertices, np.float64)
    turned = np.asarray(faces, np.int64)
    return Surface(points, turned if volume(Surface(points, turned)) >= 0 else turned[:, ::-1])


def volume(mesh: Surface) -> float:
    """Enclosed volume, mm^3; negative where the faces are turned inwards."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]] - mesh.vertices.mean(axis=0) for i in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def read_landmarks(path: Path) -> dict[str, dict[str, Float]]:
    """By person and name: the mean over all raters and repeats."""
    clicks: defaultdict[tuple[str, str], list[tuple[float, float, float]]] = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            name = _landmark_name(row["landmark"], row["side"])
            point = (float(row["x_mm"]), float(row["y_mm"]), float(row["z_mm"]))
            clicks[row["subject"], name].append(point)
    people: defaultdict[str, dict[str, Float]] = defaultdict(dict)
    for (person, name), points in clicks.items():
        people[person][name] = np.mean(points, axis=0)
    return dict(people)


def _landmark_name(name: str, side: str) -> str:
    """`Right ASIS` is `ASIS_R`; a femoral landmark takes the side of its femur."""
    word = name.split(" (", maxsplit=1)[0]
    for prefix, letter in (("Right ", "R"), ("Left ", "L")):
        if word.startswith(prefix):
            return f"{word.removeprefix(prefix)}_{letter}"
    return f"{word}_{side}" if side else word
