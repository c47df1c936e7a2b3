"""The public index has foreign packages named node, pipeline and storage."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ["node", "pipeline", "storage"])
def test_the_package_that_is_imported_is_that_of_this_repository(name: str) -> None:
    package = importlib.import_module(name)

    assert package.__file__ is not None
    assert Path(package.__file__).resolve() == REPOSITORY.resolve() / name / "__init__.py"
    assert (package.__doc__ or "").startswith("Osteon")
