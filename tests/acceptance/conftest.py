"""The node as its own process, and the phantom that is sent to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from pipeline.phantom import phantom
from pipeline.specimen import expose
from pipeline.types import Side, ViewName
from tests.factories import file_bytes, uid, with_own_uids
from tests.node_process import Node, running_node


@pytest.fixture
def a_node(tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Makes running nodes, with settings as `Node` takes them; each is ended with the test."""
    with ExitStack() as stack:
        made = iter(range(100))

        def start(**settings: Any) -> Node:
            folder = tmp_path / f"node-{next(made)}"
            return stack.enter_context(running_node(folder, **settings))

        yield start


@pytest.fixture(scope="session")
def exposures() -> tuple[Dataset, Dataset]:
    """The AP and the LL radiograph of the phantom hip; copy them before you change them."""
    made = phantom(Side.LEFT, spacing=2.0)
    at = datetime(2026, 1, 2, 10, 11, 12, tzinfo=UTC)
    ap, ll = (expose(made.density, view, Side.LEFT, at).ds for view in (ViewName.AP, ViewName.LL))
    return ap, ll


@pytest.fixture
def phantom_files(
    exposures: tuple[Dataset, Dataset], tmp_path: Path, request: pytest.FixtureRequest
) -> tuple[Path, Path]:
    """The two radiographs as files, in a study of this test's own (`uid("study", its name)`)."""
    paths = []
    for ds in exposures:
        path = tmp_path / f"phantom-{ds.ViewPosition}.dcm"
        path.write_bytes(file_bytes(with_own_uids(ds, request.node.name)))
        paths.append(path)
    ap, ll = paths
    return ap, ll


@pytest.fixture
def study(request: pytest.FixtureRequest) -> str:
    """The Study Instance UID of `phantom_files`."""
    return uid("study", request.node.name)
