"""SQLite files as fixtures: one is migrated once, and every test gets a copy of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine

from storage.database import connect, migrate

__all__ = ["empty_url", "engine", "migrated"]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file, closed, so that its write-ahead log is empty."""
    path = tmp_path_factory.mktemp("migrated") / "osteon.db"
    engine = connect(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    return path


@pytest.fixture
def empty_url(tmp_path: Path) -> str:
    """A database without a table."""
    return f"sqlite:///{tmp_path}/empty.db"


@pytest.fixture
def engine(migrated: Path, tmp_path: Path) -> Iterator[Engine]:
    """A migrated database of its own."""
    engine = connect(f"sqlite:///{shutil.copy(migrated, tmp_path / 'osteon.db')}")
    yield engine
    engine.dispose()


@contextmanager
def out_of_reach(engine: Engine) -> Iterator[None]:
    """The file of the database is away, and nothing can be opened in its place."""
    engine.dispose()
    file = Path(str(engine.url.database))
    away = file.rename(file.with_suffix(".away"))
    file.mkdir()
    try:
        yield
    finally:
        file.rmdir()
        away.rename(file)
