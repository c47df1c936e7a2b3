"""Destinations are independent: one that is down delays no other, and gets all when it is back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from storage.lifecycle import State
from tests.node_process import Node, destination
from tests.orthanc import Orthanc
from tests.peer_programs import Address, running_storescp, storescu
from tests.processes import free_port, wait_until

pytestmark = pytest.mark.peer


def accepted(node: Node, job_id: int) -> dict[str, int]:
    """How many objects each destination has acknowledged."""
    counts: dict[str, int] = {}
    for row in node.show(job_id)["deliveries"]:
        counts.setdefault(row["destination"], 0)
        counts[row["destination"]] += row["state"] == "ACKNOWLEDGED"
    return counts


def test_a_destination_that_is_down_delays_no_other_and_gets_all_when_it_is_up(
    a_node: Callable[..., Node],
    orthanc: Orthanc,
    phantom_files: tuple[Path, Path],
    study: str,
    tmp_path: Path,
) -> None:
    down = Address("DOWN", free_port())
    up = Address(orthanc.ae_title, orthanc.dicom_port)
    node = a_node(destinations=[destination("down", down), destination("up", up)])
    assert storescu(node.address, *phantom_files).is_success

    job = node.reached(study, {State.DELIVERING})
    made = {row["written"]["sop_instance_uid"] for row in node.show(job.id)["results"]}
    orthanc.wait_for(lambda: orthanc.sop_instance_uids(study) == made, "the other is served")
    while_down = node.show(job.id)
    with running_storescp(tmp_path / "down", ae_title="DOWN", port=down.port):
        finished = node.finished(study)
        received = {
            str(pydicom.dcmread(path).SOPInstanceUID)
            for path in (tmp_path / "down" / "received").iterdir()
        }

    assert while_down["job"]["state"] == "DELIVERING"
    reasons = {
        row["reason"] for row in while_down["deliveries"] if row["destination"] == "down"
    } - {""}
    assert reasons, "why nothing could be sent is told"
    assert finished.state is State.DELIVERED
    assert received == made


def test_a_destination_that_stays_away_ends_failed_and_requeue_delivers(
    a_node: Callable[..., Node], phantom_files: tuple[Path, Path], study: str, tmp_path: Path
) -> None:
    away = Address("AWAY", free_port())
    node = a_node(destinations=[destination("away", away)], retries={"give_up_after_s": 6.0})
    assert storescu(node.address, *phantom_files).is_success

    failed = node.finished(study)
    made = {row["written"]["sop_instance_uid"] for row in node.show(failed.id)["results"]}
    with running_storescp(tmp_path / "away", ae_title="AWAY", port=away.port):
        requeued = node.osteon("requeue", failed.id)
        delivered = node.reached(study, {State.DELIVERED})
        received = {
            str(pydicom.dcmread(path).SOPInstanceUID)
            for path in (tmp_path / "away" / "received").iterdir()
        }

    assert failed.state is State.FAILED
    assert failed.reason
    assert requeued.is_success, requeued.output
    assert delivered.id == failed.id
    assert received == made


def test_a_destination_that_rejects_our_title_says_so_in_the_job(
    a_node: Callable[..., Node], phantom_files: tuple[Path, Path], study: str
) -> None:
    other = a_node(peers=("SOMEBODY",))
    node = a_node(destinations=[destination("strict", other.address)])
    assert storescu(node.address, *phantom_files).is_success

    job = node.reached(study, {State.DELIVERING, State.FAILED})

    def reasons() -> set[str]:
        return {row["reason"] for row in node.show(job.id)["deliveries"]} - {""}

    wait_until(lambda: any("OSTEON" in reason for reason in reasons()), 30, "the reason is told")
    assert accepted(node, job.id) == {"strict": 0}
