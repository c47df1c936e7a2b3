"""Laws of the database itself, run on SQLite and on PostgreSQL.

A module that imports them has the fixtures `engine` (migrated) and `empty_url`.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from storage import ledger, queries
from storage.database import begin, connect, is_current, is_empty, migrate, reading
from storage.errors import SchemaOutdated
from storage.files import Written
from storage.records import DeliveryState
from storage.schema import jobs, metadata
from tests.storage_cases import (
    NODE,
    STUDY,
    T0,
    a_delivering_job,
    a_queued_job,
    after,
    an_instance,
    answer,
    digest,
    routed,
    together,
)


def test_the_migrated_schema_is_the_schema_of_the_code(engine: Engine) -> None:
    with reading(engine) as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)

    assert differences == []


def test_the_migrated_checks_are_the_checks_of_the_code(engine: Engine, empty_url: str) -> None:
    made = connect(empty_url)
    metadata.create_all(made)

    expected = _constraints(made)
    made.dispose()

    assert _constraints(engine) == expected


def test_migrating_tells_what_it_applied_and_the_second_time_nothing(empty_url: str) -> None:
    engine = connect(empty_url)

    assert is_empty(engine)
    assert not is_current(engine)
    assert migrate(engine) == ("0001", "0002", "0003")
    assert not is_empty(engine)
    assert is_current(engine)
    assert migrate(engine) == ()
    engine.dispose()


def test_two_that_migrate_at_once_both_succeed_and_one_does_the_work(empty_url: str) -> None:
    applied: list[tuple[str, ...]] = []
    start = threading.Barrier(4)

    def work() -> None:
        engine = connect(empty_url)
        start.wait()
        applied.append(migrate(engine))
        engine.dispose()

    together([work] * 4)

    assert sorted(applied) == [(), (), (), ("0001", "0002", "0003")]


def test_a_database_of_a_newer_version_is_refused(engine: Engine) -> None:
    with begin(engine) as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    assert not is_current(engine)
    with pytest.raises(SchemaOutdated):
        migrate(engine)


def test_a_database_without_tables_is_called_outdated(empty_url: str) -> None:
    engine = connect(empty_url)

    with pytest.raises(SchemaOutdated), reading(engine) as conn:
        queries.counts(conn)
    engine.dispose()


def test_what_is_raised_in_a_transaction_takes_back_all_of_it(engine: Engine) -> None:
    def receive_two() -> None:
        with begin(engine) as conn:
            ledger.receive(conn, NODE, an_instance())
            ledger.receive(conn, NODE, an_instance("2", study=""))

    with pytest.raises(IntegrityError):
        receive_two()

    with reading(engine) as conn:
        assert queries.study(conn, STUDY) is None
        assert queries.entries(conn) == ()


def test_times_come_back_in_utc_and_to_the_microsecond(engine: Engine) -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    local = datetime(2026, 6, 1, 2, 0, 0, 123456, tzinfo=east)

    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance(at=local))

    with reading(engine) as conn:
        study = queries.study(conn, STUDY)
    assert study is not None
    assert study.first_received_at == datetime(2026, 5, 31, 20, 30, 0, 123456, tzinfo=UTC)
    assert study.first_received_at.utcoffset() == timedelta(0)


def test_times_sort_as_time_does_whatever_their_zone_and_fraction(engine: Engine) -> None:
    west = timezone(timedelta(hours=-8))
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    in_order = [
        noon - timedelta(microseconds=1),
        noon,
        (noon + timedelta(microseconds=1)).astimezone(west),
        noon + timedelta(seconds=1),
    ]

    with begin(engine) as conn:
        for number in (2, 0, 3, 1):
            study = f"1.2.{number}"
            ledger.receive(conn, NODE, an_instance(study=study, at=in_order[number]))

    with reading(engine) as conn:
        found = [study.study_instance_uid for study in queries.waiting_studies(conn)]
    assert found == ["1.2.0", "1.2.1", "1.2.2", "1.2.3"]


def test_a_time_without_a_zone_is_refused(engine: Engine) -> None:
    naive = T0.replace(tzinfo=None)

    with pytest.raises((ValueError, StatementError)), begin(engine) as conn:
        ledger.note(conn, NODE, naive, "node.started")


@pytest.mark.parametrize("table", ["entries", "decisions", "delivery_attempts"])
@pytest.mark.parametrize("verb", ["UPDATE {} SET at = at", "DELETE FROM {}"])
def test_append_only_tables_refuse_a_change(engine: Engine, table: str, verb: str) -> None:
    _one_row_in_each(engine)

    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as conn:
        conn.execute(text(verb.format(table)))


@pytest.mark.parametrize(
    "change",
    [
        {"state": "LOST"},
        {"priority": 3},
        {"attempt": -1},
        {"state": "RECONSTRUCTING", "deadline_at": None},
        {"deadline_at": T0},
        {"study_instance_uid": "1.2.3.unknown"},
        {"supersedes": 1},
    ],
)
def test_the_database_itself_refuses_an_impossible_job(engine: Engine, change: Any) -> None:
    a_queued_job(engine)

    with pytest.raises(IntegrityError), begin(engine) as conn:
        conn.execute(jobs.update().values(change))


@pytest.mark.parametrize("uid", ["", "1." + "2" * 63])
def test_the_database_itself_refuses_a_uid_that_is_none(engine: Engine, uid: str) -> None:
    with pytest.raises(IntegrityError), begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance(study=uid))


def test_a_reader_sees_one_moment_while_another_writes(engine: Engine) -> None:
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance("1"))

    with reading(engine) as reader:
        before = queries.counts(reader)
        with begin(engine) as writer:
            ledger.receive(writer, NODE, an_instance("2", at=after(1)))
        assert queries.counts(reader) == before

    with reading(engine) as reader:
        assert queries.counts(reader).instances == before.instances + 1


def test_text_that_one_database_refuses_is_stored_alike_by_both(engine: Engine) -> None:
    with begin(engine) as conn:
        ledger.quarantine(
            conn,
            NODE,
            T0,
            calling_ae_title="A\0B\x1b" + "C" * 20,
            peer_address="127.0.0.1",
            affected_sop_instance_uid="1.2.\0\u00e9" + "3" * 90,
            status=0xC000,
            reason="a\0b\udc80c",
            written=Written("aa/bb/x.dcm", digest("x"), 1),
        )

    with reading(engine) as conn:
        (row,) = queries.quarantined(conn)
    assert row.calling_ae_title == "A?B?" + "C" * 12
    assert row.affected_sop_instance_uid == "1.2.??" + "3" * 58
    assert row.reason == "a?b?c"


def _one_row_in_each(engine: Engine) -> None:
    a_delivering_job(engine)
    assert routed(engine, 1)
    answer(engine, 1, DeliveryState.ACKNOWLEDGED)


def _constraints(engine: Engine) -> dict[str, Any]:
    found = inspect(engine)
    return {
        table: (
            sorted(
                (check["name"], check["sqltext"]) for check in found.get_check_constraints(table)
            ),
            sorted(str(key) for key in found.get_foreign_keys(table)),
            sorted(str(key) for key in found.get_unique_constraints(table)),
            sorted(str(key) for key in found.get_indexes(table)),
            found.get_pk_constraint(table),
            [str(column | {"type": str(column["type"])}) for column in found.get_columns(table)],
        )
        for table in sorted(metadata.tables)
    }
