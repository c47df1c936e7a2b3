"""Making room: pixels of finished studies go by age and by free space, undelivered ones never."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.engine import Engine

from node.settings import Settings
from node.translate import Folders
from storage import database, files, ledger, retention
from storage.crashpoints import Point, reached

log = structlog.get_logger()

MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """What making room needs of the world around it."""

    settings: Settings
    engine: Engine
    folders: Folders
    clock: Callable[[], datetime]
    free_bytes: Callable[[Path], int]


def free_bytes(folder: Path) -> int:
    """What is free on the file system of a folder, for this user."""
    return shutil.disk_usage(folder).free


def make_room(home: Housekeeping) -> int:
    """The pixels of every study that may go, and should, are gone; returns how many studies."""
    keep_days = home.settings.retention.keep_days
    keep = None if keep_days is None else timedelta(days=keep_days)
    missing = _missing_bytes(home)
    with database.reading(home.engine) as conn:
        may_go = retention.removable(conn) if keep is not None or missing > 0 else ()
    chosen = retention.choose(may_go, home.clock(), keep=keep, missing_bytes=missing)
    reason = f"finished, and older than {keep_days:g} days" if keep_days is not None else ""
    if missing > 0:
        reason = f"finished, and {missing // MEBIBYTE + 1} MiB more should be free"
    return sum(_removed(home, each.study_instance_uid, reason) for each in chosen)


def sweep(home: Housekeeping) -> None:
    """What crashes and lost connections left behind is gone."""
    for root in (home.folders.instances, home.folders.quarantine):
        files.sweep(root, home.clock())
    with database.begin(home.engine) as conn:
        node, folders = home.settings.node.name, home.folders
        retention.remove_strays(conn, node, folders.instances, folders.results, home.clock())


def _missing_bytes(home: Housekeeping) -> int:
    wanted = home.settings.retention.make_room_below_mib
    if wanted is None:
        return 0
    return max(0, wanted * MEBIBYTE - home.free_bytes(home.folders.instances))


def _removed(home: Housekeeping, study_instance_uid: str, reason: str) -> bool:
    node = home.settings.node.name
    with database.begin(home.engine) as conn:
        marked = ledger.mark_removed(conn, node, home.clock(), study_instance_uid, reason=reason)
    if marked is None:
        return False
    reached(Point.PIXELS_MARKED)
    with database.begin(home.engine) as conn:
        retention.remove(conn, node, marked, home.folders.instances, home.folders.results)
    log.info("pixels_removed", study_instance_uid=study_instance_uid, reason=reason)
    return True
