"""PostgreSQL is stopped, or killed, and started again under a node that receives and works."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pydicom
import pytest

from storage.lifecycle import State
from tests.crash_drill import Drill, drilled_node, status_of
from tests.factories import file_bytes, two_views, uid
from tests.faulty_node import LASTS
from tests.node_process import Node, answers_echo
from tests.peer_programs import Address
from tests.postgresql import Cluster, a_cluster

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]

SECONDS = 120


@pytest.fixture
def postgresql() -> Iterator[Cluster]:
    """A server of this test's own, for it is not spared."""
    with a_cluster() as cluster:
        yield cluster


@pytest.fixture
def node(tmp_path: Path, storescp: Address, postgresql: Cluster) -> Iterator[Node]:
    """A node with its rows there, that runs."""
    rows = {"url": f"postgresql+psycopg://osteon@127.0.0.1:{postgresql.port}/postgres"}
    made = drilled_node(tmp_path / "node", storescp, module="tests.faulty_node", database=rows)
    with closing(made):
        made.start()
        yield made


@pytest.fixture
def a_study(tmp_path: Path, node: Node) -> Callable[..., Drill]:
    """Makes a study of two views that is sent to the node."""

    def make(name: str, description: str = "") -> Drill:
        files = []
        for ds in two_views(study=name, StudyDescription=description):
            files.append(tmp_path / f"{name}-{ds.ViewPosition}.dcm")
            files[-1].write_bytes(file_bytes(ds))
        return Drill(node, uid("study", name), tuple(files), tmp_path / "storescp" / "received")

    return make


@pytest.mark.parametrize("end", [lambda it: it.stop("fast"), Cluster.kill], ids=["stop", "kill -9"])
def test_a_node_whose_database_goes_away_refuses_loses_nothing_and_goes_on_by_itself(
    node: Node, postgresql: Cluster, a_study: Callable[..., Drill], end: Callable[[Cluster], None]
) -> None:
    at_work, half, meanwhile = a_study("at work", LASTS), a_study("half"), a_study("meanwhile")
    whole, half.files = half.files, half.files[:1]
    at_work.send()
    half.send()
    node.reached(at_work.study, {State.RECONSTRUCTING}, SECONDS)

    end(postgresql)
    refused = [status_of(pydicom.dcmread(path), node) for path in meanwhile.files]
    is_heard = answers_echo(node.address)
    examined = node.osteon("doctor", "--json")
    postgresql.start()
    half.files = whole
    studies = (at_work, half, meanwhile)
    for each in studies:
        each.send()
    jobs = [node.reached(each.study, {State.DELIVERED, State.FAILED}, SECONDS) for each in studies]

    assert refused == [0xA700, 0xA700]
    assert is_heard
    assert not examined.is_success
    assert "database (postgresql)" in faults_in(examined.output)
    assert [job.attempt for job in jobs] == [1, 1, 1]
    assert node.process.is_running
    for each in studies:
        each.require_delivered()
    assert node.osteon("audit", "verify").is_success


def faults_in(findings: str) -> set[str]:
    """What `osteon doctor --json` would have somebody look at."""
    return {each["what"] for each in json.loads(findings) if not each["is_fine"]}
