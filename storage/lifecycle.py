"""The life of a job. This table is the only place that decides a job's state.

QUEUED waits for an engine; RECONSTRUCTING is claimed by one attempt; DELIVERING has its objects
on disk; DELIVERED was accepted by every destination. WITHHELD means that quality said no, FAILED
that somebody must look. `resent` delivers the objects of a finished job again, under their UIDs.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "QUEUED"
    RECONSTRUCTING = "RECONSTRUCTING"
    DELIVERING = "DELIVERING"
    DELIVERED = "DELIVERED"
    WITHHELD = "WITHHELD"
    FAILED = "FAILED"


class Event(StrEnum):
    """What can happen to a job."""

    STARTED = "started"
    RECONSTRUCTED = "reconstructed"
    ACKNOWLEDGED = "acknowledged"
    RETRY_DUE = "retry_due"
    GAVE_UP = "gave_up"
    WITHHELD = "withheld"
    REQUEUED = "requeued"
    RESENT = "resent"


TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.QUEUED, Event.STARTED): State.RECONSTRUCTING,
    (State.RECONSTRUCTING, Event.RECONSTRUCTED): State.DELIVERING,
    (State.RECONSTRUCTING, Event.RETRY_DUE): State.QUEUED,
    (State.RECONSTRUCTING, Event.GAVE_UP): State.FAILED,
    (State.RECONSTRUCTING, Event.WITHHELD): State.WITHHELD,
    (State.DELIVERING, Event.ACKNOWLEDGED): State.DELIVERED,
    (State.DELIVERING, Event.RETRY_DUE): State.DELIVERING,
    (State.DELIVERING, Event.GAVE_UP): State.FAILED,
    (State.DELIVERED, Event.RESENT): State.DELIVERING,
    (State.FAILED, Event.RESENT): State.DELIVERING,
    (State.DELIVERED, Event.REQUEUED): State.QUEUED,
    (State.FAILED, Event.REQUEUED): State.QUEUED,
    (State.WITHHELD, Event.REQUEUED): State.QUEUED,
}

FINAL = frozenset({State.DELIVERED, State.WITHHELD, State.FAILED})
