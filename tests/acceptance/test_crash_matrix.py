"""The crash matrix: SIGKILL at every named point, and at random times, in the life of a study.

A round drives one study through a node that dies at one point after the other; it is started again
after each death, and goes on. The gate runs one round. The long run, and one of some points, are

    OSTEON_KILLS=20 python -m pytest tests/acceptance/test_crash_matrix.py
    OSTEON_KILLS=20 OSTEON_POINTS=after-row,at-random python -m pytest (the same)

Each ends with a table of rounds, kills and violations by point.

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
from tests.crash_tally import Tally
from tests.factories import file_bytes, two_views, uid
from tests.peer_programs import Address

ROUNDS = int(os.environ.get("OSTEON_KILLS", "1"))
KILLS_AT_RANDOM = 4
AT_RANDOM = "at-random"
WHOLE = "to the end"
"""The last start of a study, unharmed, and what must hold when it has come to its end."""
RETENTION = (Point.PIXELS_MARKED, Point.BETWEEN_REMOVALS)
COMMITMENT = (Point.COMMITMENT_ASKED, Point.COMMITMENT_TAKEN, Point.COMMITMENT_TOLD)
"""`test_commitment.py` reaches them."""
EVERY = [*(point for point in Point if point not in COMMITMENT), AT_RANDOM]
CHOSEN = [str(name) for name in EVERY]
if "OSTEON_POINTS" in os.environ:
    CHOSEN = os.environ["OSTEON_POINTS"].split(",")
    assert set(CHOSEN) <= set(EVERY), f"OSTEON_POINTS may name {', '.join(EVERY)}"
IN_A_LIFE = [point for point in Point if point in CHOSEN and point not in RETENTION]
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


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Of all rounds of this run; shown at its end."""
    made = Tally()
    yield made
    reporter, capture = map(
        request.config.pluginmanager.get_plugin, ("terminalreporter", "capturemanager")
    )
    with capture.global_and_fixture_disabled():
        for line in ("", *made.lines()):
            reporter.write_line(line)


def require_end(drill: Drill, tally: Tally) -> None:
    """The node starts once more, unharmed, and the study comes to its end with all that is its."""
    with tally.round(WHOLE):
        drill.node.start()
        drill.send()
        drill.node.reached(drill.study, {State.DELIVERED, State.FAILED}, 240)
        drill.require_whole()


@pytest.mark.parametrize("number", range(ROUNDS if IN_A_LIFE else 0))
def test_a_study_outlives_a_kill_at_every_named_point(
    drill: Drill, tally: Tally, number: int
) -> None:
    for point in IN_A_LIFE:
        with tally.round(point) as count:
            drill.killed_at(point)
            count.kills += 1
            drill.require_kept()

    require_end(drill, tally)


@pytest.mark.parametrize("seed", range(ROUNDS if AT_RANDOM in CHOSEN else 0))
def test_a_study_outlives_kills_at_random_times(drill: Drill, tally: Tally, seed: int) -> None:
    drawn = random.Random(seed)
    with tally.round(AT_RANDOM) as count:
        for _ in range(KILLS_AT_RANDOM):
            drill.node.start()
            drill.send()
            time.sleep(drawn.uniform(0, 2))
            drill.node.kill()
            count.kills += 1
            drill.require_kept()

    require_end(drill, tally)


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("point", [point for point in RETENTION if point in CHOSEN])
def test_a_removal_that_was_cut_off_loses_nothing_that_is_sent_again(
    drill: Drill, storescp: Address, tally: Tally, point: Point, number: int
) -> None:
    removing = drilled_node(drill.node.folder, storescp, retention=AT_ONCE)
    with closing(removing):
        with tally.round(point) as count:
            Drill(removing, drill.study, drill.files, drill.received).killed_at(point)
            count.kills += 1
        with database.reading(removing.engine) as conn:
            marked = [row.removed_at is not None for row in queries.instances(conn, drill.study)]
    drill.node = drilled_node(drill.node.folder, storescp)

    with closing(drill.node):
        require_end(drill, tally)

        assert marked == [True, True]
