"""Rules: which images are taken, and what is made of them. Rules are data, never code."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    Strict,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from node.conditions import Match, Table, Text
from node.models import AUTO, completable, usable
from pipeline.familiar import FRONTAL, LATERAL
from pipeline.types import DEFAULT_KINDS, Assume, ObjectKind, Side, ViewName

Item = TypeVar("Item")


class Priority(StrEnum):
    """How urgent a job is."""

    STAT = "stat"
    HIGH = "high"
    ROUTINE = "routine"

    @property
    def rank(self) -> int:
        """0 is claimed first."""
        return list(Priority).index(self)


def unique(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """The items, none of which stands twice.

    Raises:
        ValueError: one does.
    """
    if len(set(items)) != len(items):
        raise ValueError("each may stand only once")
    return items


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise ValueError(
            "a name has 1 to 64 letters, digits, '.', '_', '-'; a letter or digit first"
        )
    return text


Name = Annotated[str, AfterValidator(_name)]
Millimetres = Annotated[float, Strict(), Field(gt=0, le=10_000, allow_inf_nan=False)]
Kinds = Annotated[tuple[ObjectKind, ...], Field(min_length=1), AfterValidator(unique)]
ExpectedView = Literal["AP", "PA", "LL", "RL", "frontal", "lateral"]


def _as_pairs(words: Any) -> Any:
    return tuple(words.items()) if isinstance(words, dict) else words


class Assumed(Table):
    """What may be assumed where an image does not say it. Each use is recorded in the result."""

    source_to_detector: Millimetres | None = Field(
        None,
        description="mm. Distance Source to Detector (SID). Unset: declined without it.",
    )
    source_to_patient: Millimetres | None = Field(
        None,
        description="mm. Distance Source to Patient, to the isocentre (SOD). Unset: declined.",
    )
    pixel_spacing: Millimetres | None = Field(
        None, description="mm at the detector. Unset: declined, since every length hangs on it."
    )
    patient_orientation: Annotated[bool, Strict()] = Field(
        False,
        description=(
            "Whether an image without Patient Orientation counts as shown in the customary way. "
            "False, because a flipped image would give the wrong side."
        ),
    )
    side: Side | None = Field(
        None,
        description="R, L or U, where no image says the side. Unset: declined; never guessed.",
    )
    view_of_series: Annotated[
        tuple[tuple[Text, ViewName], ...], BeforeValidator(_as_pairs), Field(max_length=64)
    ] = Field(
        (),
        description=(
            "Words of a series description and the view (AP, PA, LL, RL) they mean where View "
            "Position is missing; the first that is found counts. Empty: nothing is assumed."
        ),
    )

    @model_validator(mode="after")
    def _source_is_before_the_detector(self) -> Self:
        sid, sod = self.source_to_detector, self.source_to_patient
        if sid is not None and sod is not None and sod >= sid:
            raise ValueError("source_to_patient must be smaller than source_to_detector")
        return self


class Rule(Table):
    """One rule: which images, and what is made of them for whom. The first that matches wins."""

    name: Name = Field(description="Name in the audit and in every reason; unique.")
    region: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")] = Field(
        description="Body region to reconstruct, as `hip` or `knee`."
    )
    views: Annotated[
        tuple[ExpectedView, ...], Field(min_length=1, max_length=6), AfterValidator(unique)
    ] = Field(description="The views that must be present: AP, PA, LL, RL, frontal, lateral.")
    engine: str = Field(
        AUTO,
        validate_default=True,
        description=(
            "The engine, one of `osteon models`. auto: lifting, the trained network, where the "
            "region has one, else visual-hull, which needs a frontal and a lateral view; every "
            "result says which."
        ),
    )
    priority: Priority = Field(
        Priority.ROUTINE,
        description="stat, high or routine: which jobs go first. Most are routine.",
    )
    destinations: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(unique)] = Field(
        description="Names of the destinations that receive the results."
    )
    frame_number: Annotated[int, Strict(), Field(ge=1, le=1_000_000)] = Field(
        1, description="Which frame of a multi-frame image is used, from 1. Most have one."
    )
    kinds: Kinds = Field(
        DEFAULT_KINDS,
        description="Kinds of result object to write: what viewers open and readers can use.",
    )
    notify_declined: Annotated[bool, Strict()] = Field(
        False,
        description=(
            "Whether a study that this rule takes and declines gets one page with the reasons. "
            "No: who has never agreed to it should find no new image in the PACS."
        ),
    )
    notify_withheld: Annotated[bool, Strict()] = Field(
        False,
        description=(
            "Whether a result that quality holds back is replaced by one page with the reasons. "
            "No, for the same reason."
        ),
    )
    complete: Annotated[bool, Strict()] = Field(
        False,
        description=(
            "Whether bones, and parts of them, that were not reconstructed are added, each as a "
            "segment of its own that says `predicted, not imaged`. No: nobody asked for bones "
            "that are not from the images."
        ),
    )
    match: Match = Field(description="Which images are taken; at least one condition.")
    assume: Assumed = Field(
        default_factory=Assumed, description="What to assume where geometry is missing: nothing."
    )

    @field_validator("views")
    @classmethod
    def _views_do_not_overlap(cls, views: tuple[str, ...]) -> tuple[str, ...]:
        for wide, narrow in (("frontal", FRONTAL), ("lateral", LATERAL)):
            if wide in views and len(narrow & set(views)) > 1:
                raise ValueError(f"'{wide}' stands for all of {', '.join(sorted(narrow - {wide}))}")
        return views

    @field_validator("engine")
    @classmethod
    def _engine_can_use_the_views(cls, engine: str, info: ValidationInfo) -> str:
        region = str(info.data.get("region", ""))
        return usable(engine, region, info.data.get("views", ("frontal", "lateral")))

    @field_validator("complete")
    @classmethod
    def _something_completes(cls, complete: bool, info: ValidationInfo) -> bool:
        if complete and {"engine", "region"} <= info.data.keys():
            completable(info.data["engine"], info.data["region"])
        return complete

    @field_validator("kinds")
    @classmethod
    def _kinds_have_bones(cls, kinds: tuple[ObjectKind, ...]) -> tuple[ObjectKind, ...]:
        if ObjectKind.NOTICE in kinds:
            instead = "set notify_declined or notify_withheld"
            raise ValueError(f"notice is sent in place of bones: leave it out, and {instead}")
        if set(kinds) == {ObjectKind.REPORT}:
            raise ValueError("report alone shows no bone: name key-image, or another kind")
        return kinds

    def to_assume(self) -> Assume:
        """What this rule lets the pipeline assume."""
        given = self.assume
        return Assume(
            source_to_detector=given.source_to_detector,
            source_to_patient=given.source_to_patient,
            pixel_spacing=given.pixel_spacing,
            patient_orientation=given.patient_orientation,
            view_of_series=given.view_of_series,
        )
