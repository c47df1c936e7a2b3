"""Who is judged in which fold: a file, by person, so that no leg of a person is on both sides."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("folds.toml")
FOLDS: Final = 5
NEVER: Final = -1
"""The fold of those that are only trained on."""


def fold_of(person: str, folds: Mapping[str, int]) -> int:
    """The fold in which `person` is judged; `NEVER` for who is not listed (synthetic bones)."""
    return folds.get(person, NEVER)


def read_folds(path: Path = FILE) -> dict[str, int]:
    """The fold of each person.

    Raises:
        ValueError: a person is in two folds, or there are not `FOLDS` of them.
    """
    rows: list[list[str]] = tomllib.loads(path.read_text(encoding="utf-8"))["people"]
    people = [person for row in rows for person in row]
    if len(rows) != FOLDS or len(people) != len(set(people)):
        raise ValueError(f"{path.name} must list each person once, in {FOLDS} folds")
    return {person: fold for fold, row in enumerate(rows) for person in row}
