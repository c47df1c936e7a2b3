"""An association whose answers reach whoever asked.

pynetdicom pauses its own thread for the length of a request, so that it does not take the answer
off the queue itself. It is told by a flag beside an event, and a thread that has just been let go
may raise and lower that flag when the next request begins: it then takes the answer, throws it
away, and the request waits for its whole time-out. Seen once in some thousand requests on a busy
machine. Here the event itself knows whether the thread is held (private API of pynetdicom 3;
`tests/unit/test_checkpoint.py` fails if it moves).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pynetdicom.association import Association

LOOK_AGAIN_S: Final = 0.05


class Checkpoint(threading.Event):
    """An event whose `clear` returns only when the thread that waits on it is held there."""

    def __init__(self, is_alive: Callable[[], bool]) -> None:
        """Open; `is_alive` is of the thread that waits."""
        super().__init__()
        self._turn = threading.Condition()
        self._is_open = True
        self._is_inside = False
        self._is_alive = is_alive

    def wait(self, timeout: float | None = None) -> bool:
        """Held while the checkpoint is closed; `timeout` is not used by the one who waits."""
        with self._turn:
            self._is_inside = True
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._is_open)
            self._is_inside = False
        return True

    def set(self) -> None:
        """Open: the thread goes on."""
        with self._turn:
            self._is_open = True
            self._turn.notify_all()

    def clear(self) -> None:
        """Closed, and the thread held, unless it has ended."""
        with self._turn:
            self._is_open = False
            while not self._is_inside and self._is_alive():
                self._turn.wait(LOOK_AGAIN_S)

    def is_set(self) -> bool:
        """True while open."""
        return self._is_open


class Turnstile(threading.Event):
    """An event that is passed when there is news, instead of every millisecond.

    An acceptor's own thread looks a thousand times a second for what its reactor has brought it.
    Here it is told, and looks by itself only now and then, for what nobody tells: time-outs.
    """

    def __init__(self) -> None:
        """Open, and no news."""
        super().__init__()
        self.set()
        self._news = threading.Event()
        self._errands: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def tell(self) -> None:
        """Whoever waits goes on now."""
        self._news.set()

    def ask(self, errand: Callable[[], None]) -> None:
        """Whoever waits runs the errand first: it is between two messages then."""
        self._errands.put(errand)
        self.tell()

    def wait(self, timeout: float | None = None) -> bool:
        """Until there is news, or it is time to look, and nobody holds the thread here."""
        self._news.wait(LOOK_AGAIN_S)
        self._news.clear()
        is_passed = super().wait(timeout)
        with suppress(Empty):
            while is_passed:
                self._errands.get_nowait()()
        return is_passed


def keep_answers(assoc: Association) -> None:
    """From now on, no answer to a request over `assoc` is lost to its own thread."""
    before = assoc._reactor_checkpoint
    assoc._reactor_checkpoint = Checkpoint(assoc.is_alive)
    before.set()
