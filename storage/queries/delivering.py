"""Where each object stands with each destination, and what is due there."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, select

from storage import rows, schema
from storage.lifecycle import State
from storage.queries.due import is_due
from storage.records import Delivery, DeliveryAttempt, DeliveryState


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
    their job are due with them, or have been answered there. For `longest_wait` see `is_due`.
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
            is_due(schema.deliveries.c.next_attempt_at, at, longest_wait),
            schema.jobs.c.state == State.DELIVERING,
            schema.jobs.c.claimed_by == node,
        )
        .order_by(schema.jobs.c.priority, schema.jobs.c.id)
    )


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
            ~is_due(other.c.next_attempt_at, at, longest_wait),
            result.c.is_current,
            result.c.kind.not_in(list(last)),
        )
        .correlate(schema.deliveries)
    )
