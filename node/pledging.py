"""Storage commitment as a provider: what a modality asks is taken, and answered at any rate.

The request is a row before it is acknowledged. A task looks, for each peer, for what nobody has
heard yet; it looks at the disk and the rows then, and not when it was asked. The report goes over
the association of the request where that is open and quiet, else over a new one to the peer, and
is tried again as deliveries are. A peer may hear a report twice, after a crash, and never a false
one.

Source: PS3.4 J.3.2, J.3.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from pynetdicom import build_context, build_role
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from sqlalchemy.engine import Engine

from node.callers import Callers
from node.delivery import NothingAccepted, Unreachable, Verdict, associate, verdict
from node.gatekeeper import titles
from node.pledge import (
    Pledge,
    RefusedRequestError,
    Request,
    TooMuchError,
    audited,
    event_information,
    judge,
    read_request,
)
from node.retries import longest_wait, next_attempt
from node.settings import Destination, Peer, Settings
from node.statuses import OTHER_CONTENT, PROCESSING_FAILURE, SUCCESS
from storage import commitments, database, files, ledger
from storage.crashpoints import Point, reached
from storage.records import Commitment, Json, NewCommitment

if TYPE_CHECKING:
    from pynetdicom.events import Event

log = structlog.get_logger()

MOST_PENDING: Final = 100
"""Requests of one AE title that nobody has heard the answer to."""
COURTESY: Final = timedelta(seconds=1)
"""From a request to its report: the answer to the request goes first."""
PATIENCE: Final = timedelta(seconds=10)
"""For an association to be quiet, and then for the answer to a report over it."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What answering needs of the world around it."""

    settings: Settings
    engine: Engine
    instances: Path
    """Root of the instance store."""
    clock: Callable[[], datetime]
    callers: Callers


def on_action(event: Event, desk: Desk) -> tuple[int, None]:
    """The status of one N-ACTION; PS3.4 J.3.2.1.4, PS3.7 10.1.4."""
    try:
        return _take(event, desk), None
    except Exception:
        log.exception("commitment_not_taken")
        return PROCESSING_FAILURE, None


def report(desk: Desk, peer: Peer) -> int:
    """The peer was told what it waits to hear, where it could be reached; returns how many."""
    _write_down_heard(desk)
    with database.reading(desk.engine) as conn:
        due = commitments.due(
            conn,
            desk.settings.node.name,
            peer.ae_title,
            desk.clock(),
            longest_wait=max(PATIENCE, longest_wait(desk.settings.retries)),
        )
    for told, commitment in enumerate(due, 1):
        if not _tell(commitment, peer, desk):
            return told  # it is away: the rest would only wait for it too
    return len(due)


def _take(event: Event, desk: Desk) -> int:
    calling, called = titles(event.assoc)
    address, at = event.assoc.requestor.address, desk.clock()
    node = desk.settings.node.name
    try:
        asked = _asked(event)
        new = NewCommitment(asked.transaction_uid, calling, called, address, asked.references)
        with database.begin(desk.engine) as conn:
            number = ledger.owe(
                conn, node, at, new, next_attempt_at=at + COURTESY, most_pending=MOST_PENDING
            )
        if number is None:
            raise TooMuchError(f"{MOST_PENDING} other requests wait for an answer")
    except RefusedRequestError as fault:
        details: dict[str, Json] = {
            "calling_ae_title": calling,
            "peer_address": address,
            "status": f"0x{fault.status:04X}",
            "reason": str(fault),
        }
        log.warning("commitment_refused", status=details["status"], reason=str(fault))
        with database.begin(desk.engine) as conn:
            ledger.note(conn, node, at, "commitment.refused", details=details)
        return fault.status
    reached(Point.COMMITMENT_ASKED)
    desk.callers.keep(number, event.assoc)
    return SUCCESS


def _asked(event: Event) -> Request:
    said = event.request
    assert isinstance(said, N_ACTION)  # noqa: S101 - bound to EVT_N_ACTION
    encoded = b"" if said.ActionInformation is None else said.ActionInformation.getvalue()
    target, syntax = str(said.RequestedSOPInstanceUID), str(event.context.transfer_syntax)
    return read_request(said.ActionTypeID, target, encoded, syntax)


def _tell(commitment: Commitment, peer: Peer, desk: Desk) -> bool:
    """False if the peer cannot be reached over an association of its own."""
    number, at = commitment.id, desk.clock()
    place = _place(commitment.made_of, peer, desk.settings)
    if desk.callers.is_waiting(number):
        if desk.callers.is_quiet(number):
            reached(Point.COMMITMENT_TAKEN)
            _say(commitment, desk)
            return True
        if place is None or at - commitment.asked_at < PATIENCE:
            return True
    desk.callers.drop(number)
    reached(Point.COMMITMENT_TAKEN)
    if place is None:
        why = (
            "the association of the request has ended, and the settings have no port "
            f"for '{peer.ae_title}' under [[peers]]"
        )
        _put_off(commitment, why, desk)
        return True
    return _call(commitment, place, desk)


def _say(commitment: Commitment, desk: Desk) -> None:
    """Over the association of the request; the answer is written down at a later look."""
    transaction_uid = commitment.made_of.transaction_uid
    desk.callers.say(commitment.id, transaction_uid, _pledge(commitment, desk))
    at = desk.clock()
    why = "the report over the association of the request is not answered"
    with database.begin(desk.engine) as conn:
        ledger.put_off(conn, at, commitment, reason=why, next_attempt_at=at + PATIENCE)


def _call(commitment: Commitment, place: Destination, desk: Desk) -> bool:
    """Over a new association, as its provider; False if there is none."""
    asked, pledge = commitment.made_of, _pledge(commitment, desk)
    assoc = associate(
        place,
        asked.called_ae_title,
        [build_context(StorageCommitmentPushModel)],
        roles=[build_role(StorageCommitmentPushModel, scp_role=True)],
    )
    match assoc:
        case Unreachable(reason):
            _put_off(commitment, reason, desk)
            return False
        case NothingAccepted():
            _put_off(commitment, "it does not accept reports of storage commitment", desk)
            return True
    status = _status(assoc, asked.transaction_uid, pledge)
    _conclude(commitment, pledge, status, "a new association", desk)
    return True


def _status(assoc: Association, transaction_uid: str, pledge: Pledge) -> int | None:
    """What the peer answers to the report; None where it does not."""
    try:
        answer, _ = assoc.send_n_event_report(
            event_information(transaction_uid, pledge),
            pledge.event_type,
            StorageCommitmentPushModel,
            StorageCommitmentPushModelInstance,
        )
    except (RuntimeError, ValueError):
        return None
    finally:
        if assoc.is_established:
            assoc.release()
    return int(answer.Status) if "Status" in answer else None


def _write_down_heard(desk: Desk) -> None:
    for heard in desk.callers.heard():
        with database.reading(desk.engine) as conn:
            commitment = commitments.commitment(conn, heard.commitment_id)
        if commitment is not None:
            over = "the association of the request"
            _conclude(commitment, heard.pledge, heard.status, over, desk)


def _conclude(
    commitment: Commitment, pledge: Pledge, status: int | None, over: str, desk: Desk
) -> None:
    if status is None:
        _put_off(commitment, f"the report over {over} is not answered", desk)
    elif verdict(status) is not Verdict.ACCEPTED:
        _put_off(commitment, f"the report is answered with 0x{status:04X}", desk)
    else:
        reached(Point.COMMITMENT_TOLD)
        answer: dict[str, Json] = audited(pledge) | {"over": over}
        with database.begin(desk.engine) as conn:
            ledger.report(conn, desk.clock(), commitment, answer=answer)
        committed, failed = len(pledge.committed), len(pledge.failed)
        log.info("commitment_given", committed=committed, failed=failed)


def _put_off(commitment: Commitment, reason: str, desk: Desk) -> None:
    at = desk.clock()
    again_at = next_attempt(
        commitment.tries + 1,
        at,
        first_try_at=commitment.asked_at,
        policy=desk.settings.retries,
        key=f"commitment {commitment.id}",
    )
    with database.begin(desk.engine) as conn:
        ledger.put_off(conn, at, commitment, reason=reason, next_attempt_at=again_at)
    log.warning("commitment_not_heard", commitment_id=commitment.id, reason=reason)


def _pledge(commitment: Commitment, desk: Desk) -> Pledge:
    """What is true now of the rows and the disk."""
    asked = commitment.made_of.asked
    uids = {each.sop_instance_uid for each in asked}
    calling = commitment.made_of.calling_ae_title
    with database.reading(desk.engine) as conn:
        here = commitments.received(conn, uids)
        contested = commitments.refused(conn, uids, calling, OTHER_CONTENT)
    damaged = {
        uid
        for uid, row in here.items()
        if not files.is_intact(desk.instances, row.path, row.sha256)
    }
    held = {uid: row.sop_class_uid for uid, row in here.items()}
    return judge(asked, held, damaged | contested, is_duplicate=commitment.is_duplicate)


def _place(asked: NewCommitment, peer: Peer, settings: Settings) -> Destination | None:
    """Where the peer hears reports; None where only the association of the request is known."""
    if peer.port is not None:
        return Destination(
            name="asker", ae_title=peer.ae_title, host=asked.peer_address, port=peer.port
        )
    return next((d for d in settings.destinations if d.ae_title == peer.ae_title), None)
