"""The same again, late, or contradictory: sent to a node that is a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from pydicom import Dataset, dcmread

from storage.lifecycle import State
from storage.records import StudyState
from tests.crash_drill import drilled_node, status_of
from tests.factories import radiograph, two_views, uid
from tests.node_process import Node
from tests.peer_programs import Address, running_storescp
from tests.processes import wait_until

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]

SECONDS = 120
QUIET_S = 1.0
HOURS_S = 5 * 3600


@pytest.fixture(scope="module")
def storescp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """For all tests of this file."""
    with running_storescp(tmp_path_factory.mktemp("pacs")) as to:
        yield to


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, storescp: Address) -> Iterator[Node]:
    """One for all tests of this file, which send studies of their own."""
    folder = tmp_path_factory.mktemp("node")
    completeness = {"quiet_s": QUIET_S, "ceiling_s": 60.0}
    made = drilled_node(folder, storescp, completeness=completeness)
    with closing(made):
        made.start()
        yield made


def sent(node: Node, *images: Dataset) -> list[int | None]:
    """The statuses, each over an association of its own."""
    return [status_of(ds, node) for ds in images]


def test_the_same_instance_again_is_a_success_and_opens_no_second_job(node: Node) -> None:
    views = two_views(study="again")
    sent(node, *views)
    node.reached(uid("study", "again"), {State.DELIVERED}, SECONDS)

    again = sent(node, *views)

    assert again == [0x0000, 0x0000]
    assert len(node.files(uid("study", "again"))) == 2
    assert len(node.jobs(uid("study", "again"))) == 1


def test_other_content_under_the_same_uid_is_refused_and_the_first_stays(node: Node) -> None:
    ap, ll = two_views(study="forged")
    sent(node, ap, ll)
    node.reached(uid("study", "forged"), {State.DELIVERED}, SECONDS)
    forged = two_views(study="forged", PatientName="Test^Somebody^Else")[0]

    (status,) = sent(node, forged)

    assert forged.SOPInstanceUID == ap.SOPInstanceUID
    assert status == 0xC001
    kept = {ds.SOPInstanceUID: ds for ds in map(dcmread, node.files(uid("study", "forged")))}
    assert kept == {ap.SOPInstanceUID: ap, ll.SOPInstanceUID: ll}
    assert node.quarantined()[0].affected_sop_instance_uid == ap.SOPInstanceUID
    assert len(node.jobs(uid("study", "forged"))) == 1


def test_a_name_that_was_corrected_with_a_late_view_supersedes_the_result(node: Node) -> None:
    study = uid("study", "married")
    sent(node, *two_views(study="married", PatientID="OST7", PatientName="Test^Knee"))
    node.reached(study, {State.DELIVERED}, SECONDS)
    late = radiograph(
        study="married",
        image="retake",
        InstanceNumber=2,
        PatientID="OST7",
        PatientName="Test^Knee-Married",
    )

    sent(node, late)
    wait_until(lambda: len(node.jobs(study)) == 2, SECONDS, "a second job")
    wait_until(lambda: node.jobs(study)[0].state is State.DELIVERED, SECONDS, "it is delivered")

    newest, first = node.jobs(study)
    assert newest.supersedes == first.id
    assert newest.made_of.input_digest != first.made_of.input_digest


def test_a_study_whose_views_come_hours_apart_is_declined_first_and_done_in_the_end(
    node: Node,
) -> None:
    study = uid("study", "hours apart")
    ap, ll = two_views(study="hours apart")
    sent(node, ap)
    before = node.decided(study, SECONDS)

    (node.folder / "data" / "clock-step-s").write_text(str(HOURS_S))
    sent(node, ll)
    job = node.reached(study, {State.DELIVERED, State.FAILED}, SECONDS)

    assert before.state is StudyState.DECLINED
    assert job.state is State.DELIVERED
    after = node.study(study)
    assert after is not None
    assert (after.last_received_at - after.first_received_at).total_seconds() >= HOURS_S
    assert len(node.jobs(study)) == 1


def test_two_patients_under_one_study_are_declined_with_the_reason(node: Node) -> None:
    study = uid("study", "mixed up")
    ap, _ = two_views(study="mixed up", PatientID="OST8")
    _, ll = two_views(study="mixed up", PatientID="OST9")

    sent(node, ap, ll)
    decided = node.decided(study, SECONDS)

    assert decided.state is StudyState.DECLINED
    assert any("patient" in reason.lower() for reason in decided.reasons)
    assert node.jobs(study) == ()
