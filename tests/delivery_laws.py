"""Laws of delivery, run on SQLite and on PostgreSQL: a verdict per object and destination."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from storage import ledger, queries
from storage.database import begin, reading
from storage.errors import NotAllowed, StaleAttempt, UnknownDelivery
from storage.lifecycle import Event, State
from storage.records import Delivery, DeliveryState, Job
from tests.storage_cases import (
    MADE,
    NODE,
    a_claimed_job,
    a_delivering_job,
    a_result,
    after,
    answer,
)

PENDING, ACKNOWLEDGED, REFUSED, LEFT_OUT = DeliveryState


def test_every_result_is_pending_for_every_destination(engine: Engine) -> None:
    job_id = a_delivering_job(engine, a_result("1"), a_result("2"))

    found = _deliveries(engine, job_id)

    assert [(one.result.written, one.destination) for one in found] == [
        (a_result("1"), "PACS"),
        (a_result("1"), "ARCHIVE"),
        (a_result("2"), "PACS"),
        (a_result("2"), "ARCHIVE"),
    ]
    assert {(one.state, one.tries, one.next_attempt_at) for one in found} == {
        (PENDING, 0, after(2))
    }


def test_a_destination_that_waits_delays_no_other(engine: Engine) -> None:
    job_id = a_delivering_job(engine)
    pacs, archive = _deliveries(engine, job_id)

    with begin(engine) as conn:
        ledger.record_attempt(
            conn,
            NODE,
            after(3),
            pacs.id,
            state=PENDING,
            status=None,
            reason="connection refused",
            next_attempt_at=after(63),
        )

    with reading(engine) as conn:
        assert queries.due_deliveries(conn, NODE, "PACS", after(62), 10) == ()
        (due,) = queries.due_deliveries(conn, NODE, "PACS", after(63), 10)
        assert queries.due_deliveries(conn, NODE, "ARCHIVE", after(3), 10) == (archive,)
    assert (due.id, due.tries, due.status, due.reason) == (pacs.id, 1, None, "connection refused")


def test_every_attempt_stays_a_row_with_the_digest_that_was_sent(engine: Engine) -> None:
    job_id = a_delivering_job(engine)
    pacs, _ = _deliveries(engine, job_id)

    answer(engine, pacs.id, PENDING, None, after(3))
    answer(engine, pacs.id, PENDING, 0xA700, after(4))
    answer(engine, pacs.id, ACKNOWLEDGED, 0x0000, after(5))

    with reading(engine) as conn:
        tried = queries.delivery_attempts(conn, job_id)
        told = queries.entries(conn, job_id=job_id)[-3:]
    assert [(one.at, one.status) for one in tried] == [
        (after(3), None),
        (after(4), 0xA700),
        (after(5), 0),
    ]
    assert {one.sha256 for one in tried} == {a_result().sha256}
    assert [entry.details["status"] for entry in told] == [None, "0xA700", "0x0000"]
    (delivered, _) = _deliveries(engine, job_id)
    assert (delivered.tries, delivered.acknowledged_at) == (3, after(5))


def test_an_answer_that_comes_late_does_not_take_an_acknowledgement_back(engine: Engine) -> None:
    job_id = a_delivering_job(engine)
    pacs, _ = _deliveries(engine, job_id)

    answer(engine, pacs.id, ACKNOWLEDGED, 0, after(5))
    answer(engine, pacs.id, REFUSED, 0xA900, after(6))

    (delivered, _) = _deliveries(engine, job_id)
    assert (delivered.state, delivered.status, delivered.tries) == (ACKNOWLEDGED, 0, 1)


def test_a_job_is_delivered_when_every_destination_has_acknowledged(engine: Engine) -> None:
    job_id = a_delivering_job(engine)
    pacs, archive = _deliveries(engine, job_id)

    answer(engine, pacs.id, ACKNOWLEDGED)
    first = _settle(engine, job_id)
    answer(engine, archive.id, ACKNOWLEDGED)
    second = _settle(engine, job_id)
    third = _settle(engine, job_id)

    assert (first, second, third) == (State.DELIVERING, State.DELIVERED, State.DELIVERED)


def test_a_refused_object_fails_the_job_by_name_when_the_others_are_through(engine: Engine) -> None:
    job_id = a_delivering_job(engine)
    pacs, archive = _deliveries(engine, job_id)

    answer(engine, archive.id, REFUSED, 0xA900)
    first = _settle(engine, job_id)
    answer(engine, pacs.id, ACKNOWLEDGED)
    second = _settle(engine, job_id)

    assert (first, second) == (State.DELIVERING, State.FAILED)
    reason = _job(engine, job_id).reason
    assert all(word in reason for word in ("ARCHIVE", "segmentation", "0xA900"))
    assert "PACS" not in reason


def test_a_refusal_without_an_answer_says_so(engine: Engine) -> None:
    job_id = a_delivering_job(engine, destinations=("PACS",))

    answer(engine, _deliveries(engine, job_id)[0].id, REFUSED, None)
    _settle(engine, job_id)

    assert "no answer" in _job(engine, job_id).reason


def test_a_job_without_anything_to_send_does_not_stay_for_ever(engine: Engine) -> None:
    job_id = a_delivering_job(engine, destinations=())

    assert _settle(engine, job_id) is State.DELIVERED
    assert "nothing was to be sent" in _job(engine, job_id).reason


def test_an_outlived_attempt_does_not_settle_the_job(engine: Engine) -> None:
    job_id = a_delivering_job(engine)

    with pytest.raises(StaleAttempt), begin(engine) as conn:
        ledger.settle(conn, NODE, job_id, 0, after(9))


def test_a_delivered_job_is_sent_again_whole_and_under_the_same_uids(engine: Engine) -> None:
    job_id = _delivered_job(engine)
    uids = [one.result.written.sop_instance_uid for one in _deliveries(engine, job_id)]

    with begin(engine) as conn:
        ledger.resend(conn, NODE, job_id, after(50))

    again = _deliveries(engine, job_id)
    assert [one.result.written.sop_instance_uid for one in again] == uids
    assert {(one.state, one.tries, one.acknowledged_at) for one in again} == {(PENDING, 0, None)}
    assert _job(engine, job_id).state is State.DELIVERING


def test_a_failed_job_is_sent_again_where_it_was_not_acknowledged(engine: Engine) -> None:
    job_id = a_delivering_job(engine)
    pacs, archive = _deliveries(engine, job_id)
    answer(engine, pacs.id, ACKNOWLEDGED)
    answer(engine, archive.id, REFUSED, 0xA900)
    _settle(engine, job_id)

    with begin(engine) as conn:
        ledger.resend(conn, NODE, job_id, after(50))

    assert [one.state for one in _deliveries(engine, job_id)] == [ACKNOWLEDGED, PENDING]


def test_a_job_that_failed_before_it_wrote_anything_has_nothing_to_send(engine: Engine) -> None:
    job_id = a_claimed_job(engine)
    with begin(engine) as conn:
        ledger.advance(conn, NODE, job_id, 1, State.RECONSTRUCTING, Event.GAVE_UP, after(3))

    with pytest.raises(NotAllowed, match="requeue"), begin(engine) as conn:
        ledger.resend(conn, NODE, job_id, after(50))


def test_a_re_run_sends_only_what_has_changed_or_was_never_acknowledged(engine: Engine) -> None:
    job_id = a_delivering_job(engine, a_result("same"), a_result("other"), a_result("gone"))
    for delivery in _deliveries(engine, job_id):
        is_pacs = delivery.destination == "PACS"
        answer(engine, delivery.id, ACKNOWLEDGED if is_pacs else REFUSED, 0 if is_pacs else 0xA900)
    _settle(engine, job_id)

    _run_again(engine, job_id, a_result("same"), a_result("other", "new bytes"), a_result("new"))

    found = [
        (one.result.written.sop_instance_uid[-4:], one.destination, one.state)
        for one in _deliveries(engine, job_id)
    ]
    assert sorted(found) == sorted(
        [
            ("same", "PACS", ACKNOWLEDGED),
            ("same", "ARCHIVE", PENDING),
            ("ther", "PACS", PENDING),
            ("ther", "ARCHIVE", PENDING),
            (".new", "PACS", PENDING),
            (".new", "ARCHIVE", PENDING),
        ]
    )
    with reading(engine) as conn:
        assert {one.attempt for one in queries.results(conn, job_id)} == {2}
        assert len(queries.delivery_attempts(conn, job_id)) == 6


def test_what_only_an_earlier_attempt_wrote_does_not_hold_the_job_up(engine: Engine) -> None:
    job_id = a_delivering_job(engine, a_result("gone"), destinations=("PACS",))
    answer(engine, _deliveries(engine, job_id)[0].id, REFUSED, 0xA900)
    _settle(engine, job_id)
    _run_again(engine, job_id, a_result("new"))

    (only,) = _deliveries(engine, job_id)
    answer(engine, only.id, ACKNOWLEDGED)

    with begin(engine) as conn:
        assert ledger.settle(conn, NODE, job_id, 2, after(99)) is State.DELIVERED


def test_an_object_of_a_job_that_no_longer_delivers_is_not_due(engine: Engine) -> None:
    job_id = a_delivering_job(engine)
    with begin(engine) as conn:
        ledger.advance(conn, NODE, job_id, 1, State.DELIVERING, Event.GAVE_UP, after(3))

    with reading(engine) as conn:
        assert queries.due_deliveries(conn, NODE, "PACS", after(99), 10) == ()


def test_urgent_objects_are_due_first_then_the_oldest(engine: Engine) -> None:
    routine = a_delivering_job(engine, study="1.2.1", priority=2)
    stat = a_delivering_job(engine, study="1.2.2", priority=0)
    high = a_delivering_job(engine, study="1.2.3", priority=1)
    late = a_delivering_job(engine, study="1.2.4", priority=0)

    with reading(engine) as conn:
        due = queries.due_deliveries(conn, NODE, "PACS", after(99), 10)
        first = queries.due_deliveries(conn, NODE, "PACS", after(99), 1)
        delivering = queries.delivering_jobs(conn)

    assert [one.job_id for one in due] == [stat, late, high, routine]
    assert first == due[:1]
    assert [job.id for job in delivering] == [stat, late, high, routine]


def test_a_delivery_that_does_not_exist_is_named(engine: Engine) -> None:
    with pytest.raises(UnknownDelivery, match="404"):
        answer(engine, 404, ACKNOWLEDGED)


def test_an_earlier_result_sent_again_after_a_failed_re_run_settles_the_job(engine: Engine) -> None:
    job_id = a_delivering_job(engine, destinations=("PACS",))
    answer(engine, _deliveries(engine, job_id)[0].id, REFUSED, 0xA900)
    _settle(engine, job_id)
    with begin(engine) as conn:
        ledger.requeue(conn, NODE, job_id, after(20))
        ledger.claim(conn, NODE, job_id, 1, after(21), after(99))
        ledger.advance(conn, NODE, job_id, 2, State.RECONSTRUCTING, Event.GAVE_UP, after(22))
        ledger.resend(conn, NODE, job_id, after(23))
    (delivery,) = _deliveries(engine, job_id)
    answer(engine, delivery.id, ACKNOWLEDGED)

    with begin(engine) as conn:
        state = ledger.settle(conn, NODE, job_id, delivery.result.attempt, after(24))

    assert state is State.DELIVERED


def test_an_object_is_due_only_at_the_node_that_has_its_file(engine: Engine) -> None:
    a_delivering_job(engine)

    with reading(engine) as conn:
        assert len(queries.due_deliveries(conn, NODE, "PACS", after(99), 10)) == 1
        assert queries.due_deliveries(conn, "other-node", "PACS", after(99), 10) == ()


def test_a_destination_is_sent_only_the_kinds_that_it_takes(engine: Engine) -> None:
    job_id = a_claimed_job(engine)

    with begin(engine) as conn:
        ledger.store_outcome(
            conn,
            NODE,
            job_id,
            1,
            after(2),
            results=[a_result()],
            takes={"ARCHIVE": ("surface-segmentation",)},
            **MADE,
        )

    assert [one.destination for one in _deliveries(engine, job_id)] == ["PACS"]


def test_a_destination_out_of_reach_makes_all_wait_under_one_audit_entry(engine: Engine) -> None:
    job_id = a_delivering_job(engine, a_result("1"), a_result("2"), destinations=("PACS",))
    ids = [one.id for one in _deliveries(engine, job_id)]

    with begin(engine) as conn:
        ledger.postpone(conn, NODE, after(3), ids, reason="no route", next_attempt_at=after(63))

    found = _deliveries(engine, job_id)
    assert [(one.state, one.tries, one.next_attempt_at) for one in found] == [
        (PENDING, 1, after(63))
    ] * 2
    with reading(engine) as conn:
        assert len(queries.delivery_attempts(conn, job_id)) == 1
        assert queries.entries(conn, job_id=job_id)[-1].details["objects"] == 2


def test_what_a_destination_leaves_out_is_a_state_of_its_own_in_row_and_audit(
    engine: Engine,
) -> None:
    job_id = a_delivering_job(engine, a_result("1"), a_result("2"), destinations=("PACS",))
    first, second = _deliveries(engine, job_id)

    answer(engine, first.id, LEFT_OUT, None)
    answer(engine, second.id, ACKNOWLEDGED)
    settled = _settle(engine, job_id)

    assert settled is State.DELIVERED
    assert [one.state for one in _deliveries(engine, job_id)] == [LEFT_OUT, ACKNOWLEDGED]
    with reading(engine) as conn:
        kinds = {entry.kind for entry in queries.entries(conn, job_id=job_id)}
    assert {"delivery.left_out", "delivery.acknowledged", "job.acknowledged"} <= kinds


def test_a_destination_that_takes_nothing_fails_the_job_and_is_named(engine: Engine) -> None:
    job_id = a_delivering_job(engine, a_result("1"), a_result("2"))

    for delivery in _deliveries(engine, job_id):
        is_pacs = delivery.destination == "PACS"
        answer(engine, delivery.id, ACKNOWLEDGED if is_pacs else LEFT_OUT, None)
    settled = _settle(engine, job_id)

    assert settled is State.FAILED
    assert _job(engine, job_id).reason == "ARCHIVE takes none of the objects of this result"


def test_what_nobody_can_look_at_does_not_stand_for_a_result_that_was_left_out(
    engine: Engine,
) -> None:
    mesh = replace(a_result("mesh"), kind="surface-segmentation")
    states = {}
    for study, suffices in (("1.2.1", ("segmentation",)), ("1.2.2", ("surface-segmentation",))):
        job_id = a_delivering_job(
            engine, a_result(study=study), mesh, study=study, destinations=("PACS",)
        )
        bones, surface = _deliveries(engine, job_id)
        answer(engine, bones.id, LEFT_OUT, None)
        answer(engine, surface.id, ACKNOWLEDGED)
        with begin(engine) as conn:
            ledger.settle(conn, NODE, job_id, 1, after(10), suffices={"PACS": suffices})
        states[study] = _job(engine, job_id)

    assert [job.state for job in states.values()] == [State.FAILED, State.DELIVERED]
    assert "nothing that a viewer can show" in states["1.2.1"].reason
    assert "segmentation" in states["1.2.1"].reason


def test_a_refusal_stays_a_failure_beside_what_was_left_out(engine: Engine) -> None:
    job_id = a_delivering_job(
        engine, a_result("1"), a_result("2"), a_result("3"), destinations=("PACS",)
    )
    states = (LEFT_OUT, REFUSED, ACKNOWLEDGED)

    for delivery, state in zip(_deliveries(engine, job_id), states, strict=True):
        answer(engine, delivery.id, state, 0xA900 if state is REFUSED else None)
    settled = _settle(engine, job_id)

    assert settled is State.FAILED
    assert _job(engine, job_id).reason == "PACS refused the segmentation: 0xA900"


def test_what_was_left_out_goes_with_a_failed_job_that_is_sent_again(engine: Engine) -> None:
    job_id = a_delivering_job(engine, destinations=("PACS",))
    answer(engine, _deliveries(engine, job_id)[0].id, LEFT_OUT, None)
    assert _settle(engine, job_id) is State.FAILED

    with begin(engine) as conn:
        ledger.resend(conn, NODE, job_id, after(50))

    assert [one.state for one in _deliveries(engine, job_id)] == [PENDING]


def test_the_report_is_due_after_all_others_of_its_set_whatever_its_number(engine: Engine) -> None:
    report = replace(a_result("report"), kind="report")
    first = a_delivering_job(engine, report, a_result("1"), study="1.2.1")
    second = a_delivering_job(engine, a_result("2"), study="1.2.2")

    with reading(engine) as conn:
        due = queries.due_deliveries(conn, NODE, "PACS", after(99), 10, last=("report",))

    assert [(one.job_id, one.result.written.kind) for one in due] == [
        (first, "segmentation"),
        (first, "report"),
        (second, "segmentation"),
    ]


def test_the_report_waits_for_what_waits_at_its_destination_and_for_nothing_elsewhere(
    engine: Engine,
) -> None:
    report = replace(a_result("report"), kind="report")
    job_id = a_delivering_job(engine, report, a_result("1"))
    late = next(
        one
        for one in _deliveries(engine, job_id)
        if one.destination == "PACS" and one.result.written.kind == "segmentation"
    )
    with begin(engine) as conn:
        ledger.postpone(conn, NODE, after(3), [late.id], reason="busy", next_attempt_at=after(63))

    with reading(engine) as conn:
        now, later, elsewhere = (
            [
                one.result.written.kind
                for one in queries.due_deliveries(conn, NODE, name, after(at), 10, last=("report",))
            ]
            for name, at in (("PACS", 10), ("PACS", 63), ("ARCHIVE", 10))
        )

    assert now == []
    assert later == elsewhere == ["segmentation", "report"]


def _delivered_job(engine: Engine) -> int:
    job_id = a_delivering_job(engine)
    for delivery in _deliveries(engine, job_id):
        answer(engine, delivery.id, ACKNOWLEDGED)
    assert _settle(engine, job_id) is State.DELIVERED
    return job_id


def _run_again(engine: Engine, job_id: int, *results: object) -> None:
    with begin(engine) as conn:
        ledger.requeue(conn, NODE, job_id, after(20))
        ledger.claim(conn, NODE, job_id, 1, after(21), after(99))
        ledger.store_outcome(conn, NODE, job_id, 2, after(22), results=results, **MADE)  # type: ignore[arg-type] # results by the caller


def _settle(engine: Engine, job_id: int) -> State:
    with begin(engine) as conn:
        return ledger.settle(conn, NODE, job_id, 1, after(10))


def _deliveries(engine: Engine, job_id: int) -> tuple[Delivery, ...]:
    with reading(engine) as conn:
        return queries.deliveries(conn, job_id)


def _job(engine: Engine, job_id: int) -> Job:
    with reading(engine) as conn:
        job = queries.job(conn, job_id)
    assert job is not None
    return job
