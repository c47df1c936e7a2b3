"""Asking a destination to answer for what it accepted: only then does a result count as delivered.

Storage commitment is asked where it is offered. The report comes over the same association or,
later, over one to our own port; where none comes, or no commitment is offered, C-FIND says whether
the objects are listed. A destination that offers neither is taken at its word, and the audit says
so. The rows hold what was asked, so that a report which comes after a restart is understood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from pynetdicom import build_context
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
)
from sqlalchemy.engine import Engine

from node.asking import listed
from node.committing import Report, commit
from node.delivery import Unreachable, associate
from node.outbox import OBJECTS_AT_ONCE, Outbox, later, postpone, settle
from node.retries import longest_wait
from node.settings import Settings
from pipeline.encode.uids import derived_uid
from storage import database, ledger, queries
from storage.records import Delivery

log = structlog.get_logger()

SAME_ASSOCIATION_S: Final = 3.0
"""For a report over the association of the request."""
PATIENCE: Final = timedelta(seconds=30)
"""For a report over an association of its own; then C-FIND is asked."""
LOOKS: Final = 4
"""Times that a PACS is looked at, or sent to, before what it does not list is sent again."""


@dataclass(frozen=True, slots=True)
class _Offered:
    commitment: bool
    find: bool


def prove(outbox: Outbox) -> int:
    """The destination was asked for what it has accepted and is due; returns how many objects."""
    with database.reading(outbox.engine) as conn:
        due = queries.unproven(
            conn,
            outbox.settings.node.name,
            outbox.destination.name,
            outbox.clock(),
            OBJECTS_AT_ONCE,
            longest_wait=max(PATIENCE, longest_wait(outbox.settings.retries)),
        )
    if not due:
        return 0
    offered = _offered(outbox)
    if isinstance(offered, Unreachable):
        postpone(due, offered, outbox)
    else:
        for job_id in dict.fromkeys(delivery.job_id for delivery in due):
            _prove_job(job_id, [each for each in due if each.job_id == job_id], offered, outbox)
    settle(due, outbox.engine, outbox.settings, outbox.clock())
    return len(due)


def heard(engine: Engine, settings: Settings, report: Report, at: datetime) -> None:
    """What a destination reported stands in the rows; a report that nobody waits for does not."""
    node = settings.node.name
    with database.reading(engine) as conn:
        asked = queries.deliveries_of_transaction(conn, report.transaction_uid)
    kept = [each for each in asked if each.result.written.sop_instance_uid in report.committed]
    lost = [each for each in asked if each.result.written.sop_instance_uid in report.failed]
    with database.begin(engine) as conn:
        ledger.prove(conn, node, at, [each.id for each in kept], reason="storage was committed to")
        again = {each.id: later(each, settings, at) for each in lost}
        ledger.disprove(conn, node, at, again, reason="storage was not committed to")
    settle([*kept, *lost], engine, settings, at)
    log.info("commitment_reported", committed=len(kept), failed=len(lost))


def _prove_job(job_id: int, due: Sequence[Delivery], offered: _Offered, outbox: Outbox) -> None:
    was_asked = any(delivery.transaction_uid for delivery in due)
    if offered.commitment and not (was_asked and offered.find):
        refusal = _ask_for_commitment(job_id, due, outbox)
        if refusal is None:
            return
        if not offered.find:
            _take_at_its_word(due, f"accepted; {refusal}, and C-FIND is not offered", outbox)
            return
    if offered.find:
        _look(job_id, due, outbox)
    else:
        _take_at_its_word(due, "accepted; neither commitment nor C-FIND is offered", outbox)


def _ask_for_commitment(job_id: int, due: Sequence[Delivery], outbox: Outbox) -> str | None:
    """None once the destination has taken the request; else why it has not."""
    node, at = outbox.settings.node.name, outbox.clock()
    uid = derived_uid("storage commitment", node, outbox.destination.name, str(job_id), str(at))
    with database.begin(outbox.engine) as conn:
        ids = [each.id for each in due]
        ledger.ask(conn, node, ids, transaction_uid=uid, next_attempt_at=at + PATIENCE)
    written = [each.result.written for each in due]
    answer = commit(
        {each.sop_instance_uid: each.sop_class_uid for each in written},
        uid,
        outbox.destination,
        outbox.settings.calling_ae_title(outbox.destination),
        ear=None,  # the receiver listens there
        within_s=SAME_ASSOCIATION_S,
    )
    if answer is None or answer.status is None:
        return "storage commitment was not answered"
    if answer.status != 0x0000:
        return f"storage commitment was refused with 0x{answer.status:04X}"
    if answer.report is not None:
        heard(outbox.engine, outbox.settings, answer.report, outbox.clock())
    return None


def _look(job_id: int, due: Sequence[Delivery], outbox: Outbox) -> None:
    """What C-FIND lists is proven; what it does not is looked for again, and at last sent again."""
    with database.reading(outbox.engine) as conn:
        job = queries.job(conn, job_id)
    assert job is not None  # noqa: S101 - its deliveries refer to it
    calling = outbox.settings.calling_ae_title(outbox.destination)
    found = listed(job.made_of.study_instance_uid, outbox.destination, calling)
    if found is None:
        postpone(due, Unreachable("it accepted the objects, and does not answer C-FIND"), outbox)
        return
    node, at = outbox.settings.node.name, outbox.clock()
    is_listed = {
        each.id: each.result.written.sop_instance_uid in found.sop_instance_uids for each in due
    }
    absent = [each for each in due if not is_listed[each.id]]
    with database.begin(outbox.engine) as conn:
        here = [delivery_id for delivery_id, is_here in is_listed.items() if is_here]
        ledger.prove(conn, node, at, here, reason="listed by C-FIND")
        for each in absent:
            next_at = later(each, outbox.settings, at)
            if next_at is None or each.tries >= LOOKS:
                reason = "accepted, but not listed by C-FIND"
                ledger.disprove(conn, node, at, {each.id: next_at}, reason=reason)
            else:
                uid = each.transaction_uid
                ledger.ask(conn, node, [each.id], transaction_uid=uid, next_attempt_at=next_at)


def _take_at_its_word(due: Sequence[Delivery], reason: str, outbox: Outbox) -> None:
    with database.begin(outbox.engine) as conn:
        ids = [each.id for each in due]
        ledger.prove(conn, outbox.settings.node.name, outbox.clock(), ids, reason=reason)


def _offered(outbox: Outbox) -> _Offered | Unreachable:
    models = (StorageCommitmentPushModel, StudyRootQueryRetrieveInformationModelFind)
    calling = outbox.settings.calling_ae_title(outbox.destination)
    assoc = associate(outbox.destination, calling, [build_context(model) for model in models])
    if isinstance(assoc, Unreachable):
        return assoc
    if not isinstance(assoc, Association):
        return _Offered(commitment=False, find=False)
    accepted = {str(context.abstract_syntax) for context in assoc.accepted_contexts}
    assoc.release()
    return _Offered(*(str(model) in accepted for model in models))
