"""What comes over a connection, in a buffer that is made once: whole, in time, and none too long.

A fresh buffer for each PDU costs more than the bytes in it: the system hands out such memory page
by page, zeroed, and takes it back at once.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from node.descriptors import readable

BUFFER_BYTES: Final = 256 * 1024
"""Twice the PDU that is offered by default; more does not stay in the cache of a core."""
LONGEST_PDU_BYTES: Final = 8 * 1024 * 1024
"""Twice the largest `maximum_pdu_bytes` that may be set; an A-ASSOCIATE-RQ has no agreed limit."""


class Inlet:
    """The receiving end of one connection; for one thread at a time."""

    def __init__(self, connection: socket.socket, within_s: float | None = None) -> None:
        """Empty.

        Args:
            connection: Gets the same time-out, for what is sent over it.
            within_s: For all of what is asked for at once; a trickle is no progress. None: ever.
        """
        connection.settimeout(within_s)
        self._connection = connection
        self._within_s = within_s
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._start = self._end = 0
        self._take_back: Callable[[], object] = lambda: None
        self._bell, self._rope = socket.socketpair()
        for end in (self._bell, self._rope):
            end.setblocking(False)

    def ring(self) -> None:
        """Whoever waits for something to read looks up; for any thread."""
        with suppress(OSError):  # it rings already, or nobody waits any more
            self._rope.send(b"\0")

    def close(self) -> None:
        """Nobody waits here any more; the connection is left to its owner."""
        self._bell.close()
        self._rope.close()

    def deadline(self) -> float | None:
        """Of what begins to arrive now, on the monotonic clock; None is never."""
        return None if self._within_s is None else time.monotonic() + self._within_s

    def is_ready(self, within_s: float) -> bool:
        """True once there is something to read, or the peer is gone; False if not, or if it rang.

        Raises:
            OSError, ValueError: the connection is closed on this side.
        """
        if self._start < self._end:
            return True
        ready = readable(within_s, self._connection, self._bell)
        if self._bell in ready:
            self._bell.recv(4096)
        return self._connection in ready

    @contextmanager
    def lending(self, take_back: Callable[[], object]) -> Iterator[None]:
        """What `some` gives out in here is valid until `take_back` is called, or the end."""
        before, self._take_back = self._take_back, take_back
        try:
            yield
        finally:
            take_back()
            self._take_back = before
            if self._start == self._end:
                self._start = self._end = 0

    def peek(self) -> int | None:
        """The next byte, which stays; None where the peer is gone. Something has come."""
        if self._start == self._end and not self._fill(self.deadline()):
            return None
        return self._buffer[self._start]

    def see(self, nr_bytes: int, deadline: float | None) -> bytes:
        """The next `nr_bytes`, which stay, or fewer where the peer is gone; no more than a few.

        Raises:
            TimeoutError: they did not all come in time.
        """
        if self._start + nr_bytes > BUFFER_BYTES:
            self._take_back()
            kept = bytes(self._buffer[self._start : self._end])
            self._buffer[: len(kept)] = kept
            self._start, self._end = 0, len(kept)
        while self._end - self._start < nr_bytes and self._fill(deadline):
            pass
        return bytes(self._buffer[self._start : min(self._start + nr_bytes, self._end)])

    def some(self, at_most: int, deadline: float | None) -> memoryview:
        """The next bytes, at least one; none where the peer is gone.

        They are valid until the next call, or for longer within `lending`.

        Raises:
            TimeoutError: nothing came until the deadline.
        """
        if self._start == self._end and not self._fill(deadline):
            return self._buffer[:0]
        begin = self._start
        self._start = min(begin + at_most, self._end)
        return self._buffer[begin : self._start]

    def take(self, nr_bytes: int, deadline: float | None = None) -> bytearray:
        """The next `nr_bytes`, or fewer where the peer is gone.

        Raises:
            OSError: more than any PDU may have; nothing was allocated for it.
            TimeoutError: they did not all come in time.
        """
        if nr_bytes > LONGEST_PDU_BYTES:
            raise OSError(errno.EMSGSIZE, f"a PDU of {nr_bytes} bytes is refused")
        until = self.deadline() if deadline is None else deadline
        taken = bytearray()
        while len(taken) < nr_bytes:
            if not (part := self.some(nr_bytes - len(taken), until)):
                break
            taken += part
        return taken

    def _fill(self, deadline: float | None) -> bool:
        """The buffer, which has room, holds more of what has come; False where the peer is gone."""
        if self._end == BUFFER_BYTES:
            self._take_back()
            self._start = self._end = 0
        while True:
            try:
                # Past the socket's own `recv_into`, which looks before each call whether it may.
                nr_bytes = os.readv(self._connection.fileno(), [self._buffer[self._end :]])
            except BlockingIOError:
                self._wait(deadline)
                continue
            self._end += nr_bytes
            return nr_bytes > 0

    def _wait(self, deadline: float | None) -> None:
        rest_s = None if deadline is None else max(deadline - time.monotonic(), 0.0)
        if not readable(rest_s, self._connection):
            raise TimeoutError("the rest did not come in time")
