"""What is known of instances, studies, jobs, deliveries, and the audit, as rows of the database.

All times are aware UTC. `attributes` are DICOM keywords with their values as JSON; a keyword that
the instance lacks or leaves empty is absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from storage.lifecycle import State

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class StudyState(StrEnum):
    """Where a study stands before and beside its jobs."""

    WAITING = "WAITING"
    ROUTED = "ROUTED"
    DECLINED = "DECLINED"


class DeliveryState(StrEnum):
    """Where one object stands with one destination."""

    PENDING = "PENDING"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    REFUSED = "REFUSED"
    LEFT_OUT = "LEFT_OUT"
    """Never sent: the destination does not take objects of this class at all."""


class CommitmentState(StrEnum):
    """Where a request for storage commitment stands that this node took."""

    PENDING = "PENDING"
    """It was answered with 0x0000, and whoever asked has not heard the report."""
    REPORTED = "REPORTED"
    GIVEN_UP = "GIVEN_UP"
    """Nobody could be reached who would hear it."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One received SOP instance: who sent it, when, its digest, and where its bytes are."""

    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    sha256: str
    size_bytes: int
    path: str
    """Relative to the instance store; never made of what a peer sent."""
    received_at: datetime
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    attributes: Mapping[str, Json]
    removed_at: datetime | None = None
    """Since when its bytes are gone, by retention; None while they are here."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Bytes that were refused, kept for whoever must look."""

    id: int
    received_at: datetime
    calling_ae_title: str
    peer_address: str
    affected_sop_instance_uid: str
    """As the peer named it, printable ASCII, cut at 64 characters."""
    status: int
    """The DIMSE status that was answered."""
    reason: str
    sha256: str
    size_bytes: int
    path: str


@dataclass(frozen=True, slots=True)
class Study:
    """One study as received so far, and the last decision about it."""

    study_instance_uid: str
    state: StudyState
    first_received_at: datetime
    last_received_at: datetime
    instances: int
    revision: int
    """Raised by every new instance: a decision on an older revision is stale."""
    reasons: tuple[str, ...]
    pacs_count: int | None = None
    """How many instances the PACS counted at this revision; None where it was not asked."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Why a study was taken or declined, appended and never changed."""

    id: int
    study_instance_uid: str
    at: datetime
    revision: int
    completeness: str
    """The evidence that the study was complete."""
    verdict: StudyState
    rule: str
    """Empty where no rule took the study."""
    reasons: tuple[str, ...]
    configuration_digest: str


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a job is made of; unique over study, rule, side, input digest and model version."""

    study_instance_uid: str
    rule: str
    region: str
    side: str
    model: str
    model_version: str
    weights_digest: str
    input_digest: str
    configuration_digest: str
    completeness: str
    priority: int
    """0 is STAT, 1 high, 2 routine: lower goes first."""
    destinations: tuple[str, ...]
    sop_instance_uids: tuple[str, ...]
    request: Mapping[str, Json]
    """All that the pipeline needs to run it again: views, assumptions, kinds, frame number."""


@dataclass(frozen=True, slots=True)
class Job:
    """One reconstruction of one study by one rule."""

    id: int
    made_of: NewJob
    state: State
    attempt: int
    """Raised by every claim; the fence against an engine that comes back late."""
    failures: int
    """Attempts that ended in retry_due, since the job was queued or requeued."""
    opened_at: datetime
    changed_at: datetime
    next_attempt_at: datetime
    deadline_at: datetime | None
    """While RECONSTRUCTING: when the attempt counts as lost."""
    reason: str
    """Why it stands where it stands, for a technician; empty where the state says it all."""
    supersedes: int | None
    """The job of the same study, rule and side whose result this one replaces."""
    algorithm: Mapping[str, Json]
    assumptions: tuple[Json, ...]
    figures: tuple[Json, ...]
    claimed_by: str = ""
    """The node of the last attempt: it has the files; empty before the first."""


@dataclass(frozen=True, slots=True)
class NewResult:
    """One DICOM object that a job wrote."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    path: str
    """Relative to the folder of results."""
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Result:
    """One DICOM object of a job, as stored."""

    id: int
    job_id: int
    attempt: int
    written: NewResult


@dataclass(frozen=True, slots=True)
class Delivery:
    """One object for one destination."""

    id: int
    job_id: int
    result: Result
    destination: str
    state: DeliveryState
    tries: int
    status: int | None
    """The last DIMSE status; None where no answer came."""
    reason: str
    next_attempt_at: datetime
    acknowledged_at: datetime | None
    pending_since: datetime
    """When it was made, or last requeued: giving up counts from here."""
    accepted_at: datetime | None = None
    """When the destination took it; while PENDING, its proof is still due."""
    transaction_uid: str | None = None
    """Of the last request for storage commitment."""


@dataclass(frozen=True, slots=True)
class Reference:
    """One object, as another system names it."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class NewCommitment:
    """What a modality asks this node to answer for; the same question is asked once."""

    transaction_uid: str
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    asked: tuple[Reference, ...]


@dataclass(frozen=True, slots=True)
class Commitment:
    """One request for storage commitment, from its acceptance to its report."""

    id: int
    node: str
    """Which took it: it has the association, and answers for its own files."""
    made_of: NewCommitment
    is_duplicate: bool
    """True where another question was asked under this Transaction UID before."""
    state: CommitmentState
    tries: int
    reason: str
    """Why the last try did not reach anybody; empty before the first, and once it was heard."""
    asked_at: datetime
    next_attempt_at: datetime
    reported_at: datetime | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One link of a node's audit chain."""

    node: str
    sequence: int
    at: datetime
    kind: str
    study_instance_uid: str
    job_id: int | None
    details: Mapping[str, Json]
    previous_sha256: str
    sha256: str


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One try to deliver one object to one destination, appended and never changed."""

    id: int
    delivery_id: int
    job_id: int
    kind: str
    sop_instance_uid: str
    sha256: str
    """Of the bytes that were sent."""
    destination: str
    at: datetime
    state: DeliveryState
    status: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows there are, by state where they have one; a state without rows counts 0."""

    studies: Mapping[StudyState, int]
    jobs: Mapping[State, int]
    deliveries: Mapping[DeliveryState, int]
    instances: int
    quarantined: int
