"""The promise: what was acknowledged survives kill -9, and ends DELIVERED under one set of UIDs."""

from __future__ import annotations

import ctypes
import signal
from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest

from storage.lifecycle import State
from tests.node_process import Node, destination
from tests.peer_programs import Address, running_storescp, storescu
from tests.processes import descendants, free_port, is_alive, wait_until

pytestmark = pytest.mark.peer


def send(node: Node, *files: Path) -> None:
    """Each is sent by storescu, and acknowledged."""
    ran = storescu(node.address, *files)
    assert ran.is_success, ran.output


def uids_received(folder: Path) -> list[str]:
    """SOP Instance UIDs that storescp was sent."""
    return [str(pydicom.dcmread(path).SOPInstanceUID) for path in (folder / "received").iterdir()]


def uids_made(node: Node, job_id: int) -> list[str]:
    """SOP Instance UIDs of the objects of a job."""
    return [row["written"]["sop_instance_uid"] for row in node.show(job_id)["results"]]


def test_an_image_survives_a_kill_right_after_its_success(
    a_node: Callable[..., Node],
    storescp: Address,
    phantom_files: tuple[Path, Path],
    study: str,
    tmp_path: Path,
) -> None:
    ap, ll = phantom_files
    node = a_node(destinations=[destination("pacs", storescp)])
    send(node, ap)

    node.kill()
    node.start()
    kept = node.instances(study)
    send(node, ll)
    job = node.finished(study)

    assert kept == {pydicom.dcmread(ap).SOPInstanceUID}
    assert job.state is State.DELIVERED
    assert sorted(uids_received(tmp_path / "storescp")) == sorted(uids_made(node, job.id))


def test_a_study_survives_a_kill_right_after_its_last_image(
    a_node: Callable[..., Node],
    storescp: Address,
    phantom_files: tuple[Path, Path],
    study: str,
    tmp_path: Path,
) -> None:
    node = a_node(destinations=[destination("pacs", storescp)])
    send(node, *phantom_files)

    node.kill()
    node.start()
    job = node.finished(study)

    assert len(node.instances(study)) == 2
    assert job.state is State.DELIVERED
    assert sorted(uids_received(tmp_path / "storescp")) == sorted(uids_made(node, job.id))


def test_a_job_survives_a_kill_during_the_reconstruction(
    a_node: Callable[..., Node],
    storescp: Address,
    phantom_files: tuple[Path, Path],
    study: str,
    tmp_path: Path,
) -> None:
    node = a_node(destinations=[destination("pacs", storescp)])
    send(node, *phantom_files)
    node.reached(study, {State.RECONSTRUCTING})

    node.kill()
    node.start()
    job = node.finished(study)

    assert job.state is State.DELIVERED
    assert job.attempt == 2
    assert sorted(uids_received(tmp_path / "storescp")) == sorted(uids_made(node, job.id))
    assert node.osteon("audit", "verify").is_success


def test_a_delivery_survives_a_kill_and_sends_the_same_uids(
    a_node: Callable[..., Node], phantom_files: tuple[Path, Path], study: str, tmp_path: Path
) -> None:
    port = free_port()
    node = a_node(destinations=[destination("pacs", Address("LATE", port))])
    send(node, *phantom_files)
    job = node.reached(study, {State.DELIVERING})
    made = sorted(uids_made(node, job.id))

    node.kill()
    with running_storescp(tmp_path / "late", ae_title="LATE", port=port):
        node.start()
        job = node.finished(study)

    assert job.state is State.DELIVERED
    assert sorted(uids_made(node, job.id)) == made
    assert sorted(uids_received(tmp_path / "late")) == made


def test_a_killed_node_leaves_no_engine_behind(a_node: Callable[..., Node]) -> None:
    node = a_node()
    wait_until(lambda: bool(descendants(node.process.pid)), 30, "the engine has started")
    engines = descendants(node.process.pid)

    node.kill()

    wait_until(lambda: not any(is_alive(pid) for pid in engines), 15, "the engines are gone")


def test_a_node_that_is_asked_to_stop_does_so_with_success(a_node: Callable[..., Node]) -> None:
    node = a_node()

    assert node.stop() == 0


def test_a_node_stops_whichever_of_its_threads_the_kernel_asks(
    a_node: Callable[..., Node],
) -> None:
    """A signal to a process goes to any of its threads; what it does, the main one must do."""
    node = a_node()
    pid = node.process.pid
    others = sorted({int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()} - {pid})

    # a thread may have ended meanwhile
    asked = any(ctypes.CDLL(None).tgkill(pid, other, signal.SIGTERM) == 0 for other in others)

    assert asked
    wait_until(lambda: not node.process.is_running, 30, "the node has ended")
    assert "stopping" in node.log
