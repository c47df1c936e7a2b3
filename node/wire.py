"""The connections of the receiver, each of which is made of our socket, reactor and provider.

They take the places of pynetdicom's in an association that it has just made; `node.reactor` says
why (private API of pynetdicom 3; `tests/unit/test_wire.py` fails if it moves).
"""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from node.answering import PromptProvider
from node.arriving import require_small
from node.checkpoint import Turnstile
from node.inlet import Inlet
from node.places import CountingServer
from node.reactor import PromptReactor, PromptSocket
from node.storing import Store
from storage.files import Digest

if TYPE_CHECKING:
    from pynetdicom.events import Event, EventHandlerType


class PromptAssociation(Association):
    """Leaves nothing of what it did not serve."""

    dimse: PromptProvider

    def run(self) -> None:
        try:
            super().run()
        finally:
            self.dimse.end()


class OneAssociation(RequestHandler):
    """Serves one connection, without Nagle's delay of our responses."""

    def _create_association(self) -> Association:
        assoc = super()._create_association()
        connection, own, reactor = self.request, assoc.dul.socket, assoc.dul
        assert isinstance(connection, socket.socket)  # noqa: S101 - a TCP server
        assert own is not None  # noqa: S101 - made for this connection by super()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        own.__class__, reactor.__class__ = PromptSocket, PromptReactor
        assoc.__class__, assoc.dimse.__class__ = PromptAssociation, PromptProvider
        assert isinstance(own, PromptSocket)  # noqa: S101 - just made so
        assert isinstance(reactor, PromptReactor)  # noqa: S101 - just made so
        assert isinstance(assoc, PromptAssociation)  # noqa: S101 - just made so
        own.inlet = reactor.inlet = Inlet(connection, assoc.network_timeout)
        reactor.arrivals, reactor.place, reactor.storing = {}, None, None
        assoc.dimse.arrivals, assoc.dimse.sending = reactor.arrivals, threading.Lock()
        assert isinstance(self.server, CountingServer)  # noqa: S101 - made by `serve`
        reactor.most_bytes, reactor.store = self.server.most_bytes, self.server.store
        reactor._run_loop_delay = 0
        assoc._reactor_checkpoint = turnstile = Turnstile()
        reactor.news = turnstile.tell
        assoc.bind(evt.EVT_FSM_TRANSITION, _tell)
        return assoc


def _tell(event: Event) -> None:
    reactor = event.assoc.dul
    assert isinstance(reactor, PromptReactor)  # noqa: S101 - bound to one of ours
    reactor.news()


def serve(
    ae: ApplicationEntity,
    address: tuple[str, int],
    handlers: list[EventHandlerType],
    may_knock: Callable[[str, Sequence[str]], bool] = lambda _address, _waiting: True,
    most_bytes: int = sys.maxsize,
    store: Store | None = None,
) -> ThreadedAssociationServer:
    """A running server, as `ae.start_server` gives, whose connections are these.

    Args:
        ae: What it takes.
        address: Host and port.
        handlers: As pynetdicom's.
        may_knock: Of an address, and the addresses that wait for their association already.
        most_bytes: The largest instance that is kept.
        store: Keeps what plain requests bring; where it is None, and for all other requests, the
            handler of EVT_C_STORE does.

    Raises:
        OSError: the port is taken, or the address is not this machine's.
    """
    server = ae.make_server(
        address,
        evt_handlers=handlers,
        server_class=CountingServer,
        request_handler=OneAssociation,
    )
    assert isinstance(server, CountingServer)  # noqa: S101 - just made so
    server.may_knock, server.counting = may_knock, threading.Lock()
    server.most_bytes, server.store = most_bytes, store
    ae._servers.append(server)  # its shutdown() takes it out again
    threading.Thread(target=server.serve_forever, daemon=True, name="receiver").start()
    return server


def unfinished(assoc: Association) -> Path | None:
    """The file of the instance that was arriving when the association ended; None if none was.

    Nobody writes to it any more.
    """
    reactor = assoc.dul
    assert isinstance(reactor, PromptReactor)  # noqa: S101 - the association is one of ours
    if (storing := reactor.storing) is not None:
        reactor.storing = None
        storing.close()
        reactor.arrivals[storing.path] = storing.arriving
        return storing.path
    message = assoc.dimse.message
    if message is None or message._data_set_file is None:
        return None
    message._data_set_file.close()
    path = message._data_set_path
    return path if isinstance(path, Path) else None


def arrived(assoc: Association, path: Path) -> Digest | None:
    """The digest of a data set that arrived over `assoc`; None if it was not taken on the way.

    Raises:
        StorageError: the disk failed, and the file is not whole.
        TooLargeError: it is larger than is kept.
    """
    reactor = assoc.dul
    assert isinstance(reactor, PromptReactor)  # noqa: S101 - the association is one of ours
    whole = reactor.arrivals.pop(path, None)
    if whole is not None:
        return whole.digest()
    require_small(path.stat().st_size, reactor.most_bytes)
    return None
