"""A C-STORE request as every sender writes it, read from its bytes, and the file that it begins.

pynetdicom decodes a command into a data set, an object and a primitive, and encodes the file meta
information from another data set: a millisecond for a dozen elements whose places PS3.7 fixes. What
is written in just that way is read here; whatever else a peer may send is left to pynetdicom.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydicom import Dataset
from pynetdicom import PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION
from pynetdicom.dimse_primitives import C_STORE

from node.arriving import FRAGMENT_HEADER, IS_COMMAND, IS_LAST, PDU_HEADER, Arriving
from node.header import is_uid
from storage.errors import StoreUnavailable

if TYPE_CHECKING:
    from pynetdicom.association import Association

LONGEST_COMMAND_BYTES: Final = 512
"""A P-DATA-TF with the command: two UIDs of 64 characters, and all else has 124 bytes."""
ELEMENT: Final = struct.Struct("<HHI")
C_STORE_RQ: Final = b"\x01\x00"
NO_DATA_SET: Final = b"\x01\x01"
NAME_BYTES: Final = 16
PRIORITIES: Final = frozenset({b"\x00\x00", b"\x01\x00", b"\x02\x00"})
SOP_CLASS, COMMAND, NUMBER, PRIORITY, DATA_SET, SOP_INSTANCE = (
    0x0002,
    0x0100,
    0x0110,
    0x0700,
    0x0800,
    0x1000,
)
MANDATORY: Final = frozenset({SOP_CLASS, COMMAND, NUMBER, PRIORITY, DATA_SET, SOP_INSTANCE})
OPTIONAL: Final = frozenset({0x0000, 0x1030, 0x1031})
"""The length of the group, and who moved the instance here. Source: PS3.7 table 9.3-1."""


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """What is asked for, under which presentation context."""

    context_id: int
    message_id: int
    sop_class_uid: str
    sop_instance_uid: str

    def answer(self, status: int | Dataset) -> C_STORE:
        """The response; `status` as a handler of pynetdicom returns it."""
        told = C_STORE()
        told.MessageID = told.MessageIDBeingRespondedTo = self.message_id
        told.AffectedSOPClassUID = self.sop_class_uid
        told.AffectedSOPInstanceUID = self.sop_instance_uid
        if isinstance(status, Dataset):
            told.Status, told.ErrorComment = status.Status, status.ErrorComment
        else:
            told.Status = status
        return told


def plain_store(pdu: bytes) -> StoreRequest | None:
    """The request that a P-DATA-TF is; None if it is anything else, or written in another way."""
    start = PDU_HEADER.size + FRAGMENT_HEADER.size
    if len(pdu) < start:
        return None
    length, context_id, control = FRAGMENT_HEADER.unpack_from(pdu, PDU_HEADER.size)
    is_whole = control & IS_COMMAND and control & IS_LAST
    if not is_whole or length != len(pdu) - start + 2:
        return None
    found = _elements(pdu[start:])
    if not _is_plain(found):
        return None
    sop_class_uid, sop_instance_uid = _uid(found[SOP_CLASS]), _uid(found[SOP_INSTANCE])
    if not (is_uid(sop_class_uid) and is_uid(sop_instance_uid)):
        return None
    number = int.from_bytes(found[NUMBER], "little")
    return StoreRequest(context_id, number, sop_class_uid, sop_instance_uid)


def _is_plain(found: Mapping[int, bytes]) -> bool:
    """True for the elements of a C-STORE-RQ with a data set, each as long as it must be."""
    return (
        found.keys() >= MANDATORY
        and not found.keys() - MANDATORY - OPTIONAL
        and found[COMMAND] == C_STORE_RQ
        and found[PRIORITY] in PRIORITIES
        and len(found[NUMBER]) == len(found[DATA_SET]) == 2
        and found[DATA_SET] != NO_DATA_SET
    )


def _elements(command: bytes) -> dict[int, bytes]:
    """Values by element number; none unless they stand whole and in order (PS3.7 6.3.1)."""
    found: dict[int, bytes] = {}
    at, last = 0, -1
    while at < len(command):
        if len(command) - at < ELEMENT.size:
            return {}
        group, element, length = ELEMENT.unpack_from(command, at)
        at += ELEMENT.size
        if group != 0 or element <= last or length > len(command) - at:
            return {}
        found[element], last = command[at : at + length], element
        at += length
    return found


def _uid(value: bytes) -> str:
    return value.rstrip(b"\0 ").decode("ascii", "replace")


class Storing:
    """An instance that was announced, and whose data set goes into a file of its own."""

    def __init__(self, request: StoreRequest, transfer_syntax_uid: str, most_bytes: int) -> None:
        """The file is begun.

        Raises:
            StoreUnavailable: it cannot be made.
        """
        self.request = request
        # As `mkstemp` does, whose names cost more than its file.
        self.path = Path(f"{tempfile.gettempdir()}/{os.urandom(NAME_BYTES).hex()}.dcm")
        try:
            self.handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as fault:
            raise StoreUnavailable(f"no file can be begun: {fault.strerror}") from fault
        self.arriving = Arriving(self.handle, b"", most_bytes)
        self.arriving.write(memoryview(file_head(request, transfer_syntax_uid)))

    def close(self) -> None:
        """Nobody writes to the file any more."""
        os.close(self.handle)


def file_head(request: StoreRequest, transfer_syntax_uid: str) -> bytes:
    """Preamble and file meta information, byte for byte as pynetdicom writes them; PS3.10 7.1."""
    group = b"".join(
        (
            struct.pack("<HH2sHI", 0x0002, 0x0001, b"OB", 0, 2) + b"\0\1",
            _text(0x0002, b"UI", request.sop_class_uid),
            _text(0x0003, b"UI", request.sop_instance_uid),
            _text(0x0010, b"UI", transfer_syntax_uid),
            _text(0x0012, b"UI", PYNETDICOM_IMPLEMENTATION_UID),
            _text(0x0013, b"SH", PYNETDICOM_IMPLEMENTATION_VERSION),
        )
    )
    length = struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(group))
    return bytes(128) + b"DICM" + length + group


def _text(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    value += (b" " if vr == b"SH" else b"\0") * (len(value) % 2)
    return struct.pack("<HH2sH", 0x0002, element, vr, len(value)) + value


Store = Callable[["Association", Storing], int | Dataset]
"""Keeps the instance that arrived over an association; returns the status of its request."""
