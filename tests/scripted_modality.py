"""A modality that stores, asks the node to answer for what it stored, and hears the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Queue

from pydicom import Dataset
from pynetdicom import AE, Association, evt

from node.checkpoint import keep_answers
from tests.factories import Kind
from tests.peer_programs import Address
from tests.processes import LOOPBACK

PUSH = "1.2.840.10008.1.20.1"
PUSH_INSTANCE = "1.2.840.10008.1.20.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"


@dataclass(frozen=True)
class Report:
    """One N-EVENT-REPORT, as it was heard."""

    event_type: int
    transaction_uid: str
    committed: Mapping[str, str]
    """SOP classes by SOP Instance UID."""
    failed: Mapping[str, int]
    """Failure reasons by SOP Instance UID."""
    calling_ae_title: str


@dataclass
class Modality:
    """What it answers to reports, and what it has heard."""

    node: Address
    ae_title: str = "MODALITY"
    answers: int = 0x0000
    heard: Queue[Report] = field(default_factory=Queue)
    port: int = 0

    def report(self, event: evt.Event) -> tuple[int, None]:
        said = event.event_information
        failed = said.get("FailedSOPSequence") or []
        self.heard.put(
            Report(
                event.request.EventTypeID,
                str(said.TransactionUID),
                {
                    str(item.ReferencedSOPInstanceUID): str(item.ReferencedSOPClassUID)
                    for item in said.get("ReferencedSOPSequence") or []
                },
                {str(item.ReferencedSOPInstanceUID): item.FailureReason for item in failed},
                event.assoc.requestor.ae_title,
            )
        )
        return self.answers, None

    def associate(self) -> Association:
        """An association for images and for storage commitment."""
        ae = AE(ae_title=self.ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
        ae.add_requested_context(Kind.DX, EXPLICIT)
        ae.add_requested_context(PUSH, EXPLICIT)
        assoc = ae.associate(
            LOOPBACK,
            self.node.port,
            ae_title=self.node.ae_title,
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self.report)],
        )
        assert assoc.is_established
        keep_answers(assoc)  # pynetdicom loses one in some thousand
        return assoc

    def store(self, *datasets: Dataset) -> list[int]:
        """Statuses of C-STORE over an association of their own."""
        assoc = self.associate()
        statuses = [int(assoc.send_c_store(ds).Status) for ds in datasets]
        assoc.release()
        return statuses

    def ask(self, information: Dataset | None, action: int = 1, about: str = PUSH_INSTANCE) -> int:
        """The status of an N-ACTION over an association that is released at once."""
        assoc = self.associate()
        status, _ = assoc.send_n_action(information, action, PUSH, about)
        assoc.release()
        return int(status.Status)

    def hears(self, seconds: float = 60) -> Report:
        """The next report."""
        return self.heard.get(timeout=seconds)


def request(transaction_uid: str, asked: Sequence[tuple[str, str]]) -> Dataset:
    """A request for storage commitment for pairs of SOP class and SOP Instance UID."""
    said = Dataset()
    said.TransactionUID = transaction_uid
    said.ReferencedSOPSequence = []
    for sop_class, uid in asked:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        said.ReferencedSOPSequence.append(item)
    return said


def request_for(transaction_uid: str, *datasets: Dataset) -> Dataset:
    """A request for storage commitment for these objects."""
    return request(transaction_uid, [(ds.SOPClassUID, ds.SOPInstanceUID) for ds in datasets])


@contextmanager
def listening(modality: Modality) -> Iterator[Modality]:
    """The modality hears reports over associations of their own, at `port`."""
    ae = AE(ae_title=modality.ae_title)
    ae.add_supported_context(PUSH, EXPLICIT, scu_role=True, scp_role=True)
    handlers = [(evt.EVT_N_EVENT_REPORT, modality.report)]
    server = ae.start_server((LOOPBACK, modality.port), block=False, evt_handlers=handlers)
    assert server is not None
    modality.port = server.server_address[1]
    try:
        yield modality
    finally:
        server.shutdown()
