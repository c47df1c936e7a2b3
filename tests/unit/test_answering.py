"""The answer that is written at once is the one that pynetdicom would have sent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA

from node.answering import PromptProvider
from node.storing import StoreRequest

CLASS = "1.2.840.10008.5.1.4.1.1.1.1"


def a_request(instance: str = "1.2.3") -> StoreRequest:
    return StoreRequest(3, 7, CLASS, instance)


def a_success(instance: str) -> C_STORE:
    answer = C_STORE()
    answer.MessageID = answer.MessageIDBeingRespondedTo = 7
    answer.AffectedSOPClassUID, answer.AffectedSOPInstanceUID = CLASS, instance
    answer.Status = 0x0000
    return answer


def sent(
    tell: Callable[[PromptProvider], None], most_bytes: int = 16_384
) -> list[list[tuple[int, bytes]]]:
    """The fragments of each P-DATA of what a provider is made to tell."""
    primitives: list[P_DATA] = []
    world: Any = SimpleNamespace(
        is_requestor=False,
        requestor=SimpleNamespace(maximum_length=most_bytes),
        dul=SimpleNamespace(send_pdu=primitives.append),
        get_handlers=lambda _event: [],
    )
    provider = PromptProvider(world)
    provider.sending = threading.Lock()
    tell(provider)
    return [[(c, bytes(v)) for c, v in each.presentation_data_value_list] for each in primitives]


@pytest.mark.parametrize("instance", ["1.2.3", "1.2.34", "2.25." + "9" * 39])
@pytest.mark.parametrize("most_bytes", [0, 16_384, 40])
def test_a_success_is_byte_for_byte_that_of_pynetdicom(instance: str, most_bytes: int) -> None:
    answer = a_success(instance)

    told = sent(lambda provider: provider.succeed(a_request(instance)), most_bytes)

    assert told == sent(lambda provider: provider.send_msg(answer, 3), most_bytes)


def test_a_success_needs_no_message_of_pynetdicom(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object) -> None:
        raise AssertionError("it went through pynetdicom")

    monkeypatch.setattr(DIMSEServiceProvider, "send_msg", refuses)

    (fragments,) = sent(lambda provider: provider.succeed(a_request()))

    assert len(fragments) == 1
