"""An engine is killed, kills itself or runs out of memory: its job ends, and no other suffers.

The node is a process of its own, and its engines are processes with the limits of a worker
(`tests/faulty_node.py`); the pixels that do not fit are read by the pipeline's own reader.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

from storage.lifecycle import State
from tests.crash_drill import Drill, drilled_node
from tests.factories import file_bytes, two_views, uid
from tests.faulty_node import KILLS, LASTS
from tests.node_process import Node
from tests.peer_programs import Address
from tests.processes import descendants

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]

SECONDS = 120
ENDED = {State.DELIVERED, State.FAILED}
BOMB_PX = 6000
"""Rows and columns: 3 KiB as JPEG-LS, and 36 million pixels."""
MEMORY_MIB = 400


@pytest.fixture
def a_node(tmp_path: Path, storescp: Address) -> Iterator[Callable[..., Node]]:
    """Makes running nodes with these engines, by keys of [reconstruction]."""
    made: list[Node] = []

    def start(**keys: object) -> Node:
        reconstruction = {"poll_s": 0.1, **keys}
        made.append(
            drilled_node(
                tmp_path / "node",
                storescp,
                module="tests.faulty_node",
                reconstruction=reconstruction,
            )
        )
        made[-1].start()
        return made[-1]

    yield start
    for node in made:
        node.close()


@pytest.fixture
def a_study(tmp_path: Path) -> Callable[..., Drill]:
    """Makes a study of two views that has arrived at a node."""

    def make(
        node: Node, name: str, syntax: str = ExplicitVRLittleEndian, **keywords: object
    ) -> Drill:
        files = []
        for ds in two_views(study=name, **keywords):
            files.append(tmp_path / f"{name}-{ds.ViewPosition}.dcm")
            files[-1].write_bytes(file_bytes(ds, syntax))
        drill = Drill(node, uid("study", name), tuple(files), tmp_path / "storescp" / "received")
        drill.send()
        assert len(drill.acknowledged) == 2
        return drill

    return make


def test_a_job_that_kills_its_engine_each_time_fails_and_takes_no_other_along(
    a_node: Callable[..., Node], a_study: Callable[..., Drill]
) -> None:
    node = a_node(workers=2, attempts=3)
    deadly = a_study(node, "deadly", StudyDescription=KILLS)
    others = [a_study(node, name, StudyDescription=LASTS) for name in ("one", "two")]

    jobs = [node.reached(each.study, ENDED, SECONDS) for each in others]
    failed = node.reached(deadly.study, ENDED, SECONDS)

    assert failed.state is State.FAILED
    assert failed.attempt == 3
    assert "the process of the engine died" in failed.reason
    assert "3 attempts" in failed.reason
    assert [job.attempt for job in jobs] == [1, 1]
    for each in others:
        each.require_delivered()
    deadly.require_kept()
    assert node.osteon("audit", "verify").is_success


def test_a_job_whose_engine_is_killed_is_done_by_the_next_engine(
    a_node: Callable[..., Node], a_study: Callable[..., Drill]
) -> None:
    node = a_node()
    drill = a_study(node, "robbed", StudyDescription=LASTS)
    node.reached(drill.study, {State.RECONSTRUCTING}, SECONDS)

    for engine in engines_of(node):
        os.kill(engine, signal.SIGKILL)
    job = node.reached(drill.study, ENDED, SECONDS)

    assert job.attempt == 2
    drill.require_whole()


def test_a_job_that_needs_too_much_memory_fails_by_that_name_and_a_fresh_engine_does_the_next(
    a_node: Callable[..., Node], a_study: Callable[..., Drill]
) -> None:
    node = a_node(attempts=2, maximum_memory_mib=MEMORY_MIB)
    first = engines_of(node)
    pixels = np.zeros((BOMB_PX, BOMB_PX), np.uint16)
    too_large = a_study(node, "too large", JPEGLSLossless, pixels=pixels)

    failed = node.reached(too_large.study, ENDED, SECONDS)
    after = a_study(node, "after")
    job = node.reached(after.study, ENDED, SECONDS)

    assert failed.state is State.FAILED
    assert failed.attempt == 2
    assert "needs more memory than a worker may use (maximum_memory_mib)" in failed.reason
    assert job.attempt == 1
    assert not set(engines_of(node)) & set(first)
    too_large.require_kept()
    after.require_delivered()
    assert node.osteon("audit", "verify").is_success


def engines_of(node: Node) -> list[int]:
    """The process ids of the workers of the standard library's pools."""
    return [pid for pid in descendants(node.process.pid) if b"spawn_main" in command_of(pid)]


def command_of(pid: int) -> bytes:
    """The command line of a process; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
