"""Processor time of one 0.5 MB instance in the receiver, whole and by its parts.

Rates mean little on a machine that is busy with other work; the processor time that a thread has
used means more. The receiver runs in this process, its sender in another; no clockwork runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
from sqlalchemy import Engine

from benchmarks.receive import cpu_seconds
from node import receiver
from node.answering import PromptProvider
from node.door import Door
from node.header import read_header
from node.settings import Peer, Receiver, Settings
from node.storing import StoreRequest
from storage import database, files, ledger
from storage.records import Instance
from tests.factories import file_bytes, radiograph
from tests.node_process import REPOSITORY
from tests.storage_cases import NODE, an_instance, digest

INSTANCES = 64
ASSOCIATIONS = 4
SIDE_PX = 500


def spent_ms(do: Callable[[int], object], instances: int = INSTANCES) -> float:
    """Processor time of this thread for one call, after one that is not counted."""
    do(0)
    began = time.thread_time()
    for number in range(1, instances + 1):
        do(number)
    return 1000 * (time.thread_time() - began) / instances


def header(folder: Path, data: bytes) -> float:
    """Of a header that is read."""
    path = folder / "one.dcm"
    path.write_bytes(data)
    return spent_ms(lambda _: read_header(path))


def adopted(folder: Path, data: bytes) -> float:
    """Of a file that was written, synced, renamed, and synced in its folder."""
    incoming = files.incoming(folder / "store")
    names = [incoming / f"{number}.dcm" for number in range(INSTANCES + 1)]
    for number, name in enumerate(names):
        name.write_bytes(data[:-8] + number.to_bytes(8, "big"))
    found = [files.Digest(digest(str(n)), len(data)) for n in range(INSTANCES + 1)]
    return spent_ms(lambda n: files.adopt(folder / "store", names[n], found[n]))


def rows(engine: Engine, together: int) -> float:
    """Of a row with its audit entry, so many in one commit."""
    numbers = iter(range(10**9))

    def instance() -> Instance:
        return replace(an_instance(), sop_instance_uid=f"1.2.{together}.{next(numbers)}")

    def write(_number: int) -> None:
        with database.begin(engine) as conn:
            for _ in range(together):
                ledger.receive(conn, NODE, instance())

    return spent_ms(write, INSTANCES // together) / together


def answer() -> float:
    """Of a success that is told."""
    request = StoreRequest(1, 7, "1.2.3", "1.2.3.4")
    world: Any = SimpleNamespace(
        is_requestor=False,
        requestor=SimpleNamespace(maximum_length=16_384),
        dul=SimpleNamespace(send_pdu=lambda _: None),
    )
    provider = PromptProvider(world)
    provider.sending = threading.Lock()
    return spent_ms(lambda _: provider.succeed(request))


def whole(folder: Path, engine: Engine) -> tuple[float, float]:
    """Of all of it, over four associations, and how often it waited for the disk but for rows."""
    settings = Settings(
        receiver=Receiver(port=0), peers=(Peer(ae_title="MODALITY", addresses=("127.0.0.1",)),)
    )
    stores = (folder / "instances", folder / "quarantine")
    server = receiver.listen(Door(settings, engine, *stores, lambda: datetime.now(UTC)))
    words = ["OSTEON", server.server_address[1], ASSOCIATIONS, INSTANCES, SIDE_PX, "parts"]
    command = [sys.executable, "-m", "benchmarks.sender", *map(str, words)]
    try:
        with patch.object(os, "fsync", wraps=os.fsync) as synced:
            before = cpu_seconds(os.getpid())
            subprocess.run(command, stdout=subprocess.DEVNULL, cwd=REPOSITORY, check=True)
            spent = cpu_seconds(os.getpid()) - before
    finally:
        server.shutdown()
    received = ASSOCIATIONS * INSTANCES
    return 1000 * spent / received, synced.call_count / received


def main() -> None:
    """Prints a line for each part."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = database.connect(f"sqlite:///{folder / 'rows.sqlite'}")
        stack.callback(engine.dispose)
        database.migrate(engine)
        pixels = np.random.default_rng(1).integers(0, 4096, (SIDE_PX, SIDE_PX), np.uint16)
        data = file_bytes(radiograph(pixels=pixels))
        print(f"header {header(folder, data):.2f} ms")
        print(f"file kept {adopted(folder, data):.2f} ms")
        print(f"row alone {rows(engine, 1):.2f} ms, of four {rows(engine, 4):.2f} ms")
        print(f"answer {answer():.2f} ms")
        spent, syncs = whole(folder, engine)
        print(f"whole {spent:.2f} ms; {syncs:.1f} waits for a file or folder")


if __name__ == "__main__":
    main()
