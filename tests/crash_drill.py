"""A node that is killed again and again, and what must hold whenever it is.

Everything is looked at from outside: the data sets that were sent against the files that were kept,
the objects that storescp holds against those that the job says it made.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pydicom
from pynetdicom import AE

from node.checkpoint import keep_answers
from storage import database, queries
from storage.crashpoints import VARIABLE
from storage.lifecycle import FINAL, State
from storage.records import DeliveryState
from tests.node_process import Node, destination
from tests.peer_programs import Address
from tests.processes import LOOPBACK, is_listening, wait_until

LEG_SECONDS: Final = 240.0
"""Until an armed node has reached its point: the slowest reconstructs before, on a busy machine."""
TABLES: Final[dict[str, dict[str, object]]] = {
    "completeness": {"quiet_s": 600.0, "ceiling_s": 900.0},
    "reconstruction": {"poll_s": 0.1, "attempts": 100},
}
"""A study is complete by its views alone, however long it takes to come, and is not given up."""


@dataclass
class Drill:
    """One study on its way through a node that is killed, to storescp."""

    node: Node
    study: str
    files: tuple[Path, ...]
    received: Path
    """The folder of storescp."""
    acknowledged: set[str] = field(default_factory=set)
    """SOP Instance UIDs for which 0x0000 came."""

    def killed_at(self, point: str) -> None:
        """The node was started, reached the point, and was gone."""
        self.node.launch({VARIABLE: point})
        wait_until(lambda: self._is_dead() or self._listens(), LEG_SECONDS, f"{point}: it listens")
        if not self._is_dead():
            self.send()
        wait_until(self._is_dead, LEG_SECONDS, f"{point} is reached")
        assert self.node.process.exit_code == -signal.SIGKILL, self.node.process.tail()

    def send(self) -> None:
        """What was not acknowledged is sent, each over an association of its own."""
        for path in self.files:
            ds = pydicom.dcmread(path)
            if ds.SOPInstanceUID not in self.acknowledged and status_of(ds, self.node) == 0x0000:
                self.acknowledged.add(ds.SOPInstanceUID)

    def require_kept(self) -> None:
        """Every acknowledged instance has its row, and a file with the data set that was sent."""
        with database.reading(self.node.engine) as conn:
            rows = {uid: queries.instance_by_uid(conn, uid) for uid in self.acknowledged}
        for sent in map(pydicom.dcmread, self.files):
            if sent.SOPInstanceUID in self.acknowledged:
                row = rows[sent.SOPInstanceUID]
                assert row is not None, f"{sent.SOPInstanceUID} was acknowledged and has no row"
                kept = pydicom.dcmread(self.node.folder / "data" / "instances" / row.path)
                assert kept == sent, f"{sent.SOPInstanceUID} was acknowledged and is not as sent"

    def require_whole(self) -> None:
        """What `require_delivered` says, and the audit verifies."""
        self.require_delivered()
        assert self.node.osteon("audit", "verify").is_success

    def require_delivered(self) -> None:
        """The job has ended, no other is open, and storescp holds each of its objects once."""
        self.require_kept()
        assert len(self.acknowledged) == len(self.files)
        (job,) = self.node.jobs(self.study)
        assert job.state is State.DELIVERED, job.reason
        with database.reading(self.node.engine) as conn:
            results = queries.results(conn, job.id)
            deliveries = queries.deliveries(conn, job.id)
            unfinished = queries.jobs(conn, states=set(State) - FINAL)
        assert {each.state for each in deliveries} == {DeliveryState.ACKNOWLEDGED}
        assert not unfinished
        made = sorted(each.written.sop_instance_uid for each in results)
        held = [pydicom.dcmread(path) for path in self.received.iterdir()]
        of_study = {str(ds.SOPInstanceUID): ds for ds in held if ds.StudyInstanceUID == self.study}
        assert sorted(of_study) == made
        for each in results:
            written = pydicom.dcmread(self.node.folder / "data" / "results" / each.written.path)
            assert of_study[each.written.sop_instance_uid] == written

    def _is_dead(self) -> bool:
        return not self.node.process.is_running

    def _listens(self) -> bool:
        return is_listening(self.node.address.port)


def drilled_node(folder: Path, storescp: Address, **settings: Any) -> Node:
    """A node that nobody has started, which delivers to storescp."""
    to = [destination("pacs", storescp)]
    return Node(folder, destinations=to, **{"module": "tests.light_node", **TABLES, **settings})


def status_of(ds: pydicom.Dataset, node: Node) -> int | None:
    """What the node answers to a C-STORE; None where it does not."""
    ae = AE(ae_title=node.first_peer)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    ae.add_requested_context(ds.SOPClassUID, ds.file_meta.TransferSyntaxUID)
    assoc = ae.associate(LOOPBACK, node.address.port, ae_title=node.address.ae_title)
    if not assoc.is_established:
        return None
    keep_answers(assoc)  # pynetdicom loses one in some thousand
    try:
        answer = assoc.send_c_store(ds)
    except RuntimeError:  # the connection ended between the association and the request
        return None
    finally:
        if assoc.is_established:
            assoc.release()
    return int(answer.Status) if "Status" in answer else None
