"""What modalities ask this node to answer for, and what they have heard of it.

A request that was taken is a row before it is acknowledged, and PENDING until its report was heard:
so it is answered after any crash. The same question under the same Transaction UID is the same
request, which a peer repeats when it lost our answer; another question under it is a duplicate.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from storage import audit
from storage.records import Commitment, CommitmentState, Json, NewCommitment
from storage.schema import commitments


def owe(
    conn: Connection,
    node: str,
    at: datetime,
    new: NewCommitment,
    *,
    next_attempt_at: datetime,
    most_pending: int,
) -> int | None:
    """The node owes an answer from then on; returns the number of the request.

    None, and nothing, where whoever asks has `most_pending` other requests without an answer.
    """
    audit.lock(conn, node)
    pairs = [[each.sop_class_uid, each.sop_instance_uid] for each in new.asked]
    asked_sha256 = hashlib.sha256(json.dumps(sorted(pairs)).encode()).hexdigest()
    own = (commitments.c.node == node) & (commitments.c.calling_ae_title == new.calling_ae_title)
    is_same = (commitments.c.transaction_uid == new.transaction_uid) & (
        commitments.c.asked_sha256 == asked_sha256
    )
    others = select(func.count()).select_from(commitments).where(own, ~is_same)
    is_pending = commitments.c.state == CommitmentState.PENDING
    if conn.execute(others.where(is_pending)).scalar_one() >= most_pending:
        return None
    of_transaction = others.where(commitments.c.transaction_uid == new.transaction_uid)
    stands = {
        "called_ae_title": new.called_ae_title,
        "peer_address": new.peer_address,
        "state": CommitmentState.PENDING,
        "tries": 0,
        "reason": "",
        "asked_at": at,
        "next_attempt_at": next_attempt_at,
        "reported_at": None,
    }
    again = update(commitments).where(own, is_same).values(stands).returning(commitments.c.id)
    number = conn.execute(again).scalar_one_or_none()
    if number is None:
        row = stands | {
            "node": node,
            "calling_ae_title": new.calling_ae_title,
            "transaction_uid": new.transaction_uid,
            "asked": pairs,
            "asked_sha256": asked_sha256,
            "is_duplicate": conn.execute(of_transaction).scalar_one() > 0,
        }
        number = conn.execute(insert(commitments).values(row).returning(commitments.c.id)).scalar()
    details: dict[str, Json] = {
        "commitment_id": number,
        "transaction_uid": new.transaction_uid,
        "calling_ae_title": new.calling_ae_title,
        "peer_address": new.peer_address,
        "objects": len(pairs),
        "asked_sha256": asked_sha256,
    }
    audit.append(conn, node, at, "commitment.asked", details=details)
    return number


def report(
    conn: Connection, at: datetime, commitment: Commitment, *, answer: Mapping[str, Json]
) -> None:
    """Whoever asked has heard the answer, which stands in the audit; once, whoever was faster."""
    audit.lock(conn, commitment.node)
    heard = {"state": CommitmentState.REPORTED, "reported_at": at, "reason": ""}
    if _write(conn, commitment, heard):
        _tell(conn, at, "commitment.reported", commitment, answer)


def put_off(
    conn: Connection,
    at: datetime,
    commitment: Commitment,
    *,
    reason: str,
    next_attempt_at: datetime | None,
) -> None:
    """Nobody heard the answer, for `reason`: it is tried again then, or GIVEN_UP for None."""
    audit.lock(conn, commitment.node)
    stands = {
        "state": CommitmentState.GIVEN_UP if next_attempt_at is None else CommitmentState.PENDING,
        "tries": commitments.c.tries + 1,
        "reason": reason,
        "next_attempt_at": next_attempt_at or at,
    }
    if _write(conn, commitment, stands) and next_attempt_at is None:
        _tell(conn, at, "commitment.given_up", commitment, {"reason": reason})


def _write(conn: Connection, commitment: Commitment, values: Mapping[str, object]) -> bool:
    """True if the request is still PENDING."""
    chosen = commitments.c.id == commitment.id
    pending = commitments.c.state == CommitmentState.PENDING
    done = conn.execute(update(commitments).where(chosen, pending).values(dict(values)))
    return done.rowcount > 0


def _tell(
    conn: Connection, at: datetime, kind: str, of: Commitment, details: Mapping[str, Json]
) -> None:
    told: dict[str, Json] = {
        "commitment_id": of.id,
        "transaction_uid": of.made_of.transaction_uid,
        "calling_ae_title": of.made_of.calling_ae_title,
    }
    audit.append(conn, of.node, at, kind, details=told | dict(details))
