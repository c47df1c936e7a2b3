"""Fragments of a data set, from a connection into a file: all of them, and nothing else."""

from __future__ import annotations

import hashlib
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.pdu import P_DATA_TF

from node.arriving import Arriving, MalformedPduError, PeerGoneError, last_fragment, take_pdu
from node.inlet import Inlet
from storage.errors import StorageFull
from tests.parrot import P_DATA, p_data, pdu

CONTEXT = 1
"""The presentation context that the parrot uses."""


class Wire:
    """Two ends; what is said on one is taken from the other."""

    def __init__(self, within_s: float = 0.05) -> None:
        ours, self.theirs = socket.socketpair()
        self.ours = ours
        self.inlet = Inlet(ours, within_s)
        self.written = bytearray()

    def take(self) -> bool:
        return take_pdu(self.inlet, CONTEXT, self.written.extend)

    def close(self) -> None:
        self.inlet.close()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


def fragment(data: bytes, control: int = 0, context: int = CONTEXT) -> bytes:
    return struct.pack(">IBB", len(data) + 2, context, control) + data


@given(st.lists(st.lists(st.binary(max_size=50), max_size=4), min_size=1, max_size=5))
def test_however_it_is_cut_what_arrives_is_what_was_sent(pdus: list[list[bytes]]) -> None:
    wire = Wire()
    for parts in pdus:
        wire.theirs.sendall(pdu(P_DATA, b"".join(fragment(part) for part in parts)))
    wire.theirs.sendall(pdu(P_DATA, fragment(b"end", control=2)))

    ends = [wire.take() for _ in range(len(pdus) + 1)]

    wire.close()
    assert wire.written == b"".join(b"".join(parts) for parts in pdus) + b"end"
    assert ends == [False] * len(pdus) + [True]


def test_what_comes_after_the_pdu_is_left(wire: Wire) -> None:
    wire.theirs.sendall(p_data(b"abc", is_command=False, is_last=True) + b"next")

    assert wire.take()
    assert wire.inlet.take(4) == b"next"


@pytest.mark.parametrize(
    "body",
    [
        fragment(b"abc", context=3),
        fragment(b"abc", control=1),
        fragment(b"abc", control=3),
        fragment(b"abc", control=2) + fragment(b"more"),
        struct.pack(">IBB", 100, CONTEXT, 2) + b"abc",
        struct.pack(">IBB", 0xFFFFFFFF, CONTEXT, 2) + b"abc",
        struct.pack(">IBB", 1, CONTEXT, 2),
        struct.pack(">IBB", 0, CONTEXT, 2),
        fragment(b"abc") + b"\0" * 5,
        b"\0",
    ],
    ids=[
        "another context",
        "a command",
        "a whole command",
        "more after the last",
        "longer than the PDU",
        "four gigabytes",
        "no room for its header",
        "no length",
        "half a header after it",
        "one byte",
    ],
)
def test_what_no_standard_allows_is_named(wire: Wire, body: bytes) -> None:
    wire.theirs.sendall(pdu(P_DATA, body))

    with pytest.raises(MalformedPduError):
        wire.take()


@pytest.mark.parametrize("length", [3, 6, 9, 12, 14])
def test_a_pdu_that_is_cut_off_is_named(wire: Wire, length: int) -> None:
    wire.theirs.sendall(p_data(b"abc", is_command=False, is_last=True)[:length])
    wire.theirs.close()

    with pytest.raises(PeerGoneError):
        wire.take()


@pytest.mark.parametrize("length", [3, 6, 9, 12, 14])
def test_a_pdu_that_stops_is_not_waited_for(wire: Wire, length: int) -> None:
    wire.theirs.sendall(p_data(b"abc", is_command=False, is_last=True)[:length])

    with pytest.raises(TimeoutError):
        wire.take()


def test_a_pdu_longer_than_any_is_refused(wire: Wire) -> None:
    wire.theirs.sendall(pdu(P_DATA, fragment(b"abc"), length=0xFFFFFFFF))

    with pytest.raises(OSError, match="refused"):
        wire.take()
    assert not wire.written


def test_the_end_that_pynetdicom_is_told_of_is_a_last_fragment_of_no_bytes() -> None:
    read = P_DATA_TF()

    read.decode(last_fragment(7))

    assert read.to_primitive().presentation_data_value_list == [(7, b"\x02")]


def test_a_file_that_grows_has_the_digest_of_all_that_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    with path.open("wb", buffering=0) as file:
        file.write(b"meta")
        arriving = Arriving(file.fileno(), path.read_bytes(), 1 << 20)
        for part in (b"ab", b"", b"c"):
            arriving.write(memoryview(part))
        arriving.flush()

    assert path.read_bytes() == b"metaabc"
    assert arriving.digest().sha256 == hashlib.sha256(b"metaabc").hexdigest()
    assert arriving.digest().size_bytes == 7


@given(st.lists(st.binary(max_size=3), max_size=200))
def test_however_many_parts_come_the_file_has_them_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / "parts.dcm"
    with path.open("wb", buffering=0) as file:
        arriving = Arriving(file.fileno(), b"", 1 << 20)
        for part in parts:
            arriving.write(memoryview(part))
        arriving.flush()

    assert path.read_bytes() == b"".join(parts)
    assert arriving.digest().sha256 == hashlib.sha256(b"".join(parts)).hexdigest()


def test_a_full_disk_lets_the_rest_pass_and_is_told_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    path.touch()
    with Path("/dev/full").open("wb", buffering=0) as device:
        arriving = Arriving(device.fileno(), path.read_bytes(), 1 << 20)
        for part in (b"abc", b"def"):
            arriving.write(memoryview(part))
            arriving.flush()

    with pytest.raises(StorageFull):
        arriving.digest()


def test_a_trickle_is_told_from_a_slow_line_and_from_one_that_just_begins(tmp_path: Path) -> None:
    path = tmp_path / "arriving.dcm"
    path.write_bytes(b"")
    with path.open("ab") as file:
        arriving = Arriving(file.fileno(), path.read_bytes(), 1 << 20)
        began = time.monotonic()
        arriving.write(memoryview(bytes(100_000)))

    # a line of 9,600 baud brings some 100 kB in 90 s
    assert not arriving.is_too_slow(began + 59, grace_s=60)
    assert not arriving.is_too_slow(began + 90, grace_s=60)
    assert arriving.is_too_slow(began + 3600, grace_s=60)
    assert not arriving.is_too_slow(began + 3600, grace_s=None)
