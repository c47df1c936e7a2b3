"""The folders that the anatomy completor was published with: sXXXX_full and sXXXX_0 to sXXXX_9.

    train/s0001_full.nii.gz, train/s0001_0.nii.gz ... train/s0001_9.nii.gz
    test/s0777_full.nii.gz, ...

Each file is a label map; the incomplete ones of a person lie on the grid of the full one.

Source: Li 2023, arXiv:2309.04956.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.training.label_maps import Labels
from pipeline.training.settings import RunFault

NAME = re.compile(r"(?P<person>s\d+)_(?P<part>full|\d+)(?P<suffix>\.nii|\.nii\.gz)")
MOST_LABELS = 255


@dataclass(frozen=True, slots=True)
class PublishedPerson:
    """The files of one person."""

    person: str
    full: Path
    incomplete: tuple[Path, ...]
    """In the order of their numbers."""


def people_in(folder: Path) -> tuple[PublishedPerson, ...]:
    """The people of `train` or of `test`, in the order of their names.

    Raises:
        RunFault: there is nobody, or somebody lacks the full map or all incomplete ones.
    """
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if named := NAME.fullmatch(path.name):
            found.setdefault(named["person"], {})[named["part"]] = path
    if not found:
        raise RunFault(f"There is no sXXXX_full in {folder}")
    return tuple(_person(name, parts, folder) for name, parts in found.items())


def _person(name: str, parts: dict[str, Path], folder: Path) -> PublishedPerson:
    numbers = sorted(int(part) for part in parts if part != "full")
    if "full" not in parts or not numbers:
        raise RunFault(f"{name} in {folder} lacks its full map, or every incomplete one")
    return PublishedPerson(name, parts["full"], tuple(parts[str(n)] for n in numbers))


def read_map(path: Path, labels: int) -> Labels:
    """(Z, Y, X) of one file.

    Raises:
        RunFault: it cannot be read, or has a number beyond `labels`.
    """
    import SimpleITK  # noqa: PLC0415 - archives are trained from without it

    try:
        array = np.asarray(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))))
    except RuntimeError as fault:
        raise RunFault(f"{path} cannot be read as an image") from fault
    if array.ndim != 3 or not np.array_equal(array, np.round(array)):
        raise RunFault(f"{path} is no map of labels in three dimensions")
    if array.min() < 0 or array.max() > min(labels, MOST_LABELS):
        raise RunFault(f"{path} has the labels {array.min()} to {array.max()}, not 0 to {labels}")
    return array.astype(np.uint8)


def write_person(folder: Path, person: str, full: Labels, incomplete: list[Labels]) -> None:
    """`folder` holds the maps of `person`, as sXXXX, in the published layout."""
    import SimpleITK  # noqa: PLC0415 - archives are trained from without it

    folder.mkdir(parents=True, exist_ok=True)
    parts = {"full": full, **{str(n): labels for n, labels in enumerate(incomplete)}}
    for part, labels in parts.items():
        image = SimpleITK.GetImageFromArray(labels)
        SimpleITK.WriteImage(image, str(folder / f"{person}_{part}.nii.gz"), True)
