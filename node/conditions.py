"""Conditions of a rule: what the texts of an image must be. They are data, never code.

Texts are compared without case and surrounding blanks. A value that an image lacks meets no
condition; of several values, one is enough.
"""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    field_validator,
    model_validator,
)

from node.patterns import compiled, is_found

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64)]


class Table(BaseModel):
    """A table of the settings file: frozen, and an unknown key is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


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
