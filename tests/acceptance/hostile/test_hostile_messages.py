"""Messages that lie, stop in the middle or never end: each is dealt with, and leaves nothing."""

from __future__ import annotations

import struct
import time

import numpy as np
import pytest

from tests.factories import radiograph
from tests.hostile_peers import (
    GIBIBYTE,
    MEBIBYTE,
    data_set,
    leaves_nothing,
    settled_bytes,
    travelling,
)
from tests.node_process import Node
from tests.parrot import (
    ABORT,
    ASSOCIATE_RQ,
    DX_STORAGE,
    P_DATA,
    VERIFICATION,
    Parrot,
    associate_rq,
    c_echo_rq,
    c_store_rq,
    p_data,
    pdu,
    status_of,
)
from tests.processes import resident_bytes


@pytest.mark.parametrize("kind", [ASSOCIATE_RQ, P_DATA])
def test_a_pdu_that_claims_four_gigabytes_costs_no_memory(node: Node, kind: int) -> None:
    before = settled_bytes(node)
    with Parrot(node.address) as parrot:
        if kind == P_DATA:
            parrot.associate()
        parrot.say(pdu(kind, b"\0" * 64 * MEBIBYTE, length=4 * GIBIBYTE - 1))

        assert parrot.is_closed()
    assert resident_bytes(node.process.pid) - before < 32 * MEBIBYTE


@pytest.mark.parametrize("ending", ["abort", "reset", "close"])
def test_an_instance_that_breaks_off_leaves_no_row_and_no_file(node: Node, ending: str) -> None:
    ds = radiograph(study=f"breaks off {ending}")
    half = data_set(f"breaks off {ending}")[:8000]
    with Parrot(node.address) as parrot:
        parrot.associate()
        parrot.say(p_data(c_store_rq(ds.SOPInstanceUID.encode()), is_command=True, is_last=True))
        parrot.say(p_data(half, is_command=False, is_last=False))
        if ending == "abort":
            parrot.say(pdu(ABORT, bytes(4)))
        if ending == "reset":
            parrot.hang_up()

    rows = {path.resolve() for path in node.files(ds.StudyInstanceUID)}
    assert not rows
    leaves_nothing(node)


@pytest.mark.parametrize(
    "fragment",
    [
        struct.pack(">IBB", 10, 3, 0) + bytes(8),
        struct.pack(">IBB", 10, 1, 3) + bytes(8),
        struct.pack(">IBB", 10_000, 1, 0) + bytes(8),
        struct.pack(">IBB", 10, 1, 2) + bytes(8) + struct.pack(">IBB", 10, 1, 2) + bytes(8),
        struct.pack(">IBB", 1, 1, 2),
        b"\0\0\0",
    ],
    ids=["another context", "a command", "too long", "after the last", "too short", "no header"],
)
def test_a_fragment_that_lies_within_a_data_set_is_answered_by_an_abort(
    node: Node, fragment: bytes
) -> None:
    ds = radiograph(study=f"lies {fragment!r}")
    with Parrot(node.address) as parrot:
        parrot.associate()
        parrot.say(p_data(c_store_rq(ds.SOPInstanceUID.encode()), is_command=True, is_last=True))
        parrot.say(p_data(data_set(f"lies {fragment!r}"), is_command=False, is_last=False))
        parrot.say(pdu(P_DATA, fragment))

        answer = parrot.hear()
        assert answer is not None
        assert answer.type == ABORT
        assert parrot.is_closed()
    assert node.instances(ds.StudyInstanceUID) == frozenset()
    leaves_nothing(node)


def test_a_peer_that_stops_within_a_data_set_is_let_go(node: Node) -> None:
    ds = radiograph(study="stops within")
    with Parrot(node.address) as parrot:
        parrot.associate()
        parrot.say(p_data(c_store_rq(ds.SOPInstanceUID.encode()), is_command=True, is_last=True))
        parrot.say(p_data(data_set("stops within"), is_command=False, is_last=True)[:-1])

        assert parrot.is_closed()
    assert node.instances(ds.StudyInstanceUID) == frozenset()


def test_an_instance_in_one_pdu_with_its_command_is_received(node: Node) -> None:
    ds = radiograph(study="one PDU")
    command, data = c_store_rq(ds.SOPInstanceUID.encode()), data_set("one PDU")
    both = p_data(command, is_command=True, is_last=True)[6:]
    both += p_data(data[:500], is_command=False, is_last=False)[6:]
    with Parrot(node.address) as parrot:
        parrot.associate()
        parrot.say(pdu(P_DATA, both))
        parrot.say(p_data(data[500:], is_command=False, is_last=True))

        assert status_of(parrot.hear()) == 0x0000
    assert node.instances(ds.StudyInstanceUID) == {ds.SOPInstanceUID}


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\xff" * 64, b"\0" * 64, c_echo_rq(command_field=0x7777), c_store_rq(b"1.2")[:40]],
    ids=["empty", "ones", "zeros", "unknown", "cut off"],
)
def test_a_command_that_says_nothing_ends_the_association_and_leaves_no_place_taken(
    node: Node, garbage: bytes
) -> None:
    for _ in range(6):  # more than there are places
        with Parrot(node.address) as parrot:
            parrot.associate()
            parrot.say(p_data(garbage, is_command=True, is_last=True))

            answer = parrot.hear()
            assert answer is not None
            assert answer.type == ABORT
            assert parrot.is_closed()


@pytest.mark.parametrize("what", ["command", "data set of an echo", "data set of nothing"])
def test_a_message_without_end_costs_no_memory(node: Node, what: str) -> None:
    before = settled_bytes(node)
    part = p_data(bytes(100_000), is_command=what == "command", is_last=False)
    with Parrot(node.address) as parrot:
        parrot.associate(sop_class=VERIFICATION)
        if what == "data set of an echo":
            echo = c_echo_rq(data_set_type=0x0001)
            parrot.say(p_data(echo, is_command=True, is_last=True))
        parrot.say(part * 1280)

        assert parrot.is_closed()
    assert resident_bytes(node.process.pid) - before < 64 * MEBIBYTE


def test_what_comes_a_byte_at_a_time_is_received(node: Node) -> None:
    ds = radiograph(study="byte by byte", pixels=np.eye(8, dtype=np.uint16))
    data = travelling(ds)
    named = ds.SOPInstanceUID.encode()
    with Parrot(node.address) as parrot:
        parrot.say_byte_by_byte(associate_rq("MODALITY", "OSTEON", DX_STORAGE))
        assert parrot.hear() is not None
        parrot.say_byte_by_byte(p_data(c_store_rq(named), is_command=True, is_last=True))
        parrot.say_byte_by_byte(p_data(data, is_command=False, is_last=True))

        assert status_of(parrot.hear()) == 0x0000
    assert node.instances(ds.StudyInstanceUID) == {ds.SOPInstanceUID}


def test_a_peer_that_trickles_a_data_set_is_let_go(node: Node) -> None:
    ds = radiograph(study="trickles")
    until = time.monotonic() + 20
    with Parrot(node.address, timeout_s=0.2) as parrot:
        parrot.socket.settimeout(10)
        parrot.associate()
        parrot.say(p_data(c_store_rq(ds.SOPInstanceUID.encode()), is_command=True, is_last=True))
        parrot.socket.settimeout(0.2)
        answer = None
        while answer is None and time.monotonic() < until:
            parrot.say(p_data(b"\0", is_command=False, is_last=False))
            try:
                answer = parrot.hear() or "closed"
            except TimeoutError:
                continue

    assert answer is not None
    assert node.instances(ds.StudyInstanceUID) == frozenset()


def test_a_peer_that_closes_its_half_within_a_data_set_leaves_nothing(node: Node) -> None:
    ds = radiograph(study="half open")
    with Parrot(node.address) as parrot:
        parrot.associate()
        parrot.say(p_data(c_store_rq(ds.SOPInstanceUID.encode()), is_command=True, is_last=True))
        parrot.say(p_data(data_set("half open")[:5000], is_command=False, is_last=False))
        parrot.fall_silent()

        assert parrot.is_closed()
    assert node.instances(ds.StudyInstanceUID) == frozenset()
    leaves_nothing(node)
