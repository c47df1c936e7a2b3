"""Between rows and the pipeline's values: the only place that knows both."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict

from node.routing import Case
from node.rules import Rule
from node.settings import Settings, digest
from node.sides import NAMED
from pipeline import completion_weights
from pipeline.registry import algorithm
from pipeline.types import (
    Algorithm,
    Assume,
    Assumption,
    NoticeOf,
    ObjectKind,
    Reconstructed,
    Request,
    Side,
    Source,
    ViewName,
    Withheld,
)
from storage.records import Instance, Job, Json, NewJob, NewResult

NOTICE: Final = "notice"
"""The model of a job that makes one page with reasons instead of bones."""

NOTICE_VERSION: Final = "1"


class Order(BaseModel):
    """What a job's row keeps of its request, so that it runs again the same after any change of
    the settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    views: tuple[str, ...]
    view_of: dict[str, ViewName]
    """View by SOP Instance UID."""
    assume: Assume
    frame_number: int
    kinds: tuple[ObjectKind, ...]
    time_zone: str
    assumptions: tuple[Assumption, ...]
    notify_declined: bool = False
    """Whether a notice goes out if the pipeline refuses the study."""
    notify_withheld: bool = False
    reasons: tuple[str, ...] = ()
    """Of a notice: why there is no reconstruction."""
    notice_of: NoticeOf = NoticeOf.DECLINED
    complete: bool = False

    @classmethod
    def of_notice(
        cls, reasons: tuple[str, ...], views: tuple[str, ...], settings: Settings
    ) -> Order:
        """The order of one page that tells `reasons`; nothing of its images is interpreted."""
        return cls(
            views=views,
            view_of={},
            assume=Assume(),
            frame_number=1,
            kinds=(),
            time_zone=settings.node.time_zone,
            assumptions=(),
            reasons=reasons,
        )


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the node keeps its files."""

    instances: Path
    quarantine: Path
    results: Path


def new_job(case: Case, study_instance_uid: str, completeness: str, settings: Settings) -> NewJob:
    """The row that a routed case becomes."""
    rule = case.rule
    made_by = algorithm(rule.engine, rule.region)
    order = Order(
        views=rule.views,
        view_of={chosen.image.sop_instance_uid: chosen.view for chosen in case.chosen},
        assume=rule.to_assume(),
        frame_number=rule.frame_number,
        kinds=rule.kinds,
        time_zone=settings.node.time_zone,
        assumptions=_assumptions(case),
        notify_declined=rule.notify_declined,
        notify_withheld=rule.notify_withheld,
        complete=rule.complete,
    )
    return NewJob(
        study_instance_uid=study_instance_uid,
        rule=rule.name,
        region=rule.region,
        side=case.side,
        model=rule.engine,
        model_version=made_by.version,
        weights_digest=_weights_digest(made_by, rule),
        input_digest=input_digest(case, rule),
        configuration_digest=digest(settings),
        completeness=completeness,
        priority=rule.priority.rank,
        destinations=rule.destinations,
        sop_instance_uids=tuple(chosen.image.sop_instance_uid for chosen in case.chosen),
        request=order.model_dump(mode="json"),
    )


def _weights_digest(made_by: Algorithm, rule: Rule) -> str:
    """Of all weights that a result comes from: one that is completed comes from two."""
    if not rule.complete:
        return made_by.weights_digest
    by = completion_weights.algorithm_for(rule.region)
    return hashlib.sha256(f"{made_by.weights_digest}{by.weights_digest}".encode()).hexdigest()


def _assumptions(case: Case) -> tuple[Assumption, ...]:
    if case.side_because == NAMED:
        return ()
    return (Assumption("ImageLaterality", case.side.value, "", case.side_because),)


def input_digest(case: Case, rule: Rule) -> str:
    """SHA-256, hex, over the chosen images, their views, and what the rule assumes of them."""
    lines = sorted(
        f"{chosen.image.sop_instance_uid} {chosen.image.sha256} {chosen.view}"
        for chosen in case.chosen
    )
    return hashlib.sha256("\n".join([*lines, repr(rule.to_assume())]).encode()).hexdigest()


def request(
    job: Job, instances: Sequence[Instance], folders: Folders, folder: Path, node: str
) -> Request:
    """What the pipeline is asked for one attempt at `job`; its time is that of the opening."""
    order = Order.model_validate(job.made_of.request)
    return Request(
        sources=tuple(
            Source(
                path=folders.instances / instance.path,
                sop_instance_uid=instance.sop_instance_uid,
                sha256=instance.sha256,
                view=order.view_of.get(instance.sop_instance_uid),
            )
            for instance in instances
        ),
        region=job.made_of.region,
        views=order.views,
        side=Side(job.made_of.side),
        model=job.made_of.model,
        rule=job.made_of.rule,
        configuration_digest=job.made_of.configuration_digest,
        node=node,
        at=job.opened_at.astimezone(ZoneInfo(order.time_zone)),
        folder=folder,
        assume=order.assume,
        frame_number=order.frame_number,
        kinds=order.kinds,
        assumptions=order.assumptions,
        reasons=order.reasons,
        notice_of=order.notice_of,
        complete=order.complete,
    )


def attempt_folder(folders: Folders, job_id: int, attempt: int) -> Path:
    """Where one attempt writes; an outlived attempt cannot touch the files of the next."""
    return folders.results / f"job-{job_id}" / f"attempt-{attempt}"


def new_results(outcome: Reconstructed, folders: Folders) -> tuple[NewResult, ...]:
    """The rows of what was written."""
    return tuple(
        NewResult(
            kind=written.kind,
            sop_class_uid=written.sop_class_uid,
            sop_instance_uid=written.sop_instance_uid,
            path=str(written.path.relative_to(folders.results)),
            sha256=written.sha256,
            size_bytes=written.size_bytes,
        )
        for written in outcome.objects
    )


def algorithm_json(made_by: Algorithm) -> dict[str, Json]:
    """The algorithm as JSON."""
    return {
        "name": made_by.name,
        "version": made_by.version,
        "weights_digest": made_by.weights_digest,
        "parameters": dict(made_by.parameters),
    }


def assumptions_json(outcome: Reconstructed | Withheld) -> tuple[Json, ...]:
    """What was assumed, as JSON."""
    return tuple(asdict(assumption) for assumption in outcome.assumptions)


def figures_json(outcome: Reconstructed | Withheld) -> tuple[Json, ...]:
    """The quality figures, as JSON."""
    return tuple({**asdict(figure), "is_within": figure.is_within} for figure in outcome.figures)


def moment(at: datetime) -> str:
    """`at` for a person: UTC, to the second."""
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")
