"""The server that is made of our connections, before a real peer and before a hostile one."""

import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import DigitalXRayImageStorageForPresentation, Verification

from node.storing import Storing
from node.wire import arrived, serve
from storage.files import Digest
from tests.factories import radiograph
from tests.parrot import DX_STORAGE, EXPLICIT_LITTLE, Parrot, c_store_rq, p_data, status_of
from tests.peer_programs import Address
from tests.processes import wait_until


@pytest.fixture
def port() -> Iterator[int]:
    ae = AE(ae_title="OSTEON")
    ae.add_supported_context(Verification)
    server = serve(ae, ("127.0.0.1", 0), [])
    yield server.server_address[1]
    server.shutdown()


def test_an_association_is_served_through_it(port: int) -> None:
    ae = AE()
    ae.add_requested_context(Verification)
    assoc = ae.associate("127.0.0.1", port)

    assert assoc.is_established
    assert assoc.send_c_echo().Status == 0x0000
    assoc.release()


def test_a_peer_that_announces_four_gigabytes_is_hung_up_on(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
        peer.sendall(struct.pack(">BBL", 0x01, 0, 0xFFFFFFFF) + b"x" * 100)

        try:
            answer = peer.recv(1024)
        except ConnectionResetError:
            answer = b""
    assert answer == b""


def test_who_is_gone_before_it_asked_is_nobody_who_waits() -> None:
    ae = AE(ae_title="OSTEON")
    ae.add_supported_context(Verification)
    ae.acse_timeout = 60
    server = serve(ae, ("127.0.0.1", 0), [])

    knocking = [socket.create_connection(server.server_address, timeout=5) for _ in range(3)]
    wait_until(lambda: len(server.active_associations) == 3, 10, "all three wait")
    for peer in knocking:
        peer.close()

    wait_until(lambda: not server.active_associations, 10, "nobody waits")
    server.shutdown()


@pytest.fixture
def heard() -> list[tuple[int, str | None]]:
    """Of each instance that came: the bytes of its file, and the digest taken on the way."""
    return []


@pytest.fixture
def store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: list[tuple[int, str | None]]
) -> Iterator[int]:
    monkeypatch.setattr(_config, "STORE_RECV_CHUNKED_DATASET", True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def keep(path: Path, digest: Digest | None) -> int:
        size_bytes = path.stat().st_size
        heard.append((size_bytes, None if digest is None else digest.sha256))
        assert digest is None or digest.size_bytes == size_bytes
        return 0x0000

    def by_pynetdicom(event: Any) -> int:
        return keep(event.dataset_path, arrived(event.assoc, event.dataset_path))

    def plain(_assoc: Any, storing: Storing) -> int:
        return keep(storing.path, storing.arriving.digest())

    ae = AE(ae_title="OSTEON")
    ae.add_supported_context(DigitalXRayImageStorageForPresentation)
    server = serve(ae, ("127.0.0.1", 0), [(evt.EVT_C_STORE, by_pynetdicom)], store=plain)
    yield server.server_address[1]
    server.shutdown()


def test_fragments_go_past_pynetdicom(store: int, heard: list[tuple[int, str | None]]) -> None:
    ae = AE()
    ae.add_requested_context(DigitalXRayImageStorageForPresentation)
    assoc = ae.associate("127.0.0.1", store)
    ds = radiograph()

    statuses = [assoc.send_c_store(ds).Status for _ in range(3)]

    assoc.release()
    assert statuses == [0, 0, 0]
    # Equal files have equal digests; a digest of None would be a data set that pynetdicom took.
    assert len(set(heard)) == 1
    assert heard[0][1] is not None


class Served:
    """What was stored, and by which thread of its association."""

    to: Address

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uids: list[str] = []
        self.by_reader: list[bool] = []

    def by_pynetdicom(self, event: Any) -> int:
        return self.keep(event.assoc, event.request.AffectedSOPInstanceUID, event.dataset_path)

    def plain(self, assoc: Any, storing: Storing) -> int:
        return self.keep(assoc, storing.request.sop_instance_uid, storing.path)

    def keep(self, assoc: Any, uid: str, path: Path) -> int:
        self.uids.append(uid)
        self.by_reader.append(threading.current_thread() is assoc.dul)
        assert path.read_bytes().endswith(b"data")
        path.unlink()  # as a store does, which moves it
        return 0x0000


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(_config, "STORE_RECV_CHUNKED_DATASET", True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = Served(tmp_path)
    ae = AE(ae_title="OSTEON")
    ae.add_supported_context(DX_STORAGE, EXPLICIT_LITTLE)
    handlers = [(evt.EVT_C_STORE, found.by_pynetdicom)]
    server = serve(ae, ("127.0.0.1", 0), handlers, store=found.plain)
    found.to = Address("OSTEON", server.server_address[1])
    yield found
    server.shutdown()


def a_command(uid: bytes) -> bytes:
    return p_data(c_store_rq(uid), is_command=True, is_last=True)


DATA = p_data(b"data", is_command=False, is_last=True)


def test_a_plain_store_is_served_by_the_thread_that_reads_it(served: Served) -> None:
    with Parrot(served.to) as parrot:
        parrot.associate()
        statuses = [parrot.store(b"1.2.%d" % number, b"data") for number in range(5)]

    assert statuses == [0] * 5
    assert served.by_reader[1:] == [True] * 4  # the first may come before pynetdicom is ready
    wait_until(lambda: not list(served.folder.iterdir()), 5, "what was served is removed")


def test_a_command_in_two_fragments_is_served_too(served: Served) -> None:
    command = c_store_rq(b"1.2.3")
    with Parrot(served.to) as parrot:
        parrot.associate()
        parrot.say(p_data(command[:20], is_command=True, is_last=False))
        parrot.say(p_data(command[20:], is_command=True, is_last=True) + DATA)
        answer = status_of(parrot.hear())
        after = parrot.store(b"1.2.4", b"data")

    assert (answer, after) == (0, 0)
    assert served.uids == ["1.2.3", "1.2.4"]
    assert not served.by_reader[0]


def test_who_does_not_wait_for_answers_hears_them_in_order(served: Served) -> None:
    command = c_store_rq(b"1.2.0")
    with Parrot(served.to) as parrot:
        parrot.associate()
        parrot.say(
            p_data(command[:20], is_command=True, is_last=False)
            + p_data(command[20:], is_command=True, is_last=True)
            + DATA
            + b"".join(a_command(b"1.2.%d" % number) + DATA for number in range(1, 9))
        )
        heard = [parrot.hear() for _ in range(9)]

    assert [status_of(each) for each in heard] == [0] * 9
    assert served.uids == [f"1.2.{number}" for number in range(9)]
    uids = [b"1.2.%d" % number in each.body for number, each in enumerate(heard) if each]
    assert uids == [True] * 9
