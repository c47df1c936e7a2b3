"""The engine room: an executor, and what runs in it at the moment.

The seam is the standard library's `Executor`: a pool of spawned processes on one machine.

The pool may lose everything at any time (a crash in a driver, no memory): the rows know what was
claimed, so a broken pool is replaced and its jobs are tried again.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial

from node.limits import limits, machine_bytes
from node.settings import Reconstruction
from node.worker import prepare, ready, work
from pipeline.types import Outcome, Request

MakePool = Callable[[Reconstruction], Executor]


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of one attempt to bring a result."""

    job_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The engine died or failed under this claim."""

    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """What one claim came to."""

    claim: Claim
    outcome: Outcome | Lost


def spawned(settings: Reconstruction, *, is_rehearsed: bool = True) -> Executor:
    """A pool of processes of their own: a crash in a driver takes none but itself down.

    Each has made a result set of a phantom before its first job, unless `is_rehearsed` is False.
    """
    return ProcessPoolExecutor(
        max_workers=settings.workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=partial(prepare, is_rehearsed=is_rehearsed),
        initargs=(settings.threads, limits(settings, machine_bytes())),
    )


@dataclass(slots=True)
class EngineRoom:
    """A pool and its running claims; used from one thread."""

    settings: Reconstruction
    make_pool: MakePool = spawned
    running: dict[Claim, Future[Outcome]] = field(default_factory=dict)
    pool: Executor | None = None

    @property
    def free(self) -> int:
        """How many more jobs can start now."""
        return self.settings.workers - len(self.running)

    def warm(self) -> None:
        """The processes are starting; returns at once."""
        pool = self._pool()
        for _ in range(self.settings.workers):
            pool.submit(ready)

    def submit(self, claim: Claim, request: Request) -> None:
        """`request` runs under `claim`."""
        try:
            self.running[claim] = self._pool().submit(work, request)
        except BrokenProcessPool:
            self._discard()
            self.running[claim] = self._pool().submit(work, request)

    def collect(self) -> list[Finished]:
        """What has ended since the last call."""
        ended = [claim for claim, future in self.running.items() if future.done()]
        finished = [Finished(claim, _outcome(self.running.pop(claim))) for claim in ended]
        if any(isinstance(each.outcome, Lost) for each in finished) and self._is_broken():
            finished += self._discard()
        return finished

    def abandon(self, claim: Claim) -> list[Finished]:
        """The process under `claim` is ended, and with it the others of the pool.

        A pool of the standard library cannot end one worker alone; what the others were doing
        comes back as lost and is tried again.
        """
        self.running.pop(claim, None)
        return self._discard()

    def stop(self) -> None:
        """No process is left."""
        self._discard()

    def _pool(self) -> Executor:
        if self.pool is None:
            self.pool = self.make_pool(self.settings)
        return self.pool

    def _is_broken(self) -> bool:
        try:
            self._pool().submit(ready)
        except BrokenProcessPool:
            return True
        return False

    def _discard(self) -> list[Finished]:
        pool, self.pool = self.pool, None
        lost = [Finished(claim, Lost("the engine was ended")) for claim in self.running]
        self.running.clear()
        if pool is not None:
            if isinstance(pool, ProcessPoolExecutor):
                for process in list((pool._processes or {}).values()):
                    process.kill()  # a worker in a driver's call hears nothing else
            pool.shutdown(wait=False, cancel_futures=True)
        return lost


def _outcome(future: Future[Outcome]) -> Outcome | Lost:
    try:
        return future.result()
    except BrokenProcessPool:
        return Lost("the process of the engine died; was it out of memory?")
    except MemoryError:
        return Lost("it needs more memory than a worker may use (maximum_memory_mib)")
    except Exception as fault:  # noqa: BLE001 - the process boundary: whatever it was, it is a row
        return Lost(f"the engine failed: {type(fault).__name__}: {fault}")
