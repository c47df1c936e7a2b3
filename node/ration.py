"""A stream of which a parser gets only so much, which bounds its memory and its time.

Each element and each item of a sequence costs a parser at least one read, and what it keeps are
the bytes it read. So a bound on both holds for whatever a header claims about its lengths, its
sequences and their items, and does not need to understand any of it.
"""

from __future__ import annotations

from typing import BinaryIO, Final

from node.errors import NodeError

MOST_BYTES: Final = 32 * 1024 * 1024
"""An icon, overlays or curves before the pixels are legal; this much is no header."""
MOST_READS: Final = 10_000
"""Two or three an element; a radiograph has some 150 elements, with its sequences some 500."""


class RationSpentError(NodeError):
    """A parser asked for more than any header needs."""


class Ration:
    """A stream to be read, told and sought in, until its ration is spent."""

    def __init__(
        self, stream: BinaryIO, *, most_bytes: int = MOST_BYTES, most_reads: int = MOST_READS
    ) -> None:
        """Begins where `stream` stands."""
        self._stream = stream
        self._left_bytes = most_bytes
        self._left_reads = most_reads
        self.tell = stream.tell
        self.seek = stream.seek

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, or fewer where the stream ends.

        Raises:
            RationSpentError: before anything is allocated for them.
        """
        self._left_reads -= 1
        if size > self._left_bytes:
            raise RationSpentError("an element or a sequence is too long")
        if self._left_reads < 0:
            raise RationSpentError("there are too many elements or items")
        part = self._stream.read(self._left_bytes if size < 0 else size)
        self._left_bytes -= len(part)
        return part
