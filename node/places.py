"""Who is here: a server that knows who has a place, and asks before it lets one more in.

pynetdicom counts every connection as an association, also one that never asks for any, and so a
few silent ones keep all others out. Here a place is taken by who was admitted, and those who wait
are asked about before a thread is spent on them (private API of pynetdicom 3;
`tests/unit/test_wire.py` fails if it moves).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pynetdicom.association import Association
from pynetdicom.transport import AssociationServer, ThreadedAssociationServer

from node.storing import Store

Reason = TypeVar("Reason")


class CountingServer(ThreadedAssociationServer):
    """Its associations have a reactor with `place`: an AE title, or None while they wait."""

    request_queue_size = 128  # of the kernel; five are lost in a crowd, and try again after 1 s
    may_knock: Callable[[str, Sequence[str]], bool]
    counting: threading.Lock
    most_bytes: int
    """The largest instance that is kept."""
    store: Store | None
    """Keeps what plain requests bring, past pynetdicom."""

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """True if this connection may wait for its association; else it is closed at once."""
        waiting = [each.requestor.address for each in self.present() if each.dul.place is None]
        return self.may_knock(client_address[0], waiting)

    def process_request(self, request: Any, client_address: Any) -> None:
        """The association is among the present when this returns, for the next one's count."""
        AssociationServer.process_request(self, request, client_address)

    def present(self) -> list[Any]:
        """The associations that have not ended."""
        return [
            assoc
            for assoc in self.active_associations
            if not (assoc.is_released or assoc.is_aborted or assoc.is_rejected)
        ]


def give_place(
    assoc: Association, to: str, why_not: Callable[[Sequence[str]], Reason | None]
) -> Reason | None:
    """None, and `assoc` has a place as `to`; or what `why_not` says of those who have one."""
    server: Any = assoc._server
    with server.counting:
        taken = [each.dul.place for each in server.present() if each.dul.place is not None]
        refused = why_not(taken)
        if refused is None:
            reactor: Any = assoc.dul
            reactor.place = to
        return refused
