"""Who asked for storage commitment over an association that is still open.

The report may go over it, once nothing has come for a while: who only asks releases at once, and
hears over an association of its own. pynetdicom would wait for the response in place of the
association's own thread, and break off where an image came first. Here the report is sent between
two messages, and the response is seen as it passes (private API of pynetdicom 3;
`tests/unit/test_pledging.py` fails if it moves).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Final

import structlog
from pynetdicom.dimse_messages import N_EVENT_REPORT_RSP
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from node.checkpoint import Turnstile
from node.pledge import Pledge, event_information

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.events import Event

log = structlog.get_logger()

MESSAGE_IDS: Final = 0x10000


@dataclass(slots=True)
class _Caller:
    """The association of one request, and how far the answer is."""

    assoc: Association
    is_quiet: bool = False
    """True if nothing has come over it since the last look."""
    said: Pledge | None = None
    status: int | None = None
    """With which the peer answered the report."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A report that a peer answered over the association of its request."""

    commitment_id: int
    pledge: Pledge
    status: int


class Callers:
    """The open associations, by the number of the request; for any thread."""

    def __init__(self) -> None:
        """Nobody."""
        self._lock = threading.Lock()
        self._by_number: dict[int, _Caller] = {}

    def keep(self, commitment_id: int, assoc: Association) -> None:
        """The request came over this association."""
        with self._lock:
            self._by_number[commitment_id] = _Caller(assoc)

    def drop(self, commitment_id: int) -> None:
        """Nothing more is said over it."""
        with self._lock:
            self._by_number.pop(commitment_id, None)

    def is_waiting(self, commitment_id: int) -> bool:
        """True while the association is open, and the report was not sent over it."""
        with self._lock:
            caller = self._by_number.get(commitment_id)
            return caller is not None and caller.said is None and caller.assoc.is_established

    def is_quiet(self, commitment_id: int) -> bool:
        """True if nothing came over the association since this was asked before."""
        with self._lock:
            caller = self._by_number.get(commitment_id)
            if caller is None:
                return False
            was_quiet, caller.is_quiet = caller.is_quiet, True
            return was_quiet

    def say(self, commitment_id: int, transaction_uid: str, pledge: Pledge) -> None:
        """The report goes over the association of the request, as soon as no message is served."""
        with self._lock:
            caller = self._by_number.get(commitment_id)
            if caller is None:
                return  # it has just ended: told over one of its own
            caller.said = pledge
        said = partial(_send, caller.assoc, commitment_id % MESSAGE_IDS, transaction_uid, pledge)
        between_messages(caller.assoc, said)

    def heard(self) -> list[Heard]:
        """The reports that were answered; each is told once."""
        with self._lock:
            found = [
                Heard(number, caller.said, caller.status)
                for number, caller in self._by_number.items()
                if caller.said is not None and caller.status is not None
            ]
            for each in found:
                del self._by_number[each.commitment_id]
        return found

    def on_message(self, event: Event) -> None:
        """Something came over an association; it may be the answer to a report."""
        message = event.message
        with self._lock:
            own = {n: c for n, c in self._by_number.items() if c.assoc is event.assoc}
            for number, caller in own.items():
                caller.is_quiet = False
                if caller.said is None or not isinstance(message, N_EVENT_REPORT_RSP):
                    continue
                command = message.command_set
                if command.get("MessageIDBeingRespondedTo") == number % MESSAGE_IDS:
                    caller.status = command.get("Status")

    def on_closed(self, event: Event) -> None:
        """The association has ended; what was answered over it stays to be told."""
        with self._lock:
            for number, caller in list(self._by_number.items()):
                if caller.assoc is event.assoc and caller.status is None:
                    del self._by_number[number]


def between_messages(assoc: Association, errand: Callable[[], None]) -> None:
    """The association's own thread runs the errand before it serves its next message."""
    turnstile = assoc._reactor_checkpoint
    assert isinstance(turnstile, Turnstile)  # noqa: S101 - the association is one of ours
    turnstile.ask(errand)


def _send(assoc: Association, message_id: int, transaction_uid: str, pledge: Pledge) -> None:
    contexts = [
        context
        for context in assoc.accepted_contexts
        if context.abstract_syntax == StorageCommitmentPushModel
    ]
    if not contexts or not assoc.is_established:
        return
    syntax = contexts[0].transfer_syntax[0]
    said = event_information(transaction_uid, pledge)
    encoded = encode(said, syntax.is_implicit_VR, syntax.is_little_endian)
    if encoded is None:
        log.error("report_not_encoded", reason="it is told over an association of its own")
        return
    request = N_EVENT_REPORT()
    request.MessageID = message_id
    request.AffectedSOPClassUID = StorageCommitmentPushModel
    request.AffectedSOPInstanceUID = StorageCommitmentPushModelInstance
    request.EventTypeID = pledge.event_type
    request.EventInformation = BytesIO(encoded)
    with suppress(RuntimeError, ValueError):  # it has just ended
        context_id = contexts[0].context_id
        assert context_id is not None  # noqa: S101 - it was accepted
        assoc.dimse.send_msg(request, context_id)
