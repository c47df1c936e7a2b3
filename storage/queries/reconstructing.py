"""Jobs, their inputs, and the objects that they made."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from storage import rows, schema
from storage.columns import AnyRow
from storage.lifecycle import State
from storage.queries.due import is_due
from storage.records import Instance, Job, Result

PRIORITIES: Final = range(3)
PRECEDENCE: Final = timedelta(minutes=30)
"""By how much a job goes before one that is a class less urgent: a few reconstructions."""


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
    see `is_due`.
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
                is_due(schema.jobs.c.next_attempt_at, at, longest_wait),
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


def _turn(job: Job) -> tuple[datetime, int]:
    return job.opened_at + job.made_of.priority * PRECEDENCE, job.id
