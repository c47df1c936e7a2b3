"""Counting a study at the PACS, over a real association with a scripted one."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind
from sqlalchemy import Engine

from node import census
from node.settings import Completeness, Destination, Settings
from storage import database, ledger, queries
from tests.sqlite import *  # noqa: F403 - its fixtures
from tests.storage_cases import NODE, STUDY, T0, an_instance


@dataclass
class ScriptedPacs:
    """Answers C-FIND as the test says, and keeps what it was asked."""

    port: int = 0
    count: int | None = 2
    status: int = 0x0000
    asked: list[Dataset] = field(default_factory=list)

    def find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        self.asked.append(event.identifier)
        if self.count is not None:
            answer = Dataset()
            answer.QueryRetrieveLevel = "STUDY"
            answer.StudyInstanceUID = event.identifier.StudyInstanceUID
            answer.NumberOfStudyRelatedInstances = self.count
            yield 0xFF00, answer
        yield self.status, None


@pytest.fixture
def pacs() -> Iterator[ScriptedPacs]:
    scripted = ScriptedPacs()
    ae = AE(ae_title="PACS")
    ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    handlers = [(evt.EVT_C_FIND, scripted.find)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    scripted.port = server.server_address[1]
    yield scripted
    server.shutdown()


def destination(port: int) -> Destination:
    return Destination(
        name="pacs", ae_title="PACS", host="127.0.0.1", port=port, connect_timeout_s=2
    )


def test_the_pacs_is_asked_for_one_study_and_its_count(pacs: ScriptedPacs) -> None:
    counted = census.count("1.2.3", destination(pacs.port), "OSTEON")

    assert counted == 2
    (asked,) = pacs.asked
    assert (asked.QueryRetrieveLevel, asked.StudyInstanceUID) == ("STUDY", "1.2.3")
    assert "NumberOfStudyRelatedInstances" in asked


@pytest.mark.parametrize(("count", "status"), [(None, 0x0000), (None, 0xA700)])
def test_a_pacs_that_does_not_say_gives_no_evidence(
    pacs: ScriptedPacs, count: int | None, status: int
) -> None:
    pacs.count, pacs.status = count, status

    assert census.count("1.2.3", destination(pacs.port), "OSTEON") is None


def test_a_pacs_that_is_down_gives_no_evidence() -> None:
    assert census.count("1.2.3", destination(1), "OSTEON") is None


def test_a_waiting_study_is_counted_once_nobody_sends_it(
    engine: Engine, pacs: ScriptedPacs
) -> None:
    settings = Settings(
        node={"name": NODE},
        destinations=(destination(pacs.port),),
        completeness=Completeness(ask="pacs"),
    )
    with database.begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance())
        ledger.open_transfer(conn, NODE, "a", STUDY, T0)

    census.take(engine, settings, lambda: T0)
    while_sending = list(pacs.asked)
    with database.begin(engine) as conn:
        ledger.close_transfers(conn, NODE, "a")
    census.take(engine, settings, lambda: T0)

    with database.reading(engine) as conn:
        study = queries.study(conn, STUDY)
    assert while_sending == []
    assert study is not None
    assert study.pacs_count == 2
