"""The clockwork. Nothing else imports APScheduler.

Each task has a thread of its own and never runs twice at once; a run that was missed, by a long
run or a stepped clock, is not made up for, because every run asks the rows what is to be done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Task:
    """Something to do again and again."""

    name: str
    every_s: float
    do: Callable[[], object]


def start(tasks: tuple[Task, ...]) -> Callable[[], None]:
    """The tasks run from now on; call what comes back to stop them, after the runs under way."""
    scheduler = BackgroundScheduler(
        timezone=UTC,
        executors={task.name: ThreadPoolExecutor(1) for task in tasks},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    for task in tasks:
        scheduler.add_job(
            _guarded(task), "interval", seconds=task.every_s, id=task.name, executor=task.name
        )
    scheduler.start()

    def stop() -> None:
        scheduler.shutdown()

    return stop


def _guarded(task: Task) -> Callable[[], None]:
    """A fault is told once, and not with every run while it lasts, and so is its end."""
    told = ""

    def run() -> None:
        nonlocal told
        try:
            task.do()
        except Exception as fault:
            # The thread's boundary: the rows are as they were, and the next run asks them again.
            if repr(fault) != told:
                log.exception("task_failed", task=task.name)
            told = repr(fault)
            return
        if told:
            log.info("task_works_again", task=task.name)
        told = ""

    return run
