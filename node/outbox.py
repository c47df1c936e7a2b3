"""One destination's queue: send what is due, write down each answer, settle the jobs.

Answers are committed a few at a time: an fsync for each would take longer than the sending. What a
crash takes from the book is sent again, under the same UIDs, and that changes nothing at a PACS.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.engine import Connection, Engine

from node.delivery import Answer, Parcel, Unreachable, Verdict, send
from node.kinds import LAST, rank, sufficient
from node.retries import longest_wait, next_attempt
from node.settings import Destination, Settings
from node.translate import Folders
from storage import database, ledger, queries
from storage.crashpoints import Point, reached
from storage.lifecycle import State
from storage.records import Delivery, DeliveryState

log = structlog.get_logger()

OBJECTS_AT_ONCE: Final = 256
ANSWERS_A_COMMIT: Final = 16


@dataclass(frozen=True, slots=True)
class Outbox:
    """What the delivery to one destination needs of the world around it."""

    destination: Destination
    settings: Settings
    engine: Engine
    folders: Folders
    clock: Callable[[], datetime]


def empty(outbox: Outbox) -> int:
    """What is due at the destination has been tried once; returns how many objects were due."""
    node = outbox.settings.node.name
    with database.reading(outbox.engine) as conn:
        due = queries.due_deliveries(
            conn,
            node,
            outbox.destination.name,
            outbox.clock(),
            OBJECTS_AT_ONCE,
            last=LAST,
            longest_wait=longest_wait(outbox.settings.retries),
        )
    if not due:
        return 0
    intact, damaged = _checked(due, outbox)
    _write_down(damaged, due, outbox)
    if intact:
        _send(intact, due, outbox)
    settle(due, outbox.engine, outbox.settings, outbox.clock())
    return len(due)


def settle(due: Iterable[Delivery], engine: Engine, settings: Settings, at: datetime) -> None:
    """The jobs of these deliveries are closed, where nothing more is to be sent or proven."""
    node, suffices = settings.node.name, sufficient(settings.destinations)
    with database.begin(engine) as conn:
        states = {
            ledger.settle(conn, node, job_id, attempt, at, suffices=suffices)
            for job_id, attempt in sorted({(each.job_id, each.result.attempt) for each in due})
        }
    if State.DELIVERED in states:
        reached(Point.JOB_SETTLED)


def _send(parcels: Sequence[Parcel], due: Sequence[Delivery], outbox: Outbox) -> None:
    calling = outbox.settings.calling_ae_title(outbox.destination)
    answers = send(parcels, outbox.destination, calling)
    if isinstance(answers, Unreachable):
        log.warning("destination_unreachable", to=outbox.destination.name, reason=answers.reason)
        postpone(due, answers, outbox)
        return
    while some := list(islice(answers, ANSWERS_A_COMMIT)):
        reached(Point.BEFORE_ANSWERS)
        _write_down(some, due, outbox)
        reached(Point.AFTER_ANSWERS)


def _checked(
    due: Sequence[Delivery], outbox: Outbox
) -> tuple[tuple[Parcel, ...], tuple[Answer, ...]]:
    """Parcels of what lies on disk unchanged, and answers for what does not."""
    intact: list[Parcel] = []
    damaged: list[Answer] = []
    for delivery in _in_order(due):
        written = delivery.result.written
        path = outbox.folders.results / written.path
        if _digest(path) == written.sha256:
            is_last = written.kind in LAST
            parcel = Parcel(delivery.id, written.sop_class_uid, path, delivery.job_id, is_last)
            intact.append(parcel)
        else:
            why = "the file of this object is missing or changed: requeue the job to make it again"
            damaged.append(Answer(delivery.id, Verdict.REFUSED, None, why))
    return tuple(intact), tuple(damaged)


def _in_order(due: Sequence[Delivery]) -> list[Delivery]:
    """Job by job as they are due, and within a job by the rank of the kinds."""
    position = {job_id: n for n, job_id in enumerate(dict.fromkeys(d.job_id for d in due))}
    return sorted(due, key=lambda d: (position[d.job_id], rank(d.result.written.kind), d.id))


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def _write_down(answers: Iterable[Answer], due: Sequence[Delivery], outbox: Outbox) -> None:
    by_id = {delivery.id: delivery for delivery in due}
    at = outbox.clock()
    with database.begin(outbox.engine) as conn:
        for answer in answers:
            _record(conn, answer, by_id[answer.key], outbox, at)


def _record(
    conn: Connection, answer: Answer, delivery: Delivery, outbox: Outbox, at: datetime
) -> None:
    state, next_at, reason = DeliveryState.REFUSED, at, answer.reason
    if answer.verdict is Verdict.ACCEPTED:
        state = DeliveryState.ACKNOWLEDGED
    elif answer.verdict is Verdict.LEFT_OUT:
        state = DeliveryState.LEFT_OUT
    elif answer.verdict is Verdict.TRY_AGAIN:
        again_at = later(delivery, outbox.settings, at)
        state = DeliveryState.REFUSED if again_at is None else DeliveryState.PENDING
        next_at = again_at or at
    ledger.record_attempt(
        conn,
        outbox.settings.node.name,
        at,
        delivery.id,
        state=state,
        status=answer.status,
        reason=reason,
        next_attempt_at=next_at,
        is_proven=outbox.destination.proof == "status",
    )


def postpone(due: Sequence[Delivery], why: Unreachable, outbox: Outbox) -> None:
    """Nothing was sent: everything of this destination waits, each job with one line of audit."""
    at = outbox.clock()
    for job_id in sorted({delivery.job_id for delivery in due}):
        of_job = [delivery for delivery in due if delivery.job_id == job_id]
        fewest = min(of_job, key=lambda delivery: delivery.tries)
        with database.begin(outbox.engine) as conn:
            ledger.postpone(
                conn,
                outbox.settings.node.name,
                at,
                [delivery.id for delivery in of_job],
                reason=why.reason,
                next_attempt_at=later(fewest, outbox.settings, at),
            )


def later(delivery: Delivery, settings: Settings, at: datetime) -> datetime | None:
    """When the delivery is tried again after one more that failed at `at`; None to give up."""
    return next_attempt(
        delivery.tries + 1,
        at,
        first_try_at=delivery.pending_since,
        policy=settings.retries,
        key=f"{delivery.destination} {delivery.job_id}",
    )
