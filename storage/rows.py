"""From rows to records. A column is called as the field of its record is, and nothing is lost."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from storage.columns import AnyRow
from storage.lifecycle import State
from storage.records import (
    Commitment,
    CommitmentState,
    Decision,
    Delivery,
    DeliveryAttempt,
    DeliveryState,
    Entry,
    Instance,
    Job,
    NewCommitment,
    NewJob,
    NewResult,
    Quarantined,
    Reference,
    Result,
    Study,
    StudyState,
)


def instance(row: AnyRow) -> Instance:
    """One received instance."""
    return Instance(**_fields(Instance, row))


def quarantined(row: AnyRow) -> Quarantined:
    """One refused instance."""
    return Quarantined(**_fields(Quarantined, row))


def study(row: AnyRow) -> Study:
    """One study, counted."""
    known = {"state": StudyState(row.state), "reasons": tuple(row.reasons)}
    return Study(**_fields(Study, row) | known)


def decision(row: AnyRow) -> Decision:
    """One decision about a study."""
    known = {"verdict": StudyState(row.verdict), "reasons": tuple(row.reasons)}
    return Decision(**_fields(Decision, row) | known)


def job(row: AnyRow, sop_instance_uids: tuple[str, ...]) -> Job:
    """One job and what it is made of."""
    made_of = _fields(NewJob, row) | {
        "destinations": tuple(row.destinations),
        "sop_instance_uids": sop_instance_uids,
    }
    known = {
        "made_of": NewJob(**made_of),
        "state": State(row.state),
        "assumptions": tuple(row.assumptions),
        "figures": tuple(row.figures),
    }
    return Job(**_fields(Job, row) | known)


def result(row: AnyRow) -> Result:
    """One object of a job."""
    written = NewResult(**_fields(NewResult, row))
    return Result(id=row.id, job_id=row.job_id, attempt=row.attempt, written=written)


def delivery(row: AnyRow) -> Delivery:
    """One object for one destination; the object's columns begin with `result_`."""
    prefixed = {name: getattr(row, f"result_{name}") for name in _names(NewResult)}
    sent = Result(
        id=row.result_id,
        job_id=row.job_id,
        attempt=row.result_attempt,
        written=NewResult(**prefixed),
    )
    known = {"result": sent, "state": DeliveryState(row.state)}
    return Delivery(**_fields(Delivery, row) | known)


def delivery_attempt(row: AnyRow) -> DeliveryAttempt:
    """One try."""
    return DeliveryAttempt(**_fields(DeliveryAttempt, row) | {"state": DeliveryState(row.state)})


def commitment(row: AnyRow) -> Commitment:
    """One request for storage commitment."""
    asked = tuple(Reference(*pair) for pair in row.asked)
    known = {
        "made_of": NewCommitment(**_fields(NewCommitment, row) | {"asked": asked}),
        "state": CommitmentState(row.state),
    }
    return Commitment(**_fields(Commitment, row) | known)


def entry(row: AnyRow) -> Entry:
    """One link of an audit chain."""
    return Entry(**_fields(Entry, row) | {"details": json.loads(row.details)})


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


def _fields(kind: type, row: AnyRow) -> dict[str, Any]:
    known = row._mapping
    return {name: known[name] for name in _names(kind) if name in known}
