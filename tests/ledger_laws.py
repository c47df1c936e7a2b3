"""Laws of the ledger, run on SQLite and on PostgreSQL: what a job may do, and what it may not."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from storage import audit, ledger, queries
from storage.database import begin, reading
from storage.errors import NotAllowed, StaleAttempt, UnknownJob, UnknownStudy
from storage.lifecycle import Event, State
from storage.records import Job
from tests.storage_cases import (
    MADE,
    NODE,
    T0,
    a_claimed_job,
    a_new_job,
    a_queued_job,
    a_result,
    after,
    an_instance,
    digest,
    everything,
    kinds,
    together,
)

# The state machine as the drawing in the design has it, written down a second time.
DRAWING = {
    ("QUEUED", "started"): "RECONSTRUCTING",
    ("RECONSTRUCTING", "reconstructed"): "DELIVERING",
    ("RECONSTRUCTING", "retry_due"): "QUEUED",
    ("RECONSTRUCTING", "gave_up"): "FAILED",
    ("RECONSTRUCTING", "withheld"): "WITHHELD",
    ("DELIVERING", "acknowledged"): "DELIVERED",
    ("DELIVERING", "retry_due"): "DELIVERING",
    ("DELIVERING", "gave_up"): "FAILED",
    ("DELIVERED", "resent"): "DELIVERING",
    ("FAILED", "resent"): "DELIVERING",
    ("DELIVERED", "requeued"): "QUEUED",
    ("FAILED", "requeued"): "QUEUED",
    ("WITHHELD", "requeued"): "QUEUED",
}
_STUDIES = count(1)


def test_the_same_job_is_opened_once(engine: Engine) -> None:
    job_id = a_queued_job(engine)

    with begin(engine) as conn:
        again = ledger.open_job(conn, NODE, after(9), a_new_job(priority=0))

    assert (again.job_id, again.is_new) == (job_id, False)
    assert _job(engine, job_id).made_of == a_new_job()


@pytest.mark.parametrize(
    "name",
    ["rule", "side", "input_digest", "model", "model_version", "weights_digest"],
)
def test_a_job_made_of_something_else_is_another_job(engine: Engine, name: str) -> None:
    job_id = a_queued_job(engine)

    with begin(engine) as conn:
        other = ledger.open_job(conn, NODE, after(9), a_new_job(**{name: "other"}))

    assert other.is_new
    expected = None if name in {"rule", "side"} else job_id
    assert _job(engine, other.job_id).supersedes == expected


def test_a_job_supersedes_the_newest_before_it(engine: Engine) -> None:
    a_queued_job(engine)

    with begin(engine) as conn:
        second = ledger.open_job(conn, NODE, T0, a_new_job(input_digest="2")).job_id
        third = ledger.open_job(conn, NODE, T0, a_new_job(input_digest="3")).job_id

    assert _job(engine, third).supersedes == second


def test_a_job_of_an_unknown_study_is_refused(engine: Engine) -> None:
    with pytest.raises(UnknownStudy), begin(engine) as conn:
        ledger.open_job(conn, NODE, T0, a_new_job())


def test_nodes_that_open_the_same_job_at_once_get_the_same_one(engine: Engine) -> None:
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance())
    numbers = count(1)

    def open_it() -> ledger.Opened:
        with begin(engine) as conn:
            return ledger.open_job(conn, f"node-{next(numbers)}", T0, a_new_job())

    opened = together([open_it] * 6)

    assert len({one.job_id for one in opened}) == 1
    assert [one.is_new for one in opened].count(True) == 1


def test_one_of_many_that_claim_a_job_at_once_has_it(engine: Engine) -> None:
    job_id = a_queued_job(engine)
    numbers = count(1)

    def claim() -> int | None:
        with begin(engine) as conn:
            return ledger.claim(conn, f"node-{next(numbers)}", job_id, 0, after(1), after(99))

    claims = together([claim] * 6)

    assert sorted(claims, key=str) == [1] + [None] * 5
    job = _job(engine, job_id)
    assert (job.state, job.attempt, job.deadline_at) == (State.RECONSTRUCTING, 1, after(99))
    assert kinds(engine).count("job.started") == 1


def test_a_retry_counts_a_failure_and_waits_and_the_next_claim_raises_the_attempt(
    engine: Engine,
) -> None:
    job_id = a_claimed_job(engine)

    with begin(engine) as conn:
        ledger.advance(
            conn,
            NODE,
            job_id,
            1,
            State.RECONSTRUCTING,
            Event.RETRY_DUE,
            after(5),
            reason="the engine was lost",
            next_attempt_at=after(65),
        )

    job = _job(engine, job_id)
    assert (job.state, job.failures, job.attempt) == (State.QUEUED, 1, 1)
    assert (job.deadline_at, job.reason) == (None, "the engine was lost")
    with reading(engine) as conn:
        assert queries.next_queued(conn, after(64)) is None
        assert queries.next_queued(conn, after(65)) == job
    with begin(engine) as conn:
        assert ledger.claim(conn, NODE, job_id, 0, after(66), after(99)) is None
        assert ledger.claim(conn, NODE, job_id, 1, after(66), after(99)) == 2


def test_what_an_outlived_attempt_brings_back_changes_nothing(engine: Engine) -> None:
    job_id = a_claimed_job(engine)
    with begin(engine) as conn:
        seen = State.RECONSTRUCTING
        ledger.advance(conn, NODE, job_id, 1, seen, Event.RETRY_DUE, after(5))
        ledger.claim(conn, NODE, job_id, 1, after(6), after(99))
    before = everything(engine), kinds(engine)

    late = [
        lambda conn: ledger.advance(conn, NODE, job_id, 1, seen, Event.GAVE_UP, after(7)),
        lambda conn: ledger.store_outcome(
            conn, NODE, job_id, 1, after(7), results=[a_result()], **MADE
        ),
        lambda conn: ledger.withhold(conn, NODE, job_id, 1, after(7), reasons=["x"], **MADE),
    ]
    for one in late:
        with begin(engine) as conn, pytest.raises(StaleAttempt):
            one(conn)

    assert (everything(engine), kinds(engine)) == before


def test_an_ignored_outcome_is_in_the_audit_and_nowhere_else(engine: Engine) -> None:
    job_id = a_claimed_job(engine)
    before = everything(engine)

    with begin(engine) as conn:
        ledger.ignore_outcome(
            conn, NODE, job_id, 0, after(7), reason="outlived", results=[a_result()]
        )

    assert everything(engine) == before
    with reading(engine) as conn:
        entry = queries.entries(conn, job_id=job_id)[-1]
    assert entry.kind == "job.outcome_ignored"
    assert entry.details["attempt"] == 0
    assert entry.details["results"][0]["sha256"] == digest("result 1")  # type: ignore[index,call-overload] # a list of objects


def test_a_withheld_job_keeps_reasons_and_figures_and_can_be_requeued(engine: Engine) -> None:
    job_id = a_claimed_job(engine)

    with begin(engine) as conn:
        ledger.withhold(conn, NODE, job_id, 1, after(7), reasons=["too thin", "too far"], **MADE)

    job = _job(engine, job_id)
    assert (job.state, job.reason) == (State.WITHHELD, "too thin; too far")
    assert job.figures == ({"name": "dice"},)
    with begin(engine) as conn:
        assert ledger.requeue(conn, NODE, job_id, after(8)) is State.QUEUED


def test_a_requeued_job_forgets_its_failures_and_goes_at_once(engine: Engine) -> None:
    job_id = a_claimed_job(engine)
    with begin(engine) as conn:
        seen = State.RECONSTRUCTING
        ledger.advance(
            conn, NODE, job_id, 1, seen, Event.RETRY_DUE, after(5), next_attempt_at=after(500)
        )
        ledger.claim(conn, NODE, job_id, 1, after(6), after(99))
        ledger.advance(conn, NODE, job_id, 2, seen, Event.GAVE_UP, after(7), reason="broken")

    with begin(engine) as conn:
        ledger.requeue(conn, NODE, job_id, after(8))

    job = _job(engine, job_id)
    assert (job.state, job.failures, job.attempt, job.reason) == (State.QUEUED, 0, 2, "")
    with reading(engine) as conn:
        assert queries.next_queued(conn, after(8)) == job


@pytest.mark.parametrize("event", [Event.STARTED, Event.RECONSTRUCTED])
def test_advance_leaves_claims_and_outcomes_to_their_own_functions(
    engine: Engine, event: Event
) -> None:
    seen = State.QUEUED if event is Event.STARTED else State.RECONSTRUCTING
    job_id = a_queued_job(engine)

    with pytest.raises(NotAllowed), begin(engine) as conn:
        ledger.advance(conn, NODE, job_id, 0, seen, event, after(1))


@pytest.mark.parametrize("verb", [ledger.requeue, ledger.resend])
def test_a_job_that_runs_is_neither_requeued_nor_resent(engine: Engine, verb: Any) -> None:
    job_id = a_claimed_job(engine)

    with pytest.raises(NotAllowed), begin(engine) as conn:
        verb(conn, NODE, job_id, after(1))


def test_a_job_that_does_not_exist_is_named(engine: Engine) -> None:
    calls = [
        lambda conn: ledger.claim(conn, NODE, 404, 0, T0, after(9)),
        lambda conn: ledger.requeue(conn, NODE, 404, T0),
        lambda conn: ledger.resend(conn, NODE, 404, T0),
        lambda conn: ledger.settle(conn, NODE, 404, 1, T0),
        lambda conn: ledger.ignore_outcome(conn, NODE, 404, 1, T0, reason=""),
    ]
    for call in calls:
        with pytest.raises(UnknownJob, match="404"), begin(engine) as conn:
            call(conn)


@given(st.lists(st.tuples(st.sampled_from(State), st.sampled_from(Event)), max_size=12))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # every walk has its own job
)
def test_no_walk_leaves_the_drawing_and_the_audit_tells_every_step(
    engine: Engine, walk: list[tuple[State, Event]]
) -> None:
    job_id = a_queued_job(engine, f"1.2.3.{next(_STUDIES)}")
    state, steps = "QUEUED", ["job.opened"]

    for seen, event in walk:
        attempt = _job(engine, job_id).attempt
        allowed = state == seen and (seen, event) in DRAWING
        try:
            with begin(engine) as conn:
                _step(conn, job_id, attempt, seen, event)
        except (NotAllowed, StaleAttempt):
            assert not allowed
        else:
            assert allowed
            state = DRAWING[seen, event]
            steps.append(f"job.{event}")
        assert _job(engine, job_id).state == state

    with reading(engine) as conn:
        told = [entry.kind for entry in queries.entries(conn, job_id=job_id)]
        assert isinstance(audit.verify(conn), audit.Verified)
    assert sorted(told) == sorted(steps)


def _step(conn: Any, job_id: int, attempt: int, seen: State, event: Event) -> None:
    if event is Event.STARTED and seen is State.QUEUED:
        if ledger.claim(conn, NODE, job_id, attempt, after(1), after(99)) is None:
            raise StaleAttempt
    elif event is Event.RECONSTRUCTED and seen is State.RECONSTRUCTING:
        ledger.store_outcome(conn, NODE, job_id, attempt, after(1), results=[], **MADE)
    else:
        ledger.advance(conn, NODE, job_id, attempt, seen, event, after(1))


def _job(engine: Engine, job_id: int) -> Job:
    with reading(engine) as conn:
        job = queries.job(conn, job_id)
    assert job is not None
    return job
