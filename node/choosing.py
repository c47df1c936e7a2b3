"""Which of the queued jobs a node takes: one whose images lie in its own folder.

Several nodes on one database may have one data folder, and then each takes any job; or each has its
own, and then a job is left to the node that has its images. One that nobody can take, because its
images came to several folders, is taken when a delivery would be given up, to fail by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import structlog
from sqlalchemy.engine import Connection

from node.retries import longest_wait
from node.settings import Retries
from storage import queries
from storage.records import Instance, Job

log = structlog.get_logger()

Elsewhere = dict[int, datetime]
"""Until when each job is left to other nodes, by its number. It may be lost at any time."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A job, with its images."""

    job: Job
    instances: tuple[Instance, ...]
    absent: tuple[str, ...]
    """SOP Instance UIDs of those that are not in this node's folder."""


def choose(
    conn: Connection, now: datetime, retries: Retries, instances: Path, elsewhere: Elsewhere
) -> Choice | None:
    """The next job for this node; None where there is none.

    Args:
        conn: What is asked.
        now: Aware.
        retries: How long a job is left to others.
        instances: Root of this node's instance store.
        elsewhere: What was left to others before; brought up to date.
    """
    for job_id in [number for number, until in elsewhere.items() if until <= now]:
        del elsewhere[job_id]
    while (job := queries.next_queued(conn, now, longest_wait(retries), elsewhere)) is not None:
        known = queries.job_instances(conn, job.id)
        absent = tuple(each for each in known if not (instances / each.path).is_file())
        until = job.next_attempt_at + timedelta(seconds=retries.give_up_after_s)
        if not absent or until <= now:
            return Choice(job, known, tuple(each.sop_instance_uid for each in absent))
        elsewhere[job.id] = until
        log.info("job_left_to_another_node", job_id=job.id)
    return None
