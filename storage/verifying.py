"""The verifier of the audit: it names the first entry that was changed, removed or inserted.

Each entry is held against its own seal, against the entry before, and against the one behind,
which vouches for it. Who only looks backwards blames the wrong one: where an entry was changed
*and* sealed anew, it is the next that no longer fits. Entries are streamed, three at a time.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Text, select, type_coerce, union

from storage.chain import GENESIS, canonical, seal
from storage.columns import AnyRow, iso
from storage.schema import chains, entries

_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain of a node ends; kept elsewhere, it anchors everything before it."""

    node: str
    sequence: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Verified:
    """Every entry is as it was appended, and none is missing up to the heads."""

    entries: int
    heads: tuple[Head, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """The first entry of the chain that is not as it was appended."""

    node: str
    sequence: int
    why: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """The end of what was found in order: the seals of the last entry and of the one before."""

    sequence: int
    sha256: str
    before_sha256: str


def verify(conn: Connection, node: str | None = None) -> Verified | Broken:
    """Whether the chain of `node`, or every chain, is whole; in memory that does not grow."""
    names = [node]
    if node is None:
        every = union(select(chains.c.node), select(entries.c.node)).subquery()
        names = list(conn.execute(select(every.c.node).order_by(every.c.node)).scalars())
    heads = []
    for name in names:
        verdict = _verify_chain(conn, str(name))
        if isinstance(verdict, Broken):
            return verdict
        heads.append(verdict)
    return Verified(sum(head.sequence for head in heads), tuple(heads))


def _verify_chain(conn: Connection, node: str) -> Head | Broken:
    row = conn.execute(select(chains).where(chains.c.node == node)).one_or_none()
    head = Head(node, 0, GENESIS) if row is None else Head(node, row.sequence, row.sha256)
    seen = _Seen(0, GENESIS, "")
    with closing(_with_the_one_behind(conn, node)) as links:
        for link, behind in links:
            vouched_sha256 = head.sha256 if behind is None else behind.previous_sha256
            broken = (
                _misplaced(link, seen)
                or _unsealed(link, head)
                or _unlinked(link, seen, vouched_sha256)
                or _beyond(link, head)
            )
            if broken is not None:
                return broken
            seen = _Seen(link.sequence, link.sha256, seen.sha256)
    if seen.sequence < head.sequence:
        why = f"was removed from the end: the chain goes on to entry {head.sequence}"
        return Broken(node, seen.sequence + 1, why)
    if seen.sha256 != head.sha256:
        return Broken(node, seen.sequence, "was changed and sealed anew: the chain ends otherwise")
    return head


def _misplaced(link: AnyRow, seen: _Seen) -> Broken | None:
    expected = seen.sequence + 1
    if not isinstance(link.sequence, int):
        return Broken(link.node, expected, "was changed: its number is not a number")
    if link.sequence < expected:
        return Broken(link.node, link.sequence, "was inserted: the first entry is number 1")
    if link.sequence > expected:
        return Broken(link.node, expected, "was removed")
    return None


def _unsealed(link: AnyRow, head: Head) -> Broken | None:
    if _seal(link, link.sequence) == link.sha256:
        return None
    for sequence in range(1, head.sequence + 2):
        if _seal(link, sequence) == link.sha256:
            first = min(sequence, link.sequence)
            why = "was removed, inserted or moved:"
            return Broken(
                link.node, first, f"{why} entry {link.sequence} was sealed as entry {sequence}"
            )
    return Broken(link.node, link.sequence, "was changed: it does not fit its seal")


def _unlinked(link: AnyRow, seen: _Seen, vouched_sha256: str) -> Broken | None:
    if link.previous_sha256 == seen.sha256:
        return None
    if seen.sequence > 0 and link.previous_sha256 == seen.before_sha256:
        why = f"was inserted: entry {link.sequence} follows on the one before it"
        return Broken(link.node, seen.sequence, why)
    if seen.sequence > 0 and link.sha256 == vouched_sha256:
        why = f"was changed and sealed anew: entry {link.sequence} does not follow on it"
        return Broken(link.node, seen.sequence, why)
    return Broken(link.node, link.sequence, "was changed: it does not follow on the one before")


def _beyond(link: AnyRow, head: Head) -> Broken | None:
    if link.sequence <= head.sequence:
        return None
    why = f"was inserted at the end: the chain ends at entry {head.sequence}"
    if head.sequence == 0:
        why = "has no chain: its head was removed, or the entry was inserted"
    return Broken(link.node, link.sequence, why)


def _seal(link: AnyRow, sequence: int) -> str:
    """What the seal should be; empty where the row holds what no entry can hold."""
    try:
        at = datetime.fromisoformat(link.at) if isinstance(link.at, str) else link.at
        details = json.loads(link.details)
        if canonical(details) != link.details or (isinstance(link.at, str) and iso(at) != link.at):
            return ""
        return seal(
            node=link.node,
            sequence=sequence,
            at=iso(at),
            kind=link.kind,
            study_instance_uid=link.study_instance_uid,
            job_id=link.job_id,
            details=details,
            previous_sha256=link.previous_sha256,
        )
    except (TypeError, ValueError, RecursionError):
        return ""


def _with_the_one_behind(
    conn: Connection, node: str
) -> Generator[tuple[AnyRow, AnyRow | None], None, None]:
    """As they lie in the database: a time that is no time must be named, not raised."""
    columns: list[Any] = [column for column in entries.c if column.name != "at"]
    at = type_coerce(entries.c.at, Text).label("at")
    wanted = select(*columns, at).where(entries.c.node == node).order_by(entries.c.sequence)
    before: AnyRow | None = None
    with conn.execute(wanted, execution_options={"yield_per": _ROWS_AT_ONCE}) as found:
        for row in found:
            if before is not None:
                yield before, row
            before = row
    if before is not None:
        yield before, None
