"""The connections of the receiver: a PDU is read whole, and none longer than was agreed.

pynetdicom reads 4,096 bytes at a time, which is a third of the time of a large instance, and it
believes whatever length a peer writes into a PDU. Both are one method of its socket, replaced
here (private API of pynetdicom 3; `tests/unit/test_wire.py` fails if it moves).
"""

from __future__ import annotations

import errno
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

if TYPE_CHECKING:
    from pynetdicom.events import EventHandlerType

LONGEST_PDU_BYTES: Final = 8 * 1024 * 1024
"""Twice the largest `maximum_pdu_bytes` that may be set; an A-ASSOCIATE-RQ has no agreed limit."""


class OneAssociation(RequestHandler):
    """Serves one connection, without Nagle's delay of our responses."""

    def _create_association(self) -> Association:
        assoc = super()._create_association()
        connection, own = self.request, assoc.dul.socket
        assert isinstance(connection, socket.socket)  # noqa: S101 - a TCP server
        assert own is not None  # noqa: S101 - made for this connection by super()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        own.recv = partial(receive, connection)  # type: ignore[method-assign] # no seam for it
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


def receive(connection: socket.socket, nr_bytes: int) -> bytearray:
    """The next `nr_bytes`, or fewer where the peer is gone.

    Raises:
        OSError: more than any PDU may have; nothing was allocated for it.
    """
    if nr_bytes > LONGEST_PDU_BYTES:
        raise OSError(errno.EMSGSIZE, f"a PDU of {nr_bytes} bytes is refused")
    received = bytearray(nr_bytes)
    length = 0
    with memoryview(received) as view:
        while length < nr_bytes and (count := connection.recv_into(view[length:])):
            length += count
    del received[length:]
    return received
