"""Two nodes as processes of their own, with their rows in one PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.lifecycle import State
from tests.crash_drill import Drill, drilled_node
from tests.factories import file_bytes, two_views, uid
from tests.faulty_node import LASTS
from tests.node_process import Node
from tests.peer_programs import Address
from tests.postgresql import *  # noqa: F403 - its fixture
from tests.postgresql import Server

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]

SECONDS = 120
ENDED = {State.DELIVERED, State.FAILED}
PATIENT_S = 300
DEADLINE_S = 8
"""Of the node that is lost: soon over, and longer than it takes to kill it."""


@pytest.fixture
def a_node(tmp_path: Path, storescp: Address, server: Server) -> Iterator[Callable[..., Node]]:
    """Makes running nodes on one database, with a data folder of their own or as it is named."""
    made: list[Node] = []
    rows = {"url": server.make_database()}

    def start(name: str, folder: str = "data", deadline_s: float = PATIENT_S) -> Node:
        made.append(
            drilled_node(
                tmp_path / name,
                storescp,
                module="tests.faulty_node",
                node={"name": name, "folder": folder},
                database=rows,
                reconstruction={"poll_s": 0.1, "deadline_s": deadline_s},
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

    def make(node: Node, name: str, **keywords: object) -> Drill:
        files = []
        for ds in two_views(study=name, **keywords):
            files.append(tmp_path / f"{name}-{ds.ViewPosition}.dcm")
            files[-1].write_bytes(file_bytes(ds))
        drill = Drill(node, uid("study", name), tuple(files), tmp_path / "storescp" / "received")
        drill.send()
        return drill

    return make


def test_two_nodes_with_folders_of_their_own_do_each_job_once_and_each_its_own(
    a_node: Callable[..., Node], a_study: Callable[..., Drill]
) -> None:
    first, second = a_node("first"), a_node("second")
    at_first = [a_study(first, f"first {number}") for number in range(3)]
    at_second = a_study(second, "second")
    at_both = {name: a_study(node, "both") for name, node in (("first", first), ("second", second))}

    jobs = [each.node.reached(each.study, ENDED, SECONDS) for each in (*at_first, at_second)]
    shared = first.reached(at_both["first"].study, ENDED, SECONDS)

    assert [job.claimed_by for job in jobs] == ["first", "first", "first", "second"]
    assert {job.attempt for job in (*jobs, shared)} == {1}
    for each in (*at_first, at_second, at_both[shared.claimed_by]):
        each.require_delivered()
    for each in at_both.values():
        each.require_kept()
    assert first.osteon("audit", "verify").is_success


def test_a_job_of_a_node_that_was_lost_is_done_by_the_other_where_they_share_a_folder(
    a_node: Callable[..., Node], a_study: Callable[..., Drill], tmp_path: Path
) -> None:
    lost = a_node("lost", deadline_s=DEADLINE_S)
    drill = a_study(lost, "taken over", StudyDescription=LASTS)
    lost.reached(drill.study, {State.RECONSTRUCTING}, SECONDS)

    lost.kill()
    other = a_node("other", folder=str(tmp_path / "lost" / "data"))
    job = other.reached(drill.study, ENDED, SECONDS)

    assert job.claimed_by == "other"
    assert job.attempt == 2
    drill.require_whole()
