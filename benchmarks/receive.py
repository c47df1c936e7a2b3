"""C-STORE of 15 MB radiographs over 1 and 4 associations: the node against Orthanc.

Both have the bytes on disk (fsync) and the row committed before they answer.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.table import show
from tests.node_process import REPOSITORY, running_node
from tests.orthanc import running_orthanc
from tests.peer_programs import Address

ROWS = COLUMNS = 2740
"""15.0 MB of 16 bits."""
MEGABYTES = 2 * ROWS * COLUMNS / 1e6
PDU_BYTES = 131_072
"""The node's own default, and the most that Orthanc can be set to."""


def rate(to: Address, associations: int, each: int, name: str) -> float:
    """Instances a second over `associations` at a time."""
    go_at = time.time() + 2.0 + 0.5 * associations
    command = [sys.executable, "-m", "benchmarks.sender", to.ae_title, str(to.port), str(each)]
    senders = [
        subprocess.Popen(
            [*command, str(ROWS), str(COLUMNS), f"{name} {number}", str(go_at)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        for number in range(associations)
    ]
    answers = [sender.communicate() for sender in senders]
    if any(sender.returncode for sender in senders):
        raise RuntimeError("a sender failed")
    return associations * each / max(float(out) for out, _ in answers)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, which other load on the machine blurs less."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Prints rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--instances", type=int, default=24, help="in each run")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: temporary")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    figures: dict[str, list[float]] = {}
    burden: dict[str, list[float]] = {}
    try:
        with (
            running_orthanc(
                folder / "orthanc", settings={"MaximumPduLength": PDU_BYTES}
            ) as orthanc,
            running_node(folder / "node", rules=()) as node,
        ):
            peers = {
                "node": (node.address, node.process.pid),
                "Orthanc": (Address(orthanc.ae_title, orthanc.dicom_port), orthanc.process.pid),
            }
            for number in range(given.rounds):
                for associations in (1, 4):
                    for name, (to, pid) in peers.items():
                        row = f"{name}, {associations} assoc."
                        study = f"{row} {number}"
                        before = cpu_seconds(pid)
                        measured = rate(to, associations, given.instances // associations, study)
                        figures.setdefault(row, []).append(measured)
                        spent = 1000 * (cpu_seconds(pid) - before)
                        burden.setdefault(row, []).append(spent / given.instances / MEGABYTES)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show("C-STORE of DX, 15.0 MB, fsync and row", "instances/s", figures)
    show("Processor time", "ms/MB", burden)
    for associations in (1, 4):
        ours, theirs = (
            median(figures[f"{name}, {associations} assoc."]) for name in ("node", "Orthanc")
        )
        print(f"{associations} association(s): the node takes {ours / theirs:.2f} times as many")


if __name__ == "__main__":
    main()
