"""The receiver over a real association on loopback: what is promised by a status is kept."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE, Association
from pynetdicom.sop_class import MRImageStorage, Verification
from sqlalchemy import Engine, text

from node import receiver
from node.receiver import Door
from node.settings import Peer, Receiver, Settings
from storage import audit, database, queries
from storage.records import Instance
from tests.factories import Kind, file_bytes, radiograph, two_views
from tests.processes import wait_until
from tests.sqlite import out_of_reach

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class Running:
    """A receiver that runs, and the rows and files behind it."""

    port: int
    engine: Engine
    door: Door

    def received(self, ds: Dataset) -> Instance | None:
        with database.reading(self.engine) as conn:
            return queries.instance_by_uid(conn, ds.SOPInstanceUID)

    def associate(self, ae_title: str = "XRAY", called: str = "OSTEON") -> Association:
        ae = AE(ae_title=ae_title)
        ae.add_requested_context(Verification)
        for kind in Kind:
            for syntax in (
                ExplicitVRLittleEndian,
                DeflatedExplicitVRLittleEndian,
                RLELossless,
                JPEGLSLossless,
                JPEG2000Lossless,
            ):
                ae.add_requested_context(kind, syntax)
        ae.add_requested_context(MRImageStorage)
        return ae.associate("127.0.0.1", self.port, ae_title=called)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Running]:
    settings = Settings(
        receiver=Receiver(port=0),
        peers=(Peer(ae_title="XRAY", addresses=("127.0.0.1",)),),
    )
    engine = database.connect(f"sqlite:///{tmp_path / 'osteon.sqlite'}")
    database.migrate(engine)
    door = Door(settings, engine, tmp_path / "instances", tmp_path / "quarantine", lambda: NOW)
    server = receiver.listen(door)
    yield Running(server.server_address[1], engine, door)
    server.shutdown()
    engine.dispose()


def test_an_allowed_peer_is_answered(node: Running) -> None:
    assoc = node.associate()

    status = assoc.send_c_echo()

    assoc.release()
    assert status.Status == 0x0000


def test_a_stranger_is_rejected_with_the_reason_that_says_so(node: Running) -> None:
    assoc = node.associate("STRANGER")

    assert assoc.is_rejected
    assert assoc.acceptor.primitive.diagnostic == 0x03  # calling AE title not recognised


def test_a_rejection_is_in_the_audit_once_a_minute(node: Running) -> None:
    for _ in range(3):
        node.associate("STRANGER")

    with database.reading(node.engine) as conn:
        entries = queries.entries(conn)
    assert [entry.kind for entry in entries] == ["association.rejected"]
    assert "STRANGER" in str(entries[0].details["reason"])


def test_a_wrong_called_title_is_rejected_with_the_reason_that_says_so(node: Running) -> None:
    assoc = node.associate(called="OTHER")

    assert assoc.is_rejected
    assert assoc.acceptor.primitive.diagnostic == 0x07  # called AE title not recognised


def test_a_class_that_is_no_radiograph_is_not_negotiated(node: Running) -> None:
    assoc = node.associate()

    accepted = {context.abstract_syntax for context in assoc.accepted_contexts}

    assoc.release()
    assert accepted == {str(Verification), *(kind.value for kind in Kind)}


@pytest.mark.parametrize("kind", list(Kind))
def test_what_was_acknowledged_is_on_disk_with_its_row(node: Running, kind: Kind) -> None:
    ds = radiograph(kind)
    assoc = node.associate()

    status = assoc.send_c_store(ds)

    row = node.received(ds)
    assoc.release()
    assert status.Status == 0x0000
    assert row is not None
    assert row.calling_ae_title == "XRAY"
    assert row.peer_address == "127.0.0.1"
    assert row.received_at == NOW
    assert dcmread(node.door.instances / row.path) == ds


@pytest.mark.parametrize(
    "syntax", [DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless]
)
def test_an_instance_is_stored_as_it_comes(node: Running, tmp_path: Path, syntax: str) -> None:
    path = tmp_path / "sent.dcm"
    path.write_bytes(file_bytes(radiograph(), syntax))
    sent = dcmread(path)
    assoc = node.associate()

    status = assoc.send_c_store(sent)

    row = node.received(sent)
    assoc.release()
    assert status.Status == 0x0000
    assert row is not None
    assert row.transfer_syntax_uid == syntax
    kept = dcmread(node.door.instances / row.path)
    assert kept.file_meta.TransferSyntaxUID == syntax
    assert kept.PixelData == sent.PixelData


def test_the_same_instance_again_is_a_success_and_nothing_new(node: Running) -> None:
    ds = radiograph()
    assoc = node.associate()

    statuses = [assoc.send_c_store(ds).Status for _ in range(3)]

    assoc.release()
    with database.reading(node.engine) as conn:
        study = queries.study(conn, ds.StudyInstanceUID)
    assert statuses == [0, 0, 0]
    assert study is not None
    assert study.revision == 1
    assert len(list(node.door.instances.rglob("*.dcm"))) == 1


def test_other_content_under_a_taken_uid_is_quarantined_and_the_first_stays(node: Running) -> None:
    ds = radiograph()
    assoc = node.associate()
    assoc.send_c_store(ds)
    first = node.received(ds)
    ds.InstanceNumber = 99

    status = assoc.send_c_store(ds)

    assoc.release()
    with database.reading(node.engine) as conn:
        refused = queries.quarantined(conn)
    assert 0xC000 <= status.Status <= 0xCFFF
    assert node.received(ds) == first
    assert [row.status for row in refused] == [status.Status]
    assert dcmread(node.door.quarantine / refused[0].path).InstanceNumber == 99


def test_a_header_without_a_study_is_refused_and_kept_in_quarantine(node: Running) -> None:
    ds = radiograph(StudyInstanceUID=None)
    assoc = node.associate()

    status = assoc.send_c_store(ds)

    assoc.release()
    with database.reading(node.engine) as conn:
        (refused,) = queries.quarantined(conn)
    assert 0xC000 <= status.Status <= 0xCFFF  # cannot understand
    assert status.ErrorComment == "StudyInstanceUID is missing"
    assert refused.reason == "StudyInstanceUID is missing"
    assert (node.door.quarantine / refused.path).is_file()
    assert node.received(ds) is None


def test_no_success_is_sent_where_the_row_cannot_be_committed(node: Running) -> None:
    ds = radiograph()
    with node.engine.begin() as conn:
        conn.execute(text("DROP TABLE instances"))
    assoc = node.associate()

    status = assoc.send_c_store(ds)

    assoc.release()
    assert status.Status == 0xA700  # out of resources: send again later
    assert not list((node.door.instances / "incoming").iterdir())


def test_a_disk_that_fills_up_in_the_middle_is_told_by_the_status(
    node: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = radiograph()
    assoc = node.associate()
    write = os.writev

    def full(handle: int, data: list[bytes]) -> int:
        if Path(f"/proc/self/fd/{handle}").readlink().suffix == ".dcm":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(handle, data)

    monkeypatch.setattr(os, "writev", full)
    status = assoc.send_c_store(ds)
    monkeypatch.undo()
    again = assoc.send_c_store(ds)

    assoc.release()
    assert status.Status == 0xA700  # out of resources: send again later
    assert again.Status == 0x0000
    assert node.received(ds) is not None


def test_a_fault_with_one_instance_disturbs_none_after_it(node: Running) -> None:
    views = two_views()
    assoc = node.associate()

    assoc.send_c_store(radiograph(StudyInstanceUID=None, image="broken"))
    statuses = [assoc.send_c_store(ds).Status for ds in views]

    assoc.release()
    assert statuses == [0, 0]


def test_an_open_association_counts_as_still_sending(node: Running) -> None:
    ds = radiograph()
    assoc = node.associate()
    assoc.send_c_store(ds)

    assert sending(node, ds) == 1
    assoc.release()

    until = datetime.now(UTC) + timedelta(seconds=5)
    while sending(node, ds) and datetime.now(UTC) < until:
        pass
    assert sending(node, ds) == 0


def test_an_association_that_ends_while_the_database_is_away_does_not_count_as_sending_for_ever(
    node: Running,
) -> None:
    ds = radiograph()
    assoc = node.associate()
    assoc.send_c_store(ds)
    with out_of_reach(node.engine):
        assoc.release()
        wait_until(lambda: bool(node.door.ended), 5, "the association is over")

    node.associate().release()

    wait_until(lambda: sending(node, ds) == 0, 5, "nobody is sending")


def sending(node: Running, ds: Dataset) -> int:
    with database.reading(node.engine) as conn:
        return queries.open_transfers(conn, ds.StudyInstanceUID)


def test_the_audit_of_all_that_was_received_verifies(node: Running) -> None:
    assoc = node.associate()
    for ds in two_views():
        assoc.send_c_store(ds)
    assoc.send_c_store(radiograph(StudyInstanceUID=None, image="broken"))
    assoc.release()

    with database.reading(node.engine) as conn:
        assert isinstance(audit.verify(conn), audit.Verified)
        kinds = [entry.kind for entry in queries.entries(conn)]
    assert kinds == ["instance.new", "instance.new", "instance.quarantined"]
