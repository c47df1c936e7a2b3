"""Storage commitment in both directions, with Orthanc, and with a node that is killed between."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from storage import commitments, database, queries
from storage.crashpoints import VARIABLE, Point
from storage.lifecycle import State
from storage.records import CommitmentState
from tests.crash_drill import TABLES
from tests.factories import file_bytes, two_views
from tests.node_process import Node, destination
from tests.orthanc import Orthanc
from tests.peer_programs import Address
from tests.processes import free_port, is_listening, wait_until
from tests.scripted_modality import PUSH, PUSH_INSTANCE, Modality, listening, request_for

pytestmark = [pytest.mark.peer, pytest.mark.timeout(600)]

TRANSACTION = "2.25.20260102"


@pytest.fixture
def views(request: pytest.FixtureRequest) -> list[Dataset]:
    """Two radiographs in a study of this test's own."""
    return two_views(study=request.node.name)


def answer_of(orthanc: Orthanc, path: str) -> dict[str, Any]:
    """What Orthanc has heard of its request, once it has."""
    orthanc.wait_for(lambda: orthanc.get(path)["Status"] != "Pending", "the report is heard", 60)
    answer: dict[str, Any] = orthanc.get(path)
    return answer


def test_orthanc_is_told_that_what_it_stored_here_is_kept(
    a_node: Callable[..., Node], orthanc: Orthanc, views: list[Dataset]
) -> None:
    node = a_node(module="tests.light_node", hears={"ORTHANC": orthanc.dicom_port})
    orthanc.know("node", node.address.ae_title, node.address.port)
    ids = [orthanc.upload(file_bytes(ds)) for ds in views]
    orthanc.send(ids, "node")

    asked = orthanc.post("/modalities/node/storage-commitment", {"Resources": ids})
    answer = answer_of(orthanc, asked["Path"])

    assert answer["Status"] == "Success"
    assert {each["SOPInstanceUID"] for each in answer["Success"]} == {
        str(ds.SOPInstanceUID) for ds in views
    }
    assert node.osteon("audit", "verify").is_success


def test_orthanc_is_told_what_is_not_here_and_why(
    a_node: Callable[..., Node], orthanc: Orthanc, views: list[Dataset]
) -> None:
    node = a_node(module="tests.light_node", hears={"ORTHANC": orthanc.dicom_port})
    orthanc.know("node", node.address.ae_title, node.address.port)
    here, elsewhere = [orthanc.upload(file_bytes(ds)) for ds in views]
    orthanc.send([here], "node")

    asked = orthanc.post("/modalities/node/storage-commitment", {"Resources": [here, elsewhere]})
    answer = answer_of(orthanc, asked["Path"])

    assert answer["Status"] == "Failure"
    assert [each["SOPInstanceUID"] for each in answer["Success"]] == [views[0].SOPInstanceUID]
    (failure,) = answer["Failures"]
    assert failure["SOPInstanceUID"] == views[1].SOPInstanceUID
    assert failure["FailureReason"] == 0x0112  # no such object instance


def test_a_result_counts_as_delivered_once_orthanc_has_committed_itself(
    a_node: Callable[..., Node], orthanc: Orthanc, views: list[Dataset]
) -> None:
    pacs = Address(orthanc.ae_title, orthanc.dicom_port)
    node = a_node(module="tests.light_node", destinations=[destination("pacs", pacs)])
    orthanc.know("node", node.address.ae_title, node.address.port)
    study = str(views[0].StudyInstanceUID)

    orthanc.send([orthanc.upload(file_bytes(ds)) for ds in views], "node")
    job = node.finished(study)

    with database.reading(node.engine) as conn:
        deliveries = queries.deliveries(conn, job.id)
        proven = [e for e in queries.entries(conn, job.id) if e.kind == "delivery.proven"]
    made = {each.result.written.sop_instance_uid for each in deliveries}
    assert job.state is State.DELIVERED
    assert {each.reason for each in deliveries} == {"storage was committed to"}
    assert {uid for entry in proven for uid in entry.details["sop_instance_uids"]} == made
    assert all(orthanc.id_of(uid) is not None for uid in made)


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[tuple[Node, Modality]]:
    """A node that nobody has started, and a modality that it knows."""
    port = free_port()
    node = Node(tmp_path / "node", module="tests.light_node", hears={"MODALITY": port}, **TABLES)
    with closing(node):
        yield node, Modality(node.address, port=port)


@pytest.mark.parametrize("point", [Point.COMMITMENT_TAKEN, Point.COMMITMENT_TOLD])
def test_a_request_that_was_acknowledged_is_answered_after_a_kill(
    killed: tuple[Node, Modality], views: list[Dataset], point: Point
) -> None:
    node, modality = killed
    armed(node, point)
    assert modality.store(*views) == [0, 0]

    with listening(modality):
        status = modality.ask(request_for(TRANSACTION, *views))
        wait_until(lambda: not node.process.is_running, 120, f"{point} is reached")
        assert node.process.exit_code == -signal.SIGKILL
        while not modality.heard.empty():
            modality.hears()  # heard before the row could say so
        node.start()
        heard = modality.hears(120)
        wait_until(lambda: state_of(node) is CommitmentState.REPORTED, 60, "the row says so")

    assert status == 0x0000
    assert set(heard.committed) == {str(ds.SOPInstanceUID) for ds in views}
    assert heard.transaction_uid == TRANSACTION
    assert node.osteon("audit", "verify").is_success


def test_a_request_that_was_not_acknowledged_is_asked_again_and_answered_once(
    killed: tuple[Node, Modality], views: list[Dataset]
) -> None:
    node, modality = killed
    armed(node, Point.COMMITMENT_ASKED)
    assert modality.store(*views) == [0, 0]
    assoc = modality.associate()
    with listening(modality):
        status, _ = assoc.send_n_action(request_for(TRANSACTION, *views), 1, PUSH, PUSH_INSTANCE)
        wait_until(lambda: not node.process.is_running, 120, "the point is reached")
        node.start()

        again = modality.ask(request_for(TRANSACTION, *views))
        heard = modality.hears(120)
        wait_until(lambda: state_of(node) is CommitmentState.REPORTED, 60, "the row says so")

    assert "Status" not in status
    assert again == 0x0000
    assert heard.event_type == 1
    with database.reading(node.engine) as conn:
        assert len(commitments.of_transaction(conn, TRANSACTION)) == 1


def armed(node: Node, point: Point) -> None:
    """The node listens, and will end at this point."""
    node.launch({VARIABLE: point})
    node.process.wait_until(lambda: is_listening(node.address.port), 120, "it listens")


def state_of(node: Node) -> CommitmentState:
    """Of the only request under our Transaction UID."""
    with database.reading(node.engine) as conn:
        (row,) = commitments.of_transaction(conn, TRANSACTION)
    return row.state
