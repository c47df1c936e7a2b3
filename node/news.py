"""What was not just said: a stranger who knocks a thousand times a minute gets one audit entry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

REMEMBERED: Final = 1024


def once_every(period: timedelta) -> Callable[[str, datetime], bool]:
    """A function that is True for a text that it was not asked about within `period`.

    It remembers so many texts and no more: past that it forgets all, and says some again.
    """
    said: dict[str, datetime] = {}
    lock = Lock()

    def is_news(text: str, now: datetime) -> bool:
        with lock:
            before = said.get(text)
            if before is not None and abs(now - before) < period:
                return False
            if len(said) >= REMEMBERED:
                said.clear()
            said[text] = now
            return True

    return is_news
