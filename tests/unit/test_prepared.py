"""A statement that goes past SQLAlchemy writes and says what it would with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    Integer,
    MetaData,
    Table,
    bindparam,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.dml import Insert

from storage import database
from storage.columns import Moment, Words
from storage.errors import SchemaOutdated
from storage.prepared import Prepared, say

TABLE = Table(
    "things",
    MetaData(),
    Column("name", Words, primary_key=True),
    Column("at", Moment),
    Column("said", JSON),
    Column("turns", Integer, nullable=False),
)
AT = datetime(2026, 5, 1, 12, 30, tzinfo=timezone(timedelta(hours=2)))
ROW = {"name": "a\0b ü \ud800", "at": AT, "said": {"x": [1, 2.5, None]}, "turns": 3}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = database.connect(f"sqlite:///{tmp_path / 'rows.sqlite'}")
    with database.begin(made) as conn:
        TABLE.metadata.create_all(conn)
    yield made
    made.dispose()


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    with database.begin(engine) as made:
        yield made


def test_a_row_is_written_as_sqlalchemy_writes_it(conn: Connection) -> None:
    Prepared(lambda _: insert(TABLE)).run(conn, ROW)
    (ours,) = say(conn, "SELECT * FROM things")
    say(conn, "DELETE FROM things")

    conn.execute(insert(TABLE), ROW)

    assert ours == say(conn, "SELECT * FROM things")[0]


def test_values_come_by_name_in_any_order_and_not_all_each_time(conn: Connection) -> None:
    adding = Prepared(lambda _: insert(TABLE).returning(TABLE.c.name, TABLE.c.turns))

    assert adding.run(conn, ROW | {"name": "a"}) == [("a", 3)]
    assert adding.run(conn, {"turns": 5, "name": "b"}) == [("b", 5)]
    assert conn.execute(select(TABLE.c.at).where(TABLE.c.name == "b")).scalar_one() is None


def test_a_statement_brings_its_own_values_along(conn: Connection) -> None:
    conn.execute(insert(TABLE), ROW | {"name": "a"})
    turned = update(TABLE).where(TABLE.c.name == bindparam("of")).values(turns=TABLE.c.turns + 4)

    assert Prepared(lambda _: turned.returning(TABLE.c.turns)).run(conn, {"of": "a"}) == [(7,)]


def test_it_is_built_once(conn: Connection) -> None:
    built: list[str] = []

    def build(kind: str) -> Insert:
        built.append(kind)
        return insert(TABLE)

    adding = Prepared(build)
    for name in "abc":
        adding.run(conn, {"name": name, "turns": 1})

    assert built == ["sqlite"]


def test_what_the_database_refuses_is_told_as_sqlalchemy_tells_it(engine: Engine) -> None:
    adding = Prepared(lambda _: insert(TABLE))

    with database.begin(engine) as conn:
        adding.run(conn, ROW)
    with pytest.raises(IntegrityError), database.begin(engine) as conn:
        adding.run(conn, ROW)


def test_a_table_that_is_missing_is_named(engine: Engine) -> None:
    with pytest.raises(SchemaOutdated), database.begin(engine) as conn:
        say(conn, "SELECT * FROM elsewhere")
