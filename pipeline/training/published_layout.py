"""ShapeNetRendering and ShapeNetVox32: the folders that 3D-R2N2 and Pix2Vox++ were trained on.

    ShapeNetRendering/<category>/<model>/rendering/00.png ... 23.png, rendering_metadata.txt
    ShapeNetVox32/<category>/<model>/model.binvox

Who is learned from is R2N2's rule, the first 80 % of the sorted models of each category, or what a
taxonomy file of Pix2Vox says: a JSON list of categories with `taxonomy_id`, `train`, `val` and
`test`. Models of a taxonomy whose files are not there are left out, as its authors do.

Source: Choy 2016, arXiv:1604.00449; Xie 2020, arXiv:2006.12250.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from pipeline.training.settings import RunFault

LEARNED_SHARE = 0.8
PARTS = ("train", "test")
"""Of a category of a taxonomy; `val` plays no part here."""


@dataclass(frozen=True, slots=True)
class Published:
    """Where such folders lie, and how their images are shown to a network."""

    root: Path
    renderings: str = "ShapeNetRendering"
    voxels: str = "ShapeNetVox32"
    taxonomy: Path | None = None
    """Pix2Vox's ShapeNet.json; none: R2N2's first 80 %."""
    categories: tuple[str, ...] = ()
    """Their folders; none: all."""
    crop: int = 127
    """Rows and columns of the random cut, of 137; Pix2Vox cuts 128."""
    flip: float = 0.5
    """How often an image is mirrored, its target not: of furniture, never of anatomy."""
    background: tuple[int, int] = (225, 255)
    """Range of each colour behind the object while learning, 0 to 255."""
    judged_background: int = 240
    jitter: float = 0.0
    """Largest change of brightness, contrast and saturation, as a share; Pix2Vox has 0.4."""
    colour_noise: float = 0.0
    """Deviation along the principal colours of photographs; Pix2Vox has 0.1."""
    permuted: bool = False
    """Red, green and blue in any order, as Pix2Vox."""


@dataclass(frozen=True, slots=True)
class Model:
    """One object of a category."""

    category: str
    name: str
    renderings: Path
    """The folder of its images."""
    voxels: Path

    @property
    def is_there(self) -> bool:
        """Whether its voxels and the folder of its images exist."""
        return self.voxels.is_file() and self.renderings.is_dir()


@dataclass(frozen=True, slots=True)
class Split:
    """Models by what they are for, in the order of their categories and names."""

    learned: tuple[Model, ...]
    judged: tuple[Model, ...]
    missing: int
    """Models that a taxonomy lists and that are not there."""


def split(of: Published) -> Split:
    """Who is learned from and who is judged.

    Raises:
        RunFault: a folder or the taxonomy is not there, or nobody is left to learn from or judge.
    """
    for folder in (of.root / of.renderings, of.root / of.voxels):
        if not folder.is_dir():
            raise RunFault(f"There is no folder {folder}")
    made = _by_share(of) if of.taxonomy is None else _by_taxonomy(of, of.taxonomy)
    if not (made.learned and made.judged):
        raise RunFault(f"{of.root} holds no models to learn from, or none to judge")
    return made


def images_of(model: Model) -> tuple[Path, ...]:
    """The images of a model by their numbers."""
    return tuple(sorted(model.renderings.glob("*.png")))


def _by_share(of: Published) -> Split:
    learned: list[Model] = []
    judged: list[Model] = []
    for category in of.categories or _folders(of.root / of.voxels):
        names = _folders(of.root / of.voxels / category)
        found = [one for one in (_model(of, category, name) for name in names) if one.is_there]
        count = int(len(found) * LEARNED_SHARE)
        learned += found[:count]
        judged += found[count:]
    return Split(tuple(learned), tuple(judged), 0)


def _by_taxonomy(of: Published, path: Path) -> Split:
    found: dict[str, list[Model]] = {part: [] for part in PARTS}
    missing = 0
    for category in _taxonomy(path):
        code = category["taxonomy_id"]
        if of.categories and code not in of.categories:
            continue
        for part in PARTS:
            listed = [_model(of, code, name) for name in category.get(part, ())]
            there = [model for model in listed if model.is_there]
            missing += len(listed) - len(there)
            found[part] += there
    train, test = (tuple(found[part]) for part in PARTS)
    return Split(train, test, missing)


def _taxonomy(path: Path) -> Sequence[Mapping[str, Any]]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise RunFault(f"{path} is no taxonomy: {fault}") from fault
    is_one = isinstance(told, list) and all(_is_category(row) for row in told)
    if not is_one:
        raise RunFault(f"{path} is no taxonomy: it must list categories with taxonomy_id")
    rows: Sequence[Mapping[str, Any]] = told
    return rows


def _is_category(row: object) -> bool:
    if not isinstance(row, dict):
        return False
    lists = [row.get(part, []) for part in PARTS]
    if not all(isinstance(one, list) for one in lists):
        return False
    # a name is a folder, never a path out of the data set
    return all(_is_name(name) for name in [row.get("taxonomy_id"), *chain(*lists)])


def _is_name(name: object) -> bool:
    return isinstance(name, str) and name not in {"", ".", ".."} and Path(name).name == name


def _model(of: Published, category: str, name: str) -> Model:
    return Model(
        category,
        name,
        of.root / of.renderings / category / name / "rendering",
        of.root / of.voxels / category / name / "model.binvox",
    )


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise RunFault(f"There is no folder {folder}")
    return sorted(path.name for path in folder.iterdir() if path.is_dir())
