"""From received studies to jobs: ask for evidence, route, write down why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy.engine import Connection, Engine

from node import notices
from node.completeness import Waiting, decide
from node.routing import Case, Declined, Routed, route
from node.settings import Settings
from node.study import ReceivedStudy, received_study
from node.translate import new_job
from storage import database, ledger, queries
from storage.crashpoints import Point, reached
from storage.records import Study, StudyState

log = structlog.get_logger()

REST_EACH_IMAGE: Final = timedelta(milliseconds=20)
LONGEST_REST: Final = timedelta(seconds=2)
"""A look reads every image of the study again, some 0.1 ms each: while hundreds arrive, looks at
each of them would take the time of the receiver. Two views rest for less than a tick."""


@dataclass(frozen=True, slots=True)
class Glance:
    """All that a decision about a waiting study hangs on, but the time."""

    study_instance_uid: str
    revision: int
    open_associations: int
    pacs_count: int | None


@dataclass(frozen=True, slots=True)
class Pause:
    """After a look at a study that waits, until the next that may say anything else."""

    seen: Glance
    since: datetime
    until: datetime
    """Before it, a look at the same would only say again that it waits."""
    rests_until: datetime
    """Before it, somebody who is still sending only makes the study grow."""


Pauses = dict[str, Pause]
"""By StudyInstanceUID."""


def take_in(
    engine: Engine, settings: Settings, configuration: str, now: datetime, pauses: Pauses
) -> None:
    """Every waiting study has been looked at; what is complete is routed or declined.

    `pauses` spares the look at studies that nothing new was heard of, or that are growing: many
    of them are waiting while many images arrive. It may be lost at any time.
    """
    with database.reading(engine) as conn:
        rows = {_glance(conn, row): row for row in queries.waiting_studies(conn)}
        due = {seen: row for seen, row in rows.items() if not _is_paused(seen, pauses, now)}
        waiting = {seen: _received(conn, row) for seen, row in due.items()}
        ours = {
            seen: queries.own_objects(conn, study.study_instance_uid)
            for seen, study in waiting.items()
        }
    for uid in pauses.keys() - {seen.study_instance_uid for seen in rows}:
        del pauses[uid]
    for seen, whole in waiting.items():
        own = ours[seen]
        study = _without(whole, own)
        routed = _routed(study, settings)
        found = decide(whole, now, settings.completeness, isinstance(routed, Routed))
        if isinstance(found, Waiting):
            rest = min(len(whole.images) * REST_EACH_IMAGE, LONGEST_REST)
            pauses[seen.study_instance_uid] = Pause(seen, now, found.until, now + rest)
            continue
        with database.begin(engine) as conn:
            _write_down(conn, settings, configuration, study, routed, found.evidence, now)
        reached(Point.JOB_QUEUED)


def _glance(conn: Connection, row: Study) -> Glance:
    uid = row.study_instance_uid
    return Glance(uid, row.revision, queries.open_transfers(conn, uid), row.pacs_count)


def _is_paused(seen: Glance, pauses: Pauses, now: datetime) -> bool:
    """False also where the clock was set back behind the last look."""
    pause = pauses.get(seen.study_instance_uid)
    if pause is None or now < pause.since:
        return False
    if seen.open_associations and now < pause.rests_until:
        return True
    return pause.seen == seen and now < pause.until


def _routed(study: ReceivedStudy, settings: Settings) -> Routed | Declined:
    """What the rules say; a fault of ours declines this study and holds up no other."""
    try:
        return route(study, settings.rules)
    except Exception as fault:
        log.exception("routing_failed", study_instance_uid=study.study_instance_uid)
        why = (
            f"This node failed to route the study ({type(fault).__name__}): report it with its log"
        )
        return Declined((why,), "")


def _without(study: ReceivedStudy, own: frozenset[str]) -> ReceivedStudy:
    """The study without what this node made of it: a PACS may send our own captures back to us.

    They would be no input, and a notice that counts as a new image would ask for the next notice.
    """
    images = tuple(image for image in study.images if image.sop_instance_uid not in own)
    return replace(study, images=images)


def _received(conn: Connection, row: Study) -> ReceivedStudy:
    decided = queries.decisions(conn, row.study_instance_uid)
    received = queries.instances(conn, row.study_instance_uid)
    return received_study(
        row,
        tuple(instance for instance in received if instance.removed_at is None),
        open_associations=queries.open_transfers(conn, row.study_instance_uid),
        pacs_count=row.pacs_count,
        decided_at=decided[-1].at if decided else None,
    )


def _write_down(
    conn: Connection,
    settings: Settings,
    configuration: str,
    study: ReceivedStudy,
    routed: Routed | Declined,
    evidence: str,
    now: datetime,
) -> None:
    node, uid = settings.node.name, study.study_instance_uid
    match routed:
        case Declined(reasons, rule):
            verdict = StudyState.DECLINED
        case Routed(cases):
            verdict, rule = StudyState.ROUTED, cases[0].rule.name
            reasons = tuple(_unused(cases[0]))
    stands = ledger.decide(
        conn,
        node,
        now,
        study_instance_uid=uid,
        revision=study.revision,
        completeness=evidence,
        verdict=verdict,
        rule=rule,
        reasons=reasons,
        configuration_digest=configuration,
    )
    log.info("study_decided", study_instance_uid=uid, verdict=verdict, rule=rule, stands=stands)
    if not stands:
        return
    match routed:
        case Routed():
            for case in routed.cases:
                ledger.open_job(conn, node, now, new_job(case, uid, evidence, settings))
        case Declined():
            notice = notices.of_declined(study, routed, evidence, settings)
            if notice is not None:
                ledger.open_job(conn, node, now, notice, supersedes=False)


def _unused(case: Case) -> list[str]:
    return [
        f"Image {unused.image.sop_instance_uid} is not used: {unused.reason}"
        for unused in case.unused
    ]
