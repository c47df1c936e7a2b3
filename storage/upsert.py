"""INSERT ... ON CONFLICT, which both databases know and spell in their own dialect."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

from storage.prepared import Prepared


def inserting(dialect: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that can say what to do where its key is taken already."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def insert_new(
    conn: Connection, table: Table, row: Mapping[str, Any], returned: Column[Any]
) -> Any | None:
    """The row stands, and `returned` of it comes back; None where its key was taken already.

    On PostgreSQL this waits for another transaction that is inserting the same key.
    """
    found = _insert_new(table, returned).run(conn, row)
    return found[0][0] if found else None


@cache
def _insert_new(table: Table, returned: Column[Any]) -> Prepared:
    return Prepared(
        lambda dialect: inserting(dialect, table).on_conflict_do_nothing().returning(returned)
    )
