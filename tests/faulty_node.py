"""The node as a process of its own, whose engines are processes that do what their study says.

`python -m tests.faulty_node serve --config node.toml`. An engine reads the pixels as the pipeline
does, under the limits of a worker, and writes small objects in place of bones; before, it does what
the StudyDescription says, if it is one of those below.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

from pydicom import dcmread

from node import app, logs
from node.limits import impose, limits, machine_bytes
from node.settings import Reconstruction, load
from pipeline.pixels import read_dataset_of, stored_values
from pipeline.types import Reconstructed, Request
from tests.light_node import made

KILLS: Final = "kills its engine"
LASTS: Final = "takes its time"
LASTS_S: Final = 2.0


class FaultyEngine(ProcessPoolExecutor):
    """One process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(done, *args) if args else super().submit(fn, **kwargs)


def done(request: Request) -> Reconstructed:
    """The objects, if the study lets the engine live."""
    said = dcmread(request.sources[0].path, stop_before_pixels=True).get("StudyDescription")
    if said == KILLS:
        os.kill(os.getpid(), signal.SIGKILL)
    if said == LASTS:
        time.sleep(LASTS_S)
    for source in request.sources:
        stored_values(read_dataset_of(source.path))
    return made(request)


def engine(settings: Reconstruction) -> Executor:
    """A process with the limits of a worker, and without torch."""
    context = multiprocessing.get_context("spawn")
    own = (limits(settings, machine_bytes()),)
    return FaultyEngine(1, mp_context=context, initializer=impose, initargs=own)


if __name__ == "__main__":
    station = app.compose(load(Path(sys.argv[sys.argv.index("--config") + 1]), os.environ))
    logs.configure(station.settings.log)
    app.serve_until_signal(station, engine)
