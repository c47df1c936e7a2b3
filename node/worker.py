"""What runs inside a worker process. It imports torch, which the node itself never does."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from contextlib import suppress
from datetime import datetime
from multiprocessing import parent_process
from multiprocessing.connection import wait
from pathlib import Path

from node.limits import Limits, impose
from pipeline.types import ObjectKind, Outcome, Request


def prepare(threads: int, limits: Limits | None = None, *, is_rehearsed: bool = True) -> None:
    """The process is warm: it has imported what a job needs, and it ends when the node ends.

    It has no more than `limits` of the machine, where they are given. With `is_rehearsed` it has
    also made one result set of a phantom: the first one of a process takes twice as long as those
    that follow.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if limits is not None:
        impose(limits)
    # pydicom repeats malformed values, which may be a name, in warnings and log lines.
    warnings.simplefilter("ignore")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    threading.Thread(target=_end_with_parent, daemon=True, name="end-with-parent").start()
    import torch  # noqa: PLC0415 - only here, in the worker

    from pipeline import reconstruct, run  # noqa: F401, PLC0415 - the same

    torch.set_num_threads(threads)
    reconstruct.warm()
    if is_rehearsed:
        _rehearse_once()


def _rehearse_once() -> None:
    from pipeline import rehearsal  # noqa: PLC0415 - the node imports this module without torch

    # no result hangs on it: what fails here fails again in the first job, which has a row for it
    with suppress(Exception):
        rehearsal.warm_up()


def ready() -> int:
    """The process id, once `prepare` is through."""
    return os.getpid()


def work(request: Request) -> Outcome:
    """The outcome of `request`."""
    from pipeline.run import run  # noqa: PLC0415 - the node imports this module without torch

    return run(request)


def rehearse(folder: Path, at: datetime, kinds: tuple[ObjectKind, ...]) -> Outcome:
    """A result set of a patient that does not exist lies in `folder`."""
    from pipeline import rehearsal  # noqa: PLC0415 - the same

    return rehearsal.rehearse(folder, at, kinds)


def _end_with_parent() -> None:
    """A killed node must leave no worker behind: the sentinel is ready when the parent is gone."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
