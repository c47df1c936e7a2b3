"""An instance that is larger than the node takes, over a real association on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pynetdicom import AE, Association, _config
from sqlalchemy import Engine

from node import receiver
from node.arriving import Arriving, TooLargeError
from node.receiver import Door
from node.settings import Peer, Receiver, Settings
from storage import audit, database, queries
from storage.database import reading
from tests.factories import Kind, radiograph
from tests.processes import LOOPBACK, wait_until

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EXPLICIT = "1.2.840.10008.1.2.1"
MEBIBYTE = 1024 * 1024


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Door, int]]:
    """A receiver that takes one mebibyte, and its port."""
    # the receiver sets it for its whole process
    monkeypatch.setattr(_config, "STORE_RECV_CHUNKED_DATASET", True)
    settings = Settings(
        receiver=Receiver(port=0, maximum_instance_mib=1),
        peers=(Peer(ae_title="XRAY", addresses=(LOOPBACK,)),),
    )
    engine = database.connect(f"sqlite:///{tmp_path / 'osteon.sqlite'}")
    database.migrate(engine)
    made = Door(settings, engine, tmp_path / "instances", tmp_path / "quarantine", lambda: NOW)
    server = receiver.listen(made)
    yield made, server.server_address[1]
    server.shutdown()
    with reading(engine) as conn:
        assert isinstance(audit.verify(conn), audit.Verified)
    engine.dispose()


def exposure(rows: int, image: str = "large") -> Dataset:
    """A DX of 1,024 columns with 16 bits: two kibibytes a row."""
    pixels = np.arange(rows * 1024, dtype=np.uint16).reshape(rows, 1024)
    return radiograph(Kind.DX, image=image, pixels=pixels)


def associated(port: int) -> Association:
    ae = AE(ae_title="XRAY")
    ae.dimse_timeout = ae.network_timeout = 60
    ae.add_requested_context(Kind.DX, EXPLICIT)
    assoc = ae.associate(LOOPBACK, port, ae_title="OSTEON")
    assert assoc.is_established
    return assoc


def told(engine: Engine) -> list[tuple[str, object, object]]:
    """Kind, object and status of each entry of the audit."""
    with reading(engine) as conn:
        return [
            (e.kind, e.details.get("affected_sop_instance_uid"), e.details.get("status"))
            for e in queries.entries(conn)
        ]


def kept(world: Door) -> list[Path]:
    return [path for path in world.instances.rglob("*") if path.is_file()]


def test_what_is_too_large_is_refused_for_good_and_leaves_nothing(door: tuple[Door, int]) -> None:
    world, port = door
    ds = exposure(768)
    assoc = associated(port)

    status = assoc.send_c_store(ds)

    assoc.release()
    with reading(world.engine) as conn:
        assert queries.instance_by_uid(conn, ds.SOPInstanceUID) is None
    assert status.Status == 0xC002  # cannot understand: sending it again would change nothing
    assert status.ErrorComment == "more than 1048576 bytes in one instance"
    assert kept(world) == []
    assert list(world.quarantine.rglob("*.dcm")) == []
    assert told(world.engine) == [("instance.too_large", ds.SOPInstanceUID, "0xC002")]


def test_a_radiograph_below_the_limit_passes_before_and_after_one_above_it(
    door: tuple[Door, int],
) -> None:
    world, port = door
    assoc = associated(port)

    sent = [exposure(500, "first"), exposure(700, "large"), exposure(500, "last")]
    statuses = [assoc.send_c_store(ds).Status for ds in sent]

    assoc.release()
    assert statuses == [0x0000, 0xC002, 0x0000]
    assert len(list(world.instances.rglob("*.dcm"))) == 2
    assert [kind for kind, _, _ in told(world.engine)] == [
        "instance.new",
        "instance.too_large",
        "instance.new",
    ]


def test_an_instance_that_goes_on_is_broken_off_and_leaves_nothing(
    door: tuple[Door, int],
) -> None:
    world, port = door
    assoc = associated(port)

    status = assoc.send_c_store(exposure(8192))

    def is_over() -> bool:
        return told(world.engine) != [] and kept(world) == []

    wait_until(is_over, 60, "it is told of, and gone")
    assert "Status" not in status
    assert not assoc.is_established
    assert told(world.engine) == [("instance.too_large", "", "0xC002")]


def test_an_instance_of_exactly_the_limit_is_kept_and_one_byte_more_is_not(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.dcm"
    with path.open("wb", buffering=0) as file:
        file.write(b"meta")
        arriving = Arriving(file.fileno(), path.read_bytes(), 10)
        arriving.write(memoryview(b"123456"))
        arriving.flush()

        kept = arriving.digest()
        arriving.write(memoryview(b"7"))
        arriving.flush()

    assert kept.size_bytes == 10
    with pytest.raises(TooLargeError, match="more than 10 bytes"):
        arriving.digest()
    assert path.read_bytes() == b""


def test_only_what_goes_on_for_as_much_again_is_endless(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    with path.open("wb", buffering=0) as file:
        arriving = Arriving(file.fileno(), path.read_bytes(), 10)
        arriving.write(memoryview(bytes(20)))

        before = arriving.is_endless
        arriving.write(memoryview(b"1"))
        arriving.flush()

    assert (before, arriving.is_endless) == (False, True)
    assert path.read_bytes() == b""
