"""One destination's queue: what is due goes, what cannot go waits, what is damaged is said."""

import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE, evt
from sqlalchemy import Engine, select, update

from node import archive, outbox
from node.outbox import Outbox
from node.settings import Destination, Retries, Settings
from node.translate import Folders
from pipeline.types import ObjectKind
from storage import database, ledger, queries
from storage.lifecycle import State
from storage.records import Delivery, DeliveryState, Job, NewResult
from storage.schema import results
from tests.factories import Kind, file_bytes, radiograph
from tests.sqlite import *  # noqa: F403 - its fixtures
from tests.storage_cases import NODE, T0, a_delivering_job

SURFACE = "1.2.840.10008.5.1.4.1.1.66.5"


@dataclass
class Scene:
    """A job of two objects for a PACS, at a time that the test moves."""

    engine: Engine
    box: Outbox
    job_id: int
    now: datetime = T0 + timedelta(seconds=10)

    def empty(self, seconds: float = 0) -> int:
        self.now += timedelta(seconds=seconds)
        return outbox.empty(self.box)

    @property
    def job(self) -> Job:
        with database.reading(self.engine) as conn:
            found = queries.job(conn, self.job_id)
        assert found is not None
        return found

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        with database.reading(self.engine) as conn:
            return queries.deliveries(conn, self.job_id)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def written(root: Path, view: str) -> NewResult:
    content = file_bytes(radiograph(view=view))
    (root / "job-1").mkdir(parents=True, exist_ok=True)
    (root / "job-1" / f"{view}.dcm").write_bytes(content)

    return NewResult(
        kind="model-volume",
        sop_class_uid=Kind.DX,
        sop_instance_uid=str(radiograph(view=view).SOPInstanceUID),
        path=f"job-1/{view}.dcm",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )


@pytest.fixture
def scene(engine: Engine, tmp_path: Path) -> Scene:
    folders = Folders(tmp_path / "instances", tmp_path / "quarantine", tmp_path / "results")
    objects = [written(folders.results, view) for view in ("AP", "LL")]
    job_id = a_delivering_job(engine, *objects, destinations=("pacs",))
    destination = Destination(
        name="pacs",
        ae_title="PACS",
        host="127.0.0.1",
        port=free_port(),
        connect_timeout_s=2,
        proof="status",
    )
    settings = Settings(
        node={"name": NODE},
        destinations=(destination,),
        retries=Retries(first_s=5, factor=2, longest_s=60, give_up_after_s=600),
    )
    box = Outbox(destination, settings, engine, folders, lambda: made.now)
    made = Scene(engine, box, job_id)
    return made


@contextmanager
def scp(scene: Scene, sop_class: str) -> Iterator[None]:
    """The PACS takes objects of this class only."""
    ae = AE(ae_title="PACS")
    ae.add_supported_context(sop_class)
    server = ae.start_server(
        ("127.0.0.1", scene.box.destination.port),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, lambda _event: 0x0000)],
    )
    assert server is not None
    try:
        yield
    finally:
        server.shutdown()


@pytest.fixture
def pacs(scene: Scene, tmp_path: Path) -> Iterator[archive.Archive]:
    with archive.running(tmp_path / "pacs", "PACS", scene.box.destination.port) as running:
        yield running


def test_what_is_due_is_delivered_and_the_job_is_closed(
    scene: Scene, pacs: archive.Archive
) -> None:
    assert scene.empty() == 2

    assert len(pacs.files) == 2
    assert scene.job.state is State.DELIVERED
    assert [each.status for each in scene.deliveries] == [0x0000, 0x0000]
    assert scene.empty() == 0


def test_a_destination_that_is_down_is_tried_again_later_and_later(scene: Scene) -> None:
    waits = []
    for _ in range(3):
        scene.empty()
        later = scene.deliveries[0].next_attempt_at
        waits.append((later - scene.now).total_seconds())
        scene.now = later

    assert scene.job.state is State.DELIVERING
    assert waits[0] >= 5
    assert waits[0] < waits[1] < waits[2]
    assert {each.state for each in scene.deliveries} == {DeliveryState.PENDING}
    assert "no answer" in scene.deliveries[0].reason or "does not answer" in (
        scene.deliveries[0].reason
    )


def test_when_it_is_up_again_all_is_delivered(scene: Scene, tmp_path: Path) -> None:
    scene.empty()

    with archive.running(tmp_path / "pacs", "PACS", scene.box.destination.port) as pacs:
        before = scene.empty(1)
        scene.empty(60)

    assert before == 0
    assert len(pacs.files) == 2
    assert scene.job.state is State.DELIVERED


def test_after_the_last_try_the_job_fails_and_names_the_destination(scene: Scene) -> None:
    for _ in range(100):
        if scene.job.state is not State.DELIVERING:
            break
        scene.empty(60)

    assert scene.job.state is State.FAILED
    assert "pacs" in scene.job.reason


def test_an_object_that_was_changed_on_disk_is_not_sent(
    scene: Scene, pacs: archive.Archive
) -> None:
    path = scene.box.folders.results / "job-1" / "AP.dcm"
    path.write_bytes(path.read_bytes() + b"\0")

    scene.empty()

    assert len(pacs.files) == 1
    assert scene.job.state is State.FAILED
    damaged = next(each for each in scene.deliveries if each.state is DeliveryState.REFUSED)
    assert "missing or changed" in damaged.reason


def set_of(scene: Scene, *kinds: str) -> None:
    """The job's objects are of these kinds; two objects, so two kinds."""
    with scene.engine.begin() as conn:
        ids = conn.execute(select(results.c.id).order_by(results.c.id)).scalars().all()
        for number, kind in zip(ids, kinds, strict=True):
            conn.execute(update(results).where(results.c.id == number).values(kind=kind))


def test_the_report_is_sent_after_the_bones_whatever_was_written_first(
    scene: Scene, pacs: archive.Archive
) -> None:
    set_of(scene, "report", "segmentation")

    scene.empty()

    assert [dcmread(path).ViewPosition for path in pacs.files] == ["LL", "AP"]
    assert scene.job.state is State.DELIVERED


def test_captures_go_after_volume_and_surfaces(scene: Scene, pacs: archive.Archive) -> None:
    set_of(scene, "key-image", "surface-segmentation")

    scene.empty()

    assert [dcmread(path).ViewPosition for path in pacs.files] == ["LL", "AP"]


def test_a_report_that_waits_for_its_set_costs_no_association(scene: Scene) -> None:
    set_of(scene, "report", "segmentation")
    report, bones = scene.deliveries
    with database.begin(scene.engine) as conn:
        later = scene.now + timedelta(seconds=60)
        ledger.postpone(conn, NODE, scene.now, [bones.id], reason="busy", next_attempt_at=later)

    due = scene.empty()

    assert due == 0
    assert scene.deliveries[0] == report


def test_what_the_destination_does_not_take_is_left_out_and_the_job_is_delivered(
    scene: Scene,
) -> None:
    set_of(scene, "segmentation", "surface-segmentation")
    surface = scene.deliveries[1].result.id
    with scene.engine.begin() as conn:
        conn.execute(update(results).where(results.c.id == surface).values(sop_class_uid=SURFACE))

    with scp(scene, Kind.DX):
        scene.empty()

    assert scene.job.state is State.DELIVERED
    assert [each.state for each in scene.deliveries] == [
        DeliveryState.ACKNOWLEDGED,
        DeliveryState.LEFT_OUT,
    ]
    with database.reading(scene.engine) as conn:
        told = [
            entry.details["reason"]
            for entry in queries.entries(conn, job_id=scene.job_id)
            if entry.kind == "delivery.left_out"
        ]
    assert told == [f"pacs does not take surface segmentation (SOP class {SURFACE})"]


def test_a_destination_that_takes_nothing_at_all_fails_the_job_at_once(scene: Scene) -> None:
    with scp(scene, Kind.XA):
        scene.empty()

    assert scene.job.state is State.FAILED
    assert scene.job.reason == "pacs takes none of the objects of this result"


def test_a_station_that_asks_for_surfaces_only_has_what_it_is_for_without_captures(
    scene: Scene,
) -> None:
    set_of(scene, "surface-segmentation", "key-image")
    capture = scene.deliveries[1].result.id
    with scene.engine.begin() as conn:
        conn.execute(update(results).where(results.c.id == capture).values(sop_class_uid=SURFACE))
    asks = scene.box.destination.model_copy(update={"kinds": (ObjectKind.SURFACE_SEGMENTATION,)})
    settings = scene.box.settings.model_copy(update={"destinations": (asks,)})
    scene.box = replace(scene.box, destination=asks, settings=settings)

    with scp(scene, Kind.DX):
        scene.empty()

    assert scene.job.state is State.DELIVERED


def test_surfaces_alone_do_not_stand_for_the_bones_that_were_asked_for(scene: Scene) -> None:
    set_of(scene, "surface-segmentation", "key-image")
    capture = scene.deliveries[1].result.id
    with scene.engine.begin() as conn:
        conn.execute(update(results).where(results.c.id == capture).values(sop_class_uid=SURFACE))

    with scp(scene, Kind.DX):
        scene.empty()

    assert scene.job.state is State.FAILED
    assert "nothing that a viewer can show" in scene.job.reason


def test_what_another_node_has_on_its_disk_is_left_to_it(
    scene: Scene, pacs: archive.Archive
) -> None:
    settings = scene.box.settings.model_copy(
        update={"node": scene.box.settings.node.model_copy(update={"name": "other"})}
    )
    scene.box = replace(scene.box, settings=settings)

    assert scene.empty() == 0
    assert pacs.files == []
