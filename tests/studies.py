"""Studies as routing sees them, the rules that take them, and what came of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pydicom.dataset import Dataset

from node.routing import Case, Declined, Routed, route
from node.rules import Rule
from node.study import Image, ReceivedStudy
from pipeline.attributes import attributes

NOW = datetime(2026, 1, 2, 11, 0, tzinfo=UTC)


def study_of(*images: Dataset, calling: str = "DXROOM1") -> ReceivedStudy:
    """The study of these images, received in this order, a second apart."""
    return ReceivedStudy(
        study_instance_uid="1.2.3",
        images=tuple(
            Image(
                sop_instance_uid=ds.SOPInstanceUID,
                series_instance_uid=ds.SeriesInstanceUID,
                sha256="ab",
                received_at=NOW + timedelta(seconds=number),
                calling_ae_title=calling,
                called_ae_title="OSTEON",
                attributes=attributes(ds),
            )
            for number, ds in enumerate(images)
        ),
        first_received_at=NOW,
        last_received_at=NOW + timedelta(seconds=len(images)),
        open_associations=0,
        pacs_count=None,
        revision=len(images),
    )


def rule(name: str = "hip", **keys: Any) -> Rule:
    """A rule for two views of a hip and the engine without weights, changed by `keys`."""
    table: dict[str, Any] = {
        "name": name,
        "region": "hip",
        "views": ["frontal", "lateral"],
        "engine": "visual-hull",
        "destinations": ["pacs"],
        "match": {"modality": {"one_of": ["CR", "DX"]}, "body_part_examined": "HIP"},
    }
    return Rule.model_validate(table | keys)


NO_VIEW = {"ViewPosition": None, "ViewCodeSequence": None}


def cases_of(study: ReceivedStudy, *rules: Rule) -> tuple[Case, ...]:
    """What the rules make of the study, which is something."""
    routed = route(study, rules or (rule(),))
    assert isinstance(routed, Routed), routed
    return routed.cases


def reasons_of(study: ReceivedStudy, *rules: Rule) -> tuple[str, ...]:
    """Why the rules make nothing of the study."""
    declined = route(study, rules or (rule(),))
    assert isinstance(declined, Declined), declined
    return declined.reasons
