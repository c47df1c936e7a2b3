# ruff: noqa: S608 - who tampers writes SQL, and every value is a number of this file
"""Laws of the audit chain, run on SQLite and on PostgreSQL: whoever tampers is named.

The seal is written down a second time here, from the words of the design, so that the expected
chains do not come from the code under test.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from storage import audit
from storage.audit import Broken, Verified
from storage.database import begin, connect, reading
from tests.storage_cases import NODE, STUDY, T0, after, together

ENTRIES = 7
_GENESIS = "0" * 64


def test_an_entry_is_sealed_as_the_design_says(engine: Engine) -> None:
    with begin(engine) as conn:
        first = audit.append(conn, NODE, T0, "node.started")
        second = audit.append(
            conn,
            NODE,
            after(1),
            "x",
            study_instance_uid=STUDY,
            job_id=3,
            details={"b": 1, "a": "é"},
        )

    by_hand = (
        '{"at":"2026-01-02T03:04:06.678901+00:00","details":{"a":"\\u00e9","b":1},"job_id":3,'
        f'"kind":"x","node":"test-node","previous_sha256":"{first.sha256}","sequence":2,'
        '"study_instance_uid":"1.2.826.0.1.3680043.8.498.1"}'
    )
    assert first.previous_sha256 == _GENESIS
    assert second.previous_sha256 == first.sha256
    assert second.sha256 == hashlib.sha256(by_hand.encode()).hexdigest()


def test_an_untouched_chain_is_verified_with_its_head(engine: Engine) -> None:
    _write(engine)

    with reading(engine) as conn:
        verdict = audit.verify(conn)
        last = conn.execute(text("SELECT sha256 FROM entries WHERE sequence = 7")).scalar_one()

    assert verdict == Verified(ENTRIES, (audit.Head(NODE, ENTRIES, last),))


def test_an_audit_without_entries_is_verified(engine: Engine) -> None:
    with reading(engine) as conn:
        assert audit.verify(conn) == Verified(0, ())


@pytest.mark.parametrize("k", [1, 4, 7])
@pytest.mark.parametrize(
    "change",
    [
        "kind = 'other'",
        "details = '{\"n\": 1}'",
        "details = 'no JSON'",
        'details = \'{"a":1,"a":2}\'',
        "study_instance_uid = '1.2.3'",
        "job_id = 99",
        "at = '2031-01-01 00:00:00+00:00'",
        "sha256 = '" + "f" * 64 + "'",
        "previous_sha256 = '" + "f" * 64 + "'",
    ],
)
def test_a_changed_entry_is_named(engine: Engine, k: int, change: str) -> None:
    _write(engine)

    verdict = _tamper(engine, f"UPDATE entries SET {change} WHERE sequence = {k}")

    assert _named(verdict) == k


@pytest.mark.parametrize("k", [1, 4, 6, 7])
def test_a_changed_entry_that_was_sealed_anew_is_named(engine: Engine, k: int) -> None:
    _write(engine)

    verdict = _tamper(engine, lambda conn: _seal_anew(conn, k, kind="forged"))

    assert _named(verdict) == k


@pytest.mark.parametrize("k", [1, 4, 7])
def test_a_removed_entry_is_named(engine: Engine, k: int) -> None:
    _write(engine)

    assert _named(_tamper(engine, f"DELETE FROM entries WHERE sequence = {k}")) == k


@pytest.mark.parametrize("k", [1, 4, 6])
def test_a_removed_entry_is_named_where_the_rest_was_renumbered(engine: Engine, k: int) -> None:
    _write(engine)

    def close_the_gap(conn: Connection) -> None:
        conn.execute(text(f"DELETE FROM entries WHERE sequence = {k}"))
        _shift(conn, k + 1, -1)
        conn.execute(text("UPDATE chains SET sequence = sequence - 1"))

    assert _named(_tamper(engine, close_the_gap)) == k


@pytest.mark.parametrize("k", [1, 4, 6])
def test_a_removed_entry_is_named_where_the_next_was_sealed_anew(engine: Engine, k: int) -> None:
    _write(engine)

    def close_the_gap(conn: Connection) -> None:
        conn.execute(text(f"DELETE FROM entries WHERE sequence = {k}"))
        _shift(conn, k + 1, -1)
        for sequence in range(k, ENTRIES):
            _seal_anew(conn, sequence)

    assert _named(_tamper(engine, close_the_gap)) == k


@pytest.mark.parametrize("k", [1, 2, 4, 7])
def test_an_inserted_entry_is_named(engine: Engine, k: int) -> None:
    _write(engine)

    def squeeze_in(conn: Connection) -> None:
        _shift(conn, k, +1)
        _forge(conn, k)
        conn.execute(text("UPDATE chains SET sequence = sequence + 1"))

    assert _named(_tamper(engine, squeeze_in)) == k


@pytest.mark.parametrize("k", [2, 4, 7])
def test_an_inserted_entry_is_named_where_the_rest_was_sealed_anew(engine: Engine, k: int) -> None:
    _write(engine)

    def squeeze_in(conn: Connection) -> None:
        _shift(conn, k, +1)
        _forge(conn, k)
        for sequence in range(k + 1, ENTRIES + 2):
            _seal_anew(conn, sequence)

    assert _named(_tamper(engine, squeeze_in)) == k


def test_an_entry_inserted_at_the_end_is_named(engine: Engine) -> None:
    _write(engine)

    assert _named(_tamper(engine, lambda conn: _forge(conn, ENTRIES + 1))) == ENTRIES + 1


@pytest.mark.parametrize(("i", "j"), [(1, 2), (3, 4), (2, 6), (6, 7)])
def test_swapped_entries_are_named_at_the_first(engine: Engine, i: int, j: int) -> None:
    _write(engine)

    def swap(conn: Connection) -> None:
        for old, new in ((i, 99), (j, i), (99, j)):
            conn.execute(text(f"UPDATE entries SET sequence = {new} WHERE sequence = {old}"))

    assert _named(_tamper(engine, swap)) == i


def test_a_removed_head_is_named_after_what_it_vouched_for(engine: Engine) -> None:
    _write(engine)

    assert _named(_tamper(engine, "DELETE FROM chains")) == 1


def test_all_entries_removed_are_named_at_the_first(engine: Engine) -> None:
    _write(engine)

    assert _named(_tamper(engine, "DELETE FROM entries")) == 1


def test_each_node_has_its_own_chain_and_the_broken_one_is_named(engine: Engine) -> None:
    _write(engine, "a-node")
    _write(engine, "b-node")
    _write(engine, "c-node")

    verdict = _tamper(engine, "DELETE FROM entries WHERE node = 'b-node' AND sequence = 3")

    assert isinstance(verdict, Broken)
    assert (verdict.node, verdict.sequence) == ("b-node", 3)
    with reading(engine) as conn:
        assert isinstance(audit.verify(conn, "a-node"), Verified)
        assert isinstance(audit.verify(conn, "b-node"), Broken)


def test_threads_that_append_at_once_make_one_whole_chain(engine: Engine) -> None:
    def append() -> None:
        for _ in range(5):
            with begin(engine) as conn:
                audit.append(conn, NODE, T0, "x")

    together([append] * 6)

    with reading(engine) as conn:
        verdict = audit.verify(conn)
    assert isinstance(verdict, Verified)
    assert verdict.entries == 30


def test_processes_that_append_at_once_make_one_whole_chain(engine: Engine) -> None:
    spawn = multiprocessing.get_context("spawn")
    url = engine.url.render_as_string(hide_password=False)
    processes = [spawn.Process(target=append_ten, args=(url,)) for _ in range(2)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)

    assert [process.exitcode for process in processes] == [0, 0]
    with reading(engine) as conn:
        verdict = audit.verify(conn)
    assert isinstance(verdict, Verified)
    assert verdict.entries == 20


def append_ten(url: str) -> None:
    """What one process does."""
    engine = connect(url)
    for _ in range(10):
        with begin(engine) as conn:
            audit.append(conn, NODE, T0, "x")
    engine.dispose()


def _write(engine: Engine, node: str = NODE) -> None:
    with begin(engine) as conn:
        for n in range(1, ENTRIES + 1):
            audit.append(conn, node, after(n), f"kind-{n}", job_id=n, details={"n": n})


def _tamper(engine: Engine, how: str | Callable[[Connection], None]) -> Verified | Broken:
    """Who owns the database can drop the triggers; the verdict is about what lies there then."""
    with engine.begin() as conn:
        for verb in ("update", "delete"):
            on = "" if conn.dialect.name == "sqlite" else " ON entries"
            conn.execute(text(f"DROP TRIGGER entries_no_{verb}{on}"))
        if isinstance(how, str):
            conn.exec_driver_sql(how)
        else:
            how(conn)
    with reading(engine) as conn:
        return audit.verify(conn)


def _named(verdict: Verified | Broken) -> int:
    assert isinstance(verdict, Broken)
    assert verdict.node == NODE
    assert verdict.why
    return verdict.sequence


def _shift(conn: Connection, first: int, by: int) -> None:
    """In two steps, because a number may never be there twice."""
    conn.execute(text(f"UPDATE entries SET sequence = sequence + 1000 WHERE sequence >= {first}"))
    conn.execute(
        text(f"UPDATE entries SET sequence = sequence + {by - 1000} WHERE sequence > 1000")
    )


def _seal_anew(conn: Connection, sequence: int, **changes: Any) -> None:
    found = (
        conn.execute(text(f"SELECT * FROM entries WHERE sequence = {sequence}")).mappings().one()
    )
    row = dict(found) | changes
    row["sha256"] = _seal(row)
    assignments = ", ".join(f"{name} = :{name}" for name in row)
    conn.execute(text(f"UPDATE entries SET {assignments} WHERE sequence = {sequence}"), row)


def _forge(conn: Connection, sequence: int) -> None:
    """An entry that follows properly on the one before."""
    before = text(f"SELECT sha256 FROM entries WHERE sequence = {sequence - 1}")
    at = after(0) if conn.dialect.name == "postgresql" else after(0).isoformat()
    row: dict[str, Any] = {
        "node": NODE,
        "sequence": sequence,
        "at": at,
        "kind": "forged",
        "study_instance_uid": "",
        "job_id": None,
        "details": "{}",
        "previous_sha256": conn.execute(before).scalar_one_or_none() or _GENESIS,
    }
    row["sha256"] = _seal(row)
    names = ", ".join(f":{name}" for name in row)
    conn.execute(text(f"INSERT INTO entries ({', '.join(row)}) VALUES ({names})"), row)


def _seal(row: dict[str, Any]) -> str:
    at = row["at"] if isinstance(row["at"], str) else row["at"].isoformat(timespec="microseconds")
    sealed = {name: row[name] for name in row if name != "sha256"}
    sealed |= {"at": at, "details": json.loads(row["details"])}
    line = json.dumps(sealed, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(line.encode()).hexdigest()
