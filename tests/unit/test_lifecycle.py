"""The table of the life of a job, against the drawing of the design."""

from __future__ import annotations

import pytest

from storage.lifecycle import FINAL, TRANSITIONS, Event, State
from tests.ledger_laws import DRAWING


def test_the_table_is_the_drawing() -> None:
    assert {(str(a), str(e)): str(b) for (a, e), b in TRANSITIONS.items()} == DRAWING


@pytest.mark.parametrize("state", State)
def test_every_state_is_reached_from_queued(state: State) -> None:
    reached = {State.QUEUED}
    for _ in State:
        reached |= {after for (before, _event), after in TRANSITIONS.items() if before in reached}

    assert state in reached


@pytest.mark.parametrize("state", [state for state in State if state not in FINAL])
def test_a_state_that_is_not_final_can_end(state: State) -> None:
    ahead = {state}
    for _ in State:
        ahead |= {after for (before, _event), after in TRANSITIONS.items() if before in ahead}

    assert ahead & FINAL


@pytest.mark.parametrize("state", sorted(FINAL))
def test_only_a_person_moves_a_finished_job(state: State) -> None:
    events = {event for before, event in TRANSITIONS if before is state}

    assert events <= {Event.REQUEUED, Event.RESENT}
