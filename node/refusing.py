"""What is refused is told: in the answer, the log and the audit; its bytes go into quarantine."""

from __future__ import annotations

from pathlib import Path

import structlog
from pydicom import Dataset

from node.arriving import TooLargeError
from node.door import Arrival, Door
from node.header import is_uid
from storage import database, files, ledger
from storage.records import Json

log = structlog.get_logger()


def refuse(arrival: Arrival, door: Door, path: Path, status: int, reason: str) -> Dataset:
    """The answer; what came is kept for whoever must look."""
    written = files.adopt(door.quarantine, path)
    with database.begin(door.engine) as conn:
        ledger.quarantine(
            conn,
            door.settings.node.name,
            arrival.at,
            calling_ae_title=arrival.calling_ae_title,
            peer_address=arrival.peer_address,
            affected_sop_instance_uid=arrival.sop_instance_uid,
            status=status,
            reason=reason,
            written=written,
        )
    log.warning("instance_refused", status=f"0x{status:04X}", reason=reason)
    return answer(status, reason)


def turn_away(arrival: Arrival, door: Door, fault: TooLargeError) -> Dataset:
    """The answer to what is too large; nothing of it is kept."""
    uid = arrival.sop_instance_uid
    details: dict[str, Json] = {
        "calling_ae_title": arrival.calling_ae_title,
        "peer_address": arrival.peer_address,
        "affected_sop_instance_uid": uid if is_uid(uid) else "",
        "status": f"0x{fault.status:04X}",
        "reason": str(fault),
    }
    with database.begin(door.engine) as conn:
        node = door.settings.node.name
        ledger.note(conn, node, arrival.at, "instance.too_large", details=details)
    log.warning("instance_refused", status=details["status"], reason=str(fault))
    return answer(fault.status, str(fault))


def answer(status: int, comment: str) -> Dataset:
    """A response that says why; ErrorComment is LO, 64 characters (PS3.7 C)."""
    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = comment.encode("ascii", "replace").decode()[:64]
    return answer
