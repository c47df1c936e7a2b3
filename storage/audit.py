"""The audit: entries that nobody can change, remove or insert without being seen.

Every entry carries the SHA-256 of the one before it, per node, because one chain for all nodes
would be the only serial point in the system. The chain's row in `chains` holds its head, so that
entries removed from the end are seen too, and is the lock under which entries are appended.

The hash is over the canonical JSON (keys sorted, no spaces, ASCII) of node, sequence, at, kind,
study_instance_uid, job_id, details and previous_sha256. Who may write to the database can make up
a new chain from any entry on, with its head: against that stands only a head that was kept
elsewhere, which is why `verify` returns the heads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from storage.columns import iso
from storage.records import Entry, Json
from storage.schema import chains, entries

GENESIS = "0" * 64
"""What the first entry of a chain follows on."""


def canonical(value: Json | Mapping[str, Json]) -> str:
    """The one JSON text of `value`.

    Raises:
        ValueError: NaN or an infinity, which JSON cannot say.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def seal(  # every argument is a field under the seal
    *,
    node: str,
    sequence: int,
    at: str,
    kind: str,
    study_instance_uid: str,
    job_id: int | None,
    details: Any,
    previous_sha256: str,
) -> str:
    """The SHA-256 of one entry, lower-case hex; `at` is ISO 8601 in UTC with microseconds."""
    sealed = {
        "node": node,
        "sequence": sequence,
        "at": at,
        "kind": kind,
        "study_instance_uid": study_instance_uid,
        "job_id": job_id,
        "details": details,
        "previous_sha256": previous_sha256,
    }
    return hashlib.sha256(canonical(sealed).encode("ascii")).hexdigest()


def lock(conn: Connection, node: str) -> tuple[int, str]:
    """The chain of `node` is held until the transaction ends; returns its head.

    Every write of the ledger begins here: one order of locks, and so no deadlock, within a node.
    """
    wanted = select(chains.c.sequence, chains.c.sha256).where(chains.c.node == node)
    head = conn.execute(wanted.with_for_update()).one_or_none()
    if head is None:
        upsert = postgresql.insert if conn.dialect.name == "postgresql" else sqlite.insert
        new = upsert(chains).values(node=node, sequence=0, sha256=GENESIS)
        conn.execute(new.on_conflict_do_nothing())
        head = conn.execute(wanted.with_for_update()).one()
    return head.sequence, head.sha256


def append(
    conn: Connection,
    node: str,
    at: datetime,
    kind: str,
    *,
    study_instance_uid: str = "",
    job_id: int | None = None,
    details: Mapping[str, Json] | None = None,
) -> Entry:
    """One more entry at the end of the chain of `node`, in the caller's transaction."""
    sequence, previous_sha256 = lock(conn, node)
    text = canonical({} if details is None else details)
    sha256 = seal(
        node=node,
        sequence=sequence + 1,
        at=iso(at),
        kind=kind,
        study_instance_uid=study_instance_uid,
        job_id=job_id,
        details=json.loads(text),
        previous_sha256=previous_sha256,
    )
    entry = Entry(
        node=node,
        sequence=sequence + 1,
        at=at,
        kind=kind,
        study_instance_uid=study_instance_uid,
        job_id=job_id,
        details=json.loads(text),
        previous_sha256=previous_sha256,
        sha256=sha256,
    )
    row = {name: getattr(entry, name) for name in entries.c.keys()}  # noqa: SIM118 - a collection
    conn.execute(insert(entries).values(row | {"details": text}))
    head = update(chains).where(chains.c.node == node)
    conn.execute(head.values(sequence=sequence + 1, sha256=sha256))
    return entry
