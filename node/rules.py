"""Rules: which images are taken, and what is made of them. Rules are data, never code.

Texts are compared without case and surrounding blanks. A value that an image lacks meets no
condition; of several values, one is enough.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    Strict,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from node.models import AUTO, usable
from node.patterns import compiled, is_found
from pipeline.familiar import FRONTAL, LATERAL
from pipeline.types import DEFAULT_KINDS, Assume, ObjectKind, Side, ViewName

Item = TypeVar("Item")


class Table(BaseModel):
    """A table of the settings file: frozen, and an unknown key is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


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


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]
Name = Annotated[str, AfterValidator(_name)]
Millimetres = Annotated[float, Strict(), Field(gt=0, le=10_000, allow_inf_nan=False)]
Kinds = Annotated[tuple[ObjectKind, ...], Field(min_length=1), AfterValidator(unique)]
ExpectedView = Literal["AP", "PA", "LL", "RL", "frontal", "lateral"]


def _folded(text: str) -> str:
    return text.strip().casefold()


def _spelt_out(condition: object) -> object:
    return {"equals": condition} if isinstance(condition, str) else condition


class Condition(Table):
    """What a text must be. Exactly one of the four; a plain text means `equals`."""

    equals: Text | None = Field(None, description="The whole text, as it is written.")
    one_of: Annotated[tuple[Text, ...], Field(min_length=1)] | None = Field(
        None, description="Any of these whole texts."
    )
    contains: Text | None = Field(None, description="A part of the text.")
    pattern: str | None = Field(
        None,
        description=(
            "A regular expression that is found in the first 64 characters, which is the length "
            "that DICOM allows. One that could take long to match is refused (node/patterns.py)."
        ),
    )
    _compiled: re.Pattern[str] | None = PrivateAttr(None)

    @field_validator("pattern")
    @classmethod
    def _pattern_is_safe(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            compiled(pattern)
        return pattern

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if len(self.model_fields_set) != 1 or all(v is None for _, v in self):
            raise ValueError("give exactly one of equals, one_of, contains, pattern")
        if self.pattern is not None:
            self._compiled = compiled(self.pattern)
        return self

    def holds(self, text: str) -> bool:
        """True if `text` is what this condition asks for."""
        if self._compiled is not None:
            return is_found(self._compiled, text.strip())
        folded = _folded(text)
        if self.contains is not None:
            return _folded(self.contains) in folded
        wanted = (self.equals,) if self.equals is not None else self.one_of or ()
        return any(_folded(one) == folded for one in wanted)

    def __str__(self) -> str:
        """What is asked for, in words."""
        if self.equals is not None:
            return f"'{self.equals}'"
        if self.one_of is not None:
            return "one of " + ", ".join(f"'{one}'" for one in self.one_of)
        if self.contains is not None:
            return f"a text with '{self.contains}' in it"
        return f"a text that fits the pattern '{self.pattern}'"


Asked = Annotated[Condition, BeforeValidator(_spelt_out)] | None


class Match(Table):
    """Which images a rule takes: those that meet every condition given."""

    modality: Asked = Field(None, description="Modality (0008,0060), as DX or CR.")
    body_part_examined: Asked = Field(None, description="Body Part Examined (0018,0015).")
    view_position: Asked = Field(None, description="View Position (0018,5101).")
    calling_ae_title: Asked = Field(None, description="AE title of whoever sent the image.")
    called_ae_title: Asked = Field(None, description="AE title under which this node was called.")
    station_name: Asked = Field(None, description="Station Name (0008,1010).")
    study_description: Asked = Field(None, description="Study Description (0008,1030).")
    series_description: Asked = Field(None, description="Series Description (0008,103E).")
    protocol_name: Asked = Field(None, description="Protocol Name (0018,1030).")

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.conditions:
            raise ValueError(
                "give at least one condition; a rule that is to take every image asks for "
                "`called_ae_title`"
            )
        return self

    @property
    def conditions(self) -> tuple[tuple[str, Condition], ...]:
        """The conditions given, by the name of what they ask about."""
        return tuple((name, asked) for name, asked in self if isinstance(asked, Condition))


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
