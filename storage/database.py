"""An engine from a URL, and the transactions that everything else runs in.

SQLite is in WAL mode with synchronous FULL: a commit that returned survives a power cut. The
driver's own transactions are switched off, because it begins them late and ends them at DDL;
`begin` says BEGIN IMMEDIATE, so that a writer waits for its turn at the start, where nothing is
lost, and never fails in the middle.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from storage.crashpoints import Point, reached
from storage.errors import DatabaseUnavailable, SchemaOutdated, StorageError
from storage.prepared import say

BUSY_TIMEOUT = 10.0
_GONE_IS_NOTICED: dict[str, Any] = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""s, s, a number, ms: a server whose machine is gone says nothing, and TCP waits for hours."""
_MIGRATION_LOCK = 0x6F7374656F6E
"""Any number that nobody else locks with: "osteon" in ASCII."""


def connect(url: str) -> Engine:
    """An engine for `url`, for many threads; each process makes its own. Nothing is opened yet.

    Raises:
        StorageError: the URL names a database in memory, which keeps nothing.
    """
    parsed = make_url(url)
    arguments = {"connect_timeout": int(BUSY_TIMEOUT)} | _GONE_IS_NOTICED
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite:
        if parsed.database in (None, "", ":memory:"):
            raise StorageError("a database in memory keeps nothing: name a file, sqlite:////path")
        arguments = {"timeout": BUSY_TIMEOUT, "check_same_thread": False}
    engine = create_engine(
        parsed,
        connect_args=arguments,
        pool_size=8,
        max_overflow=24,
        pool_timeout=BUSY_TIMEOUT,
        pool_pre_ping=not is_sqlite,
        hide_parameters=True,
        json_serializer=_json,
    )
    if is_sqlite:
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
    else:
        event.listen(engine, "connect", _bound_waiting)
    return engine


@contextmanager
def begin(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes: committed at the end, rolled back if anything is raised.

    Raises:
        DatabaseUnavailable: no answer, or not within the busy time-out; nothing was written.
        SchemaOutdated: a table or a column is missing.
    """
    options = {"osteon_writes": True}
    with _answers(), engine.connect() as conn, conn.execution_options(**options).begin():
        yield conn


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One snapshot of the database: what is committed meanwhile is not seen.

    Raises:
        DatabaseUnavailable: no answer.
        SchemaOutdated: a table or a column is missing.
    """
    options: dict[str, Any] = {}
    if engine.dialect.name == "postgresql":
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with _answers(), engine.connect() as conn, conn.execution_options(**options).begin():
        yield conn


def migrate(engine: Engine) -> tuple[str, ...]:
    """The schema is that of this version; returns the revisions that were applied, first first.

    Two processes may call it at once: the second waits, and has nothing to do.

    Raises:
        SchemaOutdated: the database is newer than this version.
    """
    config = _config()
    scripts = ScriptDirectory.from_config(config)
    with begin(engine) as conn:
        if conn.dialect.name == "postgresql":
            conn.execute(text("SET LOCAL lock_timeout = 0"))
            conn.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        before = MigrationContext.configure(conn).get_current_heads()
        config.attributes["connection"] = conn
        try:
            command.upgrade(config, "head")
            missing = [
                script.revision
                for script in scripts.iterate_revisions("head", before or "base")
                if script.revision not in before
            ]
        except CommandError as reason:
            raise SchemaOutdated(f"the database is not of this version: {reason}") from reason
        reached(Point.DURING_MIGRATION)
    reached(Point.AFTER_MIGRATION)
    return tuple(reversed(missing))


def is_current(engine: Engine) -> bool:
    """True if the schema is exactly that of this version."""
    scripts = ScriptDirectory.from_config(_config())
    with reading(engine) as conn:
        found = MigrationContext.configure(conn).get_current_heads()
    return set(found) == set(scripts.get_heads())


def is_empty(engine: Engine) -> bool:
    """True if no revision was ever applied."""
    with reading(engine) as conn:
        return not MigrationContext.configure(conn).get_current_heads()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "storage:migrations")
    config.set_main_option("path_separator", "os")
    return config


_JSON = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def _json(value: Any) -> str:
    """PostgreSQL knows no NaN in JSON: it must be refused on SQLite as well."""
    return _JSON.encode(value)


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("busy_timeout=10000", "foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    _write_ahead(connection)


def _bound_waiting(connection: Any, _record: object) -> None:
    """A lock that others hold is waited for as long as on SQLite."""
    connection.execute(f"SET lock_timeout = {int(BUSY_TIMEOUT * 1000)}")
    connection.commit()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """WAL, also where several processes open a new file at once: SQLite does not wait there."""
    until = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            if mode != "wal":
                mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
            continue
        if mode == "wal":
            return
        raise sqlite3.OperationalError(f"no write-ahead log on this file system: {mode}")


def _begin(conn: Connection) -> None:
    is_writer = conn.get_execution_options().get("osteon_writes", False)
    say(conn, "BEGIN IMMEDIATE" if is_writer else "BEGIN")


@contextmanager
def _answers() -> Iterator[None]:
    """Faults of the driver become ours; faults of the rows (constraints) pass as they are."""
    try:
        yield
    except PoolExhausted as reason:
        raise DatabaseUnavailable("every connection to the database is in use") from reason
    except DBAPIError as reason:
        if _lacks_schema(reason):
            raise SchemaOutdated from reason
        if _is_out_of_reach(reason):
            raise DatabaseUnavailable(f"the database does not answer: {reason.orig}") from reason
        raise


def _lacks_schema(reason: DBAPIError) -> bool:
    if isinstance(reason, ProgrammingError):
        return getattr(reason.orig, "sqlstate", None) in {"42P01", "42703"}
    return str(reason.orig).startswith(("no such table", "no such column"))


def _is_out_of_reach(reason: DBAPIError) -> bool:
    is_damaged = type(reason.orig) is sqlite3.DatabaseError  # not a database, or malformed
    return (
        isinstance(reason, OperationalError | InterfaceError)
        or is_damaged
        or reason.connection_invalidated
    )
