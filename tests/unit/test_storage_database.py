"""The laws of the database on SQLite, and what is SQLite's alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

from storage.database import begin, connect, reading
from storage.errors import DatabaseUnavailable, StorageError
from tests.database_laws import *  # noqa: F403 - every law is run here on SQLite
from tests.sqlite import *  # noqa: F403 - its fixtures


def test_a_commit_survives_a_power_cut_by_the_pragmas_that_say_so(engine: Engine) -> None:
    with reading(engine) as conn:
        assert conn.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert conn.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert conn.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
        assert conn.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 10_000


def test_a_database_in_memory_is_refused() -> None:
    with pytest.raises(StorageError, match="memory"):
        connect("sqlite://")


def test_a_file_that_cannot_be_opened_is_unavailable_and_retryable(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path}/no/such/folder/x.db")

    with pytest.raises(DatabaseUnavailable) as raised, begin(engine):
        pass

    assert raised.value.retryable


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"not a database, but long enough to be looked at" * 40)
    engine = connect(f"sqlite:///{tmp_path}/x.db")

    with pytest.raises(DatabaseUnavailable), begin(engine):
        pass
