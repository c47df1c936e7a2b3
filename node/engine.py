"""The engine room: an engine for each worker, and what runs in them at the moment.

The seam is the standard library's `Executor`. Each worker is a pool of one spawned process: a pool
of several is broken as a whole when one of them dies, and a job that kills its process would then
take its neighbours along each time, until they were given up too.

An engine may lose everything at any time (a crash in a driver, no memory): the rows know what was
claimed, so it is replaced and its job is tried again.
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
"""Makes the engine of one worker: it has one job at a time."""


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
    """A process of its own: a crash in a driver takes none but itself down.

    It has made a result set of a phantom before its first job, unless `is_rehearsed` is False.
    """
    return ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=partial(prepare, is_rehearsed=is_rehearsed),
        initargs=(settings.threads, limits(settings, machine_bytes())),
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """What one engine is doing."""

    engine: Executor
    future: Future[Outcome]


@dataclass(slots=True)
class EngineRoom:
    """The engines and their running claims; used from one thread."""

    settings: Reconstruction
    make_pool: MakePool = spawned
    running: dict[Claim, _Run] = field(default_factory=dict)
    idle: list[Executor] = field(default_factory=list)

    @property
    def free(self) -> int:
        """How many more jobs can start now."""
        return self.settings.workers - len(self.running)

    def warm(self) -> None:
        """Every engine is starting; returns at once."""
        while len(self.idle) < self.free:
            engine = self.make_pool(self.settings)
            engine.submit(ready)
            self.idle.append(engine)

    def submit(self, claim: Claim, request: Request) -> None:
        """`request` runs under `claim`."""
        engine = self.idle.pop() if self.idle else self.make_pool(self.settings)
        try:
            future = engine.submit(work, request)
        except BrokenProcessPool:  # it died while it had nothing to do
            _end(engine)
            engine = self.make_pool(self.settings)
            future = engine.submit(work, request)
        self.running[claim] = _Run(engine, future)

    def collect(self) -> list[Finished]:
        """What has ended since the last call."""
        ended = [claim for claim, run in self.running.items() if run.future.done()]
        return [self._ended(claim) for claim in ended]

    def abandon(self, claim: Claim) -> None:
        """The process under `claim` is ended, and no other."""
        run = self.running.pop(claim, None)
        if run is not None:
            _end(run.engine)
            self.warm()

    def stop(self) -> None:
        """No process is left."""
        for engine in (*self.idle, *(run.engine for run in self.running.values())):
            _end(engine)
        self.idle.clear()
        self.running.clear()

    def _ended(self, claim: Claim) -> Finished:
        run = self.running.pop(claim)
        fault = run.future.exception()
        if isinstance(fault, BrokenProcessPool | MemoryError):  # what is left of it is not trusted
            _end(run.engine)
            self.warm()
        else:
            self.idle.append(run.engine)
        return Finished(claim, run.future.result() if fault is None else Lost(_why(fault)))


def _end(engine: Executor) -> None:
    if isinstance(engine, ProcessPoolExecutor):
        for process in list((engine._processes or {}).values()):
            process.kill()  # a worker in a driver's call hears nothing else
    engine.shutdown(wait=False, cancel_futures=True)


def _why(fault: BaseException) -> str:
    """The process boundary: whatever it was, it is a row."""
    match fault:
        case BrokenProcessPool():
            return "the process of the engine died; was it out of memory?"
        case MemoryError():
            return "it needs more memory than a worker may use (maximum_memory_mib)"
    return f"the engine failed: {type(fault).__name__}: {fault}"
