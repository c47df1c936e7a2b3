"""What deciding code may know of a study: no rows, no files, no pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from storage.records import Instance, Json, Study


@dataclass(frozen=True, slots=True)
class Image:
    """One received image, as its header and its sender describe it."""

    sop_instance_uid: str
    series_instance_uid: str
    sha256: str
    received_at: datetime
    calling_ae_title: str
    called_ae_title: str
    attributes: Mapping[str, Json]
    """DICOM keywords with their values; one that is absent or empty is not here."""


@dataclass(frozen=True, slots=True)
class ReceivedStudy:
    """One study as received so far. Times are aware UTC."""

    study_instance_uid: str
    images: tuple[Image, ...]
    first_received_at: datetime
    """Of this round: the first image since the last decision, or of all before any decision."""
    last_received_at: datetime
    open_associations: int
    """Associations that have sent an image of this study and are still open, on any node."""
    pacs_count: int | None
    """How many instances the PACS counts in this study; None where it was not asked."""
    revision: int


def received_study(
    study: Study,
    instances: Sequence[Instance],
    *,
    open_associations: int,
    pacs_count: int | None,
    decided_at: datetime | None = None,
) -> ReceivedStudy:
    """The study of these rows; a new round of waiting begins after the decision at `decided_at`."""
    return ReceivedStudy(
        study_instance_uid=study.study_instance_uid,
        images=tuple(_image(instance) for instance in instances),
        first_received_at=_start_of_round(study, instances, decided_at),
        last_received_at=study.last_received_at.astimezone(UTC),
        open_associations=open_associations,
        pacs_count=pacs_count,
        revision=study.revision,
    )


def _image(instance: Instance) -> Image:
    return Image(
        sop_instance_uid=instance.sop_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        sha256=instance.sha256,
        received_at=instance.received_at.astimezone(UTC),
        calling_ae_title=instance.calling_ae_title,
        called_ae_title=instance.called_ae_title,
        attributes=instance.attributes,
    )


def _start_of_round(
    study: Study, instances: Sequence[Instance], decided_at: datetime | None
) -> datetime:
    if decided_at is None:
        return study.first_received_at.astimezone(UTC)
    # If the clock was set back since the decision, nothing seems newer: the last counts then.
    later = (i.received_at for i in instances if i.received_at > decided_at)
    return min(later, default=study.last_received_at).astimezone(UTC)
