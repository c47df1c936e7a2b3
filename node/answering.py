"""The answer to a stored instance, without the objects of pynetdicom, and without what it leaves.

pynetdicom makes a primitive, a message, and two data sets of every answer, and sets and sorts each
of their elements: half a millisecond for some 140 bytes that are the same each time, but for two
UIDs and a number. A plain success is written here at once; all else is left to pynetdicom (private
API of pynetdicom 3; `tests/unit/test_answering.py` fails if it moves).

pynetdicom refuses by itself what names no SOP instance, another class or a context that was not
accepted, and tells no handler of it: the file of such an instance is removed here.
"""

from __future__ import annotations

import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA

from node.arriving import Arriving
from node.statuses import SUCCESS
from node.storing import StoreRequest

if TYPE_CHECKING:
    from pynetdicom.dimse import _QueueItem
    from pynetdicom.dimse_primitives import DimsePrimitiveType

IS_LAST_OF_COMMAND: Final = b"\x03"
FRAGMENT_HEADER_BYTES: Final = 6
RESPONSE: Final = 0x8001
NO_DATA_SET: Final = 0x0101


class PromptProvider(DIMSEServiceProvider):
    """Tells of a success itself, and keeps no file beyond its message."""

    arrivals: dict[Path, Arriving]
    """Data sets that are arriving, or have arrived and were not asked for yet."""
    served: Path | None = None
    """The file of the message that was asked for last, if it had one."""
    is_serving = False
    """True from a message that was asked for until the next is."""
    sending: threading.Lock
    """Held for all fragments of a message: two threads send, and no message is cut by another."""

    def get_msg(self, block: bool = False) -> _QueueItem:
        """The next message; that before it has been served."""
        self._leave_nothing()
        if self.is_serving:
            self.msg_queue.task_done()
        found = super().get_msg(block)
        self.is_serving = found[1] is not None
        path = getattr(found[1], "_dataset_path", None)
        self.served = path if isinstance(path, Path) else None
        return found

    @property
    def is_idle(self) -> bool:
        """True if whatever came was served; for the thread that brings it."""
        return self.message is None and not self.msg_queue.unfinished_tasks

    def end(self) -> None:
        """No file is left of what was served, nor of what nobody will serve."""
        while self.get_msg() != (None, None):
            pass

    def _leave_nothing(self) -> None:
        if self.served is not None:
            self.served.unlink(missing_ok=True)
            self.arrivals.pop(self.served, None)
            self.served = None

    def send_msg(self, primitive: DimsePrimitiveType, context_id: int) -> None:
        """The message is on its way; as pynetdicom's, which tells no handler of it here."""
        with self.sending:
            super().send_msg(primitive, context_id)

    def succeed(self, request: StoreRequest) -> None:
        """The peer is told that its instance is kept."""
        command = success(request)
        if 0 < self.maximum_pdu_size < len(command) + FRAGMENT_HEADER_BYTES:
            self.send_msg(request.answer(SUCCESS), request.context_id)
            return
        fragment = P_DATA()
        value = (request.context_id, IS_LAST_OF_COMMAND + command)
        fragment.presentation_data_value_list.append(value)
        with self.sending:
            self.dul.send_pdu(fragment)


def success(request: StoreRequest) -> bytes:
    """The command set of a C-STORE-RSP that says 0x0000 and no more.

    Source: PS3.7 9.3.1.2; implicit VR little endian, PS3.7 6.3.1.
    """
    group = b"".join(
        (
            _uid(0x0002, request.sop_class_uid),
            _short(0x0100, RESPONSE),
            _short(0x0120, request.message_id),
            _short(0x0800, NO_DATA_SET),
            _short(0x0900, SUCCESS),
            _uid(0x1000, request.sop_instance_uid),
        )
    )
    return struct.pack("<HHII", 0, 0, 4, len(group)) + group


def _short(element: int, value: int) -> bytes:
    return struct.pack("<HHIH", 0, element, 2, value)


def _uid(element: int, uid: str) -> bytes:
    value = uid.encode("ascii", "replace")
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0, element, len(value)) + value
