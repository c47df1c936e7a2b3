"""The node that hostile peers meet; after each of them it works as before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.node_process import Node, answers_echo, running_node
from tests.processes import wait_until


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with short time-outs and room for few peers."""
    receiver = {"network_timeout_s": 2.0, "idle_timeout_s": 2.0, "maximum_associations": 4}
    folder = tmp_path_factory.mktemp("node")
    with running_node(folder, rules=(), receiver=receiver) as running:
        yield running


@pytest.fixture(autouse=True)
def still_at_work(node: Node) -> Iterator[None]:
    """After each test the node runs, and the next study is received as ever."""
    yield
    wait_until(lambda: answers_echo(node.address), 15, "the node takes associations again")
    assert node.process.is_running
