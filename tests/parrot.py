"""A scripted DICOM peer that misbehaves: PDUs made by hand, bytes sent as the script says.

Nothing here comes from a DICOM library, so that it can say what no library would (PS3.8 9.3).
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from types import TracebackType

from tests.peer_programs import Address
from tests.processes import LOOPBACK

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ = 1, 2, 3
P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = 4, 5, 6, 7

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
DX_STORAGE = "1.2.840.10008.5.1.4.1.1.1.1"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"


@dataclass(frozen=True, slots=True)
class Pdu:
    """A PDU that the other side sent."""

    type: int
    body: bytes


class Parrot:
    """A TCP connection to a node; use as a context manager."""

    def __init__(self, to: Address, timeout_s: float = 20, address: str = LOOPBACK) -> None:
        """Connects from `address`, one of this machine's, and says nothing yet."""
        self.to = to
        self.socket = socket.create_connection(
            (LOOPBACK, to.port), timeout=timeout_s, source_address=(address, 0)
        )

    def __enter__(self) -> Parrot:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def say(self, data: bytes) -> None:
        """Sends bytes as they are; where the node has hung up already, they are lost."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def say_byte_by_byte(self, data: bytes) -> None:
        """As `say`, but each byte comes in a packet of its own."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data:
            self.say(bytes([byte]))

    def fall_silent(self) -> None:
        """Half of the connection is closed: nothing more is said, but still heard."""
        self.socket.shutdown(socket.SHUT_WR)

    def hear(self) -> Pdu | None:
        """The next PDU; None once the node has closed the connection.

        Raises:
            TimeoutError: it says nothing and does not close.
        """
        try:
            head = self._read(6)
            kind, length = struct.unpack(">BxI", head)
            return Pdu(kind, self._read(length))
        except (EOFError, ConnectionResetError):
            return None

    def associate(self, calling: str = "MODALITY", sop_class: str = DX_STORAGE) -> Pdu | None:
        """Asks for an association with `sop_class` as context 1; the answer."""
        self.say(associate_rq(calling, self.to.ae_title, sop_class))
        return self.hear()

    def store(self, sop_instance_uid: bytes, data_set: bytes) -> int | None:
        """C-STORE of a data set as it is; the status, or None where the node gave none."""
        self.say(p_data(c_store_rq(sop_instance_uid), is_command=True, is_last=True))
        parts = [data_set[at : at + 16000] for at in range(0, len(data_set), 16000)] or [b""]
        for part in parts[:-1]:
            self.say(p_data(part, is_command=False, is_last=False))
        self.say(p_data(parts[-1], is_command=False, is_last=True))
        return status_of(self.hear())

    def is_closed(self) -> bool:
        """True once the node closes the connection, whatever it says before.

        Raises:
            TimeoutError: it keeps the connection open.
        """
        while self.hear() is not None:
            pass
        return True

    def hang_up(self) -> None:
        """The connection is reset, as by a crash: RST and no FIN."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    def _read(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            part = self.socket.recv(length - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)


def pdu(kind: int, body: bytes, length: int | None = None) -> bytes:
    """A PDU; `length` lies about the size of the body."""
    return struct.pack(">BxI", kind, len(body) if length is None else length) + body


def associate_rq(
    calling: str,
    called: str,
    sop_class: str = VERIFICATION,
    transfer_syntax: str = EXPLICIT_LITTLE,
) -> bytes:
    """An A-ASSOCIATE-RQ with one presentation context, of id 1 (PS3.8 9.3.2)."""
    syntaxes = _item(0x30, sop_class.encode()) + _item(0x40, transfer_syntax.encode())
    user = _item(0x51, struct.pack(">I", 16384)) + _item(0x52, b"1.2.826.0.1.3680043.8.498.1")
    titles = called.ljust(16).encode() + calling.ljust(16).encode()
    body = struct.pack(">Hxx", 1) + titles + bytes(32)
    body += _item(0x10, APPLICATION_CONTEXT.encode())
    body += _item(0x20, struct.pack(">Bxxx", 1) + syntaxes)
    return pdu(ASSOCIATE_RQ, body + _item(0x50, user))


def contexts_of(answer: Pdu | None) -> dict[int, int]:
    """Result by id of each presentation context in an A-ASSOCIATE-AC (PS3.8 9.3.3.2)."""
    assert answer is not None
    assert answer.type == ASSOCIATE_AC
    items, results = answer.body[68:], {}
    while items:
        kind, length = struct.unpack(">BxH", items[:4])
        if kind == 0x21:
            results[items[4]] = items[6]
        items = items[4 + length :]
    return results


def p_data(fragment: bytes, *, is_command: bool, is_last: bool, context_id: int = 1) -> bytes:
    """A P-DATA-TF with one fragment (PS3.8 9.3.5, E.2)."""
    control = (1 if is_command else 0) | (2 if is_last else 0)
    value = struct.pack(">IBB", len(fragment) + 2, context_id, control) + fragment
    return pdu(P_DATA, value)


def c_store_rq(sop_instance_uid: bytes, sop_class: str = DX_STORAGE) -> bytes:
    """The command set of a C-STORE-RQ, whatever the UID is (PS3.7 9.3.1.1)."""
    return command(
        _element(0x0002, _even(sop_class.encode())),
        _element(0x0100, struct.pack("<H", 0x0001)),
        _element(0x0110, struct.pack("<H", 1)),
        _element(0x0700, struct.pack("<H", 0)),
        _element(0x0800, struct.pack("<H", 0x0001)),
        _element(0x1000, _even(sop_instance_uid)),
    )


def c_echo_rq(command_field: int = 0x0030, data_set_type: int = 0x0101) -> bytes:
    """The command set of a C-ECHO-RQ, or of another field, or with a data set to follow."""
    return command(
        _element(0x0002, _even(VERIFICATION.encode())),
        _element(0x0100, struct.pack("<H", command_field)),
        _element(0x0110, struct.pack("<H", 1)),
        _element(0x0800, struct.pack("<H", data_set_type)),
    )


def command(*elements: bytes) -> bytes:
    """A command set with its group length (PS3.7 6.3.1)."""
    group = b"".join(elements)
    return _element(0x0000, struct.pack("<I", len(group))) + group


def status_of(answer: Pdu | None) -> int | None:
    """The DIMSE status in a P-DATA-TF that holds a response; None in anything else."""
    if answer is None or answer.type != P_DATA:
        return None
    command = answer.body[6:]
    while len(command) >= 8:
        tag, length = struct.unpack("<2xHI", command[:8])
        if tag == 0x0900:
            return int(struct.unpack("<H", command[8:10])[0])
        command = command[8 + length :]
    return None


def _element(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0x0000, tag, len(value)) + value


def _even(value: bytes) -> bytes:
    return value + b"\0" * (len(value) % 2)


def _item(kind: int, body: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(body)) + body
