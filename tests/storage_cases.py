"""Rows as the node would write them, small and obviously made up."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Engine

from storage import ledger, queries
from storage.database import begin, reading
from storage.records import DeliveryState, Instance, NewJob, NewResult, StudyState

T = TypeVar("T")
NODE = "test-node"
T0 = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
STUDY = "1.2.826.0.1.3680043.8.498.1"
DX = "1.2.840.10008.5.1.4.1.1.1.1"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


def after(seconds: float) -> datetime:
    """So many seconds after the beginning."""
    return T0 + timedelta(seconds=seconds)


def digest(text: str) -> str:
    """The SHA-256 of a text, as a stand-in for the bytes of a file."""
    return hashlib.sha256(text.encode()).hexdigest()


def an_instance(
    name: str = "1", study: str = STUDY, content: str = "", at: datetime = T0
) -> Instance:
    """One radiograph; `content` stands for its bytes, and is its name where it is not given."""
    sha256 = digest(content or name)
    return Instance(
        sop_instance_uid=f"{study}.9.{name}",
        study_instance_uid=study,
        series_instance_uid=f"{study}.8",
        sop_class_uid=DX,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        sha256=sha256,
        size_bytes=1234,
        path=f"{sha256[:2]}/{sha256}.dcm",
        received_at=at,
        calling_ae_title="MODALITY",
        called_ae_title="OSTEON",
        peer_address="127.0.0.1",
        attributes={"Modality": "DX", "ViewPosition": "AP"},
    )


def a_new_job(study: str = STUDY, **changes: object) -> NewJob:
    """A knee of two destinations from one radiograph."""
    new = NewJob(
        study_instance_uid=study,
        rule="knee",
        region="knee",
        side="L",
        model="hull",
        model_version="1",
        weights_digest="",
        input_digest=digest("inputs"),
        configuration_digest=digest("configuration"),
        completeness="both expected views are here",
        priority=2,
        destinations=("PACS", "ARCHIVE"),
        sop_instance_uids=(f"{study}.9.1",),
        request={"views": ["AP", "LL"]},
    )
    return replace(new, **changes)  # type: ignore[arg-type] # any field, by its name


def a_result(name: str = "1", content: str = "", study: str = STUDY) -> NewResult:
    """One segmentation."""
    sha256 = digest(content or f"result {name}")
    return NewResult(
        kind="segmentation",
        sop_class_uid=SEGMENTATION,
        sop_instance_uid=f"{study}.7.{name}",
        path=f"1/attempt-1/{name}.dcm",
        sha256=sha256,
        size_bytes=99,
    )


MADE = {"algorithm": {"name": "hull"}, "assumptions": [], "figures": [{"name": "dice"}]}


def a_queued_job(engine: Engine, study: str = STUDY, at: datetime = T0, **changes: object) -> int:
    """A study of one instance, with a job that waits for an engine."""
    with begin(engine) as conn:
        ledger.receive(conn, NODE, an_instance(study=study, at=at))
        return ledger.open_job(conn, NODE, at, a_new_job(study, **changes)).job_id


def a_claimed_job(engine: Engine, study: str = STUDY, **changes: object) -> int:
    """Claimed as attempt 1, with a deadline of five minutes."""
    job_id = a_queued_job(engine, study, **changes)
    with begin(engine) as conn:
        assert ledger.claim(conn, NODE, job_id, 0, after(1), after(301)) == 1
    return job_id


def a_delivering_job(
    engine: Engine, *results: NewResult, study: str = STUDY, **changes: object
) -> int:
    """Reconstructed by attempt 1, nothing sent yet."""
    job_id = a_claimed_job(engine, study, **changes)
    written = results or (a_result(study=study),)
    with begin(engine) as conn:
        ledger.store_outcome(conn, NODE, job_id, 1, after(2), results=written, **MADE)
    return job_id


def answer(
    engine: Engine,
    delivery_id: int,
    state: DeliveryState,
    status: int | None = 0,
    at: datetime = T0,
) -> None:
    """The destination answered."""
    with begin(engine) as conn:
        ledger.record_attempt(
            conn, NODE, at, delivery_id, state=state, status=status, reason="", next_attempt_at=at
        )


def routed(engine: Engine, revision: int, study: str = STUDY) -> bool:
    """The study was routed to the knee rule, as it was at `revision`."""
    with begin(engine) as conn:
        return ledger.decide(
            conn,
            NODE,
            after(5),
            study_instance_uid=study,
            revision=revision,
            completeness="quiet for 60 s",
            verdict=StudyState.ROUTED,
            rule="knee",
            reasons=("Modality is DX",),
            configuration_digest=digest("configuration"),
        )


def together(work: Sequence[Callable[[], T]]) -> list[T]:
    """Runs all of them at once, each in its thread; what one raises is raised here."""
    with ThreadPoolExecutor(len(work)) as pool:
        return [future.result(timeout=60) for future in [pool.submit(one) for one in work]]


def everything(engine: Engine) -> Any:
    """All that is known, but the audit."""
    with reading(engine) as conn:
        studies = queries.recent_studies(conn)
        jobs = queries.jobs(conn)
        return (
            studies,
            jobs,
            [queries.instances(conn, study.study_instance_uid) for study in studies],
            [queries.decisions(conn, study.study_instance_uid) for study in studies],
            [queries.deliveries(conn, job.id) for job in jobs],
            [queries.results(conn, job.id) for job in jobs],
        )


def kinds(engine: Engine) -> list[str]:
    """What the audit tells, in the order of its chain."""
    with reading(engine) as conn:
        found = queries.entries(conn)
    return [entry.kind for entry in sorted(found, key=lambda entry: entry.sequence)]
