"""The audit: entries that nobody can change, remove or insert without being seen.

Every entry carries the SHA-256 of the one before it, per node, because one chain for all nodes
would be the only serial point in the system. The chain's row in `chains` holds its head, so that
entries removed from the end are seen too, and is the lock under which entries are appended.

What is under the seal stands in `storage.chain`, how it is checked in `storage.verifying`. Who
may write to the database can make up a new chain from any entry on, with its head: against that
stands only a head that was kept elsewhere, which is why `verify` returns the heads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, update

from storage.chain import GENESIS, canonical, seal
from storage.columns import iso
from storage.prepared import Prepared
from storage.records import Entry, Json
from storage.schema import chains, entries
from storage.upsert import insert_new
from storage.verifying import Broken, Head, Verified, verify

__all__ = ["Broken", "Head", "Verified", "append", "lock", "verify"]

_OF_NODE = chains.c.node == bindparam("of_node")
# Every write runs these.
_HEAD = Prepared(
    lambda _: select(chains.c.sequence, chains.c.sha256).where(_OF_NODE).with_for_update()
)
_APPEND = Prepared(lambda _: insert(entries))
_MOVE_HEAD = Prepared(
    lambda _: (
        update(chains)
        .where(_OF_NODE)
        .values(sequence=bindparam("to_sequence"), sha256=bindparam("to_sha256"))
    )
)


def lock(conn: Connection, node: str) -> tuple[int, str]:
    """The chain of `node` is held until the transaction ends; returns its head.

    Every write of the ledger begins here: one order of locks, and so no deadlock, within a node.
    """
    found = _HEAD.run(conn, {"of_node": node})
    if not found:
        new = {"node": node, "sequence": 0, "sha256": GENESIS}
        insert_new(conn, chains, new, chains.c.node)
        found = _HEAD.run(conn, {"of_node": node})
    ((sequence, sha256),) = found
    return sequence, sha256


def append(
    conn: Connection,
    node: str,
    at: datetime,
    kind: str,
    *,
    study_instance_uid: str = "",
    job_id: int | None = None,
    details: Mapping[str, Json] | None = None,
    head: tuple[int, str] | None = None,
) -> Entry:
    """One more entry at the end of the chain of `node`, in the caller's transaction.

    `head` is what `lock` returned in it, where nothing was appended since; else it is looked up.
    """
    sequence, previous_sha256 = lock(conn, node) if head is None else head
    text = canonical({} if details is None else details)
    said = json.loads(text)
    sha256 = seal(
        node=node,
        sequence=sequence + 1,
        at=iso(at),
        kind=kind,
        study_instance_uid=study_instance_uid,
        job_id=job_id,
        details=said,
        previous_sha256=previous_sha256,
    )
    entry = Entry(
        node=node,
        sequence=sequence + 1,
        at=at,
        kind=kind,
        study_instance_uid=study_instance_uid,
        job_id=job_id,
        details=said,
        previous_sha256=previous_sha256,
        sha256=sha256,
    )
    row = {name: getattr(entry, name) for name in entries.c.keys()}  # noqa: SIM118 - a collection
    _APPEND.run(conn, row | {"details": text})
    moved = {"of_node": node, "to_sequence": sequence + 1, "to_sha256": sha256}
    _MOVE_HEAD.run(conn, moved)
    return entry
