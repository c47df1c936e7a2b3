"""Start-up of the node to its first C-ECHO, and its memory when idle."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks.table import show
from tests.node_process import destination, running_node
from tests.peer_programs import Address
from tests.processes import descendants, free_port, resident_bytes, wait_until


def main() -> None:
    """Prints seconds and MB."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    seconds: list[float] = []
    own: list[float] = []
    whole: list[float] = []
    nowhere = destination("nowhere", Address("NOWHERE", free_port()))
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            with running_node(Path(folder), destinations=[nowhere]) as node:
                seconds.append(time.perf_counter() - began)
                wait_until(lambda pid=node.process.pid: is_warm(pid), 60, "the engine is warm")
                both = resident_bytes(node.process.pid)
                engines = sum(resident_bytes(pid) for pid in direct(node.process.pid))
                whole.append(both / 1e6)
                own.append((both - engines) / 1e6)
    show("Start of the process to the first C-ECHO", "s", {"node": seconds})
    show("Resident memory, idle", "MB", {"receiver": own, "with the engine": whole})


def direct(pid: int) -> list[int]:
    """The children, without theirs."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_warm(pid: int) -> bool:
    """True once the engine's memory stands still for a second."""
    before = resident_bytes(pid)
    time.sleep(1.0)
    return bool(descendants(pid)) and abs(resident_bytes(pid) - before) < 100_000


if __name__ == "__main__":
    main()
