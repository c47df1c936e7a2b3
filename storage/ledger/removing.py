"""That the pixels of a study are gone; the files themselves go after this, in `retention`."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select, update

from storage import audit
from storage.records import Json
from storage.retention import Removed, removable_rows
from storage.schema import instances, jobs, studies


def mark_removed(
    conn: Connection, node: str, at: datetime, study_instance_uid: str, *, reason: str
) -> Removed | None:
    """The rows of the study say that its pixels are gone; None where it may no longer go."""
    audit.lock(conn, node)
    uid = studies.c.study_instance_uid == study_instance_uid
    conn.execute(select(studies.c.revision).where(uid).with_for_update())
    if conn.execute(removable_rows().where(uid)).one_or_none() is None:
        return None
    here = (instances.c.study_instance_uid == study_instance_uid) & instances.c.removed_at.is_(None)
    gone = conn.execute(
        update(instances)
        .where(here)
        .values(removed_at=at)
        .returning(instances.c.sop_instance_uid, instances.c.sha256, instances.c.path)
    ).all()
    of_study = jobs.c.study_instance_uid == study_instance_uid
    job_ids = tuple(conn.execute(select(jobs.c.id).where(of_study)).scalars())
    told: list[Json] = [{"sop_instance_uid": row[0], "sha256": row[1]} for row in gone]
    audit.append(
        conn,
        node,
        at,
        "study.pixels_removed",
        study_instance_uid=study_instance_uid,
        details={"reason": reason, "instances": told, "jobs": list(job_ids)},
    )
    return Removed(tuple(row.path for row in gone), job_ids)
