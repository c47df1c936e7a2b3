"""A sender that is no bottleneck: bytes made beforehand, sent by sockets, nothing parsed or copied.

It speaks just enough DICOM for a C-STORE after another over one association (PS3.8), with PDUs as
long as the acceptor takes. The SOP Instance UID is patched in place for each instance.
"""

from __future__ import annotations

import socket
import struct
import sys
import time

import numpy as np

from tests.factories import file_bytes, radiograph, uid
from tests.parrot import ASSOCIATE_AC, Parrot, Pdu, c_store_rq, p_data, status_of
from tests.peer_programs import Address

HEADER_BYTES = 12
"""Of a P-DATA-TF with one fragment: six of the PDU, six of the fragment."""
SUCCESS = 0x0000


def longest_pdu(accepted: Pdu) -> int:
    """Maximum length received, of the user information of an A-ASSOCIATE-AC (PS3.8 D.1)."""
    at = accepted.body.index(b"\x51\x00\x00\x04")
    length: int = struct.unpack(">I", accepted.body[at + 4 : at + 8])[0]
    return length or 131_072


def data_set_and_uid(rows: int, columns: int, name: str) -> tuple[bytearray, bytes]:
    """A radiograph as it travels, and the UID that stands in it."""
    pixels = np.random.default_rng(1).integers(0, 4096, (rows, columns), np.uint16)
    ds = radiograph(study=name, pixels=pixels)
    file = file_bytes(ds)
    length = struct.unpack("<I", file[140:144])[0]
    return bytearray(file[144 + length :]), str(ds.SOPInstanceUID).encode()


def as_pdus(data: bytearray, uid_at: int, pdu_length: int) -> tuple[bytearray, int]:
    """The P-DATA-TF stream of a data set, and where the UID of `data` at `uid_at` now stands."""
    part = pdu_length - HEADER_BYTES
    stream = bytearray()
    for start in range(0, len(data), part):
        is_last = start + part >= len(data)
        fragment = bytes(data[start : start + part])
        stream += p_data(fragment, is_command=False, is_last=is_last)
    return stream, uid_at + HEADER_BYTES


def send(to: Address, count: int, rows: int, columns: int, name: str, go_at: float) -> float:
    """Sends `count` instances over one association from the time `go_at`; seconds it took."""
    data, old = data_set_and_uid(rows, columns, name)
    with Parrot(to, timeout_s=120) as parrot:
        parrot.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = parrot.associate()
        assert answer is not None
        assert answer.type == ASSOCIATE_AC
        stream, at = as_pdus(data, data.index(old), longest_pdu(answer))
        time.sleep(max(0.0, go_at - time.time()))
        began = time.perf_counter()
        for number in range(count):
            new = str(uid(name, number)).encode().ljust(len(old), b"0")[: len(old)]
            stream[at : at + len(old)] = new
            parrot.say(p_data(c_store_rq(new), is_command=True, is_last=True))
            parrot.socket.sendall(stream)
            if (status := status_of(parrot.hear())) != SUCCESS:
                raise RuntimeError(f"status {status}")
        return time.perf_counter() - began


def main(title: str, port: str, count: str, rows: str, columns: str, name: str, go_at: str) -> None:
    """Prints the seconds that `send` took."""
    to = Address(title, int(port))
    print(send(to, int(count), int(rows), int(columns), name, float(go_at)))


if __name__ == "__main__":
    main(*sys.argv[1:])
