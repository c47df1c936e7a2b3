"""When a study that grows is looked at again: what a look costs rises with all that is here."""

from __future__ import annotations

from datetime import timedelta

from storage import database, ledger
from storage.records import StudyState
from tests.dispatching import *  # noqa: F403 - its fixture
from tests.dispatching import Scene
from tests.factories import radiograph
from tests.sqlite import *  # noqa: F403 - its fixtures

FIRST = [radiograph(view="AP", image=f"image {number}") for number in range(20)]
LATER = [radiograph(view="AP", image=f"later {number}") for number in range(3)]
STUDY = str(FIRST[0].StudyInstanceUID)


def looked_at(scene: Scene) -> int:
    """The revision of the last look."""
    (pause,) = scene.world.pauses.values()
    return pause.seen.revision


def sending(scene: Scene) -> None:
    """An association has sent the first images and is still open."""
    scene.arrive(*FIRST)
    with database.begin(scene.engine) as conn:
        ledger.open_transfer(conn, "osteon", "association", STUDY, scene.now)


def test_a_study_that_is_being_sent_rests_the_longer_the_more_there_is(scene: Scene) -> None:
    sending(scene)
    scene.tick()

    scene.arrive(LATER[0])
    scene.tick(0.39)
    resting = looked_at(scene)
    scene.tick(0.02)

    assert (resting, looked_at(scene)) == (20, 21)  # 20 images rest for 0.4 s


def test_a_study_that_nobody_sends_any_more_is_looked_at_at_once(scene: Scene) -> None:
    sending(scene)
    scene.tick()

    scene.arrive(LATER[0])
    with database.begin(scene.engine) as conn:
        ledger.close_transfers(conn, "osteon", "association")
    scene.tick(0.01)

    assert looked_at(scene) == 21


def test_a_clock_that_is_set_back_ends_the_rest(scene: Scene) -> None:
    sending(scene)
    scene.tick()

    scene.now -= timedelta(hours=1)
    scene.arrive(LATER[0])
    scene.tick()

    assert looked_at(scene) == 21


def test_an_association_that_stays_open_does_not_hold_up_a_decision_past_the_ceiling(
    scene: Scene,
) -> None:
    sending(scene)
    scene.tick()

    scene.tick(scene.world.settings.completeness.ceiling_s + 1)

    assert scene.study().state is not StudyState.WAITING
