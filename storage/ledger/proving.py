"""From a destination's word that it took an object to its answer that it keeps it.

An object that was accepted stays PENDING, with the time of its acceptance, until the destination
has answered for it; then it is ACKNOWLEDGED. What it does not answer for is sent again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select, update

from storage import audit
from storage.columns import AnyRow
from storage.records import DeliveryState, Json
from storage.schema import deliveries, jobs


def ask(
    conn: Connection,
    node: str,
    delivery_ids: Sequence[int],
    *,
    transaction_uid: str | None,
    next_attempt_at: datetime,
) -> None:
    """The destination is being asked for what it accepted, and is left in peace until then."""
    audit.lock(conn, node)
    _write(
        conn,
        delivery_ids,
        transaction_uid=transaction_uid,
        tries=deliveries.c.tries + 1,
        next_attempt_at=next_attempt_at,
    )


def prove(
    conn: Connection, node: str, at: datetime, delivery_ids: Collection[int], *, reason: str
) -> None:
    """The destination answers for the objects: they are ACKNOWLEDGED, and `reason` says how."""
    audit.lock(conn, node)
    proven = _accepted(conn, delivery_ids)
    _write(
        conn,
        [row.id for row in proven],
        state=DeliveryState.ACKNOWLEDGED,
        reason=reason,
        acknowledged_at=at,
    )
    _tell(conn, node, at, "delivery.proven", proven, {"reason": reason})


def disprove(
    conn: Connection,
    node: str,
    at: datetime,
    next_attempts: Mapping[int, datetime | None],
    *,
    reason: str,
) -> None:
    """The destination does not have the objects: each is sent again then, or REFUSED for None."""
    audit.lock(conn, node)
    lost = _accepted(conn, next_attempts.keys())
    for row in lost:
        later = next_attempts[row.id]
        _write(
            conn,
            [row.id],
            state=DeliveryState.REFUSED if later is None else DeliveryState.PENDING,
            reason=reason,
            next_attempt_at=later or at,
            accepted_at=None,
            transaction_uid=None,
        )
    _tell(conn, node, at, "delivery.disproven", lost, {"reason": reason})


def _accepted(conn: Connection, delivery_ids: Collection[int]) -> Sequence[AnyRow]:
    return conn.execute(
        select(
            deliveries.c.id,
            deliveries.c.job_id,
            deliveries.c.destination,
            deliveries.c.sop_instance_uid,
            jobs.c.study_instance_uid,
        )
        .join(jobs, jobs.c.id == deliveries.c.job_id)
        .where(
            deliveries.c.id.in_(list(delivery_ids)),
            deliveries.c.state == DeliveryState.PENDING,
            deliveries.c.accepted_at.is_not(None),
        )
        .order_by(deliveries.c.id)
    ).all()


def _write(conn: Connection, delivery_ids: Sequence[int], **values: Any) -> None:
    pending = deliveries.c.state == DeliveryState.PENDING
    chosen = deliveries.c.id.in_(list(delivery_ids)) & pending
    conn.execute(update(deliveries).where(chosen).values(**values))


def _tell(
    conn: Connection,
    node: str,
    at: datetime,
    kind: str,
    rows: Sequence[AnyRow],
    details: Mapping[str, Json],
) -> None:
    """One entry for all objects of a job and a destination."""
    for job_id, destination in dict.fromkeys((row.job_id, row.destination) for row in rows):
        of_both = [r for r in rows if (r.job_id, r.destination) == (job_id, destination)]
        uids: list[Json] = [row.sop_instance_uid for row in of_both]
        audit.append(
            conn,
            node,
            at,
            kind,
            study_instance_uid=of_both[0].study_instance_uid,
            job_id=job_id,
            details={"destination": destination, "sop_instance_uids": uids, **details},
        )
