"""The answer that is written at once is the one that pynetdicom would have sent."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.pdu_primitives import P_DATA

from node.answering import PromptProvider

CLASS = "1.2.840.10008.5.1.4.1.1.1.1"


def a_success(instance: str = "1.2.3", **more: object) -> C_STORE:
    answer = C_STORE()
    answer.MessageID = answer.MessageIDBeingRespondedTo = 7
    answer.AffectedSOPClassUID, answer.AffectedSOPInstanceUID = CLASS, instance
    answer.Status = 0x0000
    for name, value in more.items():
        setattr(answer, name, value)
    return answer


def sent(
    kind: type[DIMSEServiceProvider], answer: C_STORE | C_ECHO, most_bytes: int
) -> list[list[tuple[int, bytes]]]:
    """The fragments of each P-DATA that a provider of this kind sends."""
    primitives: list[P_DATA] = []
    world: Any = SimpleNamespace(
        is_requestor=False,
        requestor=SimpleNamespace(maximum_length=most_bytes),
        dul=SimpleNamespace(send_pdu=primitives.append),
        get_handlers=lambda _event: [],
    )
    provider = kind(world)
    provider.sending = threading.Lock()
    provider.send_msg(answer, 3)
    return [[(c, bytes(v)) for c, v in each.presentation_data_value_list] for each in primitives]


@pytest.mark.parametrize("instance", ["1.2.3", "1.2.34", "2.25." + "9" * 39])
@pytest.mark.parametrize("most_bytes", [0, 16_384, 40])
def test_a_success_is_byte_for_byte_that_of_pynetdicom(instance: str, most_bytes: int) -> None:
    answer = a_success(instance)

    assert sent(PromptProvider, answer, most_bytes) == sent(
        DIMSEServiceProvider, answer, most_bytes
    )


@pytest.mark.parametrize(
    "answer",
    [a_success(Status=0xA700, ErrorComment="no room"), a_success(Status=0xC000), C_ECHO()],
    ids=["a reason", "a status", "an echo"],
)
def test_what_is_no_plain_success_is_left_to_pynetdicom(answer: C_STORE | C_ECHO) -> None:
    if isinstance(answer, C_ECHO):
        answer.MessageIDBeingRespondedTo, answer.Status = 7, 0x0000

    assert sent(PromptProvider, answer, 16_384) == sent(DIMSEServiceProvider, answer, 16_384)


def test_a_success_needs_no_message_of_pynetdicom(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise AssertionError("it went through pynetdicom")

    monkeypatch.setattr(DIMSEServiceProvider, "send_msg", refuses)

    (fragments,) = sent(PromptProvider, a_success(), 16_384)

    assert len(fragments) == 1
