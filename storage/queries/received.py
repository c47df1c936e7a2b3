"""What came in: studies, instances, what was refused, and what was decided."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, func, select

from storage import rows, schema
from storage.records import Decision, Instance, Quarantined, Study, StudyState


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


def _studies() -> Select[Any]:
    held = (
        select(func.count())
        .where(schema.instances.c.study_instance_uid == schema.studies.c.study_instance_uid)
        .correlate(schema.studies)
        .scalar_subquery()
    )
    return select(schema.studies, held.label("instances"))
