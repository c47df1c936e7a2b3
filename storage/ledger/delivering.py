"""What went out: every attempt, the verdict of every destination, and the end of the job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from storage import audit
from storage.columns import AnyRow
from storage.errors import NotAllowed, StaleAttempt, UnknownDelivery, UnknownJob
from storage.ledger.jobs import advance
from storage.ledger.outcomes import fresh
from storage.lifecycle import TRANSITIONS, Event, State
from storage.records import DeliveryState, Json
from storage.schema import (
    deliveries,
    delivery_attempts,
    instances,
    job_instances,
    jobs,
    results,
)


def record_attempt(
    conn: Connection,
    node: str,
    at: datetime,
    delivery_id: int,
    *,
    state: DeliveryState,
    status: int | None,
    reason: str,
    next_attempt_at: datetime | None = None,
    is_proven: bool = True,
) -> None:
    """The attempt is a row for good, and the delivery stands where the attempt left it.

    A delivery that is no longer PENDING keeps its state: another node was faster. One that was
    acknowledged, but not proven, stays PENDING until the destination answers for it.

    Raises:
        UnknownDelivery: there is no such delivery.
    """
    audit.lock(conn, node)
    row = _delivery(conn, delivery_id)
    attempt: dict[str, Json] = {"state": str(state), "status": status, "reason": reason}
    sent = insert(delivery_attempts).values(delivery_id=delivery_id, at=at, sha256=row.sha256)
    conn.execute(sent.values(attempt))
    pending = (deliveries.c.id == delivery_id) & (deliveries.c.state == DeliveryState.PENDING)
    stands = {
        "tries": deliveries.c.tries + 1,
        "next_attempt_at": at if next_attempt_at is None else next_attempt_at,
        "acknowledged_at": at if state is DeliveryState.ACKNOWLEDGED else None,
    }
    waits = state is DeliveryState.ACKNOWLEDGED and not is_proven
    if waits:
        stands |= {"acknowledged_at": None, "accepted_at": at, "state": DeliveryState.PENDING}
    conn.execute(update(deliveries).where(pending).values(attempt | stands))
    names = ("destination", "kind", "sop_instance_uid", "sha256")
    told = {name: row._mapping[name] for name in names}
    audit.append(
        conn,
        node,
        at,
        "delivery.accepted" if waits else _kind(state),
        study_instance_uid=row.study_instance_uid,
        job_id=row.job_id,
        details=attempt | told | {"status": None if status is None else f"0x{status:04X}"},
    )


def _kind(state: DeliveryState) -> str:
    return "delivery.retry_due" if state is DeliveryState.PENDING else f"delivery.{state.lower()}"


def postpone(
    conn: Connection,
    node: str,
    at: datetime,
    delivery_ids: Sequence[int],
    *,
    reason: str,
    next_attempt_at: datetime | None,
) -> None:
    """Deliveries of one job, for which no association could be had, wait; with None they end.

    One attempt and one audit entry stand for all of them: nothing was sent.

    Raises:
        UnknownDelivery: the first of them does not exist.
    """
    audit.lock(conn, node)
    first = _delivery(conn, delivery_ids[0])
    state = DeliveryState.REFUSED if next_attempt_at is None else DeliveryState.PENDING
    attempt: dict[str, Json] = {"state": str(state), "status": None, "reason": reason}
    sent = insert(delivery_attempts).values(delivery_id=delivery_ids[0], at=at, sha256=first.sha256)
    conn.execute(sent.values(attempt))
    pending = deliveries.c.id.in_(delivery_ids) & (deliveries.c.state == DeliveryState.PENDING)
    later = at if next_attempt_at is None else next_attempt_at
    tries = deliveries.c.tries + 1
    conn.execute(
        update(deliveries).where(pending).values(**attempt, tries=tries, next_attempt_at=later)
    )
    audit.append(
        conn,
        node,
        at,
        "delivery.unreachable" if next_attempt_at else "delivery.refused",
        study_instance_uid=first.study_instance_uid,
        job_id=first.job_id,
        details={
            "destination": first.destination,
            "objects": len(delivery_ids),
            "reason": reason,
            "next_attempt_at": None if next_attempt_at is None else next_attempt_at.isoformat(),
        },
    )


def settle(
    conn: Connection,
    node: str,
    job_id: int,
    attempt: int,
    at: datetime,
    *,
    suffices: Mapping[str, Collection[str]] | None = None,
) -> State:
    """A job with nothing left to send is DELIVERED, or FAILED where an object was refused.

    What a destination leaves out is no fault, as long as it has acknowledged an object of one of
    the kinds that suffice for it; a destination that `suffices` does not name is content with any.

    Any other job stays as it is; returns where it stands. `attempt` is the job's, or that of the
    results: after a re-run that failed, what an earlier attempt wrote can be sent again.

    Raises:
        StaleAttempt: what is being delivered was written by another attempt.
        UnknownJob: there is no such job.
    """
    audit.lock(conn, node)
    job = _locked(conn, job_id)
    state = State(job.state)
    if state is not State.DELIVERING:
        return state
    current = _current(conn, job_id)
    if attempt not in {job.attempt, *(row.attempt for row in current)}:
        raise StaleAttempt(f"job {job_id} is delivered under {job.attempt}, not {attempt}")
    if any(row.state == DeliveryState.PENDING for row in current):
        return state
    refused = _refusals([row for row in current if row.state == DeliveryState.REFUSED])
    faults = [*refused, *_empty_handed(current, suffices or {})]
    event = Event.GAVE_UP if faults else Event.ACKNOWLEDGED
    reason = "; ".join(faults)
    if not current:
        reason = "nothing was to be sent: no results, or no destinations"
    return advance(conn, node, job_id, job.attempt, state, event, at, reason=reason)


def resend(conn: Connection, node: str, job_id: int, at: datetime) -> State:
    """The objects of a finished job go out again under the same UIDs.

    All of them where the job was DELIVERED, those not acknowledged where it FAILED.

    Raises:
        NotAllowed: the job is not finished, or has no results, or they were removed.
        UnknownJob: there is no such job.
    """
    audit.lock(conn, node)
    job = _locked(conn, job_id)
    state = State(job.state)
    if (state, Event.RESENT) not in TRANSITIONS:
        raise NotAllowed(f"job {job_id} is {state}: there is nothing to send again")
    current = select(results.c.id).where(results.c.job_id == job_id, results.c.is_current)
    if conn.execute(current.limit(1)).first() is None:
        raise NotAllowed(f"job {job_id} has no results to send: requeue it")
    _require_pixels(conn, job_id)
    again = update(deliveries).where(deliveries.c.result_id.in_(current))
    if state is State.FAILED:
        again = again.where(deliveries.c.state != DeliveryState.ACKNOWLEDGED)
    conn.execute(again.values(fresh(at)))
    return advance(conn, node, job_id, job.attempt, state, Event.RESENT, at)


def requeue(conn: Connection, node: str, job_id: int, at: datetime) -> State:
    """A finished job waits for an engine again, with its failures forgotten.

    Raises:
        NotAllowed: the job is not finished, or retention has removed an image of it.
        UnknownJob: there is no such job.
    """
    audit.lock(conn, node)
    job = _locked(conn, job_id)
    _require_pixels(conn, job_id)
    return advance(conn, node, job_id, job.attempt, State(job.state), Event.REQUEUED, at)


def _require_pixels(conn: Connection, job_id: int) -> None:
    removed = (
        select(job_instances.c.sop_instance_uid)
        .join(instances, instances.c.sop_instance_uid == job_instances.c.sop_instance_uid)
        .where(job_instances.c.job_id == job_id, instances.c.removed_at.is_not(None))
    )
    if conn.execute(removed.limit(1)).first() is not None:
        raise NotAllowed(f"the pixels of job {job_id} were removed: send the study again")


def _locked(conn: Connection, job_id: int) -> AnyRow:
    wanted = select(jobs.c.state, jobs.c.attempt).where(jobs.c.id == job_id).with_for_update()
    row = conn.execute(wanted).one_or_none()
    if row is None:
        raise UnknownJob(f"there is no job {job_id}")
    return row


def _current(conn: Connection, job_id: int) -> Sequence[AnyRow]:
    """The deliveries of what the job wrote last."""
    return conn.execute(
        select(
            deliveries.c.state,
            deliveries.c.destination,
            deliveries.c.status,
            results.c.kind,
            results.c.attempt,
        )
        .join(results, results.c.id == deliveries.c.result_id)
        .where(deliveries.c.job_id == job_id, results.c.is_current)
        .order_by(deliveries.c.id)
    ).all()


def _delivery(conn: Connection, delivery_id: int) -> AnyRow:
    row = conn.execute(
        select(
            deliveries.c.job_id,
            deliveries.c.destination,
            results.c.kind,
            results.c.sop_instance_uid,
            results.c.sha256,
            jobs.c.study_instance_uid,
        )
        .join(results, results.c.id == deliveries.c.result_id)
        .join(jobs, jobs.c.id == deliveries.c.job_id)
        .where(deliveries.c.id == delivery_id)
    ).one_or_none()
    if row is None:
        raise UnknownDelivery(f"there is no delivery {delivery_id}")
    return row


def _refusals(rows: Sequence[AnyRow]) -> list[str]:
    """A sentence for all objects of one kind that one destination answered alike."""
    sentences = []
    alike = Counter((row.destination, row.kind, row.status) for row in rows)
    for (destination, kind, status), count in alike.items():
        what = kind if count == 1 else f"{kind} ({count} objects)"
        answer = "no answer" if status is None else f"0x{status:04X}"
        sentences.append(f"{destination} refused the {what}: {answer}")
    return sentences


def _empty_handed(current: Sequence[AnyRow], suffices: Mapping[str, Collection[str]]) -> list[str]:
    """A sentence for each destination that left out so much that nobody there sees a result."""
    faults = []
    for destination in dict.fromkeys(row.destination for row in current):
        here = [row for row in current if row.destination == destination]
        left_out = [row.kind for row in here if row.state == DeliveryState.LEFT_OUT]
        has = {row.kind for row in here if row.state == DeliveryState.ACKNOWLEDGED}
        if not left_out or has & set(suffices.get(destination, has)):
            continue
        if len(left_out) == len(here):
            faults.append(f"{destination} takes none of the objects of this result")
        else:
            kinds = ", ".join(dict.fromkeys(left_out))
            faults.append(f"{destination} takes nothing that a viewer can show; left out: {kinds}")
    return faults
