"""Jobs from their opening to their outcome."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, insert, select

from storage import audit
from storage.errors import NotAllowed, StaleAttempt, UnknownJob, UnknownStudy
from storage.ledger.moving import move
from storage.ledger.outcomes import described, replace_results
from storage.ledger.plain import plain
from storage.lifecycle import Event, State
from storage.records import Json, NewJob, NewResult
from storage.schema import job_instances, jobs, studies
from storage.upsert import insert_new

_KEY = ("study_instance_uid", "rule", "side", "input_digest")
_MODEL = ("model", "model_version", "weights_digest")
_MADE_OF = (
    *_KEY,
    *_MODEL,
    "region",
    "configuration_digest",
    "completeness",
    "priority",
    "destinations",
    "request",
)
_OWN_FUNCTION = {Event.STARTED: "claim", Event.RECONSTRUCTED: "store_outcome"}


@dataclass(frozen=True, slots=True)
class Opened:
    """The job for what was asked; not new where the same was asked before."""

    job_id: int
    is_new: bool


def open_job(
    conn: Connection, node: str, at: datetime, new: NewJob, *, supersedes: bool = True
) -> Opened:
    """One job exists for `new`, however often and from however many nodes it is asked for.

    It replaces the latest job of its study, rule and side, unless `supersedes` says that it tells
    about that job instead.

    Raises:
        UnknownStudy: no instance of the study was ever received.
    """
    audit.lock(conn, node)
    study = studies.c.study_instance_uid == new.study_instance_uid
    if conn.execute(select(studies.c.revision).where(study).with_for_update()).first() is None:
        raise UnknownStudy(f"no instance of study {new.study_instance_uid} was received")
    same = and_(
        jobs.c.study_instance_uid == new.study_instance_uid,
        jobs.c.rule == new.rule,
        jobs.c.side == new.side,
    )
    latest = conn.execute(select(func.max(jobs.c.id)).where(same)).scalar_one()
    replaced = latest if supersedes else None
    job_id = insert_new(conn, jobs, _new_row(new, at, replaced), jobs.c.id)
    if job_id is None:
        key = and_(*(jobs.c[name] == getattr(new, name) for name in (*_KEY, *_MODEL)))
        return Opened(conn.execute(select(jobs.c.id).where(key)).scalar_one(), is_new=False)
    rows = [
        {"job_id": job_id, "position": position, "sop_instance_uid": uid}
        for position, uid in enumerate(new.sop_instance_uids)
    ]
    if rows:
        conn.execute(insert(job_instances), rows)
    audit.append(
        conn,
        node,
        at,
        "job.opened",
        study_instance_uid=new.study_instance_uid,
        job_id=job_id,
        details=_row(new) | {"supersedes": replaced, "inputs": list(new.sop_instance_uids)},
    )
    return Opened(job_id, is_new=True)


def claim(
    conn: Connection, node: str, job_id: int, attempt: int, at: datetime, deadline_at: datetime
) -> int | None:
    """The job is ours under the returned attempt; None where somebody else was faster.

    Raises:
        UnknownJob: there is no such job.
    """
    try:
        move(
            conn,
            node,
            job_id,
            attempt,
            State.QUEUED,
            Event.STARTED,
            at,
            attempt=attempt + 1,
            deadline_at=deadline_at,
            claimed_by=node,
        )
    except StaleAttempt:
        return None
    return attempt + 1


def advance(
    conn: Connection,
    node: str,
    job_id: int,
    attempt: int,
    seen: State,
    event: Event,
    at: datetime,
    *,
    reason: str = "",
    next_attempt_at: datetime | None = None,
) -> State:
    """The job stands where the table says that `event` leads from `seen`; returns where.

    `retry_due` counts a failure, `requeued` forgets them; both wait until `next_attempt_at`,
    or do not wait.

    Raises:
        NotAllowed: no such transition, or `claim` and `store_outcome` are for this event.
        StaleAttempt: the job is no longer in `seen` under `attempt`.
        UnknownJob: there is no such job.
    """
    if event in _OWN_FUNCTION:
        raise NotAllowed(f"{event} of job {job_id} is written by {_OWN_FUNCTION[event]}")
    values: dict[str, Any] = {"reason": reason}
    if event is Event.RETRY_DUE:
        values |= {"failures": jobs.c.failures + 1, "next_attempt_at": next_attempt_at or at}
    if event is Event.REQUEUED:
        values |= {"failures": 0, "next_attempt_at": next_attempt_at or at}
    return move(conn, node, job_id, attempt, seen, event, at, **values)


def store_outcome(
    conn: Connection,
    node: str,
    job_id: int,
    attempt: int,
    at: datetime,
    *,
    results: Sequence[NewResult],
    algorithm: Mapping[str, Json],
    assumptions: Sequence[Json],
    figures: Sequence[Json],
    takes: Mapping[str, Collection[str]] | None = None,
) -> State:
    """The job delivers: its results stand, and every one is PENDING for every destination.

    What an earlier attempt wrote under the same UID with the same bytes and a destination has
    acknowledged stays acknowledged; what the earlier attempt alone wrote is no longer sent.
    `takes` names the kinds of object that a destination takes; one that is not in it takes all.

    Raises:
        StaleAttempt: the attempt was outlived: nothing was written, see `ignore_outcome`.
        UnknownJob: there is no such job.
    """
    made = _made(algorithm, assumptions, figures)
    written: list[Json] = [described(result) for result in results]
    state = move(
        conn,
        node,
        job_id,
        attempt,
        State.RECONSTRUCTING,
        Event.RECONSTRUCTED,
        at,
        details=made | {"results": written},
        **made,
        reason="",
    )
    replace_results(conn, job_id, attempt, at, results, takes or {})
    return state


def withhold(
    conn: Connection,
    node: str,
    job_id: int,
    attempt: int,
    at: datetime,
    *,
    reasons: Sequence[str],
    algorithm: Mapping[str, Json],
    assumptions: Sequence[Json],
    figures: Sequence[Json],
) -> State:
    """The job is WITHHELD for `reasons`, with the figures that quality judged by.

    Raises:
        StaleAttempt: the attempt was outlived: nothing was written, see `ignore_outcome`.
        UnknownJob: there is no such job.
    """
    made = _made(algorithm, assumptions, figures)
    return move(
        conn,
        node,
        job_id,
        attempt,
        State.RECONSTRUCTING,
        Event.WITHHELD,
        at,
        details=made,
        **made,
        reason="; ".join(reasons),
    )


def ignore_outcome(
    conn: Connection,
    node: str,
    job_id: int,
    attempt: int,
    at: datetime,
    *,
    reason: str,
    results: Sequence[NewResult] = (),
) -> None:
    """What an outlived attempt brought back is in the audit, and changes nothing else.

    Raises:
        UnknownJob: there is no such job.
    """
    audit.lock(conn, node)
    study = select(jobs.c.study_instance_uid).where(jobs.c.id == job_id)
    study_instance_uid = conn.execute(study).scalar_one_or_none()
    if study_instance_uid is None:
        raise UnknownJob(f"there is no job {job_id}")
    details: dict[str, Json] = {
        "attempt": attempt,
        "reason": reason,
        "results": [described(result) for result in results],
    }
    audit.append(
        conn,
        node,
        at,
        "job.outcome_ignored",
        study_instance_uid=study_instance_uid,
        job_id=job_id,
        details=details,
    )


def _row(new: NewJob) -> dict[str, Any]:
    row = {name: getattr(new, name) for name in _MADE_OF}
    return row | {"destinations": list(new.destinations), "request": dict(new.request)}


def _new_row(new: NewJob, at: datetime, supersedes: int | None) -> dict[str, Any]:
    return _row(new) | {
        "state": State.QUEUED,
        "attempt": 0,
        "failures": 0,
        "opened_at": at,
        "changed_at": at,
        "next_attempt_at": at,
        "claimed_by": "",
        "reason": "",
        "supersedes": supersedes,
        "algorithm": {},
        "assumptions": [],
        "figures": [],
    }


def _made(
    algorithm: Mapping[str, Json], assumptions: Sequence[Json], figures: Sequence[Json]
) -> dict[str, Any]:
    return {
        "algorithm": plain(dict(algorithm)),
        "assumptions": plain(list(assumptions)),
        "figures": plain(list(figures)),
    }
