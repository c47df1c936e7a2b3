"""The crash matrix: SIGKILL at every named point, and at random times, in the life of a study.

A round drives one study through a node that dies at one point after the other; it is started again
after each death, and goes on. The gate runs one round. The long run is

    OSTEON_KILLS=20 python -m pytest tests/acceptance/test_crash_matrix.py

The node is a process of its own with everything but the engine; `test_kill.py` has that too.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from storage import database, queries
from storage.crashpoints import Point
from storage.lifecycle import State
from tests.crash_drill import Drill, drilled_node
from tests.factories import file_bytes, two_views, uid
from tests.peer_programs import Address

ROUNDS = int(os.environ.get("OSTEON_KILLS", "1"))
KILLS_AT_RANDOM = 4
RETENTION = (Point.PIXELS_MARKED, Point.BETWEEN_REMOVALS)
COMMITMENT = (Point.COMMITMENT_ASKED, Point.COMMITMENT_TAKEN, Point.COMMITMENT_TOLD)
"""`test_commitment.py` reaches them."""
AT_ONCE = {"keep_days": 1e-6}

pytestmark = [pytest.mark.peer, pytest.mark.timeout(1800)]


@pytest.fixture
def drill(storescp: Address, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Drill]:
    """A study of two views, and a node that was never started."""
    name = request.node.name
    files = []
    for ds in two_views(study=name):
        path = tmp_path / f"{ds.ViewPosition}.dcm"
        path.write_bytes(file_bytes(ds))
        files.append(path)
    node = drilled_node(tmp_path / "node", storescp)
    with closing(node):
        yield Drill(node, uid("study", name), tuple(files), tmp_path / "storescp" / "received")


def last(drill: Drill) -> None:
    """The node starts once more, unharmed, and the study comes to its end."""
    drill.node.start()
    drill.send()
    drill.node.reached(drill.study, {State.DELIVERED, State.FAILED}, 240)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_study_outlives_a_kill_at_every_named_point(drill: Drill, number: int) -> None:
    for point in Point:
        if point not in RETENTION + COMMITMENT:
            drill.killed_at(point)
            drill.require_kept()

    last(drill)

    drill.require_whole()


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_study_outlives_kills_at_random_times(drill: Drill, seed: int) -> None:
    drawn = random.Random(seed)
    for _ in range(KILLS_AT_RANDOM):
        drill.node.start()
        drill.send()
        time.sleep(drawn.uniform(0, 2))
        drill.node.kill()
        drill.require_kept()

    last(drill)

    drill.require_whole()


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("point", RETENTION)
def test_a_removal_that_was_cut_off_loses_nothing_that_is_sent_again(
    drill: Drill, storescp: Address, point: Point, number: int
) -> None:
    removing = drilled_node(drill.node.folder, storescp, retention=AT_ONCE)
    with closing(removing):
        Drill(removing, drill.study, drill.files, drill.received).killed_at(point)
        with database.reading(removing.engine) as conn:
            marked = [row.removed_at is not None for row in queries.instances(conn, drill.study)]
    drill.node = drilled_node(drill.node.folder, storescp)

    with closing(drill.node):
        last(drill)

        assert marked == [True, True]
        drill.require_whole()
