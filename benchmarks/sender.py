"""A sender that is no bottleneck: bytes made beforehand, sent by sockets, nothing parsed or copied.

It speaks just enough DICOM for a C-STORE after another over several associations (PS3.8), with
PDUs as long as the acceptor takes. The bytes are the same for all but their first few thousand,
into which UIDs are patched: each association sends a study of its own, each instance is a new one.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Barrier

import numpy as np

from tests.factories import file_bytes, radiograph, uid
from tests.parrot import (
    ASSOCIATE_AC,
    RELEASE_RQ,
    Parrot,
    Pdu,
    c_store_rq,
    p_data,
    pdu,
    status_of,
)
from tests.peer_programs import Address

HEADER_BYTES = 12
"""Of a P-DATA-TF with one fragment: six of the PDU, six of the fragment."""
HEAD_BYTES = 4000
"""Of a data set, where its UIDs stand; less than any PDU that is accepted here."""
SUCCESS = 0x0000
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Stream:
    """The P-DATA-TF of a data set: `head` is to be patched, `rest` is for everyone."""

    head: bytes
    rest: memoryview
    study: bytes
    instance: bytes
    """The UIDs that stand in `head`."""

    def begin(self, study: object, instance: object) -> tuple[bytes, bytes]:
        """The head of another instance of another study, and its SOP Instance UID."""
        of_instance = _as_long_as(self.instance, uid(instance))
        head = self.head.replace(self.study, _as_long_as(self.study, uid(study)))
        return head.replace(self.instance, of_instance), of_instance


def longest_pdu(accepted: Pdu) -> int:
    """Maximum length received, of the user information of an A-ASSOCIATE-AC (PS3.8 D.1)."""
    at = accepted.body.index(b"\x51\x00\x00\x04")
    length: int = struct.unpack(">I", accepted.body[at + 4 : at + 8])[0]
    return length or 131_072


def stream(side_px: int, pdu_length: int) -> Stream:
    """A square radiograph of 16 bits as it travels."""
    pixels = np.random.default_rng(1).integers(0, 4096, (side_px, side_px), np.uint16)
    ds = radiograph(pixels=pixels)
    file = file_bytes(ds)
    data = file[144 + struct.unpack("<I", file[140:144])[0] :]
    part = pdu_length - HEADER_BYTES
    whole = bytearray()
    for start in range(0, len(data), part):
        is_last = start + part >= len(data)
        whole += p_data(data[start : start + part], is_command=False, is_last=is_last)
    head = bytes(whole[:HEAD_BYTES])
    study, instance = str(ds.StudyInstanceUID).encode(), str(ds.SOPInstanceUID).encode()
    assert study in head
    assert instance in head
    return Stream(head, memoryview(whole)[HEAD_BYTES:], study, instance)


def send(to: Address, associations: int, each: int, side_px: int, name: str) -> float:
    """Sends `each` instances over each of so many associations at once; seconds it took."""
    with ExitStack() as stack:
        parrots = [stack.enter_context(Parrot(to, TIMEOUT_S)) for _ in range(associations)]
        answers = [parrot.associate() for parrot in parrots]
        accepted = [a for a in answers if a is not None and a.type == ASSOCIATE_AC]
        if len(accepted) < associations:
            raise RuntimeError(f"only {len(accepted)} of {associations} associations")
        made = stream(side_px, longest_pdu(accepted[0]))
        go = Barrier(associations + 1)

        def store(number: int) -> None:
            own = parrots[number]
            own.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            go.wait()
            for image in range(each):
                _store(own, made, f"{name} {number}", f"{name} {number} {image}")

        pool = stack.enter_context(ThreadPoolExecutor(associations))
        stored = [pool.submit(store, number) for number in range(associations)]
        go.wait()
        began = time.perf_counter()
        for each_stored in stored:
            each_stored.result()
        took_s = time.perf_counter() - began
        for parrot in parrots:
            parrot.say(pdu(RELEASE_RQ, bytes(4)))
            parrot.hear()
        return took_s


def _store(parrot: Parrot, made: Stream, study: str, instance: str) -> None:
    head, of_instance = made.begin(study, instance)
    parrot.say(p_data(c_store_rq(of_instance), is_command=True, is_last=True) + head)
    parrot.socket.sendall(made.rest)
    if (status := status_of(parrot.hear())) != SUCCESS:
        raise RuntimeError(f"status {status}")


def _as_long_as(old: bytes, new: str) -> bytes:
    return new.encode().ljust(len(old), b"0")[: len(old)]


def main(title: str, port: str, associations: str, each: str, side_px: str, name: str) -> None:
    """Prints the seconds that `send` took."""
    to = Address(title, int(port))
    print(send(to, int(associations), int(each), int(side_px), name))


if __name__ == "__main__":
    main(*sys.argv[1:])
