"""One node that only receives, for all tests of a kind of sender."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.node_process import Node, running_node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node without rules: it keeps what it is sent, and declines each study."""
    with running_node(tmp_path_factory.mktemp("node"), rules=()) as running:
        yield running
