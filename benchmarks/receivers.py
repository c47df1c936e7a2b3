"""What receives in the comparison of `benchmarks.receive`, each as a process of its own.

What a success means to each, by their documents and, for Orthanc's rows, its program:

- node: the file, its folders and the row are synced.
- orthanc: SyncStorageArea syncs the files. Its rows are in SQLite with WAL and SYNCHRONOUS=NORMAL,
  which a power cut may take the last of: it waits for the disk less often than the node.
- storescp, documented: nothing is synced, and there are no rows.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from node.settings import Completeness, Reconstruction
from tests.node_process import REPOSITORY, running_node
from tests.orthanc import running_orthanc
from tests.peer_programs import Address
from tests.processes import Process, free_port, is_listening, program

PDU_BYTES = 131_072
"""The node's own default, and the most that Orthanc and storescp can be set to."""
MOST_ASSOCIATIONS = 100
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Receiver:
    """One that runs."""

    to: Address
    process: Process
    scratch: Path | None = field(default=None)
    """A folder that is emptied after each run, where what was never synced lies."""

    def settle(self) -> None:
        """What it left for the disk to do is done, or is gone, before the next one's turn."""
        if self.scratch is not None:
            for path in self.scratch.iterdir():
                path.unlink()
        os.sync()


@contextmanager
def node(folder: Path) -> Iterator[Receiver]:
    """The node, with a place for every association, and its own times, not those of tests."""
    places = {
        "maximum_associations": MOST_ASSOCIATIONS,
        "maximum_associations_per_peer": MOST_ASSOCIATIONS,
    }
    times = {"quiet_s": Completeness().quiet_s, "ceiling_s": Completeness().ceiling_s}
    polls = {"poll_s": Reconstruction().poll_s}
    with running_node(
        folder, rules=(), receiver=places, completeness=times, reconstruction=polls
    ) as running:
        yield Receiver(running.address, running.process)


@contextmanager
def orthanc(folder: Path) -> Iterator[Receiver]:
    """Orthanc with sync, and with a thread for each of 16 associations instead of its four."""
    settings = {"MaximumPduLength": PDU_BYTES, "DicomThreadsCount": 16}
    with running_orthanc(folder, settings=settings) as running:
        yield Receiver(Address(running.ae_title, running.dicom_port), running.process)


@contextmanager
def storescp(folder: Path) -> Iterator[Receiver]:
    """dcmtk's storescp, a process for each association."""
    words = ["--fork", "+B", "-pdu", str(PDU_BYTES), "-aet", "STORESCP"]
    scratch, port = _scratch(folder), free_port()
    command = [program("storescp"), *words, "-od", str(scratch), str(port)]
    with _serving(command, folder, port, {"TCP_NODELAY": "1"}) as process:
        yield Receiver(Address("STORESCP", port), process, scratch)


@contextmanager
def documented(folder: Path) -> Iterator[Receiver]:
    """The handler of pynetdicom's documentation."""
    scratch, port = _scratch(folder), free_port()
    command = [sys.executable, "-m", "benchmarks.documented", "DOCUMENTED", str(port), str(scratch)]
    with _serving(command, folder, port, {}) as process:
        yield Receiver(Address("DOCUMENTED", port), process, scratch)


@contextmanager
def _serving(
    command: list[str], folder: Path, port: int, environment: dict[str, str]
) -> Iterator[Process]:
    log = folder / "log"
    with Process(command, log=log, cwd=REPOSITORY, environment=environment) as process:
        process.wait_until(lambda: is_listening(port), START_SECONDS, "it listens")
        yield process


def _scratch(folder: Path) -> Path:
    scratch = folder / "received"
    scratch.mkdir(parents=True)
    return scratch


RECEIVERS = {"node": node, "orthanc": orthanc, "storescp": storescp, "documented": documented}
