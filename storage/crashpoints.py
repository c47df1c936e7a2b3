"""Named points at which a test can end the process as a power cut would: SIGKILL, no clean-up.

`tests/acceptance/crash.py` sets OSTEON_CRASH_AT to the name of a point, or to "name:3" for the
third time that it is reached. Unset, which is always in a hospital, a point costs one look into
the environment.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from itertools import count
from typing import Final

VARIABLE: Final = "OSTEON_CRASH_AT"


class Point(StrEnum):
    """Where the promise could break, in the order of the life of a study."""

    DURING_MIGRATION = "during-migration"
    """The new tables stand in a transaction that is not committed."""
    AFTER_MIGRATION = "after-migration"
    BEFORE_FSYNC = "before-fsync"
    """All bytes were written; none need be on the disk."""
    AFTER_FSYNC = "after-fsync"
    AFTER_RENAME = "after-rename"
    """The file has its name, and no row."""
    BEFORE_ROW = "before-row"
    """The row is written in a transaction that is not committed."""
    AFTER_ROW = "after-row"
    """The row is committed, and the peer does not know it."""
    AFTER_STATUS = "after-status"
    """0x0000 has left."""
    JOB_QUEUED = "job-queued"
    JOB_CLAIMED = "job-claimed"
    """RECONSTRUCTING, and no engine has heard of it."""
    OUTCOME_MADE = "outcome-made"
    """The objects lie on disk, and their rows do not stand."""
    OUTCOME_STORED = "outcome-stored"
    """DELIVERING, WITHHELD or FAILED."""
    BETWEEN_OBJECTS = "between-objects"
    """The destination has answered for one object, and the next is not sent."""
    BEFORE_ANSWERS = "before-answers"
    """The destination has answered, and no row says so."""
    AFTER_ANSWERS = "after-answers"
    JOB_SETTLED = "job-settled"
    PIXELS_MARKED = "pixels-marked"
    """The rows say that the pixels of a study are gone, and the files are there."""
    BETWEEN_REMOVALS = "between-removals"
    """One file of a study is gone, and the next is not."""
    COMMITMENT_ASKED = "commitment-asked"
    """The row of a request for storage commitment is committed, and whoever asked is not told."""
    COMMITMENT_TAKEN = "commitment-taken"
    """0x0000 has left, and no report."""
    COMMITMENT_TOLD = "commitment-told"
    """The report was heard, and no row says so."""


def reached(point: Point) -> None:
    """Nothing happens, unless the environment names this point."""
    named = os.environ.get(VARIABLE)
    if named is None:
        return
    name, _, turn = named.partition(":")
    if name == point and next(_visits(point)) == int(turn or 1):
        os.kill(os.getpid(), signal.SIGKILL)


@cache
def _visits(_point: Point) -> Iterator[int]:
    return count(1)
