"""What came in: instances, what was refused, and the decisions about studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, insert, null, select, update
from sqlalchemy.sql.dml import Insert

from storage import audit, schema
from storage.files import Written
from storage.ledger.plain import plain, printable
from storage.prepared import Prepared
from storage.records import Entry, Instance, Json, StudyState
from storage.schema import decisions, instances, studies
from storage.upsert import insert_new, inserting


class Receipt(StrEnum):
    """What an instance is to those that are here already."""

    NEW = "NEW"
    SAME = "SAME"
    """The same UID with the same bytes: nothing new, and a success to the peer."""
    RESTORED = "RESTORED"
    """The same, but retention had removed the bytes: they are here again, and the study waits."""
    CONFLICT = "CONFLICT"
    """The same UID with other bytes: the first one stays, this one belongs in quarantine."""


def receive(conn: Connection, node: str, instance: Instance) -> Receipt:
    """A NEW instance is known and its study waits for a decision again; others change nothing.

    One INSERT decides, also between two nodes; the foreign key waits for the end of the
    transaction, so that the study's row can follow.
    """
    head = audit.lock(conn, node)
    row = {name: getattr(instance, name) for name in instances.c.keys()}  # noqa: SIM118
    row["attributes"] = plain(dict(instance.attributes))
    receipt = Receipt.NEW
    if insert_new(conn, instances, row, instances.c.sop_instance_uid) is None:
        receipt = _again(conn, instance)
    if receipt in {Receipt.NEW, Receipt.RESTORED}:
        _touch_study(conn, instance)
    audit.append(
        conn,
        node,
        instance.received_at,
        f"instance.{receipt.lower()}",
        study_instance_uid=instance.study_instance_uid,
        details={
            "sop_instance_uid": instance.sop_instance_uid,
            "sop_class_uid": instance.sop_class_uid,
            "sha256": instance.sha256,
            "size_bytes": instance.size_bytes,
            "calling_ae_title": instance.calling_ae_title,
            "called_ae_title": instance.called_ae_title,
            "peer_address": instance.peer_address,
        },
        head=head,
    )
    return receipt


def _again(conn: Connection, instance: Instance) -> Receipt:
    c = instances.c
    uid = c.sop_instance_uid == instance.sop_instance_uid
    known = conn.execute(select(c.sha256, c.removed_at, c.path).where(uid)).one()
    if known.sha256 != instance.sha256:
        return Receipt.CONFLICT
    if known.removed_at is None and known.path == instance.path:
        return Receipt.SAME
    here = {"removed_at": None, "path": instance.path}  # an older version had another place
    conn.execute(update(instances).where(uid).values(here))
    return Receipt.SAME if known.removed_at is None else Receipt.RESTORED


def quarantine(
    conn: Connection,
    node: str,
    at: datetime,
    *,
    calling_ae_title: str,
    peer_address: str,
    affected_sop_instance_uid: str,
    status: int,
    reason: str,
    written: Written,
) -> int:
    """What was refused has a row and an audit entry; returns its number."""
    audit.lock(conn, node)
    row: dict[str, Json] = {
        "calling_ae_title": printable(calling_ae_title, 16),
        "peer_address": peer_address,
        "affected_sop_instance_uid": printable(affected_sop_instance_uid, 64),
        "status": status,
        "reason": reason,
        "sha256": written.sha256,
        "size_bytes": written.size_bytes,
        "path": written.path,
    }
    statement = (
        insert(schema.quarantine).values(received_at=at, **row).returning(schema.quarantine.c.id)
    )
    number = int(conn.execute(statement).scalar_one())
    details = row | {"status": f"0x{status:04X}", "quarantine_id": number}
    audit.append(conn, node, at, "instance.quarantined", details=details)
    return number


def decide(
    conn: Connection,
    node: str,
    at: datetime,
    *,
    study_instance_uid: str,
    revision: int,
    completeness: str,
    verdict: StudyState,
    rule: str,
    reasons: Sequence[str],
    configuration_digest: str,
) -> bool:
    """The decision stands, or False and nothing: an instance came since `revision` was read."""
    audit.lock(conn, node)
    seen = (studies.c.study_instance_uid == study_instance_uid) & (studies.c.revision == revision)
    known = {"state": verdict, "reasons": list(reasons)}
    if conn.execute(update(studies).where(seen).values(known)).rowcount == 0:
        return False
    details: dict[str, Json] = {
        "revision": revision,
        "completeness": completeness,
        "verdict": str(verdict),
        "rule": rule,
        "reasons": list(reasons),
        "configuration_digest": configuration_digest,
    }
    statement = insert(decisions).values(study_instance_uid=study_instance_uid, at=at, **details)
    conn.execute(statement)
    audit.append(
        conn, node, at, "study.decided", study_instance_uid=study_instance_uid, details=details
    )
    return True


def note(
    conn: Connection,
    node: str,
    at: datetime,
    kind: str,
    *,
    study_instance_uid: str = "",
    job_id: int | None = None,
    details: Mapping[str, Json] | None = None,
) -> Entry:
    """Something happened to the node itself: started, stopped, an association was rejected."""
    return audit.append(
        conn,
        node,
        at,
        kind,
        study_instance_uid=study_instance_uid,
        job_id=job_id,
        details=details,
    )


def _touch_study(conn: Connection, instance: Instance) -> None:
    at = instance.received_at
    new = {
        "study_instance_uid": instance.study_instance_uid,
        "state": StudyState.WAITING,
        "first_received_at": at,
        "last_received_at": at,
        "revision": 1,
        "reasons": [],
    }
    _TOUCH.run(conn, new)


def _touch(dialect: str) -> Insert:
    """A study that is new, or waits for a decision again."""
    first = inserting(dialect, studies)
    again = {
        "state": first.excluded.state,
        "last_received_at": first.excluded.last_received_at,
        "revision": studies.c.revision + 1,
        "reasons": first.excluded.reasons,
        "pacs_count": null(),
    }
    return first.on_conflict_do_update(index_elements=[studies.c.study_instance_uid], set_=again)


_TOUCH = Prepared(_touch)
