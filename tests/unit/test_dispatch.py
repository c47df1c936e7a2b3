"""One tick after another: from received studies to jobs that end, whatever the engine does."""

import sqlite3
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from node import dispatch
from node.settings import digest
from pipeline.types import (
    Refused,
    Side,
    Withheld,
)
from storage import audit, database, ledger, queries
from storage.errors import DatabaseUnavailable
from storage.lifecycle import State
from storage.records import DeliveryState, StudyState
from tests.dispatching import *  # noqa: F403 - its fixture
from tests.dispatching import MADE_BY, Scene, made_objects
from tests.factories import radiograph, two_views
from tests.sqlite import *  # noqa: F403 - its fixtures
from tests.sqlite import out_of_reach
from tests.storage_cases import T0


def test_two_expected_views_open_a_job_at_once_and_say_why(scene: Scene) -> None:
    scene.arrive(*two_views())

    scene.tick(0.25)

    job = scene.job()
    assert job.state is State.RECONSTRUCTING
    assert job.made_of.completeness == "every view that the rule expects is here"
    assert job.made_of.configuration_digest == digest(scene.world.settings)
    assert scene.study().state is StudyState.ROUTED


def test_the_engine_is_asked_for_the_images_of_the_job_and_nothing_else(scene: Scene) -> None:
    views = two_views()
    scene.arrive(*views, radiograph(view="AP", image="chest", BodyPartExamined="CHEST"))

    scene.tick()

    request, _ = scene.task
    assert [source.sop_instance_uid for source in request.sources] == [
        ds.SOPInstanceUID for ds in views
    ]
    assert [str(source.view) for source in request.sources] == ["AP", "LL"]
    assert (request.region, request.side, request.model) == ("hip", Side.RIGHT, "visual-hull")
    assert request.at == T0
    assert request.folder.is_dir()


def test_one_view_waits_for_quiet_and_is_declined_with_the_reason(scene: Scene) -> None:
    scene.arrive(radiograph(view="AP"))

    scene.tick(29)
    waiting = scene.study().state
    scene.tick(2)

    assert waiting is StudyState.WAITING
    assert scene.study().state is StudyState.DECLINED
    assert "lateral" in scene.study().reasons[0]
    assert scene.jobs() == ()


def test_a_study_that_no_rule_takes_is_declined_and_the_next_is_not_disturbed(
    scene: Scene,
) -> None:
    scene.arrive(radiograph(study="chest", BodyPartExamined="CHEST"))
    scene.tick(31)

    scene.arrive(*two_views(study="hip"))
    scene.tick()

    assert [job.state for job in scene.jobs()] == [State.RECONSTRUCTING]


def test_a_study_that_this_node_cannot_route_is_declined_and_holds_up_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = radiograph(study="broken", BodyPartExamined="CHEST")
    scene.arrive(broken)
    with database.begin(scene.engine) as conn:
        conn.exec_driver_sql("UPDATE instances SET attributes = '[]'")
    scene.arrive(*two_views(study="hip"))

    scene.tick(31)

    with database.reading(scene.engine) as conn:
        declined = queries.study(conn, broken.StudyInstanceUID)
    assert declined is not None
    assert declined.state is StudyState.DECLINED
    assert "failed to route" in declined.reasons[0]
    assert [job.state for job in scene.jobs()] == [State.RECONSTRUCTING]


def test_results_go_to_each_destination_that_takes_their_kind(scene: Scene) -> None:
    scene.arrive(*two_views())
    scene.tick()
    request, future = scene.task

    future.set_result(made_objects(request))
    scene.tick(1)

    with database.reading(scene.engine) as conn:
        deliveries = queries.deliveries(conn, 1)
    assert scene.job().state is State.DELIVERING
    assert {(d.destination, d.result.written.kind) for d in deliveries} == {
        ("pacs", "model-volume"),
        ("pacs", "segmentation"),
        ("pacs", "surface-segmentation"),
        ("planning", "surface-segmentation"),
    }
    assert {d.state for d in deliveries} == {DeliveryState.PENDING}


def test_a_job_can_answer_what_was_assumed_and_how_good_it_is(scene: Scene) -> None:
    scene.arrive(*two_views())
    scene.tick()
    request, future = scene.task

    future.set_result(made_objects(request))
    scene.tick(1)

    job = scene.job()
    assert job.algorithm["version"] == "1.0.0"
    assert job.assumptions == (
        {
            "name": "DistanceSourceToPatient",
            "value": 950.0,
            "unit": "mm",
            "reason": "not in the image",
            "sop_instance_uid": "",
        },
    )
    (figure,) = job.figures
    assert isinstance(figure, dict)
    assert (figure["value"], figure["is_within"]) == (0.97, True)


def test_quality_that_says_no_withholds_the_bones(scene: Scene) -> None:
    scene.arrive(*two_views())
    scene.tick()

    scene.task[1].set_result(Withheld(("The two views do not agree",), MADE_BY, (), ()))
    scene.tick(1)

    assert scene.job().state is State.WITHHELD
    assert scene.job().reason == "The two views do not agree"


def test_a_study_that_cannot_be_reconstructed_fails_at_once_with_its_reason(scene: Scene) -> None:
    scene.arrive(*two_views())
    scene.tick()

    scene.task[1].set_result(Refused(("The pixel stream of image 1 is broken",)))
    scene.tick(1)

    assert scene.job().state is State.FAILED
    assert scene.job().reason == "The pixel stream of image 1 is broken"
    assert scene.job().attempt == 1


def test_an_engine_that_fails_is_tried_again_and_at_last_the_job_fails(scene: Scene) -> None:
    scene.arrive(*two_views())
    states = []
    for _ in range(3):
        scene.tick(1000)
        scene.task[1].set_exception(RuntimeError("no memory"))
        scene.tick(1)
        states.append(scene.job().state)

    assert states == [State.QUEUED, State.QUEUED, State.FAILED]
    assert scene.job().attempt == 3
    assert "no memory" in scene.job().reason
    assert "3 attempts" in scene.job().reason


def test_a_broken_pool_is_replaced_and_the_job_is_done_by_the_new_one(scene: Scene) -> None:
    scene.arrive(*two_views())
    scene.tick()

    scene.task[1].set_exception(BrokenProcessPool("a worker died"))
    scene.tick(1)
    scene.tick(1000)
    request, future = scene.task
    future.set_result(made_objects(request))
    scene.tick(1)

    assert scene.job().state is State.DELIVERING
    assert scene.job().attempt == 2
    assert request.folder.name == "attempt-2"


def test_a_missed_deadline_is_a_lost_attempt(scene: Scene) -> None:
    scene.arrive(*two_views())
    scene.tick()

    scene.tick(61)

    assert scene.job().state is State.QUEUED
    assert "60 s" in scene.job().reason


def test_what_an_outlived_attempt_brings_back_is_recorded_and_ignored(scene: Scene) -> None:
    scene.arrive(*two_views())
    scene.tick()
    request, future = scene.task
    with database.begin(scene.engine) as conn:
        other = replace(scene.job(), attempt=1)
        ledger.advance(
            conn,
            "osteon",
            other.id,
            1,
            State.RECONSTRUCTING,
            dispatch.Event.RETRY_DUE,
            scene.now,
            next_attempt_at=scene.now + timedelta(minutes=10),
        )

    future.set_result(made_objects(request))
    scene.tick(1)

    with database.reading(scene.engine) as conn:
        kinds = [entry.kind for entry in queries.entries(conn, job_id=1)]
    assert scene.job().state is State.QUEUED
    assert "job.outcome_ignored" in kinds


def test_what_an_engine_brings_while_the_database_is_away_is_kept_until_it_is_back(
    scene: Scene,
) -> None:
    scene.arrive(*two_views())
    scene.tick()
    request, future = scene.task
    future.set_result(made_objects(request))

    with out_of_reach(scene.engine):
        for _ in range(2):
            with pytest.raises(DatabaseUnavailable):
                scene.tick(1)
    scene.tick(1)

    assert scene.job().state is State.DELIVERING
    assert scene.job().attempt == 1


def test_a_claim_that_was_committed_unheard_is_tried_again_and_not_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.arrive(*two_views())
    commit = scene.engine.dialect.do_commit
    unheard: list[State] = []

    def lost_after_the_claim(connection: Any) -> None:
        commit(connection)
        with suppress(IndexError):
            state = connection.execute("SELECT state FROM jobs").fetchall()[0][0]
            if state == State.RECONSTRUCTING and not unheard:
                unheard.append(state)
                raise sqlite3.OperationalError("the connection was lost")

    monkeypatch.setattr(scene.engine.dialect, "do_commit", lost_after_the_claim)
    with pytest.raises(DatabaseUnavailable):
        scene.tick()
    claimed = scene.job().state
    scene.tick(1)
    again = scene.job().state
    scene.tick(10)

    assert (claimed, again) == (State.RECONSTRUCTING, State.QUEUED)
    assert scene.job().state is State.RECONSTRUCTING
    assert scene.job().attempt == 2
    assert len(scene.executors[-1].tasks) == 1


def test_a_node_that_was_ended_takes_up_its_jobs_again(scene: Scene) -> None:
    scene.arrive(*two_views())
    scene.tick()
    scene.world.room.stop()

    recovered = dispatch.recover(scene.world)
    scene.tick(1000)

    assert recovered == 1
    assert scene.job().state is State.RECONSTRUCTING
    assert scene.job().attempt == 2


def test_a_destination_that_the_settings_have_lost_ends_the_job_with_its_name(
    scene: Scene,
) -> None:
    scene.arrive(*two_views())
    scene.tick()
    request, future = scene.task
    future.set_result(made_objects(request))
    scene.tick(1)
    with database.begin(scene.engine) as conn:
        for delivery in queries.deliveries(conn, 1):
            if delivery.destination == "pacs":
                ledger.record_attempt(
                    conn,
                    "osteon",
                    scene.now,
                    delivery.id,
                    state=DeliveryState.ACKNOWLEDGED,
                    status=0,
                    reason="",
                )
    settings = scene.world.settings
    left = settings.model_copy(update={"destinations": settings.destinations[:1]})

    dispatch.recover(replace(scene.world, settings=left))

    assert scene.job().state is State.FAILED
    assert "planning" in scene.job().reason


def test_a_job_whose_images_lie_at_another_node_is_left_to_it_and_holds_up_no_other(
    scene: Scene,
) -> None:
    scene.arrive(*two_views(study="theirs"))
    for file in scene.world.folders.instances.iterdir():
        file.unlink()
    scene.arrive(*two_views(study="ours"))

    scene.tick()

    assert [scene.job(number).state for number in (1, 2)] == [State.QUEUED, State.RECONSTRUCTING]


def test_a_job_whose_images_lie_nowhere_together_fails_after_a_day_and_names_one(
    scene: Scene,
) -> None:
    ap, ll = two_views()
    scene.arrive(ap, ll)
    (scene.world.folders.instances / f"{ll.SOPInstanceUID}.dcm").unlink()

    scene.tick()
    before = scene.job().state
    scene.tick(86_401)
    scene.tick()

    assert before is State.QUEUED
    assert scene.job().state is State.FAILED
    assert ll.SOPInstanceUID in scene.job().reason


def test_another_node_s_job_is_left_to_its_deadline(scene: Scene) -> None:
    scene.arrive(*two_views())
    scene.tick()
    settings = scene.world.settings
    other = settings.model_copy(update={"node": settings.node.model_copy(update={"name": "b"})})

    assert dispatch.recover(replace(scene.world, settings=other)) == 0
    assert scene.job().state is State.RECONSTRUCTING


def test_the_same_study_sent_again_changes_nothing(scene: Scene) -> None:
    scene.arrive(*two_views())
    scene.tick()
    before = scene.jobs()

    scene.arrive(*two_views())
    scene.tick(40)

    assert [job.id for job in scene.jobs()] == [job.id for job in before]


def test_a_late_view_opens_a_new_job_that_supersedes_the_old_result(scene: Scene) -> None:
    scene.arrive(*two_views())
    scene.tick()
    request, future = scene.task
    future.set_result(made_objects(request))
    scene.tick(1)

    scene.arrive(radiograph(view="AP", image="retake", InstanceNumber=2))
    scene.tick(1)

    newest = scene.jobs()[0]
    assert (newest.id, newest.supersedes) == (2, 1)
    assert newest.made_of.input_digest != scene.job(1).made_of.input_digest


def test_both_sides_of_one_study_are_two_jobs(scene: Scene) -> None:
    right = two_views()
    left = [radiograph(view=view, image="left", ImageLaterality="L") for view in ("AP", "LL")]
    scene.arrive(*right, *left)

    scene.tick()

    assert sorted(job.made_of.side for job in scene.jobs()) == ["L", "R"]


def test_no_more_jobs_run_than_there_are_workers(scene: Scene) -> None:
    scene.arrive(*two_views(study="a"), *two_views(study="b"))

    scene.tick()

    assert sorted(job.state for job in scene.jobs()) == [State.QUEUED, State.RECONSTRUCTING]


def test_the_audit_of_a_whole_life_verifies(scene: Scene) -> None:
    scene.arrive(*two_views())
    scene.tick()
    request, future = scene.task
    future.set_result(made_objects(request))
    scene.tick(1)

    with database.reading(scene.engine) as conn:
        assert isinstance(audit.verify(conn), audit.Verified)
        kinds = [entry.kind for entry in queries.entries(conn)]
    assert kinds == [
        "instance.new",
        "instance.new",
        "study.decided",
        "job.opened",
        "job.started",
        "job.reconstructed",
    ]


def test_a_waiting_study_is_looked_at_again_when_time_or_anything_new_can_decide(
    scene: Scene,
) -> None:
    scene.arrive(radiograph(view="AP"))
    scene.tick()
    (first,) = scene.world.pauses.values()

    scene.tick(1)
    (unchanged,) = scene.world.pauses.values()
    scene.arrive(radiograph(view="AP", image="retake"))
    scene.tick(1)
    (second,) = scene.world.pauses.values()
    scene.tick(31)

    assert unchanged is first
    assert (first.seen.revision, second.seen.revision) == (1, 2)
    assert scene.study().state is StudyState.DECLINED
    scene.tick(1)
    assert scene.world.pauses == {}
