"""The step from one state of a job to the next. No other code writes a state."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NoReturn

from sqlalchemy import Connection, and_, select, update

from storage import audit
from storage.errors import NotAllowed, StaleAttempt, UnknownJob
from storage.lifecycle import TRANSITIONS, Event, State
from storage.records import Json
from storage.schema import jobs


def move(
    conn: Connection,
    node: str,
    job_id: int,
    fence: int,
    seen: State,
    event: Event,
    at: datetime,
    *,
    details: Mapping[str, Json] | None = None,
    **values: Any,
) -> State:
    """One step of the table by compare-and-set, with its audit entry; returns the new state.

    Raises:
        NotAllowed: the table has no such step.
        StaleAttempt: the job is no longer in `seen` under the attempt `fence`.
        UnknownJob: there is no such job.
    """
    state = TRANSITIONS.get((seen, event))
    if state is None:
        raise NotAllowed(f"a job that is {seen} cannot be {event}: job {job_id}")
    audit.lock(conn, node)
    is_seen = and_(jobs.c.id == job_id, jobs.c.attempt == fence, jobs.c.state == seen)
    new = {"deadline_at": None} | values | {"state": state, "changed_at": at}
    moved = update(jobs).where(is_seen).values(new)
    row = conn.execute(
        moved.returning(jobs.c.study_instance_uid, jobs.c.attempt, jobs.c.reason, jobs.c.failures)
    ).one_or_none()
    if row is None:
        _refuse(conn, job_id, fence, seen)
    told = {"from": seen, "to": state, "attempt": row.attempt, "failures": row.failures}
    audit.append(
        conn,
        node,
        at,
        f"job.{event}",
        study_instance_uid=row.study_instance_uid,
        job_id=job_id,
        details=told | {"reason": row.reason} | dict(details or {}),
    )
    return state


def _refuse(conn: Connection, job_id: int, fence: int, seen: State) -> NoReturn:
    row = conn.execute(select(jobs.c.state, jobs.c.attempt).where(jobs.c.id == job_id)).first()
    if row is None:
        raise UnknownJob(f"there is no job {job_id}")
    raise StaleAttempt(
        f"job {job_id} is {row.state} under attempt {row.attempt}, not {seen} under {fence}"
    )
