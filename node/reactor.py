"""The thread that reads a connection: it takes data sets itself, and serves what is stored.

pynetdicom reads 4,096 bytes at a time, which is a third of the time of a large instance, believes
whatever length a peer writes into a PDU, waits for ever for the rest of it, sleeps for a
millisecond wherever the next PDU is not there yet, which is another third, and copies each
fragment some five times. It keeps a message in memory however long it gets, and lets its thread die
of one that it cannot read. And it hands each message to a second thread, and each answer back: here
the thread that reads a C-STORE serves it, whenever the second has nothing to do. All else is left
to pynetdicom (private API of pynetdicom 3; `tests/unit/test_wire.py` fails if it moves).
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from pynetdicom import evt
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.transport import AssociationSocket

from node import arriving
from node.answering import PromptProvider
from node.arriving import (
    PDU_HEADER,
    Arriving,
    MalformedPduError,
    PeerGoneError,
    last_fragment,
    take_pdu,
)
from node.inlet import Inlet
from node.statuses import SUCCESS
from node.storing import LONGEST_COMMAND_BYTES, Store, Storing, plain_store

if TYPE_CHECKING:
    from pynetdicom.pdu_primitives import _PDUPrimitiveType

log = structlog.get_logger()

WAIT_S: Final = 0.05
"""Between two looks for what nobody tells: time-outs."""
LONGEST_MESSAGE_BYTES: Final = 262_144
"""Of what is kept in memory until it is whole: commands, which have some 200 bytes, and requests to
answer for objects, which have at most 150 for each."""


ANY_MESSAGE: Final = DIMSEMessage()
"""For who is told that something came, where pynetdicom has made no message of it."""


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
    """Takes data sets and serves plain C-STORE requests itself; pynetdicom does all else."""

    inlet: Inlet
    news: Callable[[], None]
    """Tells the association's thread to look what there is."""
    arrivals: dict[Path, Arriving]
    """Data sets that are arriving, or have arrived and were not asked for yet."""
    most_bytes: int
    """The largest instance that is kept."""
    place: str | None
    """The AE title under which the association was admitted; None while it only knocks."""
    store: Store | None
    """Keeps an instance that has arrived; None leaves them all to pynetdicom."""
    storing: Storing | None
    """The instance that is arriving, where pynetdicom knows nothing of it."""

    def run(self) -> None:
        """The thread's own; at its end the association learns of it."""
        try:
            super().run()
        except Exception as fault:  # noqa: BLE001 - the thread's boundary: the peer gets an abort
            log.warning("association_broken_off", fault=type(fault).__name__)
            self._break_off()
        finally:
            self.news()
            # Whoever waits for an A-ASSOCIATE hears that none will come, as after its time-out.
            self.to_user_queue.put(None)
            self.inlet.close()

    def _break_off(self) -> None:
        """An abort is sent where anybody is left to hear it, and the end is as any other."""
        if self.state_machine.current_state == "Sta1":
            return
        self._kill_thread = False
        self.event_queue.put("Evt19")
        self.run_reactor()

    def send_pdu(self, primitive: _PDUPrimitiveType) -> None:
        """The primitive is on its way at once; after all that others have to say."""
        own, is_own = self.socket, threading.current_thread() is self
        if is_own and isinstance(primitive, P_DATA) and self.to_provider_queue.empty():
            assert own is not None  # noqa: S101 - something was read of it
            own.send(_pdu(primitive))
            return
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
        if not self._has_p_data():
            super()._read_pdu_data()
            return
        try:
            self._read_p_data()
        except MalformedPduError:
            self.event_queue.put("Evt19")
        except (PeerGoneError, OSError):
            self.event_queue.put("Evt17")

    def _read_p_data(self) -> None:
        if self.storing is None:
            self.storing = self._announced()
        if self.storing is not None:
            if self._take_data_set(self.storing.request.context_id, self.storing.arriving):
                self._serve()
            return
        message = self.assoc.dimse.message
        if message is not None and message._data_set_file is not None:
            self._take_for_pynetdicom(message)
        elif message is not None and _kept_bytes(message) > LONGEST_MESSAGE_BYTES:
            raise MalformedPduError
        else:
            super()._read_pdu_data()

    def _announced(self) -> Storing | None:
        """The instance that a plain C-STORE-RQ announces; None, and nothing read, for all else."""
        assoc = self.assoc
        assert isinstance(assoc.dimse, PromptProvider)  # noqa: S101 - made with this reactor
        if self.store is None or not (assoc.is_established and assoc.dimse.is_idle):
            return None
        deadline = self.inlet.deadline()
        _, length = PDU_HEADER.unpack(self._seen(PDU_HEADER.size, deadline))
        if length > LONGEST_COMMAND_BYTES:
            return None
        pdu = self._seen(PDU_HEADER.size + length, deadline)
        request = plain_store(pdu)
        context = None if request is None else assoc._accepted_cx.get(request.context_id)
        if request is None or context is None or context.abstract_syntax != request.sop_class_uid:
            return None
        self.inlet.take(len(pdu))
        return Storing(request, context.transfer_syntax[0], self.most_bytes)

    def _seen(self, nr_bytes: int, deadline: float | None) -> bytes:
        seen = self.inlet.see(nr_bytes, deadline)
        if len(seen) < nr_bytes:
            raise PeerGoneError
        return seen

    def _serve(self) -> None:
        """The instance is kept, or is not, and the peer knows."""
        storing, self.storing = self.storing, None
        assert storing is not None  # noqa: S101 - its last fragment has just come
        assert self.store is not None  # noqa: S101 - it was announced
        assoc, request, status = self.assoc, storing.request, None
        assert isinstance(assoc.dimse, PromptProvider)  # noqa: S101 - made with this reactor
        try:
            evt.trigger(assoc, evt.EVT_DIMSE_RECV, {"message": ANY_MESSAGE})
            status = self.store(assoc, storing)
        finally:
            storing.close()
            if status != SUCCESS:
                storing.path.unlink(missing_ok=True)
        if status == SUCCESS:
            assoc.dimse.succeed(request)
        else:
            assoc.dimse.send_msg(request.answer(status), request.context_id)

    def _take_for_pynetdicom(self, message: DIMSEMessage) -> None:
        file, path, context_id = message._data_set_file, message._data_set_path, message.context_id
        assert file is not None  # noqa: S101 - a data set is due, and goes into a file
        assert isinstance(path, Path)  # noqa: S101 - of that file
        assert context_id is not None  # noqa: S101 - of the command before
        if path not in self.arrivals:
            file.file.flush()
            before = path.read_bytes()
            self.arrivals[path] = Arriving(file.file.fileno(), before, self.most_bytes)
        if self._take_data_set(context_id, self.arrivals[path]):
            end = P_DATA_TF()
            end.decode(last_fragment(context_id))
            self._recv_pdu.put(end)
            self.state_machine.do_action("Evt10")

    def _take_data_set(self, context_id: int, arrival: Arriving) -> bool:
        """True at its end; False once there is something else to do."""
        with self.inlet.lending(arrival.flush):
            while self._goes_on():
                if take_pdu(self.inlet, context_id, arrival.write):
                    return True
                if arrival.is_too_slow(time.monotonic(), self.network_timeout):
                    raise PeerGoneError
                if arrival.is_endless:
                    raise MalformedPduError
        return False

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


def _pdu(said: P_DATA) -> bytes:
    """The P-DATA-TF; PS3.8 9.3.5. A value begins with its control byte."""
    items = b"".join(
        struct.pack(">IB", 1 + len(value), context_id) + value
        for context_id, value in said.presentation_data_value_list
    )
    return PDU_HEADER.pack(arriving.P_DATA_TF, len(items)) + items
