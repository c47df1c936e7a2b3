"""The connections of the receiver: a PDU is read at once, whole, in time, and none too long.

pynetdicom reads 4,096 bytes at a time, which is a third of the time of a large instance, believes
whatever length a peer writes into a PDU, waits for ever for the rest of it, and sleeps for a
millisecond wherever the next PDU is not there yet, which is another third. All four are answered
by its socket, replaced here (private API of pynetdicom 3; `tests/unit/test_wire.py` fails if it
moves).
"""

from __future__ import annotations

import errno
import select
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.transport import (
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

if TYPE_CHECKING:
    from pynetdicom.events import EventHandlerType

WAIT_S: Final = 0.001
LONGEST_PDU_BYTES: Final = 8 * 1024 * 1024
"""Twice the largest `maximum_pdu_bytes` that may be set; an A-ASSOCIATE-RQ has no agreed limit."""


class PromptSocket(AssociationSocket):
    """Waits for data, for as long as pynetdicom would sleep, instead of looking after a sleep."""

    @property
    def ready(self) -> bool:
        """True if there is something to be read, as soon as there is."""
        if self.socket is not None and self._is_connected:
            # A connection that is gone is told by the look that follows.
            with suppress(OSError, ValueError):
                select.select([self.socket], [], [], WAIT_S)
        return super().ready


class OneAssociation(RequestHandler):
    """Serves one connection, without Nagle's delay of our responses."""

    def _create_association(self) -> Association:
        assoc = super()._create_association()
        connection, own = self.request, assoc.dul.socket
        assert isinstance(connection, socket.socket)  # noqa: S101 - a TCP server
        assert own is not None  # noqa: S101 - made for this connection by super()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        own.__class__ = PromptSocket
        assoc.dul._run_loop_delay = 0
        own.recv = partial(receive, connection, within_s=assoc.network_timeout)  # type: ignore[method-assign] # no seam for it
        return assoc


def serve(
    ae: ApplicationEntity, address: tuple[str, int], handlers: list[EventHandlerType]
) -> ThreadedAssociationServer:
    """A running server, as `ae.start_server` gives, whose connections are these.

    Raises:
        OSError: the port is taken, or the address is not this machine's.
    """
    server: ThreadedAssociationServer = ae.make_server(
        address,
        evt_handlers=handlers,
        server_class=ThreadedAssociationServer,
        request_handler=OneAssociation,
    )
    ae._servers.append(server)  # its shutdown() takes it out again
    threading.Thread(target=server.serve_forever, daemon=True, name="receiver").start()
    return server


def unfinished(assoc: Association) -> Path | None:
    """The file of the instance that was arriving when the association ended; None if none was."""
    message = assoc.dimse.message
    path = None if message is None else message._data_set_path
    return path if isinstance(path, Path) else None


def receive(
    connection: socket.socket, nr_bytes: int, *, within_s: float | None = None
) -> bytearray:
    """The next `nr_bytes`, or fewer where the peer is gone.

    Args:
        connection: Something has come, or is about to.
        nr_bytes: Of a header, or of a body as the header told it.
        within_s: For all of them; a trickle does not count as progress. None waits for ever.

    Raises:
        OSError: more than any PDU may have; nothing was allocated for it.
        TimeoutError: they did not all come in time.
    """
    if nr_bytes > LONGEST_PDU_BYTES:
        raise OSError(errno.EMSGSIZE, f"a PDU of {nr_bytes} bytes is refused")
    received = bytearray(nr_bytes)
    length = 0
    deadline = None if within_s is None else time.monotonic() + within_s
    with memoryview(received) as view:
        while length < nr_bytes:
            if deadline is not None:
                connection.settimeout(max(deadline - time.monotonic(), 0.001))
            if not (count := connection.recv_into(view[length:])):
                break
            length += count
    connection.settimeout(within_s)
    del received[length:]
    return received
