"""The server that is made of our connections, before a real peer and before a hostile one."""

import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE, _config, evt
from pynetdicom.sop_class import DigitalXRayImageStorageForPresentation, Verification

from node.wire import arrived, serve
from tests.factories import radiograph


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

    def keep(event: Any) -> int:
        digest = arrived(event.assoc, event.dataset_path)
        size_bytes = event.dataset_path.stat().st_size
        heard.append((size_bytes, None if digest is None else digest.sha256))
        assert digest is None or digest.size_bytes == size_bytes
        return 0x0000

    ae = AE(ae_title="OSTEON")
    ae.add_supported_context(DigitalXRayImageStorageForPresentation)
    server = serve(ae, ("127.0.0.1", 0), [(evt.EVT_C_STORE, keep)])
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
