"""Descriptors: as many as there are associations, and looked at whatever their number.

`select` knows none above 1,023, and pynetdicom takes its fault for a peer that is gone: from some
three hundred associations on, those who come are let in and dropped. Here `poll` looks instead
(private API of pynetdicom 3; `tests/unit/test_descriptors.py` fails if it moves).
"""

from __future__ import annotations

import errno
import resource
import select
import socket
import ssl
from typing import TYPE_CHECKING, Final

from pynetdicom.transport import AssociationSocket

if TYPE_CHECKING:
    from pynetdicom.events import Event

EACH_ASSOCIATION: Final = 8
"""Its connection, its bell of two, the file that arrives, and a folder or two that is synced."""
FOR_ALL_ELSE: Final = 512
"""The database's connections, the engines' pipes, logs, libraries, who knocks, and deliveries."""


def allow_descriptors(associations: int) -> int | None:
    """This process may open what so many associations need, if the system lets it.

    Returns:
        How many it may open where that is too few; None where it is enough.
    """
    needed = FOR_ALL_ELSE + EACH_ASSOCIATION * associations
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most if most < needed else None


def readable(within_s: float | None, *ends: socket.socket) -> list[socket.socket]:
    """Those with something to read, or whose peer is gone; none if nothing comes in time.

    Raises:
        OSError, ValueError: one of them is closed on this side.
    """
    poll = select.poll()
    of = {end.fileno(): end for end in ends}
    for number in of:
        poll.register(number, select.POLLIN)
    found = poll.poll(None if within_s is None else 1000 * within_s)
    if any(event & select.POLLNVAL for _, event in found):
        raise OSError(errno.EBADF, "closed while it was looked at")
    return [of[number] for number, _ in found]


class PollingSocket(AssociationSocket):
    """As pynetdicom's, for descriptors of any number."""

    @property
    def ready(self) -> bool:
        """True if there is something to be read; a connection that is gone is told as an event."""
        own = self.socket
        if own is None or not self._is_connected:
            return False
        try:
            is_ready = bool(readable(0, own))
        except (OSError, ValueError):
            self.event_queue.put("Evt17")
            return False
        return is_ready or (isinstance(own, ssl.SSLSocket) and own.pending() > 0)


def on_opened(event: Event) -> None:
    """The connection is a `PollingSocket`, before anything is read of it; for EVT_CONN_OPEN."""
    if (own := event.assoc.dul.socket) is not None:
        own.__class__ = PollingSocket
