"""What is read from a connection, and what is not believed."""

from __future__ import annotations

import socket
import tracemalloc
from collections.abc import Iterator

import pytest

from node.inlet import BUFFER_BYTES, LONGEST_PDU_BYTES, Inlet

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def inlet(pair: Pair) -> Iterator[Inlet]:
    made = Inlet(pair[0], within_s=0.05)
    yield made
    made.close()


def test_what_comes_in_pieces_is_read_whole(pair: Pair, inlet: Inlet) -> None:
    for piece in (b"ab", b"c", b"defgh"):
        pair[1].sendall(piece)

    assert inlet.take(6) == b"abcdef"
    assert inlet.take(2) == b"gh"


def test_more_than_the_buffer_holds_is_read_whole(pair: Pair) -> None:
    pair[1].setblocking(False)
    sent = bytes(range(256)) * (2 * BUFFER_BYTES // 256)
    rest, taken = memoryview(sent), bytearray()
    inlet = Inlet(pair[0], within_s=5)

    while rest:
        went = pair[1].send(rest)
        taken += inlet.take(went)
        rest = rest[went:]

    inlet.close()
    assert taken == sent


def test_what_is_lent_stays_as_it_is_until_it_is_taken_back(pair: Pair) -> None:
    pair[1].setblocking(False)
    sent = bytes(range(251)) * (3 * BUFFER_BYTES // 251)
    rest, lent, taken = memoryview(sent), [], bytearray()
    inlet = Inlet(pair[0], within_s=5)

    def take_back() -> None:
        taken.extend(b"".join(lent))
        lent.clear()

    with inlet.lending(take_back):
        while rest:
            went = pair[1].send(rest[: BUFFER_BYTES // 3])
            rest = rest[went:]
            while went:
                lent.append(inlet.some(went, None))
                went -= len(lent[-1])

    inlet.close()
    assert taken == sent


def test_a_peer_that_is_gone_leaves_what_it_sent(pair: Pair, inlet: Inlet) -> None:
    pair[1].sendall(b"abc")
    pair[1].close()

    assert inlet.take(100) == b"abc"
    assert inlet.peek() is None
    assert not inlet.some(10, None)


def test_what_was_looked_at_is_still_there(pair: Pair, inlet: Inlet) -> None:
    pair[1].sendall(b"abc")

    assert inlet.peek() == ord("a")
    assert inlet.is_ready(0)
    assert inlet.take(3) == b"abc"
    assert not inlet.is_ready(0)


def test_a_length_that_no_pdu_has_is_refused_before_memory_is_taken(inlet: Inlet) -> None:
    tracemalloc.start()

    with pytest.raises(OSError, match="refused"):
        inlet.take(0xFFFFFFFF)

    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_peer_that_trickles_is_not_waited_for(pair: Pair, inlet: Inlet) -> None:
    pair[1].sendall(b"abc")

    with pytest.raises(TimeoutError):
        inlet.take(100)


def test_the_time_to_send_is_not_what_was_left_of_the_time_to_receive(
    pair: Pair, inlet: Inlet
) -> None:
    with pytest.raises(TimeoutError):
        inlet.take(1)

    assert pair[0].gettimeout() == 0.05


def test_who_waits_looks_up_when_it_rings(inlet: Inlet) -> None:
    inlet.ring()

    assert not inlet.is_ready(within_s=60)


def test_it_may_ring_for_nobody(inlet: Inlet) -> None:
    for _ in range(100_000):
        inlet.ring()
    inlet.close()

    inlet.ring()


def test_the_limit_leaves_room_for_every_length_that_may_be_set() -> None:
    assert LONGEST_PDU_BYTES > 4_194_304
