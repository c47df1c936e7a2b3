"""Statements that are compiled once, and go to the driver as they are.

For a row or two SQLAlchemy takes longer than the database: each run makes a context, parameters, a
cursor and a result anew. It still says what the SQL is, and how a value of each column is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

Write = Callable[[Any], Any]


class _Compiled(NamedTuple):
    """For one kind of database, and values by these names."""

    text: str
    names: tuple[str, ...]
    """In the order of their places, where places are numbered."""
    is_positional: bool
    known: dict[str, Any]
    """Values that the statement brings along."""
    writes: dict[str, Write]
    """How a value becomes what the driver takes, where it is not that already."""


class Prepared:
    """A statement whose values come later."""

    def __init__(self, build: Callable[[str], ClauseElement]) -> None:
        """`build` makes it for a kind of database: `postgresql`, `sqlite`."""
        self._build = build
        self._compiled: dict[tuple[str, ...], _Compiled] = {}

    def run(self, conn: Connection, values: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
        """The rows that it returned, with values as the driver gives them.

        Raises:
            DBAPIError: as SQLAlchemy raises it.
        """
        key = (conn.dialect.name, *values)
        made = self._compiled.get(key)
        if made is None:
            made = self._compiled[key] = _compiled(self._build(key[0]), conn.dialect, key[1:])
        given = {**made.known, **values}
        for name, write in made.writes.items():
            given[name] = write(given[name])
        return say(conn, made.text, [given[n] for n in made.names] if made.is_positional else given)


def say(conn: Connection, text: str, values: Any = ()) -> Sequence[tuple[Any, ...]]:
    """The rows that the driver brings for its own SQL.

    Raises:
        DBAPIError: as SQLAlchemy raises it.
    """
    cursor = conn.connection.cursor()
    try:
        cursor.execute(text, values)
        return cursor.fetchall() if cursor.description else ()
    except conn.dialect.loaded_dbapi.Error as fault:
        is_gone = conn.dialect.is_disconnect(fault, conn.connection.dbapi_connection, cursor)
        if is_gone:
            conn.invalidate(fault)
        raise DBAPIError.instance(
            text,
            None,
            fault,
            conn.dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=is_gone,
            dialect=conn.dialect,
        ) from fault
    finally:
        cursor.close()


def _compiled(statement: ClauseElement, dialect: Dialect, names: Sequence[str]) -> _Compiled:
    made = statement.compile(dialect=dialect, column_keys=list(names))
    assert isinstance(made, SQLCompiler)  # noqa: S101 - a query or a change of rows
    processors = {
        name: bind.type.dialect_impl(dialect).bind_processor(dialect)
        for bind, name in made.bind_names.items()
    }
    return _Compiled(
        text=str(made),
        names=tuple(made.positiontup or ()),
        is_positional=made.positional,
        known={name: made.params[name] for name in made.bind_names.values() if name not in names},
        writes={name: process for name, process in processors.items() if process is not None},
    )
