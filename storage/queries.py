"""Every read, for the node, the command and the console. Rows go in, records come out."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, exists, func, select

from storage import rows, schema
from storage.columns import AnyRow
from storage.lifecycle import State
from storage.records import (
    Counts,
    Decision,
    Delivery,
    DeliveryAttempt,
    DeliveryState,
    Entry,
    Instance,
    Job,
    Quarantined,
    Result,
    Study,
    StudyState,
)

_S = TypeVar("_S", bound=StrEnum)
PRIORITIES: Final = range(3)
PRECEDENCE: Final = timedelta(minutes=30)
"""By how much a job goes before one that is a class less urgent: a few reconstructions."""


def study(conn: Connection, study_instance_uid: str) -> Study | None:
    """The study, or None where nothing of it was received."""
    wanted = _studies().where(schema.studies.c.study_instance_uid == study_instance_uid)
    row = conn.execute(wanted).one_or_none()
    return None if row is None else rows.study(row)


def waiting_studies(conn: Connection) -> tuple[Study, ...]:
    """Those without a decision on what they hold now, the longest quiet first."""
    wanted = _studies().where(schema.studies.c.state == StudyState.WAITING)
    ordered = wanted.order_by(schema.studies.c.last_received_at)
    return tuple(rows.study(row) for row in conn.execute(ordered))


def recent_studies(conn: Connection, limit: int = 50) -> tuple[Study, ...]:
    """The last to receive anything first."""
    wanted = _studies().order_by(schema.studies.c.last_received_at.desc()).limit(limit)
    return tuple(rows.study(row) for row in conn.execute(wanted))


def instances(conn: Connection, study_instance_uid: str) -> tuple[Instance, ...]:
    """What was received of the study, in the order of arrival."""
    wanted = (
        select(schema.instances)
        .where(schema.instances.c.study_instance_uid == study_instance_uid)
        .order_by(schema.instances.c.received_at, schema.instances.c.sop_instance_uid)
    )
    return tuple(rows.instance(row) for row in conn.execute(wanted))


def instance_by_uid(conn: Connection, sop_instance_uid: str) -> Instance | None:
    """The instance, or None where it was not received."""
    uid = schema.instances.c.sop_instance_uid
    row = conn.execute(select(schema.instances).where(uid == sop_instance_uid)).one_or_none()
    return None if row is None else rows.instance(row)


def job_instances(conn: Connection, job_id: int) -> tuple[Instance, ...]:
    """The inputs of the job, in its own order."""
    wanted = (
        select(schema.instances)
        .join(
            schema.job_instances,
            schema.job_instances.c.sop_instance_uid == schema.instances.c.sop_instance_uid,
        )
        .where(schema.job_instances.c.job_id == job_id)
        .order_by(schema.job_instances.c.position)
    )
    return tuple(rows.instance(row) for row in conn.execute(wanted))


def open_transfers(conn: Connection, study_instance_uid: str) -> int:
    """How many associations have sent of the study and are still open, at any node."""
    of_study = schema.transfers.c.study_instance_uid == study_instance_uid
    wanted = select(func.count()).select_from(schema.transfers).where(of_study)
    return conn.execute(wanted).scalar_one()


def quarantined(conn: Connection, limit: int = 50) -> tuple[Quarantined, ...]:
    """What was refused, the newest first."""
    wanted = select(schema.quarantine).order_by(schema.quarantine.c.id.desc()).limit(limit)
    return tuple(rows.quarantined(row) for row in conn.execute(wanted))


def decisions(conn: Connection, study_instance_uid: str) -> tuple[Decision, ...]:
    """Every decision about the study, the first first."""
    of_study = schema.decisions.c.study_instance_uid == study_instance_uid
    wanted = select(schema.decisions).where(of_study).order_by(schema.decisions.c.id)
    return tuple(rows.decision(row) for row in conn.execute(wanted))


def job(conn: Connection, job_id: int) -> Job | None:
    """The job, or None where there is none of this number."""
    found = _jobs(conn, select(schema.jobs).where(schema.jobs.c.id == job_id))
    return found[0] if found else None


def jobs(
    conn: Connection,
    study_instance_uid: str | None = None,
    states: Iterable[State] | None = None,
    limit: int = 100,
) -> tuple[Job, ...]:
    """The newest first; of one study and in some states, where they are given."""
    wanted = select(schema.jobs).order_by(schema.jobs.c.id.desc()).limit(limit)
    if study_instance_uid is not None:
        wanted = wanted.where(schema.jobs.c.study_instance_uid == study_instance_uid)
    if states is not None:
        wanted = wanted.where(schema.jobs.c.state.in_(list(states)))
    return _jobs(conn, wanted)


def next_queued(
    conn: Connection,
    at: datetime,
    longest_wait: timedelta | None = None,
    but: Collection[int] = (),
) -> Job | None:
    """The job that an engine should take now, none of `but`: by priority, then the longest open.

    One that has waited for `PRECEDENCE` longer goes before one that is a class more urgent, so
    that a day full of urgent studies does not leave the others for the night. For `longest_wait`
    see `_is_due`.
    """
    first = [
        job
        for priority in PRIORITIES
        for job in _jobs(
            conn,
            select(schema.jobs)
            .where(
                schema.jobs.c.state == State.QUEUED,
                schema.jobs.c.priority == priority,
                _is_due(schema.jobs.c.next_attempt_at, at, longest_wait),
                # an empty list would be read as a table of its own
                *([schema.jobs.c.id.not_in(list(but))] if but else []),
            )
            .order_by(schema.jobs.c.opened_at, schema.jobs.c.id)
            .limit(1),
        )
    ]
    return min(first, key=_turn, default=None)


def running(conn: Connection) -> tuple[Job, ...]:
    """Those that an engine has claimed, the nearest deadline first."""
    wanted = select(schema.jobs).where(schema.jobs.c.state == State.RECONSTRUCTING)
    return _jobs(conn, wanted.order_by(schema.jobs.c.deadline_at, schema.jobs.c.id))


def overdue(conn: Connection, at: datetime) -> tuple[Job, ...]:
    """Those whose attempt counts as lost."""
    late = (schema.jobs.c.state == State.RECONSTRUCTING) & (schema.jobs.c.deadline_at < at)
    wanted = select(schema.jobs).where(late)
    return _jobs(conn, wanted.order_by(schema.jobs.c.deadline_at, schema.jobs.c.id))


def delivering_jobs(conn: Connection) -> tuple[Job, ...]:
    """Those that are being delivered, by priority, then number."""
    wanted = select(schema.jobs).where(schema.jobs.c.state == State.DELIVERING)
    return _jobs(conn, wanted.order_by(schema.jobs.c.priority, schema.jobs.c.id))


def results(conn: Connection, job_id: int) -> tuple[Result, ...]:
    """The objects that the last successful attempt of the job wrote."""
    current = (schema.results.c.job_id == job_id) & schema.results.c.is_current
    wanted = select(schema.results).where(current).order_by(schema.results.c.id)
    return tuple(rows.result(row) for row in conn.execute(wanted))


def own_objects(conn: Connection, study_instance_uid: str) -> frozenset[str]:
    """The SOP Instance UIDs of all that was ever made of the study."""
    wanted = (
        select(schema.results.c.sop_instance_uid)
        .join(schema.jobs, schema.jobs.c.id == schema.results.c.job_id)
        .where(schema.jobs.c.study_instance_uid == study_instance_uid)
    )
    return frozenset(conn.execute(wanted).scalars())


def deliveries(conn: Connection, job_id: int) -> tuple[Delivery, ...]:
    """Where each current object of the job stands with each destination."""
    wanted = _deliveries().where(schema.deliveries.c.job_id == job_id)
    ordered = wanted.order_by(schema.deliveries.c.id)
    return tuple(rows.delivery(row) for row in conn.execute(ordered))


def due_deliveries(
    conn: Connection,
    node: str,
    destination: str,
    at: datetime,
    limit: int = 100,
    last: Collection[str] = (),
    longest_wait: timedelta | None = None,
) -> tuple[Delivery, ...]:
    """What `node`, whose files they are, should send now: by the job's priority, then number.

    The kinds of object in `last` come at the end of their job, and are due only if all others of
    their job are due with them, or have been answered there. For `longest_wait` see `_is_due`.
    """
    pending = _pending(node, destination, at, longest_wait)
    wanted = pending.where(schema.deliveries.c.accepted_at.is_(None))
    if last:
        is_last = schema.results.c.kind.in_(list(last))
        waits = _waits_for_others(at, last, longest_wait)
        wanted = wanted.where(~is_last | ~waits).order_by(is_last)
    ordered = wanted.order_by(schema.deliveries.c.id).limit(limit)
    return tuple(rows.delivery(row) for row in conn.execute(ordered))


def unproven(
    conn: Connection,
    node: str,
    destination: str,
    at: datetime,
    limit: int = 100,
    longest_wait: timedelta | None = None,
) -> tuple[Delivery, ...]:
    """What the destination has accepted and should be asked for now, in the order of sending."""
    pending = _pending(node, destination, at, longest_wait)
    wanted = pending.where(schema.deliveries.c.accepted_at.is_not(None))
    ordered = wanted.order_by(schema.deliveries.c.id).limit(limit)
    return tuple(rows.delivery(row) for row in conn.execute(ordered))


def deliveries_of_transaction(conn: Connection, transaction_uid: str) -> tuple[Delivery, ...]:
    """What was asked for under this Transaction UID of a storage commitment."""
    wanted = _deliveries().where(schema.deliveries.c.transaction_uid == transaction_uid)
    ordered = wanted.order_by(schema.deliveries.c.id)
    return tuple(rows.delivery(row) for row in conn.execute(ordered))


def delivery_attempts(conn: Connection, job_id: int) -> tuple[DeliveryAttempt, ...]:
    """Every try of the job, the first first, also of objects that are no longer current."""
    wanted = (
        select(
            schema.delivery_attempts,
            schema.deliveries.c.job_id,
            schema.deliveries.c.destination,
            schema.results.c.kind,
            schema.results.c.sop_instance_uid,
        )
        .join(schema.deliveries, schema.deliveries.c.id == schema.delivery_attempts.c.delivery_id)
        .join(schema.results, schema.results.c.id == schema.deliveries.c.result_id)
        .where(schema.deliveries.c.job_id == job_id)
        .order_by(schema.delivery_attempts.c.id)
    )
    return tuple(rows.delivery_attempt(row) for row in conn.execute(wanted))


def entries(
    conn: Connection,
    job_id: int | None = None,
    study_instance_uid: str | None = None,
    limit: int = 1000,
) -> tuple[Entry, ...]:
    """The newest `limit` entries of the audit, the oldest of them first."""
    c = schema.entries.c
    wanted = select(schema.entries).order_by(c.at.desc(), c.node.desc(), c.sequence.desc())
    if job_id is not None:
        wanted = wanted.where(c.job_id == job_id)
    if study_instance_uid is not None:
        wanted = wanted.where(c.study_instance_uid == study_instance_uid)
    newest = conn.execute(wanted.limit(limit)).all()
    return tuple(rows.entry(row) for row in reversed(newest))


def counts(conn: Connection) -> Counts:
    """How much there is of everything."""
    return Counts(
        studies=_by_state(conn, schema.studies.c.state, StudyState),
        jobs=_by_state(conn, schema.jobs.c.state, State),
        deliveries=_by_state(conn, schema.deliveries.c.state, DeliveryState),
        instances=_number(conn, schema.instances),
        quarantined=_number(conn, schema.quarantine),
    )


def _studies() -> Select[Any]:
    held = (
        select(func.count())
        .where(schema.instances.c.study_instance_uid == schema.studies.c.study_instance_uid)
        .correlate(schema.studies)
        .scalar_subquery()
    )
    return select(schema.studies, held.label("instances"))


def _deliveries() -> Select[Any]:
    objects = [
        column.label(f"result_{column.name}") for column in schema.results.c if column.name != "id"
    ]
    return (
        select(schema.deliveries, *objects)
        .join(schema.results, schema.results.c.id == schema.deliveries.c.result_id)
        .where(schema.results.c.is_current)
    )


def _pending(
    node: str, destination: str, at: datetime, longest_wait: timedelta | None
) -> Select[Any]:
    return (
        _deliveries()
        .join(schema.jobs, schema.jobs.c.id == schema.deliveries.c.job_id)
        .where(
            schema.deliveries.c.state == DeliveryState.PENDING,
            schema.deliveries.c.destination == destination,
            _is_due(schema.deliveries.c.next_attempt_at, at, longest_wait),
            schema.jobs.c.state == State.DELIVERING,
            schema.jobs.c.claimed_by == node,
        )
        .order_by(schema.jobs.c.priority, schema.jobs.c.id)
    )


def _turn(job: Job) -> tuple[datetime, int]:
    return job.opened_at + job.made_of.priority * PRECEDENCE, job.id


def _is_due(
    column: Column[Any], at: datetime, longest_wait: timedelta | None
) -> ColumnElement[bool]:
    """Due at `at`; also what would wait for longer than any wait, as the clock was set back."""
    is_due: ColumnElement[bool] = column <= at
    return is_due if longest_wait is None else is_due | (column > at + longest_wait)


def _waits_for_others(
    at: datetime, last: Collection[str], longest_wait: timedelta | None
) -> ColumnElement[bool]:
    """Whether another object of the job waits at the same destination for a later attempt."""
    other, result = schema.deliveries.alias(), schema.results.alias()
    return exists(
        select(other.c.id)
        .join(result, result.c.id == other.c.result_id)
        .where(
            other.c.job_id == schema.deliveries.c.job_id,
            other.c.destination == schema.deliveries.c.destination,
            other.c.state == DeliveryState.PENDING,
            other.c.accepted_at.is_(None),
            ~_is_due(other.c.next_attempt_at, at, longest_wait),
            result.c.is_current,
            result.c.kind.not_in(list(last)),
        )
        .correlate(schema.deliveries)
    )


def _jobs(conn: Connection, wanted: Select[Any]) -> tuple[Job, ...]:
    found = conn.execute(wanted).all()
    inputs = _inputs(conn, found)
    return tuple(rows.job(row, tuple(inputs[row.id])) for row in found)


def _inputs(conn: Connection, found: Sequence[AnyRow]) -> dict[int, list[str]]:
    inputs: dict[int, list[str]] = {row.id: [] for row in found}
    wanted = select(schema.job_instances.c.job_id, schema.job_instances.c.sop_instance_uid)
    ordered = wanted.order_by(schema.job_instances.c.job_id, schema.job_instances.c.position)
    if inputs:
        of_jobs = ordered.where(schema.job_instances.c.job_id.in_(list(inputs)))
        for row in conn.execute(of_jobs):
            inputs[row.job_id].append(row.sop_instance_uid)
    return inputs


def _by_state(conn: Connection, column: Column[Any], states: type[_S]) -> dict[_S, int]:
    found = {row[0]: row[1] for row in conn.execute(select(column, func.count()).group_by(column))}
    return {state: found.get(state, 0) for state in states}


def _number(conn: Connection, table: Table) -> int:
    return conn.execute(select(func.count()).select_from(table)).scalar_one()
