"""C-STORE of 15 MB radiographs and 0.5 MB instances, over 1, 4 and 16 associations: who is faster?

The node and Orthanc have the bytes on the disk before they answer; dcmtk's storescp and the
documented handler of pynetdicom do not: `benchmarks.receivers` says what a success means to each.
One run of each after another, so that a change of the machine hits all; medians are compared.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.receivers import RECEIVERS, Receiver
from benchmarks.table import show
from tests.node_process import REPOSITORY
from tests.peer_programs import Address


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent in one run."""

    side_px: int
    """Rows and columns, of 16 bits."""
    instances: int
    """Over all associations; a multiple of 16."""

    @property
    def megabytes(self) -> float:
        """Of one instance, pixels alone."""
        return 2 * self.side_px**2 / 1e6


LOADS = {"dx": Load(2740, 32), "small": Load(500, 320)}
WARM_UP = Load(500, 16)
"""Before anything is measured: the first instances load what the others find."""
ASSOCIATIONS = (1, 4, 16)
Figures = dict[tuple[str, int, str], list[float]]
"""By load, associations and receiver, one figure for each round."""


def rate(to: Address, associations: int, load: Load, name: str) -> float:
    """Instances a second over `associations` at a time."""
    each = max(1, load.instances // associations)
    words = [to.ae_title, to.port, associations, each, load.side_px, name]
    command = [sys.executable, "-m", "benchmarks.sender", *map(str, words)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, check=True)
    return associations * each / float(ran.stdout)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, which other load on the machine blurs less."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def forget_peak(pid: int) -> None:
    """The peak of a process begins anew with what it uses now (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak_megabytes(pid: int) -> float:
    """The most resident memory of a process since then, without what it started."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6


def has_time(spent_s: float, rounds: int, minutes: float) -> bool:
    """True if one more round, as long as those so far, ends within so many minutes."""
    return spent_s * (1 + 1 / rounds) <= 60 * minutes


def measured(given: argparse.Namespace, receivers: Mapping[str, Receiver]) -> Sequence[Figures]:
    """Instances a second, ms of processor time a MB, and peak MB of memory."""
    rates: Figures = {}
    burdens: Figures = {}
    peaks: Figures = {}
    for name, receiver in receivers.items():
        rate(receiver.to, 1, WARM_UP, f"warm-up {name}")
        receiver.settle()
    began = time.monotonic()
    for number in range(given.rounds):
        if number and not has_time(time.monotonic() - began, number, given.minutes):
            break
        for kind in given.loads:
            load = Load(LOADS[kind].side_px, given.instances or LOADS[kind].instances)
            for associations in given.associations:
                for name, receiver in receivers.items():
                    cell, pid = (kind, associations, name), receiver.process.pid
                    forget_peak(pid)
                    before = cpu_seconds(pid)
                    found = rate(receiver.to, associations, load, f"{cell} {number}")
                    spent = 1000 * (cpu_seconds(pid) - before) / load.instances / load.megabytes
                    rates.setdefault(cell, []).append(found)
                    burdens.setdefault(cell, []).append(spent)
                    peaks.setdefault(cell, []).append(peak_megabytes(pid))
                    receiver.settle()
    return rates, burdens, peaks


def words_of(figures: Figures, *names: str) -> dict[str, list[float]]:
    """Rows of a table, of those named or of all, in the order of loads and associations."""
    return {
        f"{kind}, {associations} assoc., {name}": values
        for (kind, associations, name), values in figures.items()
        if not names or name in names
    }


def print_ratios(rates: Figures) -> None:
    """How many times as many the node takes as each other."""
    for (kind, associations, name), theirs in rates.items():
        if name != "node" and (ours := rates.get((kind, associations, "node"))) is not None:
            ratio = median(ours) / median(theirs)
            print(f"{kind}, {associations} association(s): the node takes {ratio:.2f} x {name}")


def main() -> None:
    """Prints rates, burdens, peaks, and the ratios of the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=14.0, help="no round ends later")
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=[*LOADS])
    parser.add_argument("--associations", nargs="+", type=int, default=ASSOCIATIONS)
    parser.add_argument("--receivers", nargs="+", choices=RECEIVERS, default=[*RECEIVERS])
    parser.add_argument("--instances", type=int, help="in each run; default: as the load says")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: temporary")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        with ExitStack() as stack:
            running = {
                name: stack.enter_context(RECEIVERS[name](folder / name))
                for name in given.receivers
            }
            rates, burdens, peaks = measured(given, running)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show("C-STORE", "instances/s", words_of(rates))
    # A forked storescp is charged to its children, which are gone when it is asked.
    show("Processor time", "ms/MB", words_of(burdens, "node", "orthanc", "documented"))
    show("Peak of resident memory", "MB", words_of(peaks, "node", "orthanc", "documented"))
    print_ratios(rates)


if __name__ == "__main__":
    main()
