"""The clockwork: what runs again and again, and what it tells of its faults."""

from __future__ import annotations

import threading
from itertools import count

from structlog.testing import capture_logs

from node.timers import Task, start
from storage.errors import DatabaseUnavailable


def test_a_fault_that_lasts_is_told_once_and_so_is_its_end() -> None:
    runs = count(1)
    enough = threading.Event()

    def do() -> None:
        number = next(runs)
        if number <= 3:
            raise DatabaseUnavailable
        if number == 6:
            enough.set()

    with capture_logs() as told:
        stop = start((Task("dispatch", 0.01, do),))
        assert enough.wait(30)
        stop()

    assert [each["event"] for each in told] == ["task_failed", "task_works_again"]
