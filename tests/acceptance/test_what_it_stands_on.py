"""Disk, database and clock fail under a running node: it says so, loses nothing, and goes on.

The node is a process of its own with everything but the engine (`tests/light_node.py`).
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from storage.lifecycle import State
from tests.crash_drill import Drill, drilled_node, status_of
from tests.factories import file_bytes, radiograph, two_views, uid
from tests.node_process import Node
from tests.peer_programs import Address, running_storescp
from tests.processes import absent, free_port

pytestmark = [pytest.mark.peer, pytest.mark.timeout(900)]

SECONDS = 240
MIB = 1 << 20


@pytest.fixture
def a_drill(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Drill]]:
    """Makes a study of two views, and the node for it, which nobody has started."""
    nodes: list[Node] = []

    def make(to: Address, **settings: object) -> Drill:
        name = request.node.name
        files = []
        for ds in two_views(study=name):
            files.append(tmp_path / f"{ds.ViewPosition}.dcm")
            files[-1].write_bytes(file_bytes(ds))
        nodes.append(drilled_node(tmp_path / "node", to, **settings))
        return Drill(nodes[-1], uid("study", name), tuple(files), tmp_path / "pacs" / "received")

    yield make
    for node in nodes:
        node.close()


@contextmanager
def small_disk(folder: Path, mib: int) -> Iterator[None]:
    """A file system of so many MiB is mounted there, where this user may mount."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode != 0:
        absent("a file system cannot be mounted by this user")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_refuses_before_it_is_full_and_receives_again_by_itself(
    a_drill: Callable[..., Drill], tmp_path: Path
) -> None:
    with running_storescp(tmp_path / "pacs") as to:
        drill = a_drill(to, retention={"refuse_below_mib": 4})
        store = drill.node.folder / "data" / "instances"
        with small_disk(store, mib=8), closing(drill.node):
            drill.node.start()

            statuses = [status_of(an_image(number), drill.node) for number in range(8)]
            free = shutil.disk_usage(store).free
            while_full = drill.node.instances(uid("study", "full"))
            subprocess.run(["mount", "-o", "remount,size=64m", store], check=True)
            again = status_of(an_image(7), drill.node)

            assert set(statuses) == {0x0000, 0xA700}
            assert statuses == sorted(statuses)
            assert free > 2 * MIB
            assert len(while_full) == statuses.count(0x0000)
            assert again == 0x0000
            assert len(drill.node.instances(uid("study", "full"))) == len(while_full) + 1


def an_image(number: int) -> Dataset:
    """One MiB of noise, which no file system makes smaller."""
    pixels = np.random.default_rng(number).integers(0, 4096, (1024, 512), dtype=np.uint16)
    return radiograph(study="full", image=str(number), pixels=pixels)


def test_no_success_is_sent_while_the_database_is_locked(
    a_drill: Callable[..., Drill], tmp_path: Path
) -> None:
    with running_storescp(tmp_path / "pacs") as to:
        drill = a_drill(to)
        drill.node.start()

        locked = sqlite3.connect(drill.node.folder / "data" / "osteon.sqlite", isolation_level=None)
        locked.execute("BEGIN IMMEDIATE")
        drill.send()
        while_locked = set(drill.acknowledged)
        locked.execute("ROLLBACK")
        locked.close()
        drill.send()
        drill.node.reached(drill.study, {State.DELIVERED}, SECONDS)

        assert while_locked == set()
        drill.require_whole()


@pytest.mark.parametrize("step_s", [-3600, 3600])
def test_a_clock_that_is_stepped_by_an_hour_holds_up_no_delivery(
    a_drill: Callable[..., Drill], tmp_path: Path, step_s: int
) -> None:
    port = free_port()
    drill = a_drill(Address("STORESCP", port))
    drill.node.start()
    drill.send()
    drill.node.reached(drill.study, {State.DELIVERING}, SECONDS)

    (drill.node.folder / "data" / "clock-step-s").write_text(str(step_s))
    with running_storescp(tmp_path / "pacs", port=port):
        drill.node.reached(drill.study, {State.DELIVERED, State.FAILED}, SECONDS)

    drill.require_whole()


def test_a_node_that_is_restored_on_an_empty_machine_continues(
    a_drill: Callable[..., Drill], tmp_path: Path
) -> None:
    with running_storescp(tmp_path / "pacs") as to:
        drill = a_drill(to)
        drill.node.start()
        ap, ll = drill.files
        drill.files = (ap,)
        drill.send()
        back_up(drill.node.folder / "data", tmp_path / "back-up")
        drill.node.kill()
        shutil.rmtree(drill.node.folder)

        drill.node = drilled_node(tmp_path / "new", to)
        shutil.copytree(tmp_path / "back-up", drill.node.folder / "data")
        drill.files = (ap, ll)
        with closing(drill.node):
            drill.node.start()
            drill.send()
            drill.node.reached(drill.study, {State.DELIVERED, State.FAILED}, SECONDS)

            drill.require_whole()


def back_up(data: Path, target: Path) -> None:
    """As docs/reliability.md says: the rows first, then the files, while the node runs."""
    target.mkdir()
    with (
        closing(sqlite3.connect(data / "osteon.sqlite")) as rows,
        closing(sqlite3.connect(target / "osteon.sqlite")) as copy,
    ):
        rows.backup(copy)
    for folder in ("instances", "quarantine", "results"):
        shutil.copytree(data / folder, target / folder)
