"""Storage commitment over real associations on loopback: what is promised is here, and is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom import Dataset
from pynetdicom import _config
from sqlalchemy import Engine, text

from node import pledging, receiver
from node.callers import Callers
from node.pledging import Desk
from node.receiver import Door
from node.settings import Destination, Peer, Receiver, Retries, Settings
from storage import audit, commitments, database, ledger, queries
from storage.records import Commitment, CommitmentState
from tests.factories import Kind, radiograph, two_views
from tests.peer_programs import Address
from tests.processes import LOOPBACK, free_port
from tests.scripted_modality import (
    PUSH,
    PUSH_INSTANCE,
    Modality,
    listening,
    request,
    request_for,
)
from tests.storage_cases import kinds

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TRANSACTION = "2.25.4711"


@dataclass
class Scene:
    """A receiver that runs, and the modality that asks it."""

    engine: Engine
    door: Door
    modality: Modality
    now: datetime = NOW

    @property
    def instances(self) -> Path:
        return self.door.instances

    def look(self, seconds: float = 5, settings: Settings | None = None) -> int:
        """The task looked once, so much later."""
        self.now += timedelta(seconds=seconds)
        known = settings or self.door.settings
        desk = Desk(known, self.engine, self.instances, lambda: self.now, self.door.callers)
        return pledging.report(desk, known.peers[0])

    def row(self, transaction: str = TRANSACTION) -> Commitment:
        with database.reading(self.engine) as conn:
            return commitments.of_transaction(conn, transaction)[-1]

    def looks_until(self, claim: Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not claim():
            assert time.monotonic() < until
            self.look(0)


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    # the receiver sets them for its whole process
    monkeypatch.setattr(_config, "STORE_RECV_CHUNKED_DATASET", True)
    port = free_port()
    settings = Settings(
        receiver=Receiver(port=0),
        peers=(Peer(ae_title="MODALITY", addresses=(LOOPBACK,), port=port),),
        retries=Retries(first_s=60, factor=1, longest_s=60, give_up_after_s=600),
    )
    engine = database.connect(f"sqlite:///{tmp_path / 'osteon.sqlite'}")
    database.migrate(engine)
    door = Door(
        settings,
        engine,
        tmp_path / "instances",
        tmp_path / "quarantine",
        lambda: scene.now,
        callers=Callers(),
    )
    server = receiver.listen(door)
    modality = Modality(Address("OSTEON", server.server_address[1]), port=port)
    scene = Scene(engine, door, modality)
    yield scene
    server.shutdown()
    with database.reading(engine) as conn:
        assert isinstance(audit.verify(conn), audit.Verified)
    engine.dispose()


def without_port(settings: Settings, **changes: object) -> Settings:
    """The modality is known, but not where it hears reports."""
    peer = settings.peers[0].model_copy(update={"port": None})
    return settings.model_copy(update={"peers": (peer,), **changes})


def test_what_was_stored_is_committed_to_over_an_association_of_its_own(scene: Scene) -> None:
    views = two_views()
    assert scene.modality.store(*views) == [0, 0]

    with listening(scene.modality):
        status = scene.modality.ask(request_for(TRANSACTION, *views))
        scene.look()
        heard = scene.modality.hears()

    assert status == 0x0000
    assert heard.event_type == 1
    assert heard.transaction_uid == TRANSACTION
    assert heard.committed == {ds.SOPInstanceUID: ds.SOPClassUID for ds in views}
    assert heard.failed == {}
    assert heard.calling_ae_title == "OSTEON"
    assert scene.row().state is CommitmentState.REPORTED
    assert kinds(scene.engine)[-2:] == ["commitment.asked", "commitment.reported"]


def test_the_audit_says_for_what_the_node_answers(scene: Scene) -> None:
    ds = radiograph()
    scene.modality.store(ds)

    with listening(scene.modality):
        scene.modality.ask(
            request(TRANSACTION, [(ds.SOPClassUID, ds.SOPInstanceUID), (PUSH, "2.25.1")])
        )
        scene.look()

    with database.reading(scene.engine) as conn:
        told = queries.entries(conn)[-1].details
    assert told["transaction_uid"] == TRANSACTION
    assert told["committed"] == [ds.SOPInstanceUID]
    assert told["failed"] == [
        {"sop_instance_uid": "2.25.1", "sop_class_uid": PUSH, "reason": "0x0112"}
    ]


def test_a_modality_that_keeps_its_association_open_hears_over_it(scene: Scene) -> None:
    ds = radiograph()
    assoc = scene.modality.associate()
    assoc.send_c_store(ds)

    status, _ = assoc.send_n_action(request_for(TRANSACTION, ds), 1, PUSH, PUSH_INSTANCE)
    scene.look(1)
    scene.look(1)
    heard = scene.modality.hears()
    again = assoc.send_c_store(radiograph(image="another"))
    scene.looks_until(lambda: scene.row().state is CommitmentState.REPORTED)
    assoc.release()

    assert status.Status == 0x0000
    assert heard.committed == {ds.SOPInstanceUID: ds.SOPClassUID}
    assert again.Status == 0x0000
    with database.reading(scene.engine) as conn:
        told = [e for e in queries.entries(conn) if e.kind == "commitment.reported"]
    assert told[0].details["over"] == "the association of the request"


def test_an_association_over_which_images_come_is_left_to_them(scene: Scene) -> None:
    first = radiograph()
    assoc = scene.modality.associate()
    assoc.send_c_store(first)
    with listening(scene.modality):
        assoc.send_n_action(request_for(TRANSACTION, first), 1, PUSH, PUSH_INSTANCE)

        statuses = []
        for number in range(4):
            statuses.append(assoc.send_c_store(radiograph(image=str(number))).Status)
            scene.look(4)
        heard = scene.modality.hears()

    assoc.release()
    assert statuses == [0, 0, 0, 0]
    assert heard.committed == {first.SOPInstanceUID: first.SOPClassUID}
    with database.reading(scene.engine) as conn:
        told = [e for e in queries.entries(conn) if e.kind == "commitment.reported"]
    assert told[0].details["over"] == "a new association"


def test_a_report_over_the_open_association_that_is_not_answered_is_told_over_another(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = radiograph()
    monkeypatch.setattr("node.callers._send", lambda *_: None)
    assoc = scene.modality.associate()
    assoc.send_c_store(ds)
    with listening(scene.modality):
        assoc.send_n_action(request_for(TRANSACTION, ds), 1, PUSH, PUSH_INSTANCE)
        scene.look(1)
        scene.look(1)

        waits = scene.look(1), scene.look(8)
        scene.look(2)
        heard = scene.modality.hears()

    assoc.release()
    assert waits == (0, 0)
    assert heard.committed == {ds.SOPInstanceUID: ds.SOPClassUID}


def test_a_peer_that_is_a_destination_hears_there(scene: Scene) -> None:
    ds = radiograph()
    scene.modality.store(ds)
    place = Destination(name="pacs", ae_title="MODALITY", host=LOOPBACK, port=scene.modality.port)
    settings = without_port(scene.door.settings, destinations=(place,))

    with listening(scene.modality):
        scene.modality.ask(request_for(TRANSACTION, ds))
        scene.look(settings=settings)
        heard = scene.modality.hears()

    assert heard.event_type == 1


def test_a_peer_whose_port_nobody_knows_is_told_once_somebody_does(scene: Scene) -> None:
    ds = radiograph()
    scene.modality.store(ds)
    scene.modality.ask(request_for(TRANSACTION, ds))

    scene.look(settings=without_port(scene.door.settings))
    before = scene.row()
    with listening(scene.modality):
        scene.look(90)

    assert before.state is CommitmentState.PENDING
    assert "port" in before.reason
    assert scene.row().state is CommitmentState.REPORTED


def test_a_modality_that_is_away_is_tried_again_and_then_given_up(scene: Scene) -> None:
    ds = radiograph()
    scene.modality.store(ds)
    scene.modality.ask(request_for(TRANSACTION, ds))

    scene.look()
    away = scene.row()
    with listening(scene.modality):
        scene.look(90)
    back = scene.row()
    scene.modality.ask(request_for("2.25.2", ds))
    for _ in range(12):
        scene.look(90)

    assert (away.state, away.tries) == (CommitmentState.PENDING, 1)
    assert str(scene.modality.port) in away.reason
    assert back.state is CommitmentState.REPORTED
    assert scene.row("2.25.2").state is CommitmentState.GIVEN_UP


def test_a_modality_that_refuses_the_report_is_told_again(scene: Scene) -> None:
    ds = radiograph()
    scene.modality.store(ds)
    scene.modality.answers = 0x0110
    with listening(scene.modality):
        scene.modality.ask(request_for(TRANSACTION, ds))
        scene.look()
        refused = scene.row()
        scene.modality.answers = 0x0000
        scene.look(90)

    assert refused.state is CommitmentState.PENDING
    assert "0x0110" in refused.reason
    assert scene.row().state is CommitmentState.REPORTED


def reasons(scene: Scene, asked: Dataset) -> dict[str, int]:
    """Why the node does not answer for what is asked for."""
    with listening(scene.modality):
        assert scene.modality.ask(asked) == 0x0000
        scene.look()
        return dict(scene.modality.hears().failed)


def test_a_class_that_is_not_that_of_the_instance_is_a_conflict(scene: Scene) -> None:
    ds = radiograph(Kind.DX)
    scene.modality.store(ds)

    failed = reasons(scene, request(TRANSACTION, [(Kind.CR.value, ds.SOPInstanceUID)]))

    assert failed == {ds.SOPInstanceUID: 0x0119}  # class-instance conflict


@pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
def test_bytes_that_are_not_on_the_disk_are_not_answered_for(scene: Scene, damage: str) -> None:
    ds = radiograph()
    scene.modality.store(ds)
    (path,) = scene.instances.rglob("*.dcm")
    content = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(content[:-1] + (b"" if damage == "cut" else b"\x7f"))

    assert reasons(scene, request_for(TRANSACTION, ds)) == {ds.SOPInstanceUID: 0x0110}


def test_pixels_that_retention_removed_are_no_longer_answered_for(scene: Scene) -> None:
    ds = radiograph()
    scene.modality.store(ds)
    with database.begin(scene.engine) as conn:
        conn.execute(text("UPDATE instances SET removed_at = received_at"))

    assert reasons(scene, request_for(TRANSACTION, ds)) == {ds.SOPInstanceUID: 0x0112}


def test_an_instance_that_was_quarantined_is_not_answered_for(scene: Scene) -> None:
    refused = radiograph(StudyInstanceUID=None)
    (status,) = scene.modality.store(refused)

    failed = reasons(scene, request_for(TRANSACTION, refused))

    assert status == 0xC000
    assert failed == {refused.SOPInstanceUID: 0x0112}


def test_a_uid_under_which_other_bytes_of_the_modality_were_refused_is_not_answered_for(
    scene: Scene,
) -> None:
    ds = radiograph()
    scene.modality.store(ds)
    ds.InstanceNumber = 99
    scene.modality.store(ds)

    assert reasons(scene, request_for(TRANSACTION, ds)) == {ds.SOPInstanceUID: 0x0110}


def test_another_question_under_the_same_transaction_fails_as_a_duplicate(scene: Scene) -> None:
    one, two = two_views()
    scene.modality.store(one, two)
    with listening(scene.modality):
        scene.modality.ask(request_for(TRANSACTION, one))
        scene.modality.ask(request_for(TRANSACTION, two))
        scene.look()
        first, second = scene.modality.hears(), scene.modality.hears()

    assert (first.event_type, list(first.committed)) == (1, [one.SOPInstanceUID])
    assert (second.event_type, second.failed) == (2, {two.SOPInstanceUID: 0x0131})


def test_the_same_question_twice_is_answered_once(scene: Scene) -> None:
    ds = radiograph()
    scene.modality.store(ds)
    with listening(scene.modality):
        statuses = [scene.modality.ask(request_for(TRANSACTION, ds)) for _ in range(2)]
        scene.look()
        first = scene.modality.hears()
        scene.look()

    assert statuses == [0x0000, 0x0000]
    assert first.event_type == 1
    assert scene.modality.heard.empty()


def test_what_cannot_be_answered_is_refused_in_the_audit_and_the_node_goes_on(
    scene: Scene,
) -> None:
    ds = radiograph()
    asked = request_for(TRANSACTION, ds)
    many = request(TRANSACTION, [(Kind.DX.value, f"2.25.{n}") for n in range(1001)])

    statuses = [
        scene.modality.ask(None),
        scene.modality.ask(request(TRANSACTION, [])),
        scene.modality.ask(many),
        scene.modality.ask(asked, action=7),
        scene.modality.ask(asked, about="2.25.3"),
        scene.modality.ask(asked),
    ]

    assert statuses == [0x0115, 0x0115, 0x0213, 0x0123, 0x0112, 0x0000]
    assert kinds(scene.engine) == ["commitment.refused"] * 5 + ["commitment.asked"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\xff" * 999, 0x0115),  # invalid argument value
        (b"\x08\0\x99\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\0\0\0\0" * 20_000, 0x0213),
    ],
    ids=["no data set", "empty items"],
)
def test_bytes_that_say_nothing_are_answered_and_the_association_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, data: bytes, status: int
) -> None:
    ds = radiograph()
    assoc = scene.modality.associate()
    with monkeypatch.context() as patched:
        patched.setattr("pynetdicom.association.encode", lambda *_: data)
        answer, _ = assoc.send_n_action(Dataset(), 1, PUSH, PUSH_INSTANCE)

    stored = assoc.send_c_store(ds)

    assoc.release()
    assert answer.Status == status
    assert stored.Status == 0x0000


def test_a_peer_that_asks_without_end_is_told_to_wait(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pledging, "MOST_PENDING", 2)
    ds = radiograph()

    statuses = [scene.modality.ask(request_for(f"2.25.{n}", ds)) for n in range(3)]

    assert statuses == [0x0000, 0x0000, 0x0213]


def test_nothing_is_acknowledged_whose_row_cannot_be_committed(scene: Scene) -> None:
    with scene.engine.begin() as conn:
        conn.execute(text("ALTER TABLE commitments RENAME TO away"))

    status = scene.modality.ask(request_for(TRANSACTION, radiograph()))

    with scene.engine.begin() as conn:
        conn.execute(text("ALTER TABLE away RENAME TO commitments"))
    assert status == 0x0110


def test_a_request_that_was_acknowledged_is_answered_by_the_next_process(scene: Scene) -> None:
    ds = radiograph()
    scene.modality.store(ds)
    scene.modality.ask(request_for(TRANSACTION, ds))
    with database.begin(scene.engine) as conn:
        ledger.close_transfers(conn, "osteon")
    desk = Desk(scene.door.settings, scene.engine, scene.instances, lambda: scene.now, Callers())
    scene.now += timedelta(seconds=2)

    with listening(scene.modality):
        pledging.report(desk, scene.door.settings.peers[0])
        heard = scene.modality.hears()

    assert heard.committed == {ds.SOPInstanceUID: ds.SOPClassUID}
