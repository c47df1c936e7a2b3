"""A PACS that stores, finds and gives back; it loses, changes or refuses what the test says."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
)

FIND = str(StudyRootQueryRetrieveInformationModelFind)
GET = str(StudyRootQueryRetrieveInformationModelGet)
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


@contextmanager
def running(
    pacs: Pacs, classes: Collection[str], *, syntaxes: Sequence[str] = (EXPLICIT,)
) -> Iterator[Pacs]:
    """The PACS answers on loopback for these SOP classes, with C-FIND and C-GET where named."""
    ae = AE(ae_title="PACS")
    for uid in classes:
        if uid in {FIND, GET}:
            ae.add_supported_context(uid)
        else:
            ae.add_supported_context(uid, list(syntaxes), scu_role=True, scp_role=True)
    server = ae.start_server(
        ("127.0.0.1", 0),
        block=False,
        evt_handlers=[
            (evt.EVT_C_STORE, pacs.store),
            (evt.EVT_C_FIND, pacs.find),
            (evt.EVT_C_GET, pacs.get),
        ],
    )
    assert server is not None
    pacs.port = server.server_address[1]
    try:
        yield pacs
    finally:
        server.shutdown()
