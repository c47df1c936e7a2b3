"""Writes that come at the same time share one transaction, and so one wait for the disk.

A commit takes as long for one row as for a hundred, and SQLite lets in one writer at a time: the
others look again after pauses that grow. Here, whoever comes while nobody writes does it for all
who wait, in the order in which they came; who comes meanwhile waits for the next turn. It needs no
thread of its own, one alone waits for nobody, and there are never more waiting than callers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, Engine

from storage import database
from storage.errors import DatabaseUnavailable

Answer = TypeVar("Answer")


class GroupCommit:
    """The writes of many threads to one database; no transaction of one spans two calls."""

    def __init__(self, engine: Engine) -> None:
        """Nobody writes, and nobody waits."""
        self._engine = engine
        self._turn = threading.Condition()
        self._waiting: list[_Write[Any]] = []
        self._is_writing = False

    def commit(self, write: Callable[[Connection], Answer]) -> Answer:
        """What `write` returned; all that it wrote is committed.

        Args:
            write: May be called a second time, in another transaction: where one of a group fails,
                all of it is undone, and each is tried alone, so that only its own fault is told.

        Raises:
            DatabaseUnavailable: no answer; nothing of `write` was written.
            Exception: whatever else `write` or its commit raises; nothing of it was written.
        """
        own: _Write[Answer] = _Write(write)
        with self._turn:
            self._waiting.append(own)
            self._turn.wait_for(lambda: own.is_over or not self._is_writing)
            if own.is_over:
                return own.answer()
            self._is_writing = True
            group, self._waiting = self._waiting, []
        try:
            self._settle(group)
        finally:
            with self._turn:
                self._is_writing = False
                for each in group:
                    each.is_over = True
                self._turn.notify_all()
        return own.answer()

    def _settle(self, group: Sequence[_Write[Any]]) -> None:
        """Each of the group is written, or has its fault."""
        if len(group) > 1:
            with suppress(Exception):  # whose it is, is found out below
                self._write(group)
                return
        for number, each in enumerate(group):
            try:
                self._write([each])
            except DatabaseUnavailable as fault:
                for other in group[number:]:  # one time-out is enough for all of them
                    other.fault = fault
                return
            except Exception as fault:  # noqa: BLE001 - it belongs to the thread that waits for it
                each.fault = fault

    def _write(self, group: Sequence[_Write[Any]]) -> None:
        with database.begin(self._engine) as conn:
            answers = [each.write(conn) for each in group]
        for each, answer in zip(group, answers, strict=True):
            each.fault, each.returned = None, answer


class _Write(Generic[Answer]):
    """One call of `commit`."""

    def __init__(self, write: Callable[[Connection], Answer]) -> None:
        self.write = write
        self.is_over = False
        self.returned: Answer
        self.fault: Exception | None = DatabaseUnavailable("the write was given up")

    def answer(self) -> Answer:
        if self.fault is not None:
            raise self.fault
        return self.returned
