"""What a worker may use of the machine: decoders of pixels are not to be trusted with all of it.

Time is not among these: the deadline of an attempt is kept by the dispatcher, which ends the
process. What a process asks for beyond its limit fails in that process alone, as an error that
becomes the reason in the job's row; the kernel's own answer to too little memory may hit the
receiver instead.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from node.settings import Reconstruction

DESCRIPTORS: Final = 512
"""A job opens a few files at a time; torch and its threads some dozens."""
FILE_BYTES: Final = 4 * 1024**3
"""The largest result object: DICOM's lengths end here too (PS3.5 7.1.2)."""
PART_OF_THE_MACHINE: Final = 0.75
"""For all workers together; the rest is the receiver's, the database's and the page cache's."""
MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one process."""

    memory_bytes: int
    descriptors: int = DESCRIPTORS
    file_bytes: int = FILE_BYTES


def limits(settings: Reconstruction, machine_bytes: int) -> Limits:
    """What each worker may use on a machine with so much memory."""
    if settings.maximum_memory_mib is not None:
        return Limits(settings.maximum_memory_mib * MEBIBYTE)
    return Limits(int(machine_bytes * PART_OF_THE_MACHINE) // settings.workers)


def machine_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def impose(limits: Limits) -> None:
    """This process, and what it starts, has no more than this, for good; nor does it dump core.

    RLIMIT_DATA counts what can be written to, and so lets a driver reserve address space that it
    does not use, as CUDA's does; a core would hold the pixels of a patient.
    """
    for what, wanted in (
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_NOFILE, limits.descriptors),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        least = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(what, (least, least))
