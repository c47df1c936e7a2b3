"""One page instead of bones: what is sent where a study was declined or a result withheld.

Nobody should have to guess whether the node ran. A notice is a job like any other, of the model
"notice": it is made once for the same images and reasons, delivered and tried again like bones.
The study stays declined, the job withheld, and a late view is reconstructed as if nothing had been
sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from node.matching import taken
from node.routing import Declined
from node.rules import Priority
from node.settings import Settings, digest
from node.sides import by_side
from node.study import Image, ReceivedStudy
from node.translate import NOTICE, NOTICE_VERSION, Order
from pipeline.attributes import text
from pipeline.types import NoticeOf, Side
from storage.records import Job, NewJob

MOST_SOURCES = 16
"""Images that a notice names as its sources: a run of fluoroscopy has hundreds."""


def of_declined(
    study: ReceivedStudy, declined: Declined, evidence: str, settings: Settings
) -> NewJob | None:
    """The job for a notice; None where neither the rule nor the settings ask for one."""
    rule = next((each for each in settings.rules if each.name == declined.rule), None)
    destinations = settings.notices.destinations
    if rule is not None:
        destinations = rule.destinations if rule.notify_declined else ()
    images = study.images if rule is None else taken(study, rule)
    if not destinations or not images:
        return None
    uids = tuple(image.sop_instance_uid for image in images[:MOST_SOURCES])
    order = Order.of_notice(declined.reasons, () if rule is None else rule.views, settings)
    held = [f"{image.sop_instance_uid} {image.sha256}" for image in images]
    return NewJob(
        study_instance_uid=study.study_instance_uid,
        rule=declined.rule,
        region=_region(images) if rule is None else rule.region,
        side=_side(images),
        model=NOTICE,
        model_version=NOTICE_VERSION,
        weights_digest="",
        input_digest=_digest(held, declined.reasons),
        configuration_digest=digest(settings),
        completeness=evidence,
        priority=(Priority.ROUTINE if rule is None else rule.priority).rank,
        destinations=destinations,
        sop_instance_uids=uids,
        request=order.model_dump(mode="json"),
    )


def of_withheld(job: Job, reasons: Sequence[str]) -> NewJob | None:
    """The job for a notice that quality holds back the bones of `job`; None if none is asked."""
    order = Order.model_validate(job.made_of.request)
    return _about(job, order, NoticeOf.WITHHELD, reasons) if order.notify_withheld else None


def of_refused(job: Job, reasons: Sequence[str]) -> NewJob | None:
    """The same where the pipeline found in the pixels why the study cannot be reconstructed."""
    order = Order.model_validate(job.made_of.request)
    return _about(job, order, NoticeOf.REFUSED, reasons) if order.notify_declined else None


def _about(job: Job, order: Order, notice_of: NoticeOf, reasons: Sequence[str]) -> NewJob:
    told = order.model_copy(
        update={
            "kinds": (),
            "reasons": tuple(reasons),
            "notice_of": notice_of,
            "notify_declined": False,
            "notify_withheld": False,
        }
    )
    return replace(
        job.made_of,
        model=NOTICE,
        model_version=NOTICE_VERSION,
        weights_digest="",
        input_digest=_digest([job.made_of.input_digest], reasons),
        request=told.model_dump(mode="json"),
    )


def _digest(inputs: Iterable[str], reasons: Sequence[str]) -> str:
    return hashlib.sha256("\n".join([*sorted(inputs), *reasons]).encode()).hexdigest()


def _side(images: Sequence[Image]) -> Side:
    """The side that the images name, if they name one; never an assumed one."""
    sides = by_side(images, None).sides
    return sides[0].side if len(sides) == 1 else Side.UNPAIRED


def _region(images: Sequence[Image]) -> str:
    """The body part that all images name; empty where they name none or several."""
    parts = {text(image.attributes, "BodyPartExamined").strip().lower() for image in images}
    return parts.pop() if len(parts) == 1 else ""
