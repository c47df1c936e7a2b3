"""INSERT ... ON CONFLICT DO NOTHING, which both databases know and spell in their own dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects import postgresql, sqlite


def insert_new(
    conn: Connection, table: Table, row: Mapping[str, Any], returned: Column[Any]
) -> Any | None:
    """The row stands, and `returned` of it comes back; None where its key was taken already.

    On PostgreSQL this waits for another transaction that is inserting the same key.
    """
    if conn.dialect.name == "postgresql":
        statement = postgresql.insert(table).on_conflict_do_nothing()
        return conn.execute(statement.returning(returned), dict(row)).scalar_one_or_none()
    other = sqlite.insert(table).on_conflict_do_nothing()
    return conn.execute(other.returning(returned), dict(row)).scalar_one_or_none()
