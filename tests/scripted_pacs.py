"""A PACS that stores, finds, gives back and commits; it loses, changes or refuses as told."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

FIND = str(StudyRootQueryRetrieveInformationModelFind)
GET = str(StudyRootQueryRetrieveInformationModelGet)
PUSH = "1.2.840.10008.1.20.1"
PUSH_INSTANCE = "1.2.840.10008.1.20.1.1"
EXPLICIT = "1.2.840.10008.1.2.1"


@dataclass
class Pacs:
    """What it does with what comes, and what it holds."""

    refuses: Mapping[str, int] = field(default_factory=dict)
    """Status by SOP class that it accepts in the association and refuses afterwards."""
    loses: Collection[str] = ()
    """SOP classes that it acknowledges and does not keep."""
    coerces: Mapping[str, str] = field(default_factory=dict)
    """Keywords that it overwrites in everything that it keeps."""
    files_after: int = 0
    """How many questions pass until what it took can be found."""
    port: int = 0
    held: dict[str, Dataset] = field(default_factory=dict)
    asked: int = 0
    commit_status: int = 0x0000
    """Its answer to a request for storage commitment."""
    reports: bool = True
    """Whether it says afterwards what it answers for: what it holds."""
    reports_to: int | None = None
    """A port of the asker; None for the association of the request."""
    reporting: list[threading.Thread] = field(default_factory=list)

    def store(self, event: evt.Event) -> int:
        ds = event.dataset
        if (status := self.refuses.get(str(ds.SOPClassUID))) is not None:
            return status
        if str(ds.SOPClassUID) not in self.loses:
            for keyword, value in self.coerces.items():
                setattr(ds, keyword, value)
            ds.file_meta = event.file_meta
            self.held[str(ds.SOPInstanceUID)] = ds
        return 0x0000

    def find(self, event: evt.Event) -> Iterator[Any]:
        asked = event.identifier
        self.asked += 1
        if self.asked <= self.files_after:
            return
        level = "SeriesInstanceUID" if asked.QueryRetrieveLevel == "SERIES" else "SOPInstanceUID"
        here = [ds for ds in self.held.values() if ds.StudyInstanceUID == asked.StudyInstanceUID]
        if level == "SOPInstanceUID":
            here = [ds for ds in here if ds.SeriesInstanceUID == asked.SeriesInstanceUID]
        for uid in dict.fromkeys(str(ds[level].value) for ds in here):
            answer = Dataset()
            answer.QueryRetrieveLevel = asked.QueryRetrieveLevel
            setattr(answer, level, uid)
            yield 0xFF00, answer

    def get(self, event: evt.Event) -> Iterator[Any]:
        uid = event.identifier.StudyInstanceUID
        here = [ds for ds in self.held.values() if ds.StudyInstanceUID == uid]
        yield len(here)
        for ds in here:
            yield 0xFF00, ds

    def commit(self, event: evt.Event) -> tuple[int, None]:
        if self.commit_status == 0x0000 and self.reports:
            # once the answer to the request has left
            what = [event.assoc, event.action_information]
            self.reporting.append(threading.Timer(0.05, self._report, what))
            self.reporting[-1].start()
        return self.commit_status, None

    def _report(self, assoc: Any, asked: Dataset) -> None:
        said = Dataset()
        said.TransactionUID = asked.TransactionUID
        items = asked.ReferencedSOPSequence
        said.ReferencedSOPSequence = [i for i in items if i.ReferencedSOPInstanceUID in self.held]
        lacks = [i for i in items if i.ReferencedSOPInstanceUID not in self.held]
        if lacks:
            said.FailedSOPSequence = lacks
        if self.reports_to is not None:
            ae = AE(ae_title="PACS")
            ae.add_requested_context(PUSH)
            role = build_role(PUSH, scp_role=True)
            assoc = ae.associate("127.0.0.1", self.reports_to, ext_neg=[role], ae_title="OSTEON")
        assoc.send_n_event_report(said, 2 if lacks else 1, PUSH, PUSH_INSTANCE)
        if self.reports_to is not None:
            assoc.release()


@contextmanager
def running(
    pacs: Pacs, classes: Collection[str], *, syntaxes: Sequence[str] = (EXPLICIT,)
) -> Iterator[Pacs]:
    """The PACS answers on loopback for these SOP classes, with C-FIND and C-GET where named."""
    ae = AE(ae_title="PACS")
    for uid in classes:
        if uid in {FIND, GET, PUSH}:
            ae.add_supported_context(uid)
        else:
            ae.add_supported_context(uid, list(syntaxes), scu_role=True, scp_role=True)
    server = ae.start_server(
        ("127.0.0.1", pacs.port),
        block=False,
        evt_handlers=[
            (evt.EVT_C_STORE, pacs.store),
            (evt.EVT_C_FIND, pacs.find),
            (evt.EVT_C_GET, pacs.get),
            (evt.EVT_N_ACTION, pacs.commit),
        ],
    )
    assert server is not None
    pacs.port = server.server_address[1]
    try:
        yield pacs
    finally:
        for thread in pacs.reporting:
            thread.join(10)
        server.shutdown()
