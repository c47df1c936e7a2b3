"""The connections of the receiver: what comes is read at once, whole, in time, and none too long.

pynetdicom reads 4,096 bytes at a time, which is a third of the time of a large instance, believes
whatever length a peer writes into a PDU, waits for ever for the rest of it, sleeps for a
millisecond wherever the next PDU is not there yet, which is another third, and copies each
fragment some five times. It keeps a message in memory however long it gets, and lets its thread die
of one that it cannot read. All of it is answered by its socket and its reactor, replaced here
(private API of pynetdicom 3; `tests/unit/test_wire.py` fails if it moves).
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.transport import (
    AssociationSocket,
    RequestHandler,
    ThreadedAssociationServer,
)

from node import arriving
from node.answering import PromptProvider
from node.arriving import (
    Arriving,
    MalformedPduError,
    PeerGoneError,
    last_fragment,
    require_small,
    take_pdu,
)
from node.checkpoint import Turnstile
from node.inlet import Inlet
from node.places import CountingServer
from storage.files import Digest

if TYPE_CHECKING:
    from pynetdicom.events import Event, EventHandlerType
    from pynetdicom.pdu_primitives import _PDUPrimitiveType

log = structlog.get_logger()

WAIT_S: Final = 0.05
"""Between two looks for what nobody tells: time-outs."""
LONGEST_MESSAGE_BYTES: Final = 262_144
"""Of what is kept in memory until it is whole: commands, which have some 200 bytes, and requests to
answer for objects, which have at most 150 for each."""


class PromptSocket(AssociationSocket):
    """Waits for data, for as long as pynetdicom would sleep, instead of looking after a sleep."""

    inlet: Inlet

    @property
    def ready(self) -> bool:
        """True if there is something to be read, as soon as there is."""
        if self.socket is None or not self._is_connected:
            return False
        try:
            return self.inlet.is_ready(WAIT_S)
        except (OSError, ValueError):  # it was closed on this side
            self.event_queue.put("Evt17")
            return False

    def recv(self, nr_bytes: int) -> bytearray:
        """The next bytes, as many, or fewer where the peer is gone."""
        return self.inlet.take(nr_bytes)


class PromptReactor(DULServiceProvider):
    """Takes the fragments of a data set itself, and leaves all else to pynetdicom."""

    inlet: Inlet
    news: Callable[[], None]
    """Tells the association's thread to look what there is."""
    arrivals: dict[Path, Arriving]
    """Data sets that are arriving, or have arrived and were not asked for yet."""
    most_bytes: int
    """The largest instance that is kept."""
    place: str | None
    """The AE title under which the association was admitted; None while it only knocks."""

    def run(self) -> None:
        """The thread's own; at its end the association learns of it."""
        try:
            super().run()
        except Exception as fault:  # noqa: BLE001 - the thread's boundary: the peer gets an abort
            log.warning("association_broken_off", fault=type(fault).__name__)
            self._break_off()
        finally:
            self.news()
            self.inlet.close()

    def _break_off(self) -> None:
        """An abort is sent where anybody is left to hear it, and the end is as any other."""
        if self.state_machine.current_state == "Sta1":
            return
        self._kill_thread = False
        self.event_queue.put("Evt19")
        self.run_reactor()

    def send_pdu(self, primitive: _PDUPrimitiveType) -> None:
        """The primitive is on its way at once."""
        super().send_pdu(primitive)
        self.inlet.ring()

    def kill_dul(self) -> None:
        """The thread ends at once."""
        super().kill_dul()
        self.inlet.ring()

    def stop_dul(self) -> bool:
        """As pynetdicom's, without a wait."""
        self.inlet.ring()
        return super().stop_dul()

    def _read_pdu_data(self) -> None:
        message = self.assoc.dimse.message
        if message is None or not self._has_p_data():
            super()._read_pdu_data()
            return
        if message._data_set_file is None:
            if _kept_bytes(message) > LONGEST_MESSAGE_BYTES:
                self.event_queue.put("Evt19")
            else:
                super()._read_pdu_data()
            return
        try:
            self._take_data_set(message)
        except MalformedPduError:
            self.event_queue.put("Evt19")
        except (PeerGoneError, OSError):
            self.event_queue.put("Evt17")

    def _take_data_set(self, message: DIMSEMessage) -> None:
        """Until its end, or until there is something else to do."""
        file, path, context_id = message._data_set_file, message._data_set_path, message.context_id
        assert file is not None  # noqa: S101 - a data set is due, and goes into a file
        assert isinstance(path, Path)  # noqa: S101 - of that file
        assert context_id is not None  # noqa: S101 - of the command before
        if path not in self.arrivals:
            file.file.flush()
            self.arrivals[path] = Arriving(file.file.fileno(), path, self.most_bytes)
        write = self.arrivals[path].write
        while not take_pdu(self.inlet, context_id, write):
            if self.arrivals[path].is_too_slow(time.monotonic(), self.network_timeout):
                raise PeerGoneError
            if self.arrivals[path].is_endless:
                raise MalformedPduError
            if not self._goes_on():
                return
        end = P_DATA_TF()
        end.decode(last_fragment(context_id))
        self._recv_pdu.put(end)
        self.state_machine.do_action("Evt10")

    def _goes_on(self) -> bool:
        """True if nothing but the next fragment is due."""
        self._idle_timer.restart()
        return (
            not self._kill_thread
            and self.to_provider_queue.empty()
            and self.inlet.is_ready(WAIT_S)
            and self._has_p_data()
        )

    def _has_p_data(self) -> bool:
        """True if a P-DATA-TF begins, and may in this state."""
        if self.state_machine.current_state != "Sta6":
            return False
        with suppress(OSError):  # told by whoever reads next
            return self.inlet.peek() == arriving.P_DATA_TF
        return False


def _kept_bytes(message: DIMSEMessage) -> int:
    """How much of a message pynetdicom holds in memory."""
    data_set = message.data_set
    size_bytes = message.encoded_command_set.tell()
    return size_bytes + (0 if data_set is None else data_set.tell())


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
        reactor.arrivals, reactor.place = {}, None
        assoc.dimse.arrivals = reactor.arrivals
        assert isinstance(self.server, CountingServer)  # noqa: S101 - made by `serve`
        reactor.most_bytes = self.server.most_bytes
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
) -> ThreadedAssociationServer:
    """A running server, as `ae.start_server` gives, whose connections are these.

    Args:
        ae: What it takes.
        address: Host and port.
        handlers: As pynetdicom's.
        may_knock: Of an address, and the addresses that wait for their association already.
        most_bytes: The largest instance that is kept.

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
    server.most_bytes = most_bytes
    ae._servers.append(server)  # its shutdown() takes it out again
    threading.Thread(target=server.serve_forever, daemon=True, name="receiver").start()
    return server


def unfinished(assoc: Association) -> Path | None:
    """The file of the instance that was arriving when the association ended; None if none was.

    Nobody writes to it any more.
    """
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
