"""Evidence that a study is complete, or not yet: who is still sending it, what the PACS counts.

These rows come and go with the associations; they say nothing about what was received, and so
they have no place in the audit.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, delete, update

from storage.schema import studies, transfers
from storage.upsert import insert_new


def open_transfer(
    conn: Connection, node: str, association: str, study_instance_uid: str, at: datetime
) -> None:
    """The association counts as still sending the study."""
    row = {
        "node": node,
        "association": association,
        "study_instance_uid": study_instance_uid,
        "opened_at": at,
    }
    insert_new(conn, transfers, row, transfers.c.association)


def close_transfers(conn: Connection, node: str, association: str | None = None) -> None:
    """The association, or every one of the node, sends nothing any more."""
    ended = delete(transfers).where(transfers.c.node == node)
    if association is not None:
        ended = ended.where(transfers.c.association == association)
    conn.execute(ended)


def count_study(conn: Connection, study_instance_uid: str, revision: int, count: int) -> None:
    """The PACS counted so many instances, unless one more came here since `revision`."""
    seen = (studies.c.study_instance_uid == study_instance_uid) & (studies.c.revision == revision)
    conn.execute(update(studies).where(seen).values(pacs_count=count))
