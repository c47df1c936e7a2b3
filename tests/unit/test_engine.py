"""The engine room with real processes: a crash in one takes nothing else down."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node.engine import Claim, EngineRoom, Finished, Lost
from node.settings import Reconstruction
from pipeline.types import Refused, Request, Side


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
    made = EngineRoom(Reconstruction(workers=1, threads=1))
    yield made
    made.stop()


def collected(room: EngineRoom, within_s: float = 60) -> list[Finished]:
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
    (worker,) = room.pool._processes.values()  # type: ignore[union-attr]
    os.kill(worker.pid, 9)
    worker.join(10)

    room.submit(Claim(2, 1), request(tmp_path))
    outcomes = collected(room)
    if isinstance(outcomes[0].outcome, Lost):
        room.submit(Claim(2, 2), request(tmp_path))
        outcomes = collected(room)

    assert isinstance(outcomes[0].outcome, Refused)


def test_an_abandoned_claim_leaves_no_process(room: EngineRoom, tmp_path: Path) -> None:
    room.submit(Claim(1, 1), request(tmp_path))
    collected(room)
    (worker,) = room.pool._processes.values()  # type: ignore[union-attr]

    lost = room.abandon(Claim(1, 1))

    worker.join(10)
    assert not worker.is_alive()
    assert lost == []
    assert room.free == 1
