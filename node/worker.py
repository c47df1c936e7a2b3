"""What runs inside a worker process. It imports torch, which the node itself never does."""

from __future__ import annotations

import errno
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
from typing import Final

from node.limits import Limits, impose
from pipeline.types import ObjectKind, Outcome, Request

SHORT_OF_MEMORY: Final = (
    "can't allocate memory",  # torch, on the processor
    "out of memory",  # torch, on a GPU
    "Failed to allocate memory",  # ITK
    "bad_alloc",  # what a wrapper makes of C++
)


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
    """The outcome of `request`.

    Raises:
        MemoryError: a library was short of memory, however it says so.
    """
    from pipeline.run import run  # noqa: PLC0415 - the node imports this module without torch

    try:
        return run(request)
    except (OSError, RuntimeError) as fault:
        if is_short_of_memory(fault):
            raise MemoryError from None
        raise


def is_short_of_memory(fault: Exception) -> bool:
    """True if a library says that it got no memory: torch, ITK and the system have no MemoryError.

    An error of torch must not leave this process as it is: to read it the node would import torch.
    """
    if isinstance(fault, OSError):
        return fault.errno == errno.ENOMEM
    return any(words in str(fault) for words in SHORT_OF_MEMORY)


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
