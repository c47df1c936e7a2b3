"""Taking up a finished job again; the running node does the work."""

from __future__ import annotations

from node.app import Station
from storage import database, ledger, queries
from storage.errors import NotAllowed, UnknownJob
from storage.lifecycle import FINAL, State


def requeue(station: Station, job_id: int, again: bool) -> str:
    """What will happen now, as a sentence.

    Raises:
        UnknownJob: there is no such job.
        NotAllowed: the job is not finished.
    """
    node, at = station.settings.node.name, station.clock()
    with database.begin(station.engine) as conn:
        job = queries.job(conn, job_id)
        if job is None:
            raise UnknownJob(f"There is no job {job_id}.")
        if job.state not in FINAL:
            raise NotAllowed(f"Job {job_id} is {job.state}: it is still being worked on.")
        has_objects = bool(queries.results(conn, job_id))
        if has_objects and job.state is not State.WITHHELD and not again:
            ledger.resend(conn, node, job_id, at)
            return f"Job {job_id}: its objects are delivered again, under the same UIDs."
        ledger.requeue(conn, node, job_id, at)
    return f"Job {job_id}: it is reconstructed again; the same input gives the same UIDs."
