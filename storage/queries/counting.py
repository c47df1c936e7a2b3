"""The audit and the numbers, for whoever looks at the node."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Table, func, select

from storage import rows, schema
from storage.lifecycle import State
from storage.records import Counts, DeliveryState, Entry, StudyState

_S = TypeVar("_S", bound=StrEnum)


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


def _by_state(conn: Connection, column: Column[Any], states: type[_S]) -> dict[_S, int]:
    found = {row[0]: row[1] for row in conn.execute(select(column, func.count()).group_by(column))}
    return {state: found.get(state, 0) for state in states}


def _number(conn: Connection, table: Table) -> int:
    return conn.execute(select(func.count()).select_from(table)).scalar_one()
