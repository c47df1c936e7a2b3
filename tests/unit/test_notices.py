"""Where a study is declined or a result withheld, one page can say so, once and never by itself."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from node import show as display
from node.settings import Notices
from pipeline.types import (
    NoticeOf,
    ObjectKind,
    Reconstructed,
    Refused,
    Request,
    ResultObject,
    Side,
    Withheld,
)
from storage import database, queries
from storage.lifecycle import State
from storage.records import Delivery, Job, StudyState
from tests.dispatching import *  # noqa: F403 - its fixture
from tests.dispatching import MADE_BY, Scene, made_objects
from tests.factories import radiograph, two_views
from tests.sqlite import *  # noqa: F403 - its fixtures
from tests.storage_cases import digest as sha256_of
from tests.studies import rule

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def told(scene: Scene, **keys: Any) -> None:
    """The rule of the scene sends notices as `keys` say."""
    scene.set(rules=(rule(destinations=["pacs", "planning"], **keys),))


def a_page(request: Request, uid: str = "2.25.99") -> Reconstructed:
    """What the pipeline brings back of a notice."""
    path = request.folder / "notice.dcm"
    kind: Any = "notice"
    page = ResultObject(kind, CAPTURE, uid, path, sha256_of("notice"), 9)
    return Reconstructed((page,), MADE_BY, (), ())


def notices_of(scene: Scene) -> list[Job]:
    return [job for job in scene.jobs() if job.made_of.model == "notice"]


def deliveries(scene: Scene, job_id: int) -> list[Delivery]:
    with database.reading(scene.engine) as conn:
        return list(queries.deliveries(conn, job_id))


def test_a_declined_study_is_silent_unless_its_rule_says_otherwise(scene: Scene) -> None:
    scene.arrive(radiograph(view="AP"))

    scene.tick(31)

    assert scene.study().state is StudyState.DECLINED
    assert scene.jobs() == ()


def test_a_declined_study_sends_its_reasons_where_the_rule_sends_its_bones(scene: Scene) -> None:
    told(scene, notify_declined=True)
    scene.arrive(radiograph(view="AP", ImageLaterality="L"))

    scene.tick(31)

    request, future = scene.task
    assert request.model == "notice"
    assert request.reasons == scene.study().reasons
    assert request.notice_of is NoticeOf.DECLINED
    assert (request.region, request.side, request.rule) == ("hip", Side.LEFT, "hip")
    assert len(request.sources) == 1
    future.set_result(a_page(request))
    scene.tick(1)
    (job,) = notices_of(scene)
    assert job.state is State.DELIVERING
    assert {each.destination for each in deliveries(scene, job.id)} == {"pacs", "planning"}
    assert scene.study().state is StudyState.DECLINED


def test_the_side_of_a_notice_is_never_an_assumed_one(scene: Scene) -> None:
    told(scene, notify_declined=True, assume={"side": "R"})
    scene.arrive(radiograph(view="AP", ImageLaterality=None))

    scene.tick(31)

    assert scene.task[0].side is Side.UNPAIRED


def test_a_withheld_result_is_replaced_by_its_reasons_and_stays_withheld(scene: Scene) -> None:
    told(scene, notify_withheld=True)
    scene.arrive(*two_views())
    scene.tick()
    asked = scene.task[0]

    scene.task[1].set_result(Withheld(("The two views do not agree",), MADE_BY, (), ()))
    scene.tick(1)

    request = scene.task[0]
    assert scene.job(1).state is State.WITHHELD
    assert (request.model, request.reasons) == ("notice", ("The two views do not agree",))
    assert request.notice_of is NoticeOf.WITHHELD
    assert (request.region, request.side) == (asked.region, asked.side)
    assert [each.sop_instance_uid for each in request.sources] == [
        each.sop_instance_uid for each in asked.sources
    ]
    assert scene.job(2).supersedes is None


def test_a_withheld_result_is_silent_where_only_declined_studies_are_told(scene: Scene) -> None:
    told(scene, notify_declined=True)
    scene.arrive(*two_views())
    scene.tick()

    scene.task[1].set_result(Withheld(("The two views do not agree",), MADE_BY, (), ()))
    scene.tick(1)

    assert notices_of(scene) == []


def test_a_study_that_the_pipeline_refuses_is_told_as_a_declined_one(scene: Scene) -> None:
    told(scene, notify_declined=True)
    scene.arrive(*two_views())
    scene.tick()

    scene.task[1].set_result(Refused(("No bone could be found in image 1",)))
    scene.tick(1)

    assert scene.job(1).state is State.FAILED
    assert scene.task[0].reasons == ("No bone could be found in image 1",)


def test_what_a_rule_said_when_the_job_was_opened_counts(scene: Scene) -> None:
    told(scene, notify_withheld=True)
    scene.arrive(*two_views())
    scene.tick()
    told(scene)

    scene.task[1].set_result(Withheld(("The two views do not agree",), MADE_BY, (), ()))
    scene.tick(1)

    assert len(notices_of(scene)) == 1


@pytest.mark.parametrize("outcome", [Refused(("unreadable",)), Withheld(("?",), MADE_BY, (), ())])
def test_a_notice_that_cannot_be_made_asks_for_no_further_notice(
    scene: Scene, outcome: Refused | Withheld
) -> None:
    told(scene, notify_declined=True, notify_withheld=True)
    scene.arrive(*two_views())
    scene.tick()
    scene.task[1].set_result(Refused(("No bone could be found",)))
    scene.tick(1)

    scene.task[1].set_result(outcome)
    scene.tick(1)

    assert len(scene.jobs()) == 2


def test_a_study_that_no_rule_takes_is_told_only_where_the_settings_name_somebody(
    scene: Scene,
) -> None:
    scene.arrive(radiograph(study="quiet", BodyPartExamined="CHEST"))
    scene.tick(31)
    before = scene.jobs()
    scene.set(notices=Notices(destinations=("pacs",)))

    scene.arrive(radiograph(study="told", BodyPartExamined="CHEST"))
    scene.tick(31)

    (notice,) = scene.jobs()
    assert before == ()
    assert (notice.made_of.rule, notice.made_of.region) == ("", "chest")
    assert notice.made_of.destinations == ("pacs",)
    assert "No rule takes this study" in scene.task[0].reasons[0]


def test_the_settings_do_not_tell_what_a_rule_keeps_silent_about(scene: Scene) -> None:
    scene.set(notices=Notices(destinations=("pacs",)))
    scene.arrive(radiograph(view="AP"))

    scene.tick(31)

    assert scene.study().state is StudyState.DECLINED
    assert scene.jobs() == ()


def test_a_late_view_is_reconstructed_as_if_no_notice_had_been_sent(scene: Scene) -> None:
    told(scene, notify_declined=True)
    scene.arrive(radiograph(view="AP"))
    scene.tick(31)
    scene.task[1].set_result(a_page(scene.task[0]))
    scene.tick(1)

    scene.arrive(radiograph(view="LL"))
    scene.tick(1)
    request, future = scene.task
    future.set_result(made_objects(request))
    scene.tick(1)

    assert scene.study().state is StudyState.ROUTED
    assert request.model == "visual-hull"
    assert scene.jobs()[0].state is State.DELIVERING


def test_a_late_view_that_does_not_complete_the_study_is_told_anew(scene: Scene) -> None:
    told(scene, notify_declined=True)
    scene.arrive(radiograph(view="AP"))
    scene.tick(31)
    scene.task[1].set_result(a_page(scene.task[0]))
    scene.tick(1)

    scene.arrive(radiograph(view="AP", image="again"))
    scene.tick(31)

    assert len(notices_of(scene)) == 2
    assert "2 AP views" in scene.task[0].reasons[0]


def test_the_same_study_sent_again_is_told_once(scene: Scene) -> None:
    told(scene, notify_declined=True)
    for _ in range(3):
        scene.arrive(radiograph(view="AP"))
        scene.tick(31)

    assert len(notices_of(scene)) == 1


def test_a_notice_that_the_pacs_sends_back_asks_for_no_further_notice(scene: Scene) -> None:
    scene.set(notices=Notices(destinations=("pacs",)))
    scene.arrive(radiograph(BodyPartExamined="CHEST"))
    scene.tick(31)
    back = radiograph(image="page", BodyPartExamined="CHEST", SeriesDescription="A notice")
    scene.task[1].set_result(a_page(scene.task[0], str(back.SOPInstanceUID)))
    scene.tick(1)

    scene.arrive(back)
    scene.tick(31)

    assert scene.study().state is StudyState.DECLINED
    assert len(scene.jobs()) == 1


def test_a_run_of_many_images_is_told_by_a_page_that_names_a_few(scene: Scene) -> None:
    scene.set(notices=Notices(destinations=("pacs",)))
    scene.arrive(*(radiograph(image=str(n), BodyPartExamined="CHEST") for n in range(40)))

    scene.tick(31)

    assert len(scene.task[0].sources) == 16


def test_a_notice_goes_also_where_the_settings_list_other_kinds(scene: Scene) -> None:
    told(scene, notify_declined=True)
    scene.arrive(radiograph(view="AP"))
    scene.tick(31)

    scene.task[1].set_result(a_page(scene.task[0]))
    scene.tick(1)

    planning = scene.world.settings.destination("planning")
    assert planning is not None
    assert planning.kinds == (ObjectKind.SURFACE_SEGMENTATION,)
    assert "planning" in {each.destination for each in deliveries(scene, 1)}


def test_show_says_that_a_job_is_a_notice_and_what_it_tells(scene: Scene, tmp_path: Path) -> None:
    told(scene, notify_declined=True)
    scene.arrive(radiograph(view="AP"))
    scene.tick(31)

    found = display.look_up(scene.engine, "1", 20)
    assert found is not None
    with (tmp_path / "shown").open("w") as file:
        display.show(Console(file=file, width=120), found, json=False)

    shown = (tmp_path / "shown").read_text()
    assert "notice that nothing was reconstructed, by rule hip" in shown
    assert scene.study().reasons[0] in shown


def test_the_time_of_a_notice_is_that_of_its_opening_in_every_attempt(scene: Scene) -> None:
    told(scene, notify_declined=True)
    scene.arrive(radiograph(view="AP"))
    scene.tick(31)
    first = scene.task[0]
    scene.task[1].set_exception(RuntimeError("no memory"))
    scene.tick(1)

    scene.tick(1000)

    second = scene.task[0]
    assert second.folder != first.folder
    assert replace(second, folder=first.folder) == first
    assert second.at == scene.now - timedelta(seconds=1001)
