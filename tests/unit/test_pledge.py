"""What is asked is read whatever the bytes are, and what is answered is what is here."""

from __future__ import annotations

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.dsutils import encode

from node.pledge import (
    Failure,
    Pledge,
    RefusedRequestError,
    event_information,
    judge,
    read_request,
)
from storage.records import Reference
from tests.factories import Kind
from tests.scripted_modality import PUSH_INSTANCE, request

TRANSACTION = "2.25.99"
CR = Kind.CR.value
DX = Kind.DX.value
ONE = Reference(DX, "2.25.1")
TWO = Reference(DX, "2.25.2")
INVALID_ARGUMENT, RESOURCE_LIMITATION = 0x0115, 0x0213
"""Source: PS3.7 Annex C."""


def encoded(ds: Dataset, is_implicit_vr: bool = False) -> bytes:
    made = encode(ds, is_implicit_vr, True)
    assert made is not None
    return made


def refusal(data: bytes, action: int | None = 1, target: str = PUSH_INSTANCE) -> int:
    with pytest.raises(RefusedRequestError) as refused:
        read_request(action, target, data, ExplicitVRLittleEndian)
    return refused.value.status


def asking(*pairs: tuple[str, str], transaction: str = TRANSACTION) -> bytes:
    return encoded(request(transaction, pairs))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_every_object_is_read_with_its_class_in_the_order_of_asking(syntax: str) -> None:
    pairs = [(DX, "2.25.2"), (CR, "2.25.1")]
    data = encoded(request(TRANSACTION, pairs), syntax == ImplicitVRLittleEndian)

    asked = read_request(1, PUSH_INSTANCE, data, syntax)

    assert asked.transaction_uid == TRANSACTION
    assert [(each.sop_class_uid, each.sop_instance_uid) for each in asked.references] == pairs


def test_an_object_that_is_named_twice_is_asked_for_once() -> None:
    data = asking((DX, "2.25.1"), (DX, "2.25.1"), (CR, "2.25.1"))

    asked = read_request(1, PUSH_INSTANCE, data, ExplicitVRLittleEndian)

    assert asked.references == (ONE, Reference(CR, "2.25.1"))


def test_as_many_objects_as_promised_are_read_and_one_more_is_too_many() -> None:
    pairs = [(DX, f"2.25.{10**35 + number}") for number in range(1001)]

    asked = read_request(1, PUSH_INSTANCE, asking(*pairs[:1000]), ExplicitVRLittleEndian)

    assert len(asked.references) == 1000
    assert refusal(asking(*pairs)) == RESOURCE_LIMITATION


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 100,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 1000,
        asking(),
        asking((DX, "")),
        asking(("", "2.25.1")),
        asking((DX, "2.25.77777")).replace(b"2.25.77777", b"../../etc/"),
        asking((DX, "2.25.1"), transaction=""),
        asking((DX, "2.25.1"), transaction="2.25.9876").replace(b"2.25.9876\0", b"3 x 3 = 9\0"),
        asking((DX, "2.25.1"))[:-10],
        struct.pack("<HH2sH", 0x0008, 0x1195, b"UI", 8)
        + b"2.25.99\0"
        # ReferencedSOPSequence, as a text
        + struct.pack("<HH2sH", 0x0008, 0x1199, b"UI", 6)
        + b"2.25.1",
    ],
    ids=[
        "nothing",
        "zeros",
        "http",
        "ones",
        "no object",
        "no instance",
        "no class",
        "a path",
        "no transaction",
        "a sentence for a transaction",
        "cut off",
        "no sequence",
    ],
)
def test_what_asks_for_nothing_is_refused_as_an_invalid_argument(data: bytes) -> None:
    assert refusal(data) == INVALID_ARGUMENT


def test_another_action_and_another_target_are_refused_by_their_own_status() -> None:
    data = asking((DX, "2.25.1"))

    assert refusal(data, action=2) == 0x0123  # no such action
    assert refusal(data, action=None) == 0x0123
    assert refusal(data, target="2.25.7") == 0x0112  # no such SOP instance


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_or_read(data: bytes) -> None:
    try:
        asked = read_request(1, PUSH_INSTANCE, data, ExplicitVRLittleEndian)
    except RefusedRequestError:
        return
    assert asked.references


def test_a_quarter_of_a_mebibyte_of_empty_items_costs_no_memory() -> None:
    item = b"\xfe\xff\x00\xe0\0\0\0\0"
    head = struct.pack("<HH2sHI", 0x0008, 0x1199, b"SQ", 0, 0xFFFFFFFF)
    tracemalloc.start()

    status = refusal(head + item * 32_768)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert status == RESOURCE_LIMITATION
    assert peak < 4 * 1024 * 1024


def test_sequences_within_sequences_are_refused_and_end() -> None:
    nested = b""
    for _ in range(900):
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(nested)) + nested
        nested = struct.pack("<HH2sHI", 0x0008, 0x1199, b"SQ", 0, len(item)) + item

    assert refusal(nested) == INVALID_ARGUMENT


def test_what_is_here_under_its_class_is_committed() -> None:
    pledge = judge([ONE, TWO], {"2.25.1": DX, "2.25.2": DX}, (), is_duplicate=False)

    assert pledge == Pledge((ONE, TWO), ())
    assert pledge.event_type == 1  # storage commitment request successful


@pytest.mark.parametrize(
    ("held", "unsound", "reason"),
    [
        ({}, (), 0x0112),  # no such object instance
        ({"2.25.2": CR}, (), 0x0119),  # class-instance conflict
        ({"2.25.2": DX}, ("2.25.2",), 0x0110),  # processing failure
    ],
)
def test_what_is_not_here_as_asked_fails_with_its_reason_and_nothing_else_does(
    held: dict[str, str], unsound: tuple[str, ...], reason: int
) -> None:
    pledge = judge([ONE, TWO], {"2.25.1": DX, **held}, unsound, is_duplicate=False)

    assert pledge == Pledge((ONE,), (Failure(TWO, reason),))
    assert pledge.event_type == 2  # failures exist


def test_a_transaction_uid_that_is_taken_fails_for_all() -> None:
    pledge = judge([ONE], {"2.25.1": DX}, (), is_duplicate=True)

    assert [failure.reason for failure in pledge.failed] == [0x0131]  # duplicate transaction UID


def test_the_report_has_a_sequence_only_where_it_has_an_item() -> None:
    all_well = event_information(TRANSACTION, Pledge((ONE,), ()))
    none_well = event_information(TRANSACTION, Pledge((), (Failure(TWO, 0x0112),)))

    assert "FailedSOPSequence" not in all_well
    assert all_well.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "2.25.1"
    assert "ReferencedSOPSequence" not in none_well
    assert none_well.FailedSOPSequence[0].FailureReason == 0x0112
    assert none_well.FailedSOPSequence[0].ReferencedSOPClassUID == DX
    assert none_well.TransactionUID == TRANSACTION
