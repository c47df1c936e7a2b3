"""A result counts as delivered when the PACS answers for it, whatever it said before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pynetdicom import _config
from sqlalchemy import Engine

from node import outbox, proving, receiver
from node.outbox import Outbox
from node.receiver import Door
from node.settings import Destination, Peer, Receiver, Retries, Settings
from node.translate import Folders
from storage import audit, database, queries
from storage.lifecycle import State
from storage.records import Delivery, DeliveryState, NewResult
from tests.factories import Kind, file_bytes, radiograph
from tests.processes import free_port, wait_until
from tests.scripted_pacs import FIND, PUSH, Pacs, running
from tests.sqlite import *  # noqa: F403 - its fixtures
from tests.storage_cases import NODE, STUDY, T0, a_delivering_job, kinds

UID = str(radiograph().SOPInstanceUID)


@dataclass
class Scene:
    """A job of one object for a PACS, at a time that the test moves."""

    engine: Engine
    box: Outbox
    job_id: int
    pacs: Pacs
    now: datetime = T0 + timedelta(seconds=10)

    def send(self, seconds: float = 0) -> int:
        self.now += timedelta(seconds=seconds)
        return outbox.empty(self.box)

    def prove(self, seconds: float = 0) -> int:
        self.now += timedelta(seconds=seconds)
        return proving.prove(self.box)

    @property
    def state(self) -> State:
        with database.reading(self.engine) as conn:
            job = queries.job(conn, self.job_id)
        assert job is not None
        return job.state

    @property
    def delivery(self) -> Delivery:
        with database.reading(self.engine) as conn:
            (delivery,) = queries.deliveries(conn, self.job_id)
        return delivery


@pytest.fixture
def scene(engine: Engine, tmp_path: Path) -> Iterator[Scene]:
    folders = Folders(tmp_path / "instances", tmp_path / "quarantine", tmp_path / "results")
    content = file_bytes(radiograph(StudyInstanceUID=STUDY))
    folders.results.mkdir()
    (folders.results / "bone.dcm").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    made = NewResult("model-volume", Kind.DX, UID, "bone.dcm", sha256, len(content))
    job_id = a_delivering_job(engine, made, destinations=("pacs",))
    port = free_port()
    destination = Destination(
        name="pacs", ae_title="PACS", host="127.0.0.1", port=port, connect_timeout_s=5
    )
    settings = Settings(
        node={"name": NODE},
        receiver=Receiver(port=0),
        peers=(Peer(ae_title="PACS", addresses=("127.0.0.1",)),),
        destinations=(destination,),
        retries=Retries(first_s=5, factor=1, longest_s=60, give_up_after_s=600),
    )
    box = Outbox(destination, settings, engine, folders, lambda: scene.now)
    scene = Scene(engine, box, job_id, Pacs(port=port))
    yield scene
    with database.reading(engine) as conn:
        assert isinstance(audit.verify(conn), audit.Verified)


def test_what_was_accepted_is_not_delivered_before_the_pacs_answers_for_it(scene: Scene) -> None:
    with running(scene.pacs, [Kind.DX, FIND]):
        scene.send()
        before = scene.state, scene.delivery.state
        scene.prove()

    assert before == (State.DELIVERING, DeliveryState.PENDING)
    assert scene.state is State.DELIVERED
    assert scene.delivery.state is DeliveryState.ACKNOWLEDGED
    assert scene.delivery.reason == "listed by C-FIND"
    assert kinds(scene.engine)[-3:] == ["delivery.accepted", "delivery.proven", "job.acknowledged"]


def test_what_was_accepted_is_not_sent_again_while_its_proof_is_due(scene: Scene) -> None:
    with running(scene.pacs, [Kind.DX, FIND]):
        scene.send()

        assert scene.send(3600) == 0


def test_what_the_pacs_has_lost_is_sent_again_and_then_delivered(scene: Scene) -> None:
    scene.pacs.loses = [Kind.DX]
    with running(scene.pacs, [Kind.DX, FIND]):
        scene.send()
        for _ in range(proving.LOOKS):
            scene.prove(10)
        lost = scene.state, kinds(scene.engine)[-1]
        scene.pacs.loses = []
        scene.send(10)
        scene.prove()

    assert lost == (State.DELIVERING, "delivery.disproven")
    assert scene.state is State.DELIVERED
    assert list(scene.pacs.held) == [UID]


def test_a_pacs_that_loses_everything_fails_the_job_in_the_end(scene: Scene) -> None:
    scene.pacs.loses = [Kind.DX]
    with running(scene.pacs, [Kind.DX, FIND]):
        for _ in range(3):
            scene.send(300)
            for _ in range(proving.LOOKS):
                scene.prove(10)

    assert scene.state is State.FAILED
    assert scene.delivery.reason == "accepted, but not listed by C-FIND"


def test_a_commitment_over_the_same_association_is_proof(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proving, "SAME_ASSOCIATION_S", 60.0)
    with running(scene.pacs, [Kind.DX, PUSH]):
        scene.send()
        scene.prove()

    assert scene.state is State.DELIVERED
    assert scene.delivery.reason == "storage was committed to"


def test_a_commitment_over_another_association_is_proof(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # the receiver sets it for its whole process
    monkeypatch.setattr(_config, "STORE_RECV_CHUNKED_DATASET", True)
    door = Door(
        scene.box.settings, scene.engine, tmp_path / "in", tmp_path / "refused", lambda: scene.now
    )
    server = receiver.listen(door)
    scene.pacs.reports_to = server.server_address[1]
    with running(scene.pacs, [Kind.DX, PUSH]):
        scene.send()
        scene.prove()
        wait_until(lambda: scene.state is State.DELIVERED, 60, "the report is heard")
    server.shutdown()

    assert scene.delivery.reason == "storage was committed to"


def test_what_is_not_committed_to_is_sent_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proving, "SAME_ASSOCIATION_S", 60.0)
    scene.pacs.loses = [Kind.DX]
    with running(scene.pacs, [Kind.DX, PUSH]):
        scene.send()
        scene.prove()
        scene.pacs.loses = []
        sent = scene.send(60)
        scene.prove()

    assert sent == 1
    assert scene.state is State.DELIVERED


def test_a_pacs_that_never_reports_is_asked_by_c_find(scene: Scene) -> None:
    scene.pacs.reports = False
    with running(scene.pacs, [Kind.DX, PUSH, FIND]):
        scene.send()
        scene.prove()
        waits = scene.state
        scene.prove(60)

    assert waits is State.DELIVERING
    assert scene.state is State.DELIVERED
    assert scene.delivery.reason == "listed by C-FIND"


def test_a_refused_commitment_is_replaced_by_c_find(scene: Scene) -> None:
    scene.pacs.commit_status = 0x0110
    with running(scene.pacs, [Kind.DX, PUSH, FIND]):
        scene.send()
        scene.prove()

    assert scene.delivery.reason == "listed by C-FIND"


def test_a_pacs_that_offers_no_proof_is_taken_at_its_word_and_the_row_says_so(
    scene: Scene,
) -> None:
    with running(scene.pacs, [Kind.DX]):
        scene.send()
        scene.prove()

    assert scene.state is State.DELIVERED
    assert scene.delivery.reason == "accepted; neither commitment nor C-FIND is offered"


def test_a_pacs_that_is_away_is_asked_again_and_nothing_is_sent_twice(scene: Scene) -> None:
    with running(scene.pacs, [Kind.DX, FIND]):
        scene.send()
    scene.prove()
    away = scene.state

    with running(scene.pacs, [Kind.DX, FIND]):
        sent = scene.send(60)
        scene.prove()

    assert (away, sent) == (State.DELIVERING, 0)
    assert scene.state is State.DELIVERED
