"""The fragments of a data set go straight into its file, past the objects of pynetdicom.

pynetdicom copies every fragment some five times on its way: into a PDU, an item, a value, a
primitive, a message. Here a fragment is read into the buffer of its connection, and hashed and
written from there. pynetdicom makes the file, reads the command before, and is told of the end by
a last fragment of no bytes, so that its state machine has seen a message of P-DATA-TF as ever.
"""

from __future__ import annotations

import errno
import hashlib
import struct
import time
from collections.abc import Callable
from typing import Final

from node.errors import NodeError
from node.inlet import LONGEST_PDU_BYTES, Inlet
from storage import files
from storage.errors import StorageError

P_DATA_TF: Final = 0x04
IS_COMMAND: Final = 0b01
IS_LAST: Final = 0b10
PDU_HEADER: Final = struct.Struct(">BxI")
FRAGMENT_HEADER: Final = struct.Struct(">IBB")
MOST_PARTS: Final = 64
"""Written at once; the system takes 1,024."""
LEAST_BYTES_PER_S: Final = 1024
"""What a line of 9,600 baud carries; who sends less over a minute only holds a place."""


class MalformedPduError(NodeError):
    """A P-DATA-TF that no standard allows."""


class PeerGoneError(NodeError):
    """The connection ended within a PDU."""


class TooLargeError(NodeError):
    """The instance is larger than this node takes."""

    status = 0xC002


class Arriving:
    """A file that grows by what arrives, with the digest of all that is in it."""

    def __init__(self, handle: int, before: bytes, most_bytes: int) -> None:
        """Goes on where it ends.

        Args:
            handle: Open for writing, at the end; its owner closes it.
            before: What is in the file already.
            most_bytes: The largest file that is kept.
        """
        self._handle = handle
        self._parts: list[memoryview] = []
        self._sha256 = hashlib.sha256(before)
        self._size_bytes = len(before)
        self._released_bytes = 0
        self._most_bytes = most_bytes
        self._fault: StorageError | TooLargeError | None = None
        self._began = time.monotonic()

    def write(self, part: memoryview) -> None:
        """The bytes will be at the end of the file; they stay as they are until `flush`."""
        self._size_bytes += len(part)
        self._parts.append(part)
        if len(self._parts) >= MOST_PARTS:
            self.flush()

    def flush(self) -> None:
        """All bytes are at the end of the file; from a fault on, the rest is only let pass.

        The peer hears of it by the status of its request, which it can understand, and not by an
        abort in the middle, after which it would send the same again at once.
        """
        parts, self._parts = self._parts, []
        if self._fault is not None:
            return
        for part in parts:
            self._sha256.update(part)
        try:
            require_small(self._size_bytes, self._most_bytes)
            files.put(self._handle, parts)
            self._release()
        except StorageError as fault:
            self._fault = fault
        except TooLargeError as fault:
            self._fault = fault
            files.empty(self._handle)

    def is_too_slow(self, now: float, grace_s: float | None) -> bool:
        """True if what came by `now`, on the monotonic clock, is too little to go on waiting."""
        if grace_s is None or (took_s := now - self._began) < grace_s:
            return False
        return self._size_bytes < took_s * LEAST_BYTES_PER_S

    @property
    def is_endless(self) -> bool:
        """True if as much again came as may: the status at its end would come too late."""
        return self._size_bytes > 2 * self._most_bytes

    def _release(self) -> None:
        begin = self._released_bytes
        if self._size_bytes - begin >= files.CHUNK_BYTES:
            files.release(self._handle, begin, self._size_bytes - begin)
            self._released_bytes = self._size_bytes

    def digest(self) -> files.Digest:
        """Of the whole file.

        Raises:
            StorageError: the disk failed, and the file is not whole.
            TooLargeError: the file is empty.
        """
        if self._fault is not None:
            raise self._fault
        return files.Digest(self._sha256.hexdigest(), self._size_bytes)


def require_small(size_bytes: int, most_bytes: int) -> None:
    """Nothing, if so large an instance is kept.

    Raises:
        TooLargeError: it is not.
    """
    if size_bytes > most_bytes:
        raise TooLargeError(f"more than {most_bytes} bytes in one instance")


def take_pdu(inlet: Inlet, context_id: int, write: Callable[[memoryview], object]) -> bool:
    """The fragments of one P-DATA-TF are written; True if the last one of the data set was there.

    Args:
        inlet: A P-DATA-TF begins here.
        context_id: Of the command before it.
        write: Takes all bytes of a fragment before it returns.

    Raises:
        MalformedPduError: a length that is not true, another context, a command within the data
            set, or anything after its last fragment. Source: PS3.8 9.3.5, Annex E.2.
        PeerGoneError: it did not come whole.
        OSError: it is longer than any may be, or did not come whole in time.
    """
    deadline = inlet.deadline()
    _, rest = PDU_HEADER.unpack(_exactly(inlet, PDU_HEADER.size, deadline))
    if rest > LONGEST_PDU_BYTES:
        raise OSError(errno.EMSGSIZE, f"a PDU of {rest} bytes is refused")
    is_last = False
    while rest:
        if is_last or rest < FRAGMENT_HEADER.size:
            raise MalformedPduError
        header = _exactly(inlet, FRAGMENT_HEADER.size, deadline)
        length, context, control = FRAGMENT_HEADER.unpack(header)
        rest -= 4 + length  # the length counts what follows it: context, control, fragment
        if length < 2 or rest < 0 or context != context_id or control & IS_COMMAND:
            raise MalformedPduError
        _copy(inlet, length - 2, deadline, write)
        is_last = bool(control & IS_LAST)
    return is_last


def last_fragment(context_id: int) -> bytes:
    """A P-DATA-TF with the last fragment of a data set, which has no bytes."""
    length = FRAGMENT_HEADER.size
    fragment = FRAGMENT_HEADER.pack(length - 4, context_id, IS_LAST)
    return struct.pack(">BxI", P_DATA_TF, length) + fragment


def _copy(
    inlet: Inlet, nr_bytes: int, deadline: float | None, write: Callable[[memoryview], object]
) -> None:
    while nr_bytes:
        part = inlet.some(nr_bytes, deadline)
        if not part:
            raise PeerGoneError
        write(part)
        nr_bytes -= len(part)


def _exactly(inlet: Inlet, nr_bytes: int, deadline: float | None) -> bytearray:
    taken = inlet.take(nr_bytes, deadline)
    if len(taken) < nr_bytes:
        raise PeerGoneError
    return taken
