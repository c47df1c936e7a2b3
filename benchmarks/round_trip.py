"""From the last image received to the last result accepted by Orthanc."""

from __future__ import annotations

import argparse
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.table import show
from pipeline.phantom import phantom
from pipeline.specimen import expose
from pipeline.types import Side, ViewName
from storage import database, queries
from storage.lifecycle import State
from tests.factories import file_bytes, uid, with_own_uids
from tests.node_process import Node, destination, running_node
from tests.orthanc import running_orthanc
from tests.peer_programs import Address, storescu
from tests.processes import resident_bytes, wait_until


def main() -> None:
    """Prints seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    made = phantom(Side.LEFT)
    at = datetime(2026, 1, 2, 10, 11, 12, tzinfo=UTC)
    exposures = [
        expose(made.density, view, Side.LEFT, at).ds for view in (ViewName.AP, ViewName.LL)
    ]
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_orthanc(folder / "orthanc") as orthanc:
            pacs = destination("pacs", Address(orthanc.ae_title, orthanc.dicom_port))
            defaults = {"reconstruction": {"poll_s": 0.25}}
            with running_node(folder / "node", destinations=[pacs], **defaults) as node:
                warm(node)
                for number in range(given.rounds):
                    files = []
                    for ds in exposures:
                        path = folder / f"{number}-{ds.ViewPosition}.dcm"
                        path.write_bytes(file_bytes(with_own_uids(ds, f"round {number}")))
                        files.append(path)
                    ran = storescu(node.address, *files)
                    if not ran.is_success:
                        raise RuntimeError(ran.output)
                    for step, seconds in steps(node, uid("study", f"round {number}")).items():
                        figures.setdefault(step, []).append(seconds)
    show("From the last image received", "s", figures)


def warm(node: Node) -> None:
    """The engine has been loaded, as it is in a node that has run for a minute."""

    def stands_still() -> bool:
        before = resident_bytes(node.process.pid)
        time.sleep(1.0)
        return abs(resident_bytes(node.process.pid) - before) < 100_000

    wait_until(stands_still, 60, "the engine is warm")


def steps(node: Node, study_instance_uid: str) -> dict[str, float]:
    """Seconds from the last image received to each step, by the rows."""
    job = node.finished(study_instance_uid)
    if job.state is not State.DELIVERED:
        raise RuntimeError(job.reason)
    study = node.study(study_instance_uid)
    assert study is not None
    with database.reading(node.engine) as conn:
        entries = queries.entries(conn, job_id=job.id, limit=10_000)
        deliveries = queries.deliveries(conn, job.id)
    received = study.last_received_at
    at = {entry.kind: entry.at for entry in entries}
    last = max(one.acknowledged_at for one in deliveries if one.acknowledged_at is not None)
    return {
        "the job is opened": (job.opened_at - received).total_seconds(),
        "its objects are written": (at["job.reconstructed"] - received).total_seconds(),
        "the last result is accepted": (last - received).total_seconds(),
    }


if __name__ == "__main__":
    main()
