"""Making room, and refusing before there is none, on a disk whose free space the test sets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from pydicom import Dataset
from pynetdicom import AE, _config
from sqlalchemy import Engine

from node import receiver, retention
from node.receiver import Door
from node.retention import Housekeeping
from node.settings import Peer, Receiver, Retention, Settings
from node.translate import Folders
from storage import database, ledger, queries
from storage.records import StudyState
from tests.factories import Kind, radiograph
from tests.sqlite import *  # noqa: F403 - its fixtures
from tests.storage_cases import NODE, T0, an_instance

MIB = 1 << 20
OLD, NEW = "1.2.3.1", "1.2.3.2"


@dataclass
class Disk:
    """What a file system says is free."""

    free: int = 1000 * MIB

    def __call__(self, _folder: Path) -> int:
        return self.free


@dataclass
class Scene:
    """Two declined studies, the one from T0, the other a day younger."""

    engine: Engine
    folders: Folders
    disk: Disk
    now: datetime = T0 + timedelta(days=10)

    def make_room(self, **keys: object) -> int:
        settings = Settings(node={"name": NODE}, retention=Retention(**keys))
        home = Housekeeping(settings, self.engine, self.folders, lambda: self.now, self.disk)
        return retention.make_room(home)

    def has_pixels(self, study: str) -> bool:
        with database.reading(self.engine) as conn:
            (row,) = queries.instances(conn, study)
        is_there = (self.folders.instances / row.path).exists()
        assert is_there == (row.removed_at is None)
        return is_there


@pytest.fixture
def scene(engine: Engine, tmp_path: Path) -> Scene:
    folders = Folders(tmp_path / "instances", tmp_path / "quarantine", tmp_path / "results")
    for days, study in enumerate((OLD, NEW)):
        at = T0 + timedelta(days=days)
        instance = an_instance(study, study=study, at=at)
        file = folders.instances / instance.path
        file.parent.mkdir(parents=True)
        file.write_bytes(b"pixels")
        with database.begin(engine) as conn:
            ledger.receive(conn, NODE, instance)
            ledger.decide(
                conn,
                NODE,
                at,
                study_instance_uid=study,
                revision=1,
                completeness="quiet",
                verdict=StudyState.DECLINED,
                rule="",
                reasons=(),
                configuration_digest="",
            )
    return Scene(engine, folders, Disk())


def test_nothing_goes_unless_the_settings_say_so(scene: Scene) -> None:
    scene.disk.free = 0
    scene.now += timedelta(days=3650)

    assert scene.make_room() == 0
    assert scene.has_pixels(OLD)
    assert scene.has_pixels(NEW)


def test_pixels_go_when_they_are_older_than_they_are_kept(scene: Scene) -> None:
    assert scene.make_room(keep_days=9.5) == 1

    assert not scene.has_pixels(OLD)
    assert scene.has_pixels(NEW)


def test_the_oldest_pixels_go_where_room_is_wanted(scene: Scene) -> None:
    assert scene.make_room(make_room_below_mib=1000) == 0

    scene.disk.free -= 1
    assert scene.make_room(make_room_below_mib=1000) == 1

    assert not scene.has_pixels(OLD)
    assert scene.has_pixels(NEW)


def test_room_that_is_made_too_late_is_a_fault_of_the_settings() -> None:
    with pytest.raises(ValidationError, match="make_room_below_mib must be greater"):
        Retention(make_room_below_mib=256, refuse_below_mib=256)


@pytest.fixture
def door(engine: Engine, tmp_path: Path) -> Door:
    settings = Settings(
        receiver=Receiver(port=0), peers=(Peer(ae_title="XRAY", addresses=("127.0.0.1",)),)
    )
    return Door(settings, engine, tmp_path / "in", tmp_path / "refused", lambda: T0, Disk())


def test_images_are_refused_before_the_disk_is_full_and_taken_when_there_is_room(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the receiver sets it for its whole process
    monkeypatch.setattr(_config, "STORE_RECV_CHUNKED_DATASET", True)
    assert isinstance(door.free_bytes, Disk)
    ds = radiograph()
    server = receiver.listen(door)
    ae = AE(ae_title="XRAY")
    ae.add_requested_context(Kind.DX)
    assoc = ae.associate("127.0.0.1", server.server_address[1], ae_title="OSTEON")

    door.free_bytes.free = 256 * MIB - 1
    refused = assoc.send_c_store(ds)
    left = [path for path in door.instances.rglob("*") if path.is_file()]
    has_row = is_known(door, ds)
    door.free_bytes.free = 256 * MIB
    taken = assoc.send_c_store(ds)
    assoc.release()
    server.shutdown()

    assert refused.Status == 0xA700  # out of resources: send again later
    assert (left, has_row) == ([], False)
    assert taken.Status == 0x0000
    assert is_known(door, ds)


def is_known(door: Door, ds: Dataset) -> bool:
    with database.reading(door.engine) as conn:
        return queries.instance_by_uid(conn, ds.SOPInstanceUID) is not None
