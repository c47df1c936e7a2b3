"""The engine room with real processes: a crash in one takes nothing else down."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from datetime import UTC, datetime
from functools import partial
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest

from node.engine import Claim, EngineRoom, Finished, Lost, spawned
from node.settings import Reconstruction
from pipeline.types import Refused, Request, Side
from tests.processes import wait_until


def request(folder: Path) -> Request:
    """One that the pipeline refuses, because it has no images."""
    return Request(
        sources=(),
        region="hip",
        views=("frontal", "lateral"),
        side=Side.RIGHT,
        model="visual-hull",
        rule="hip",
        configuration_digest="",
        node="osteon",
        at=datetime(2026, 1, 2, tzinfo=UTC),
        folder=folder,
    )


@pytest.fixture
def room() -> Iterator[EngineRoom]:
    made = EngineRoom(Reconstruction(workers=1, threads=1), partial(spawned, is_rehearsed=False))
    yield made
    made.stop()


def collected(room: EngineRoom, within_s: float = 180) -> list[Finished]:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if finished := room.collect():
            return finished
        time.sleep(0.02)
    raise AssertionError("nothing came back")


def test_an_outcome_comes_back_with_its_claim(room: EngineRoom, tmp_path: Path) -> None:
    room.submit(Claim(7, 1), request(tmp_path))

    (finished,) = collected(room)

    assert finished.claim == Claim(7, 1)
    assert isinstance(finished.outcome, Refused)
    assert room.free == 1


def test_a_worker_that_is_killed_loses_its_claim_and_the_next_one_runs(
    room: EngineRoom, tmp_path: Path
) -> None:
    room.submit(Claim(1, 1), request(tmp_path))
    collected(room)
    worker = process_of(*room.idle)
    os.kill(process_id(worker), signal.SIGKILL)
    worker.join(10)

    room.submit(Claim(2, 1), request(tmp_path))
    outcomes = collected(room)
    if isinstance(outcomes[0].outcome, Lost):
        room.submit(Claim(2, 2), request(tmp_path))
        outcomes = collected(room)

    assert isinstance(outcomes[0].outcome, Refused)


def test_a_worker_that_is_killed_takes_no_other_along(tmp_path: Path) -> None:
    room = EngineRoom(Reconstruction(workers=2, threads=1), make_pool=unprepared)
    room.warm()
    doomed, spared = Claim(1, 1), Claim(2, 1)
    try:
        for claim in (doomed, spared):
            room.submit(claim, request(tmp_path))
        worker = process_of(room.running[doomed].engine)
        wait_until(lambda: bool(worker.pid), 30, "the process runs")
        os.kill(process_id(worker), signal.SIGKILL)

        finished = collected(room)
        while len(finished) < 2:
            finished += collected(room)
    finally:
        room.stop()

    outcome_of = {each.claim: each.outcome for each in finished}
    assert isinstance(outcome_of[doomed], Lost)
    assert isinstance(outcome_of[spared], Refused)


def test_an_abandoned_claim_leaves_no_process_and_one_that_is_ready_for_the_next(
    room: EngineRoom, tmp_path: Path
) -> None:
    room.submit(Claim(1, 1), request(tmp_path))
    worker = process_of(room.running[Claim(1, 1)].engine)

    room.abandon(Claim(1, 1))

    wait_until(lambda: not worker.is_alive(), 10, "the process is reaped, by whoever asks first")
    assert room.free == 1
    assert process_of(*room.idle).pid != worker.pid


def unprepared(_settings: Reconstruction) -> Executor:
    """An engine that need not be warm."""
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def process_of(engine: Executor) -> SpawnProcess:
    """The only process of an engine."""
    assert isinstance(engine, ProcessPoolExecutor)
    (process,) = engine._processes.values()
    return process


def process_id(process: SpawnProcess) -> int:
    assert process.pid is not None
    return process.pid
