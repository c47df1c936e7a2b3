"""Pixels that nobody needs any more: which may go, and how they go. Rows and the audit stay.

A study may go once nothing hangs on its pixels: it was decided, nobody is sending it, and each of
its jobs is DELIVERED or WITHHELD. A FAILED job is undelivered: its study stays until somebody has
looked. First the rows say that the pixels are gone (`ledger.mark_removed`), then the files go;
between the two a crash leaves files without a row that needs them, and `remove_strays` finds those.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Select, exists, func, select

from storage import audit
from storage.crashpoints import Point, reached
from storage.lifecycle import State
from storage.records import StudyState
from storage.schema import instances, job_instances, jobs, studies, transfers

STRAY_AFTER: Final = timedelta(days=1)
"""Far longer than a file may be without its row, also where the clock is set forward by hours."""
_DONE: Final = (State.DELIVERED, State.WITHHELD)


@dataclass(frozen=True, slots=True)
class Removable:
    """A study whose pixels nobody waits for."""

    study_instance_uid: str
    last_used_at: datetime
    """Its last image or the last step of its jobs, whichever came later."""
    size_bytes: int
    """Of the images that are still here."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What a study had on disk when its rows were marked."""

    paths: tuple[str, ...]
    """Of its images, relative to the instance store."""
    job_ids: tuple[int, ...]


def choose(
    removable: Sequence[Removable], now: datetime, *, keep: timedelta | None, missing_bytes: int
) -> tuple[Removable, ...]:
    """The oldest first: all that are older than `keep`, and then as many as free `missing_bytes`.

    `keep` of None is for ever. What results take is not counted, so that rather one study more
    goes than one too few.
    """
    chosen: list[Removable] = []
    for study in sorted(removable, key=lambda one: (one.last_used_at, one.study_instance_uid)):
        is_old = keep is not None and now - study.last_used_at > keep
        if not is_old and sum(one.size_bytes for one in chosen) >= missing_bytes:
            break
        chosen.append(study)
    return tuple(chosen)


def removable(conn: Connection) -> tuple[Removable, ...]:
    """Every study that may go, with pixels that are still here."""
    return tuple(
        Removable(
            row.study_instance_uid,
            max(at for at in (row.last_received_at, row.last_step_at) if at is not None),
            int(row.size_bytes),
        )
        for row in conn.execute(removable_rows())
    )


def remove(
    conn: Connection, node: str, removed: Removed, instance_store: Path, results: Path
) -> None:
    """The files are gone, but for those that were received again since they were marked.

    The chain is held: whoever receives the same instance meanwhile waits, and then sees whether
    its file is still there.
    """
    audit.lock(conn, node)
    needed = _needed(conn, removed.paths)
    for path in removed.paths:
        if path not in needed:
            (instance_store / path).unlink(missing_ok=True)
            reached(Point.BETWEEN_REMOVALS)
    _remove_results(conn, removed.job_ids, results)


def remove_strays(
    conn: Connection, node: str, instance_store: Path, results: Path, now: datetime
) -> int:
    """Images that no row needs, and nobody has written to for a day, are gone; returns how many.

    So are the results of jobs whose images were removed.

    A crash leaves them: between a file and its row, for which no success was sent, or between the
    mark of a study and the removal of its files.
    """
    limit = (now - STRAY_AFTER).timestamp()
    swept = 0
    for folder in sorted(instance_store.glob("[0-9a-f][0-9a-f]")):
        old = [file for file in folder.rglob("*.dcm") if file.stat().st_mtime < limit]
        if not old:
            continue
        audit.lock(conn, node)
        needed = _needed(conn, [str(file.relative_to(instance_store)) for file in old])
        for file in old:
            if str(file.relative_to(instance_store)) not in needed:
                file.unlink(missing_ok=True)
                swept += 1
    folders = (folder.name.removeprefix("job-") for folder in results.glob("job-*"))
    _remove_results(conn, [int(name) for name in folders if name.isdecimal()], results)
    return swept


def _remove_results(conn: Connection, job_ids: Sequence[int], results: Path) -> None:
    """Of those of the jobs that are done, and of which no image is here any more."""
    of_job = instances.c.sop_instance_uid == job_instances.c.sop_instance_uid
    inputs = exists().where(job_instances.c.job_id == jobs.c.id, of_job)
    done = select(jobs.c.id).where(
        jobs.c.id.in_(job_ids),
        jobs.c.state.in_(_DONE),
        inputs,
        ~inputs.where(instances.c.removed_at.is_(None)),
    )
    for job_id in conn.execute(done).scalars():
        shutil.rmtree(results / f"job-{job_id}", ignore_errors=True)


def _needed(conn: Connection, paths: Iterable[str]) -> frozenset[str]:
    """Those of `paths` that an instance has which was not removed."""
    here = instances.c.path.in_(list(paths)) & instances.c.removed_at.is_(None)
    return frozenset(conn.execute(select(instances.c.path).where(here)).scalars())


def removable_rows() -> Select[tuple[str, datetime, datetime | None, int]]:
    """A row for each study that may go: its UID, last image, last step and size."""
    uid = studies.c.study_instance_uid
    last_step = select(func.max(jobs.c.changed_at)).where(jobs.c.study_instance_uid == uid)
    unfinished = exists().where(jobs.c.study_instance_uid == uid, jobs.c.state.not_in(_DONE))
    is_sent = exists().where(transfers.c.study_instance_uid == uid)
    return (
        select(
            uid,
            studies.c.last_received_at,
            last_step.correlate(studies).scalar_subquery().label("last_step_at"),
            func.sum(instances.c.size_bytes).label("size_bytes"),
        )
        .join(instances, instances.c.study_instance_uid == uid)
        .where(
            studies.c.state != StudyState.WAITING,
            instances.c.removed_at.is_(None),
            ~unfinished,
            ~is_sent,
        )
        .group_by(uid, studies.c.last_received_at)
        .order_by(studies.c.last_received_at)
    )
