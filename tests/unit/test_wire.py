"""What is read from a connection, and what is not believed."""

import socket
import struct
import tracemalloc
from collections.abc import Iterator

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from node.wire import LONGEST_PDU_BYTES, receive, serve


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_what_comes_in_pieces_is_read_whole(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    for piece in (b"ab", b"c", b"defgh"):
        theirs.sendall(piece)

    assert receive(ours, 6) == b"abcdef"
    assert receive(ours, 2) == b"gh"


def test_a_peer_that_is_gone_leaves_what_it_sent(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.sendall(b"abc")
    theirs.close()

    assert receive(ours, 100) == b"abc"


def test_a_length_that_no_pdu_has_is_refused_before_memory_is_taken(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    tracemalloc.start()

    with pytest.raises(OSError, match="refused"):
        receive(pair[0], 0xFFFFFFFF)

    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_peer_that_trickles_is_not_waited_for(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    theirs.sendall(b"abc")

    with pytest.raises(TimeoutError):
        receive(ours, 100, within_s=0.05)


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


def test_the_limit_leaves_room_for_every_length_that_may_be_set() -> None:
    assert LONGEST_PDU_BYTES > 4_194_304
