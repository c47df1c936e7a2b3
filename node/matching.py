"""Which images a rule takes: those for which all of its conditions hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from node.conditions import Condition
from node.rules import Rule
from node.study import Image, ReceivedStudy

KEYWORDS: Final = {
    "modality": "Modality",
    "body_part_examined": "BodyPartExamined",
    "view_position": "ViewPosition",
    "station_name": "StationName",
    "study_description": "StudyDescription",
    "series_description": "SeriesDescription",
    "protocol_name": "ProtocolName",
}
"""What a rule can ask about an image, and the DICOM keyword that answers; AE titles come beside."""


def matching(study: ReceivedStudy, rules: Sequence[Rule]) -> Rule | None:
    """The first rule that takes at least one image."""
    return next((rule for rule in rules if taken(study, rule)), None)


def taken(study: ReceivedStudy, rule: Rule) -> tuple[Image, ...]:
    """The images of the study for which every condition of the rule holds."""
    return tuple(image for image in study.images if not unmet(image, rule))


def unmet(image: Image, rule: Rule) -> tuple[tuple[str, Condition], ...]:
    """The conditions of the rule that do not hold for the image, by the name of what they ask."""
    return tuple(
        (name, asked)
        for name, asked in rule.match.conditions
        if not any(asked.holds(value) for value in values(image, name))
    )


def values(image: Image, name: str) -> tuple[str, ...]:
    """What an image says to a condition of that name; nothing where the attribute is absent."""
    if name == "calling_ae_title":
        return (image.calling_ae_title,)
    if name == "called_ae_title":
        return (image.called_ae_title,)
    said = image.attributes.get(KEYWORDS[name])
    several = said if isinstance(said, list) else [said]
    texts = (str(one).strip() for one in several if isinstance(one, str | int | float))
    return tuple(text for text in texts if text)
