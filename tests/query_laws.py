"""Laws of the reads, run on SQLite and on PostgreSQL: what comes first, and what comes at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from storage import ledger, queries
from storage.database import begin, reading
from storage.files import Written
from storage.lifecycle import Event, State
from storage.records import DeliveryState, StudyState
from tests.storage_cases import (
    NODE,
    STUDY,
    T0,
    a_claimed_job,
    a_delivering_job,
    a_new_job,
    a_queued_job,
    after,
    an_instance,
    digest,
    routed,
)


def test_the_next_job_is_the_most_urgent_then_the_longest_open(engine: Engine) -> None:
    late = a_queued_job(engine, "1.2.1", after(9), priority=1)
    routine = a_queued_job(engine, "1.2.2", after(0), priority=2)
    early = a_queued_job(engine, "1.2.3", after(5), priority=1)

    order = []
    for _ in range(3):
        with begin(engine) as conn:
            job = queries.next_queued(conn, after(20))
            assert job is not None
            ledger.claim(conn, NODE, job.id, 0, after(20), after(99))
        order.append(job.id)

    assert order == [early, late, routine]
    with reading(engine) as conn:
        assert queries.next_queued(conn, after(20)) is None


def test_a_routine_job_is_not_passed_for_ever_by_urgent_ones(engine: Engine) -> None:
    hour = 3600.0
    routine = a_queued_job(engine, "1.2.1", after(0), priority=2)
    a_queued_job(engine, "1.2.2", after(0.9 * hour), priority=0)
    a_queued_job(engine, "1.2.3", after(1.1 * hour), priority=0)

    order = []
    for _ in range(3):
        with begin(engine) as conn:
            job = queries.next_queued(conn, after(2 * hour))
            assert job is not None
            ledger.claim(conn, NODE, job.id, 0, after(2 * hour), after(3 * hour))
        order.append(job.id)

    assert order.index(routine) == 1


def test_a_clock_that_was_set_back_delays_a_job_by_no_more_than_the_longest_wait(
    engine: Engine,
) -> None:
    wait, hour = timedelta(minutes=10), 3600.0
    job_id = a_queued_job(engine, at=after(hour))

    with reading(engine) as conn:
        early = queries.next_queued(conn, after(hour - 599), wait)
        set_back = queries.next_queued(conn, after(0), wait)

    assert early is None
    assert set_back is not None
    assert set_back.id == job_id


def test_a_clock_that_was_set_back_delays_a_delivery_by_no_more_than_the_longest_wait(
    engine: Engine,
) -> None:
    a_delivering_job(engine)
    wait = timedelta(minutes=10)

    with reading(engine) as conn:
        due = queries.due_deliveries(conn, NODE, "PACS", after(-3600), longest_wait=wait)
        early = queries.due_deliveries(conn, NODE, "PACS", after(-300), longest_wait=wait)

    assert (len(due), early) == (1, ())


def test_an_attempt_is_overdue_after_its_deadline_and_not_at_it(engine: Engine) -> None:
    job_id = a_claimed_job(engine)

    with reading(engine) as conn:
        (running,) = queries.running(conn)
        deadline = running.deadline_at
        assert deadline == after(301)
        at_it = queries.overdue(conn, after(301))
        past_it = queries.overdue(conn, after(301.000001))

    assert (running.id, running.claimed_by) == (job_id, NODE)
    assert (at_it, past_it) == ((), (running,))


def test_a_job_comes_back_as_it_was_opened(engine: Engine) -> None:
    inputs = (f"{STUDY}.9.2", f"{STUDY}.9.1", f"{STUDY}.9.3")
    with begin(engine) as conn:
        for name in ("1", "2", "3"):
            ledger.receive(conn, NODE, an_instance(name))
        opened = ledger.open_job(conn, NODE, T0, a_new_job(sop_instance_uids=inputs))

    with reading(engine) as conn:
        job = queries.job(conn, opened.job_id)
        instances = queries.job_instances(conn, opened.job_id)

    assert job is not None
    assert job.made_of == a_new_job(sop_instance_uids=inputs)
    assert tuple(one.sop_instance_uid for one in instances) == inputs


def test_jobs_are_told_apart_by_study_and_state(engine: Engine) -> None:
    queued = a_queued_job(engine, "1.2.1")
    failed = a_claimed_job(engine, "1.2.2")
    with begin(engine) as conn:
        ledger.advance(conn, NODE, failed, 1, State.RECONSTRUCTING, Event.GAVE_UP, after(2))
        newer = ledger.open_job(conn, NODE, T0, a_new_job("1.2.1", input_digest="2")).job_id

    with reading(engine) as conn:
        found = {
            "all": queries.jobs(conn),
            "study": queries.jobs(conn, "1.2.1"),
            "failed": queries.jobs(conn, states={State.FAILED}),
            "none": queries.jobs(conn, states=()),
            "one": queries.jobs(conn, limit=1),
        }

    assert {name: [job.id for job in jobs] for name, jobs in found.items()} == {
        "all": [newer, failed, queued],
        "study": [newer, queued],
        "failed": [failed],
        "none": [],
        "one": [newer],
    }


def test_the_counts_name_every_state(engine: Engine) -> None:
    a_delivering_job(engine, study="1.2.1")
    a_queued_job(engine, "1.2.2")
    assert routed(engine, 1, "1.2.2")

    with reading(engine) as conn:
        counts = queries.counts(conn)

    assert counts.jobs == dict.fromkeys(State, 0) | {State.DELIVERING: 1, State.QUEUED: 1}
    assert counts.deliveries == dict.fromkeys(DeliveryState, 0) | {DeliveryState.PENDING: 2}
    assert counts.studies == {
        StudyState.WAITING: 1,
        StudyState.ROUTED: 1,
        StudyState.DECLINED: 0,
    }
    assert (counts.instances, counts.quarantined) == (2, 0)


def test_recent_studies_begin_with_the_last_that_received(engine: Engine) -> None:
    with begin(engine) as conn:
        for study, at in (("1.2.1", 0), ("1.2.2", 1), ("1.2.1", 2)):
            ledger.receive(conn, NODE, an_instance(f"{at}", study, at=after(at)))

    with reading(engine) as conn:
        recent = queries.recent_studies(conn)
        first = queries.recent_studies(conn, limit=1)

    assert [(one.study_instance_uid, one.instances) for one in recent] == [
        ("1.2.1", 2),
        ("1.2.2", 1),
    ]
    assert first == recent[:1]


def test_the_newest_entries_come_oldest_first(engine: Engine) -> None:
    with begin(engine) as conn:
        for number in range(5):
            ledger.note(conn, NODE, after(number), f"kind-{number}")

    with reading(engine) as conn:
        found = queries.entries(conn, limit=2)

    assert [entry.kind for entry in found] == ["kind-3", "kind-4"]


def test_entries_are_told_apart_by_job_and_study(engine: Engine) -> None:
    job_id = a_queued_job(engine, "1.2.1")
    a_queued_job(engine, "1.2.2")

    with reading(engine) as conn:
        of_job = queries.entries(conn, job_id=job_id)
        of_study = queries.entries(conn, study_instance_uid="1.2.2")

    assert [entry.kind for entry in of_job] == ["job.opened"]
    assert [entry.kind for entry in of_study] == ["instance.new", "job.opened"]


def test_the_quarantine_comes_newest_first_and_whole(engine: Engine) -> None:
    written = Written("aa/bb/x.dcm", digest("x"), 7)
    with begin(engine) as conn:
        numbers = [
            ledger.quarantine(
                conn,
                NODE,
                after(second),
                calling_ae_title="MODALITY",
                peer_address="127.0.0.1",
                affected_sop_instance_uid="1.2.3",
                status=0xC000,
                reason="the header cannot be parsed",
                written=written,
            )
            for second in range(3)
        ]

    with reading(engine) as conn:
        newest, older = queries.quarantined(conn, limit=2)

    assert [newest.id, older.id] == [numbers[2], numbers[1]]
    assert replace(newest, id=0, received_at=T0) == replace(older, id=0, received_at=T0)
    assert (newest.status, newest.sha256, newest.size_bytes) == (0xC000, digest("x"), 7)


@pytest.mark.parametrize("uid", ["1.2.3.unknown", "", "'; --"])
def test_what_is_not_there_is_none(engine: Engine, uid: str) -> None:
    with reading(engine) as conn:
        assert queries.study(conn, uid) is None
        assert queries.instance_by_uid(conn, uid) is None
        assert queries.job(conn, 404) is None
        assert queries.instances(conn, uid) == ()
        assert queries.decisions(conn, uid) == ()
