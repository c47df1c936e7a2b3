"""The results of a job, and the deliveries that follow from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from storage.records import DeliveryState, Json, NewResult
from storage.schema import deliveries, jobs, results
from storage.upsert import insert_new


def described(result: NewResult) -> dict[str, Json]:
    """What the audit keeps of a result."""
    return asdict(result)


def fresh(at: datetime) -> dict[str, Any]:
    """The columns of a delivery that was never tried."""
    return {
        "state": DeliveryState.PENDING,
        "tries": 0,
        "status": None,
        "reason": "",
        "pending_since": at,
        "next_attempt_at": at,
        "acknowledged_at": None,
        "accepted_at": None,
        "transaction_uid": None,
    }


def replace_results(
    conn: Connection,
    job_id: int,
    attempt: int,
    at: datetime,
    written: Sequence[NewResult],
    takes: Mapping[str, Collection[str]],
) -> None:
    """The current results of the job are those that this attempt wrote, to be delivered.

    `takes` names the kinds that a destination takes; one that is not in it takes all.
    """
    destinations = conn.execute(select(jobs.c.destinations).where(jobs.c.id == job_id)).scalar_one()
    known = {
        row.sop_instance_uid: row
        for row in conn.execute(select(results).where(results.c.job_id == job_id))
    }
    conn.execute(update(results).where(results.c.job_id == job_id).values(is_current=False))
    for result in written:
        earlier = known.get(result.sop_instance_uid)
        row = asdict(result) | {"attempt": attempt, "is_current": True}
        if earlier is None:
            new = insert(results).values(job_id=job_id, **row).returning(results.c.id)
            result_id = conn.execute(new).scalar_one()
        else:
            result_id = earlier.id
            conn.execute(update(results).where(results.c.id == result_id).values(row))
        is_same = earlier is not None and earlier.sha256 == result.sha256
        for destination in destinations:
            if result.kind not in takes.get(destination, (result.kind,)):
                continue
            _deliver(conn, job_id, result_id, result.sop_instance_uid, destination, at, is_same)


def _deliver(
    conn: Connection,
    job_id: int,
    result_id: int,
    sop_instance_uid: str,
    destination: str,
    at: datetime,
    is_same: bool,
) -> None:
    row = {
        "job_id": job_id,
        "result_id": result_id,
        "sop_instance_uid": sop_instance_uid,
        "destination": destination,
    }
    if insert_new(conn, deliveries, row | fresh(at), deliveries.c.id) is not None:
        return
    again = update(deliveries).where(
        deliveries.c.result_id == result_id, deliveries.c.destination == destination
    )
    if is_same:
        again = again.where(deliveries.c.state != DeliveryState.ACKNOWLEDGED)
    conn.execute(again.values(fresh(at)))
