"""Asking a PACS to answer for what it took, and to send it here.

The answer to a request for storage commitment comes over the same association or over one that the
PACS opens to our own port, as what is asked for by C-MOVE does. The port is listened to meanwhile,
unless the node itself listens there.

Source: PS3.4 J.3.2, J.3.3 (storage commitment), C.4.2 (C-MOVE).
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pydicom import Dataset
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    StudyRootQueryRetrieveInformationModelMove,
)

from node.delivery import associate
from node.descriptors import on_opened
from node.kinds import SENT_TRANSFER_SYNTAXES
from node.sections import Destination

if TYPE_CHECKING:
    from pynetdicom.events import Event, EventHandlerType
    from pynetdicom.presentation import PresentationContext

REQUEST: Final = 1
"""Action Type ID of Request Storage Commitment."""
REPORT_WITHIN_S: Final = 10.0
UNKNOWN_MOVE_DESTINATION: Final = 0xA801
"""Source: PS3.4 Table C.4-2."""


@dataclass(frozen=True, slots=True)
class Ear:
    """Where this node listens, and where a PACS that knows it will report to."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a PACS answers for of one transaction."""

    transaction_uid: str
    committed: frozenset[str]
    """SOP Instance UIDs."""
    failed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Committed:
    """What a PACS answers for."""

    committed: int
    failed: int
    is_reported: bool = True
    """False where it took the request and said nothing in time."""
    status: int | None = 0x0000
    """Of the request itself; None where it did not answer."""
    report: Report | None = None
    """None where none came."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What came by C-MOVE of all that a PACS had accepted."""

    came: int
    status: int | None
    """The last; None where it did not answer to the end."""


@dataclass(slots=True)
class _Heard:
    """The report of one transaction."""

    transaction_uid: str
    arrived: threading.Event = field(default_factory=threading.Event)
    said: Report | None = None

    def report(self, event: Event) -> tuple[int, None]:
        """N-EVENT-REPORT; that of another transaction is answered and not counted."""
        said = report_of(event.event_information)
        if said.transaction_uid == self.transaction_uid:
            self.said = said
            self.arrived.set()
        return 0x0000, None


def report_of(said: Dataset) -> Report:
    """What stands in an N-EVENT-REPORT. Source: PS3.4 Table J.3-2."""
    return Report(
        str(said.get("TransactionUID", "")),
        _uids(said, "ReferencedSOPSequence"),
        _uids(said, "FailedSOPSequence"),
    )


def _uids(said: Dataset, keyword: str) -> frozenset[str]:
    items = said.get(keyword, None) or []
    return frozenset(str(item.get("ReferencedSOPInstanceUID", "")) for item in items)


def commit(
    sent: Mapping[str, str],
    transaction_uid: str,
    destination: Destination,
    calling: str,
    ear: Ear | None,
    within_s: float = REPORT_WITHIN_S,
) -> Committed | None:
    """What the destination answers for of `sent`; None where it cannot be asked.

    Args:
        sent: SOP classes by SOP Instance UID of what it had accepted.
        transaction_uid: Of this request, and of no other.
        destination: Who is asked.
        calling: Our AE title.
        ear: Where it may report to; None to hear it over the same association only.
        within_s: How long its report is waited for.
    """
    heard = _Heard(transaction_uid)
    handlers: list[EventHandlerType] = [(evt.EVT_N_EVENT_REPORT, heard.report)]
    contexts = [build_context(StorageCommitmentPushModel)]
    report = build_context(StorageCommitmentPushModel)
    report.scu_role = report.scp_role = True
    with _served(ear, calling, [report], handlers):
        assoc = associate(destination, calling, contexts, handlers=handlers)
        if not isinstance(assoc, Association):
            return None
        try:
            status, _ = assoc.send_n_action(
                _request(sent, heard.transaction_uid),
                REQUEST,
                StorageCommitmentPushModel,
                StorageCommitmentPushModelInstance,
            )
            code = int(status.Status) if "Status" in status else None
            is_reported = code == 0x0000 and heard.arrived.wait(within_s)
        except (RuntimeError, ValueError):
            return None
        finally:
            if assoc.is_established:
                assoc.release()
    said = heard.said
    if said is None:
        return Committed(0, 0, is_reported, code)
    return Committed(len(said.committed), len(said.failed), is_reported, code, said)


def move(
    study: str, sent: Mapping[str, str], destination: Destination, calling: str, ear: Ear
) -> Moved | None:
    """What C-MOVE of the study brings to `ear`; None where it cannot be asked, or nobody can hear.

    What comes is counted and forgotten. Nothing is asked while the node itself listens at `ear`:
    it would take the objects for a study.
    """
    came: set[str] = set()

    def store(event: Event) -> int:
        came.add(str(event.dataset.get("SOPInstanceUID", "")))
        return 0x0000

    model, codes = StudyRootQueryRetrieveInformationModelMove, []
    asked = Dataset()
    asked.QueryRetrieveLevel = "STUDY"
    asked.StudyInstanceUID = study
    taken = [build_context(uid, list(SENT_TRANSFER_SYNTAXES)) for uid in set(sent.values())]
    with _served(ear, calling, taken, [(evt.EVT_C_STORE, store)]) as is_heard:
        assoc = associate(destination, calling, [build_context(model)]) if is_heard else None
        if not isinstance(assoc, Association):
            return None
        try:
            for status, _ in assoc.send_c_move(asked, calling, model):
                codes.append(int(status.Status) if "Status" in status else None)
        except (RuntimeError, ValueError):
            return None
        finally:
            if assoc.is_established:
                assoc.release()
    return Moved(len(came & set(sent)), codes[-1] if codes else None)


@contextmanager
def _served(
    ear: Ear | None,
    calling: str,
    contexts: Sequence[PresentationContext],
    handlers: Sequence[EventHandlerType],
) -> Iterator[bool]:
    """True while `contexts` are answered at `ear`; False where somebody else listens there."""
    server = None
    if ear is not None:
        ae = AE(ae_title=calling)
        with suppress(OSError):
            server = ae.start_server(
                (ear.host, ear.port),
                block=False,
                contexts=list(contexts),
                evt_handlers=[(evt.EVT_CONN_OPEN, on_opened), *handlers],
            )
    try:
        yield server is not None
    finally:
        if server is not None:
            server.shutdown()


def _request(sent: Mapping[str, str], transaction_uid: str) -> Dataset:
    """Source: PS3.4 Table J.3-1."""
    asked = Dataset()
    asked.TransactionUID = transaction_uid
    asked.ReferencedSOPSequence = []
    for uid, sop_class in sorted(sent.items()):
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class
        item.ReferencedSOPInstanceUID = uid
        asked.ReferencedSOPSequence.append(item)
    return asked
