"""Constant load for as long as one likes: do memory, descriptors and threads stand still?

Once a second, several associations at a time send a few small instances each, and now and then
15 MB radiographs. Between two bursts the node's own process is looked at; its engines are not.
A line through what is found after the first fifth says how it grows.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.receive import LOADS
from benchmarks.receivers import node
from benchmarks.sender import send
from tests.peer_programs import Address

BURST_EVERY_S: Final = 1.0
EACH: Final = 2
"""Instances of each association in a burst: a study of two views."""
LARGE_EVERY: Final = 30
"""Bursts; one of them is of 15 MB radiographs, more would fill the disk."""
WARM_UP: Final = 0.2
"""Part of the time in which caches and pools may fill."""
LEAST_MINUTES: Final = 10
"""A shorter run ends while the caches fill."""
MAY_RISE: Final = {"memory_mb": 10.0, "descriptors": 4.0, "threads": 4.0}
"""By so much, after the warm-up, from first to last: what the next load gives back."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the node uses at one moment."""

    at_s: float
    """Since the first burst."""
    instances: int
    """Acknowledged until then."""
    memory_mb: float
    descriptors: int
    threads: int


def sample(pid: int, at_s: float, instances: int) -> Sample:
    """What a process uses now (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    memory_mb = int(status.partition("VmRSS:")[2].split()[0]) * 1024 / 1e6
    threads = int(status.partition("Threads:")[2].split()[0])
    descriptors = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    return Sample(at_s, instances, memory_mb, descriptors, threads)


def after_warm_up(samples: Sequence[Sample]) -> list[Sample]:
    """Those that are judged."""
    begin_s = WARM_UP * samples[-1].at_s
    return [each for each in samples if each.at_s >= begin_s]


def rise_per_s(samples: Sequence[Sample], what: str) -> float:
    """The slope of the line through `what`, by least squares."""
    at_s = [each.at_s for each in samples]
    return float(np.polyfit(at_s, [getattr(each, what) for each in samples], 1)[0])


def is_flat(samples: Sequence[Sample], what: str) -> bool:
    """True if `what` does not rise by more than it may, along its line from first to last."""
    span_s = samples[-1].at_s - samples[0].at_s
    return rise_per_s(samples, what) * span_s <= MAY_RISE[what]


def soak(to: Address, pid: int, given: argparse.Namespace) -> list[Sample]:
    """Samples until the time is over, one at each `given.every` seconds or as soon as it can be."""
    began, found, instances, number = time.monotonic(), list[Sample](), 0, 0
    while (at_s := time.monotonic() - began) < 60 * given.minutes:
        if at_s >= given.every * len(found):
            found.append(sample(pid, at_s, instances))
        side_px = LOADS["dx" if number % LARGE_EVERY == LARGE_EVERY - 1 else "small"].side_px
        send(to, given.associations, EACH, side_px, f"soak {number}")
        number += 1
        instances += given.associations * EACH
        time.sleep(max(0.0, began + number * BURST_EVERY_S - time.monotonic()))
    return [*found, sample(pid, time.monotonic() - began, instances)]


def show(samples: Sequence[Sample]) -> None:
    """All samples as a table."""
    table = Table(title="The node under constant load", title_justify="left")
    for column in ("minute", "instances", "memory, MB", "descriptors", "threads"):
        table.add_column(column, justify="right")
    for each in samples:
        figures = (each.instances, f"{each.memory_mb:.1f}", each.descriptors, each.threads)
        table.add_row(f"{each.at_s / 60:.1f}", *map(str, figures))
    Console().print(table)


def main() -> None:
    """Prints samples and slopes; the exit code is 1 where one is not flat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--every", type=float, default=30, help="s between two samples")
    parser.add_argument("--associations", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="on the disk to fill; default: temporary")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        with node(folder) as running:
            found = soak(running.to, running.process.pid, given)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(found)
    judged = after_warm_up(found)
    for what in MAY_RISE:
        verdict = "flat" if is_flat(judged, what) else "NOT FLAT"
        print(f"{what}: {3600 * rise_per_s(judged, what):+.1f} an hour: {verdict}")
    if given.minutes < LEAST_MINUTES:
        print(f"Less than {LEAST_MINUTES} minutes: this only shows that it runs.")
    sys.exit(not all(is_flat(judged, what) for what in MAY_RISE))


if __name__ == "__main__":
    main()
