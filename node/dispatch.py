"""One tick of the node's heart: decide studies, collect results, end what is overdue, claim jobs.

The rows are the only truth: a tick asks them what is to be done, and may be cut off at any point.
Everything here runs in one thread, a step at a time; the receiver and the outboxes have their own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy.engine import Connection, Engine

from node import notices, translate
from node.choosing import Elsewhere, choose
from node.engine import Claim, EngineRoom, Finished, Lost
from node.intake import Pauses, take_in
from node.kinds import sufficient, taken
from node.retries import next_attempt
from node.settings import Settings
from node.translate import Folders
from pipeline.types import Reconstructed, Refused, Withheld
from storage import database, ledger, queries
from storage.crashpoints import Point, reached
from storage.errors import DatabaseUnavailable, StaleAttempt
from storage.lifecycle import Event, State
from storage.records import DeliveryState, Job, NewJob

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """What a tick needs of the world around it."""

    settings: Settings
    configuration: str
    """Digest of the settings."""
    engine: Engine
    folders: Folders
    room: EngineRoom
    clock: Callable[[], datetime]
    pauses: Pauses = field(default_factory=dict)
    finished: deque[Finished] = field(default_factory=deque)
    """What the engines have brought and no row says yet: the database may be away."""
    elsewhere: Elsewhere = field(default_factory=dict)

    @property
    def node(self) -> str:
        """The node's name in the audit."""
        return self.settings.node.name


def tick(world: Dispatcher) -> None:
    """Everything that could be done now is done or under way."""
    world.finished.extend(world.room.collect())
    while world.finished:
        reached(Point.OUTCOME_MADE)
        _keep(world, world.finished.popleft())
        reached(Point.OUTCOME_STORED)
    take_in(world.engine, world.settings, world.configuration, world.clock(), world.pauses)
    _end_overdue(world)
    while world.room.free > 0 and _start_next(world):
        pass


def _keep(world: Dispatcher, finished: Finished) -> None:
    """The outcome is in the rows, or waits for the database."""
    try:
        _conclude(world, finished)
    except DatabaseUnavailable:
        world.finished.appendleft(finished)
        raise


def recover(world: Dispatcher) -> int:
    """What this node had claimed before it was ended is queued again; returns how many jobs."""
    with database.reading(world.engine) as conn:
        orphans = [job for job in queries.running(conn) if job.claimed_by == world.node]
    for job in orphans:
        _retry(world, job, "the node was ended during the reconstruction")
    with database.begin(world.engine) as conn:
        ledger.close_transfers(conn, world.node)
        for job in queries.delivering_jobs(conn):
            if job.claimed_by == world.node:
                _end_lost_deliveries(world, conn, job)
                _settle(world, conn, job.id, job.attempt)
    return len(orphans)


def _end_lost_deliveries(world: Dispatcher, conn: Connection, job: Job) -> None:
    """What was to go to a destination that the settings have lost waits for nobody."""
    for delivery in queries.deliveries(conn, job.id):
        is_lost = world.settings.destination(delivery.destination) is None
        if is_lost and delivery.state is DeliveryState.PENDING:
            ledger.record_attempt(
                conn,
                world.node,
                world.clock(),
                delivery.id,
                state=DeliveryState.REFUSED,
                status=None,
                reason=f"the settings no longer have a destination '{delivery.destination}'",
            )


def _start_next(world: Dispatcher) -> bool:
    now = world.clock()
    deadline = now + timedelta(seconds=world.settings.reconstruction.deadline_s)
    retries, own = world.settings.retries, world.folders.instances
    with database.reading(world.engine) as conn:
        choice = choose(conn, now, retries, own, world.elsewhere)
    if choice is None:
        return False
    job = choice.job
    try:
        with database.begin(world.engine) as conn:
            attempt = ledger.claim(conn, world.node, job.id, job.attempt, now, deadline)
    except DatabaseUnavailable:  # it may have committed the claim all the same
        doubtful = Claim(job.id, job.attempt + 1)
        world.finished.append(Finished(doubtful, Lost("the database went away at the claim")))
        raise
    if attempt is None:
        return True
    reached(Point.JOB_CLAIMED)
    claim = Claim(job.id, attempt)
    if choice.absent:
        why = f"Image {choice.absent[0]} was not received into the folder of this node"
        world.finished.append(Finished(claim, Refused((why,))))
        return True
    folder = translate.attempt_folder(world.folders, job.id, attempt)
    folder.mkdir(parents=True, exist_ok=True)
    request = translate.request(job, choice.instances, world.folders, folder, world.node)
    world.room.submit(claim, request)
    log.info("job_started", job_id=job.id, attempt=attempt, model=job.made_of.model)
    return True


def _conclude(world: Dispatcher, finished: Finished) -> None:
    claim, now = finished.claim, world.clock()
    try:
        match finished.outcome:
            case Reconstructed() as made:
                with database.begin(world.engine) as conn:
                    ledger.store_outcome(
                        conn,
                        world.node,
                        claim.job_id,
                        claim.attempt,
                        now,
                        results=translate.new_results(made, world.folders),
                        algorithm=translate.algorithm_json(made.algorithm),
                        assumptions=translate.assumptions_json(made),
                        figures=translate.figures_json(made),
                        takes=taken(world.settings.destinations),
                    )
                    _settle(world, conn, claim.job_id, claim.attempt)
            case Withheld() as held:
                with database.begin(world.engine) as conn:
                    ledger.withhold(
                        conn,
                        world.node,
                        claim.job_id,
                        claim.attempt,
                        now,
                        reasons=held.reasons,
                        algorithm=translate.algorithm_json(held.algorithm),
                        assumptions=translate.assumptions_json(held),
                        figures=translate.figures_json(held),
                    )
                    _notify(world, conn, claim.job_id, notices.of_withheld, held.reasons)
            case Refused(reasons):
                with database.begin(world.engine) as conn:
                    _give_up(world, conn, claim, "; ".join(reasons))
                    _notify(world, conn, claim.job_id, notices.of_refused, reasons)
            case Lost(reason):
                with database.reading(world.engine) as conn:
                    job = queries.job(conn, claim.job_id)
                if job is not None and _is_ours(job, claim, world):
                    _retry(world, job, reason)
    except StaleAttempt as stale:
        with database.begin(world.engine) as conn:
            ledger.ignore_outcome(
                conn, world.node, claim.job_id, claim.attempt, now, reason=str(stale)
            )


def _is_ours(job: Job, claim: Claim, world: Dispatcher) -> bool:
    is_running = job.state is State.RECONSTRUCTING and job.claimed_by == world.node
    return is_running and job.attempt == claim.attempt


def _settle(world: Dispatcher, conn: Connection, job_id: int, attempt: int) -> None:
    suffices = sufficient(world.settings.destinations)
    ledger.settle(conn, world.node, job_id, attempt, world.clock(), suffices=suffices)


def _end_overdue(world: Dispatcher) -> None:
    with database.reading(world.engine) as conn:
        overdue = queries.overdue(conn, world.clock())
    for job in overdue:
        world.room.abandon(Claim(job.id, job.attempt))
        seconds = world.settings.reconstruction.deadline_s
        with suppress(StaleAttempt):  # another node was faster
            _retry(world, job, f"no result within {seconds:g} s, the deadline of an attempt")


def _retry(world: Dispatcher, job: Job, reason: str) -> None:
    now = world.clock()
    failures = job.failures + 1
    if failures >= world.settings.reconstruction.attempts:
        with database.begin(world.engine) as conn:
            _give_up(world, conn, Claim(job.id, job.attempt), f"{reason} ({failures} attempts)")
        return
    later = next_attempt(
        failures, now, first_try_at=now, policy=world.settings.retries, key=f"job {job.id}"
    )
    with database.begin(world.engine) as conn:
        ledger.advance(
            conn,
            world.node,
            job.id,
            job.attempt,
            State.RECONSTRUCTING,
            Event.RETRY_DUE,
            now,
            reason=reason,
            next_attempt_at=later or now,
        )
    log.warning("job_will_be_tried_again", job_id=job.id, reason=reason)


def _give_up(world: Dispatcher, conn: Connection, claim: Claim, reason: str) -> None:
    ledger.advance(
        conn,
        world.node,
        claim.job_id,
        claim.attempt,
        State.RECONSTRUCTING,
        Event.GAVE_UP,
        world.clock(),
        reason=reason,
    )
    log.error("job_failed", job_id=claim.job_id, reason=reason)


def _notify(
    world: Dispatcher,
    conn: Connection,
    job_id: int,
    notice: Callable[[Job, Sequence[str]], NewJob | None],
    reasons: Sequence[str],
) -> None:
    """A job for a notice is open, where the rule of the job that ended asked for one."""
    job = queries.job(conn, job_id)
    new = None if job is None else notice(job, reasons)
    if new is not None:
        ledger.open_job(conn, world.node, world.clock(), new, supersedes=False)
