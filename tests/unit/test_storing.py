"""A plain C-STORE-RQ is read as pynetdicom reads it, and whatever is not plain is left to it."""

from __future__ import annotations

import stat
import struct
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import create_file_meta
from pynetdicom.pdu import P_DATA_TF

from node.storing import StoreRequest, Storing, file_head, plain_store
from storage.errors import StoreUnavailable
from tests.parrot import c_store_rq, p_data

CLASS = "1.2.840.10008.5.1.4.1.1.1.1"


def asked_by_pynetdicom(instance: str, number: int, *, is_moved: bool = False) -> bytes:
    """The P-DATA-TF that a sender made of pynetdicom begins a C-STORE with."""
    request = C_STORE()
    request.MessageID, request.Priority = number, 1
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = CLASS, instance
    request.DataSet = BytesIO(b"data")
    if is_moved:
        request.MoveOriginatorApplicationEntityTitle = "MOVER"
        request.MoveOriginatorMessageID = 3
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    first = next(iter(message.encode_msg(5, 16_384)))
    return bytes(P_DATA_TF(first).encode())


def command(*elements: tuple[int, bytes], control: int = 3, group: int = 0) -> bytes:
    """A P-DATA-TF with these elements."""
    encoded = b"".join(
        struct.pack("<HHI", group, number, len(value)) + value for number, value in elements
    )
    fragment = struct.pack(">IBB", len(encoded) + 2, 1, control) + encoded
    return struct.pack(">BxI", 4, len(fragment)) + fragment


PLAIN = {
    0x0002: b"1.2.3\0",
    0x0100: b"\x01\x00",
    0x0110: b"\x07\x00",
    0x0700: b"\x00\x00",
    0x0800: b"\x01\x00",
    0x1000: b"1.2.3.4\0",
}


@pytest.mark.parametrize("instance", ["1.2.3", "1.2.34", "2.25." + "9" * 59])
@pytest.mark.parametrize("number", [1, 0xFFFF])
@pytest.mark.parametrize("is_moved", [False, True])
def test_what_pynetdicom_sends_is_plain(instance: str, number: int, is_moved: bool) -> None:
    found = plain_store(asked_by_pynetdicom(instance, number, is_moved=is_moved))

    assert found == StoreRequest(5, number, CLASS, instance)


def test_what_a_parrot_sends_is_plain() -> None:
    found = plain_store(p_data(c_store_rq(b"1.2.3.4"), is_command=True, is_last=True))

    assert found is not None
    assert found.sop_instance_uid == "1.2.3.4"


@pytest.mark.parametrize(
    "changed",
    [
        {0x0002: None},
        {0x0002: b""},
        {0x0002: b"1.2.x\0"},
        {0x0100: b"\x30\x00"},
        {0x0110: None},
        {0x0110: b"\x07"},
        {0x0700: None},
        {0x0700: b"\x07\x00"},
        {0x0800: b"\x01\x01"},
        {0x0800: b""},
        {0x1000: b"../../etc"},
        {0x1000: b"1.2\\1.3\0"},
        {0x1000: b"1" * 66},
        {0x0900: b"\x00\x00"},
    ],
    ids=str,
)
def test_what_is_not_plain_is_left_to_pynetdicom(changed: dict[int, bytes | None]) -> None:
    assert plain_store(command(*PLAIN.items())) is not None

    elements = {k: v for k, v in sorted((PLAIN | changed).items()) if v is not None}

    assert plain_store(command(*elements.items())) is None


@pytest.mark.parametrize(
    "pdu",
    [
        command(*PLAIN.items(), control=1),
        command(*PLAIN.items(), control=2),
        command(*PLAIN.items(), group=8),
        command(*reversed(PLAIN.items())),
        command(*PLAIN.items(), (0x1000, b"1.9")),
        command(*PLAIN.items()) + b"\0",
        command(*PLAIN.items())[:-1],
    ],
    ids=["not the last", "no command", "group", "order", "twice", "more", "less"],
)
def test_what_is_broken_is_left_to_pynetdicom(pdu: bytes) -> None:
    assert plain_store(pdu) is None


@given(st.binary(max_size=200), st.integers(0, 150))
def test_no_bytes_break_it(noise: bytes, at: int) -> None:
    whole = command(*PLAIN.items())

    plain_store(noise)
    plain_store(whole[:at] + noise + whole[at + len(noise) :])


@pytest.mark.parametrize("instance", ["1.2.3", "1.2.34", "2.25." + "9" * 59])
def test_a_file_begins_byte_for_byte_as_pynetdicom_begins_it(instance: str) -> None:
    syntax = "1.2.840.10008.1.2.4.70"
    expected = BytesIO()
    expected.write(bytes(128) + b"DICM")
    meta = create_file_meta(
        sop_class_uid=UID(CLASS), sop_instance_uid=UID(instance), transfer_syntax=UID(syntax)
    )
    write_file_meta_info(expected, meta)

    assert file_head(StoreRequest(1, 1, CLASS, instance), syntax) == expected.getvalue()


def test_a_file_that_cannot_be_begun_is_a_fault_of_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))

    with pytest.raises(StoreUnavailable):
        Storing(StoreRequest(1, 1, CLASS, "1.2.3"), "1.2.840.10008.1.2.1", 1 << 20)


def test_each_instance_has_a_file_of_its_own_that_nobody_else_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    request = StoreRequest(1, 1, CLASS, "1.2.3")

    begun = [Storing(request, "1.2.840.10008.1.2.1", 1 << 20) for _ in range(3)]

    for storing in begun:
        storing.close()
    assert {storing.path for storing in begun} == set(tmp_path.iterdir())
    assert len({storing.path for storing in begun}) == 3
    assert all(stat.S_IMODE(storing.path.stat().st_mode) == 0o600 for storing in begun)


def test_an_answer_says_what_a_handler_of_pynetdicom_would() -> None:
    request = StoreRequest(5, 7, CLASS, "1.2.3")
    refused = Dataset()
    refused.Status, refused.ErrorComment = 0xC000, "no header"

    plain, told = request.answer(0xA700), request.answer(refused)

    assert (plain.Status, plain.ErrorComment) == (0xA700, None)
    assert (told.Status, told.ErrorComment) == (0xC000, "no header")
    assert (told.MessageIDBeingRespondedTo, told.AffectedSOPInstanceUID) == (7, "1.2.3")
