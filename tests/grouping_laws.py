"""The laws of writing together, on any database: nobody is told of a row that is not there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, event, insert
from sqlalchemy.exc import IntegrityError

from storage import audit, ledger, queries
from storage.database import reading
from storage.errors import DatabaseUnavailable
from storage.grouping import GroupCommit
from storage.ledger import Receipt
from storage.records import Instance
from storage.schema import instances
from tests.processes import wait_until
from tests.storage_cases import NODE, STUDY, an_instance, kinds

SECONDS = 30

Write = Callable[[Connection], object]


def receives(instance: Instance) -> Callable[[Connection], Receipt]:
    """The write of one instance."""
    return lambda conn: ledger.receive(conn, NODE, instance)


def received(engine: Engine) -> set[str]:
    """The SOP Instance UIDs that have a row, as everyone sees them."""
    with reading(engine) as conn:
        return {each.sop_instance_uid for each in queries.instances(conn, STUDY)}


def in_one_group(engine: Engine, *writes: Write) -> list[Future[object]]:
    """The writes, made to wait together, in this order, behind one that takes its time."""
    group, is_inside, may_go = GroupCommit(engine), threading.Event(), threading.Event()

    def slow(_conn: Connection) -> None:
        is_inside.set()
        may_go.wait(SECONDS)

    with ThreadPoolExecutor(len(writes) + 1) as pool:
        first = pool.submit(group.commit, slow)
        assert is_inside.wait(SECONDS)
        rest: list[Future[object]] = []
        for number, write in enumerate(writes, 1):
            rest.append(pool.submit(group.commit, write))
            wait_until(lambda n=number: len(group._waiting) == n, SECONDS, "it waits", every=0.001)
        may_go.set()
        assert first.result(SECONDS) is None
    return rest


def test_who_is_answered_has_a_row_that_everyone_sees(engine: Engine) -> None:
    receipt = GroupCommit(engine).commit(receives(an_instance("1")))

    assert receipt is Receipt.NEW
    assert received(engine) == {an_instance("1").sop_instance_uid}


def test_those_who_wait_at_the_same_time_are_committed_at_once_in_their_order(
    engine: Engine,
) -> None:
    same, other = an_instance("1"), an_instance("2")
    commits: list[Connection] = []
    event.listen(engine, "commit", commits.append)

    answers = in_one_group(engine, receives(same), receives(other), receives(same))

    assert len(commits) == 2  # of the one that took its time, and of the three behind it
    assert [each.result() for each in answers] == [Receipt.NEW, Receipt.NEW, Receipt.SAME]
    assert received(engine) == {same.sop_instance_uid, other.sop_instance_uid}
    with reading(engine) as conn:
        assert isinstance(audit.verify(conn), audit.Verified)


def test_a_write_that_fails_fails_alone_and_leaves_nothing(engine: Engine) -> None:
    def fails(conn: Connection) -> None:
        ledger.receive(conn, NODE, an_instance("half"))
        raise ValueError("its own fault")

    before, failing, after = in_one_group(
        engine, receives(an_instance("1")), fails, receives(an_instance("2"))
    )

    assert (before.result(), after.result()) == (Receipt.NEW, Receipt.NEW)
    with pytest.raises(ValueError, match="its own fault"):
        failing.result()
    assert received(engine) == {an_instance(name).sop_instance_uid for name in ("1", "2")}
    assert kinds(engine) == ["instance.new", "instance.new"]


def test_a_fault_that_only_the_commit_finds_is_told_to_the_one_whose_it_is(engine: Engine) -> None:
    orphan = an_instance("orphan", study=f"{STUDY}.404")  # no study has this UID

    def writes_no_study(conn: Connection) -> None:
        row = {name: getattr(orphan, name) for name in instances.c.keys()}  # noqa: SIM118
        conn.execute(insert(instances).values(row))

    good, failing = in_one_group(engine, receives(an_instance("1")), writes_no_study)

    assert good.result() is Receipt.NEW
    with pytest.raises(IntegrityError):
        failing.result()
    assert received(engine) == {an_instance("1").sop_instance_uid}


def test_nobody_is_told_of_a_success_by_a_database_that_is_away(engine: Engine) -> None:
    tried: list[int] = []

    def finds_it_away(_conn: Connection) -> None:
        tried.append(1)
        raise DatabaseUnavailable

    waiting = in_one_group(engine, *[finds_it_away] * 5)

    for each in waiting:
        with pytest.raises(DatabaseUnavailable):
            each.result()
    assert len(tried) == 2  # once together, once alone: five time-outs would outlast the peers


def test_after_a_fault_the_next_is_written(engine: Engine) -> None:
    group = GroupCommit(engine)
    with pytest.raises(ZeroDivisionError):
        group.commit(lambda _conn: 1 // 0)

    assert group.commit(receives(an_instance("1"))) is Receipt.NEW
