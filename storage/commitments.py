"""What must be known to answer for objects: who waits for an answer, and what is here."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from storage import rows
from storage.records import Commitment, CommitmentState, Instance
from storage.schema import commitments, instances, quarantine

AT_ONCE = 500
"""UIDs in one question: fewer than any database limits."""


def due(
    conn: Connection,
    node: str,
    calling_ae_title: str,
    at: datetime,
    *,
    longest_wait: timedelta,
) -> tuple[Commitment, ...]:
    """What the peer should be told now, in the order of asking.

    Also what would wait for longer than any wait, as the clock was set back.
    """
    c = commitments.c
    is_due = (c.next_attempt_at <= at) | (c.next_attempt_at > at + longest_wait)
    pending = c.state == CommitmentState.PENDING
    of_peer = (c.node == node) & (c.calling_ae_title == calling_ae_title)
    wanted = select(commitments).where(of_peer, pending, is_due).order_by(c.id)
    return tuple(rows.commitment(row) for row in conn.execute(wanted))


def commitment(conn: Connection, commitment_id: int) -> Commitment | None:
    """The request, or None where there is none of this number."""
    wanted = select(commitments).where(commitments.c.id == commitment_id)
    row = conn.execute(wanted).one_or_none()
    return None if row is None else rows.commitment(row)


def of_transaction(conn: Connection, transaction_uid: str) -> tuple[Commitment, ...]:
    """Every request under this Transaction UID, the first first."""
    of_uid = commitments.c.transaction_uid == transaction_uid
    ordered = select(commitments).where(of_uid).order_by(commitments.c.id)
    return tuple(rows.commitment(row) for row in conn.execute(ordered))


def received(conn: Connection, sop_instance_uids: Collection[str]) -> dict[str, Instance]:
    """The instances of these UIDs whose bytes retention has not removed."""
    uid = instances.c.sop_instance_uid
    found: dict[str, Instance] = {}
    for some in _portions(sop_instance_uids):
        here = select(instances).where(uid.in_(some), instances.c.removed_at.is_(None))
        found |= {row.sop_instance_uid: rows.instance(row) for row in conn.execute(here)}
    return found


def refused(
    conn: Connection, sop_instance_uids: Collection[str], calling_ae_title: str, status: int
) -> frozenset[str]:
    """Those of the UIDs under which bytes of this peer were refused with `status`."""
    c = quarantine.c
    uids: set[str] = set()
    for some in _portions(sop_instance_uids):
        of_peer = (c.calling_ae_title == calling_ae_title) & (c.status == status)
        wanted = select(c.affected_sop_instance_uid).where(of_peer)
        uids |= set(conn.execute(wanted.where(c.affected_sop_instance_uid.in_(some))).scalars())
    return frozenset(uids)


def _portions(uids: Collection[str]) -> list[list[str]]:
    every = list(uids)
    return [every[begin : begin + AT_ONCE] for begin in range(0, len(every), AT_ONCE)]
