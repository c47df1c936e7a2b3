"""A PACS is asked to answer for what it took, and is heard over either association.

UIDs and numbers are restated by hand from PS3.4 J.3 and C.4.2, PS3.6 A.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pynetdicom import AE, build_context, build_role, evt

from node import committing, ladder
from node.committing import Committed, Ear, Moved, commit, move
from node.settings import Destination
from tests.processes import free_port

PUSH = "1.2.840.10008.1.20.1"
PUSH_INSTANCE = "1.2.840.10008.1.20.1.1"
MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
TRANSACTION = "2.25.9"
SENT = {"2.25.1": CAPTURE, "2.25.2": CAPTURE, "2.25.3": CAPTURE}


@dataclass
class Pacs:
    """Commits itself to what it has, and reports as the test says."""

    holds: frozenset[str] = frozenset(SENT)
    status: int = 0x0000
    reports_to: int | None = None
    """A port of the asker; None for the same association."""
    is_silent: bool = False
    knows: Mapping[str, int] = field(default_factory=dict)
    """Ports of those to whom it moves."""
    port: int = 0
    asked: list[Dataset] = field(default_factory=list)
    reporting: list[threading.Thread] = field(default_factory=list)

    def action(self, event: evt.Event) -> tuple[int, None]:
        self.asked.append(event.action_information)
        if not self.status and not self.is_silent:
            # once the answer to the request has left
            thread = threading.Timer(0.05, self.report, [event.assoc, event.action_information])
            self.reporting.append(thread)
            thread.start()
        return self.status, None

    def report(self, assoc: Any, asked: Dataset) -> None:
        said = Dataset()
        said.TransactionUID = asked.TransactionUID
        has = [one for one in asked.ReferencedSOPSequence if one[0x00081155].value in self.holds]
        lacks = [one for one in asked.ReferencedSOPSequence if one not in has]
        said.ReferencedSOPSequence = has
        if lacks:
            said.FailedSOPSequence = lacks
        if self.reports_to is not None:
            ae = AE(ae_title="PACS")
            ae.add_requested_context(PUSH)
            role = build_role(PUSH, scp_role=True)
            assoc = ae.associate("127.0.0.1", self.reports_to, ext_neg=[role])
        assoc.send_n_event_report(said, 2 if lacks else 1, PUSH, PUSH_INSTANCE)
        if self.reports_to is not None:
            assoc.release()

    def move(self, event: evt.Event) -> Iterator[Any]:
        if (port := self.knows.get(event.move_destination)) is None:
            yield None, None
            return
        yield "127.0.0.1", port, {"contexts": [build_context(CAPTURE, "1.2.840.10008.1.2")]}
        yield len(SENT)
        for uid in SENT:
            ds = Dataset()
            ds.SOPClassUID, ds.SOPInstanceUID = CAPTURE, uid
            ds.file_meta = FileMetaDataset()
            ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
            yield 0xFF00, ds


@contextmanager
def running(pacs: Pacs) -> Iterator[Destination]:
    ae = AE(ae_title="PACS")
    ae.add_supported_context(PUSH)
    ae.add_supported_context(MOVE)
    handlers = [(evt.EVT_N_ACTION, pacs.action), (evt.EVT_C_MOVE, pacs.move)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    port = server.server_address[1]
    try:
        yield Destination(name="pacs", ae_title="PACS", host="127.0.0.1", port=port)
    finally:
        for thread in pacs.reporting:
            thread.join(10)
        server.shutdown()


def committed(pacs: Pacs, ear: Ear | None = None) -> Committed:
    with running(pacs) as destination:
        answer = commit(SENT, TRANSACTION, destination, "OSTEON", ear)
    assert answer is not None
    return answer


def said(answer: Committed) -> str:
    return ladder._of_commitment(answer, len(SENT), "OSTEON")


def test_every_object_is_named_in_the_request_with_its_class() -> None:
    pacs = Pacs()

    committed(pacs)

    (asked,) = pacs.asked
    named = {
        (item.ReferencedSOPInstanceUID, item.ReferencedSOPClassUID)
        for item in asked.ReferencedSOPSequence
    }
    assert named == set(SENT.items())
    assert asked.TransactionUID == TRANSACTION


@pytest.mark.parametrize("is_called_back", [False, True])
def test_the_report_is_heard_over_the_same_and_over_another_association(
    is_called_back: bool,
) -> None:
    ear = Ear("127.0.0.1", free_port())

    answer = committed(Pacs(reports_to=ear.port if is_called_back else None), ear)

    assert (answer.committed, answer.failed, answer.is_reported) == (3, 0, True)
    assert "commits itself to all 3 objects" in said(answer)


def test_what_it_does_not_answer_for_is_counted() -> None:
    answer = committed(Pacs(holds=frozenset(["2.25.1"])))

    assert (answer.committed, answer.failed) == (1, 2)
    assert "commits itself to 1 of 3 objects only" in said(answer)


def test_a_refused_request_names_the_status() -> None:
    answer = committed(Pacs(status=0x0110))

    assert (answer.status, answer.is_reported) == (0x0110, False)
    assert "0x0110" in said(answer)


def test_a_pacs_that_never_reports_is_told_from_one_that_lacks_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(committing, "REPORT_WITHIN_S", 0.1)

    answer = committed(Pacs(is_silent=True))

    assert not answer.is_reported
    assert "did not report within" in said(answer)


def test_a_port_that_the_node_itself_listens_on_is_left_to_it() -> None:
    busy = AE(ae_title="NODE")
    busy.add_supported_context(CAPTURE)
    server = busy.start_server(("127.0.0.1", 0), block=False)
    assert server is not None

    answer = committed(Pacs(), Ear("127.0.0.1", server.server_address[1]))
    server.shutdown()

    assert answer.committed == 3


def test_a_pacs_that_is_down_is_no_answer() -> None:
    down = Destination(name="pacs", ae_title="PACS", host="127.0.0.1", port=free_port())

    assert commit(SENT, TRANSACTION, down, "OSTEON", None) is None
    assert move("1.2.3", SENT, down, "OSTEON", Ear("127.0.0.1", free_port())) is None


def test_what_c_move_brings_is_counted() -> None:
    ear = Ear("127.0.0.1", free_port())

    with running(Pacs(knows={"OSTEON": ear.port})) as destination:
        moved = move("1.2.3", SENT, destination, "OSTEON", ear)

    assert moved == Moved(3, 0x0000)


def test_a_pacs_that_does_not_know_this_node_moves_nothing() -> None:
    with running(Pacs()) as destination:
        moved = move("1.2.3", SENT, destination, "OSTEON", Ear("127.0.0.1", free_port()))

    assert moved == Moved(0, 0xA801)


def test_nothing_is_moved_into_a_node_that_runs() -> None:
    busy = AE(ae_title="NODE")
    busy.add_supported_context(CAPTURE)
    stored: list[evt.Event] = []
    server = busy.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, stored.append)]
    )
    assert server is not None
    port = server.server_address[1]

    with running(Pacs(knows={"OSTEON": port})) as destination:
        moved = move("1.2.3", SENT, destination, "OSTEON", Ear("127.0.0.1", port))
    server.shutdown()

    assert moved is None
    assert stored == []
