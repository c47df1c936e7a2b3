"""Why a study is declined, in sentences that a technician understands at 3 a.m.

They repeat what describes the examination (modality, body part, descriptions) and never what
describes the patient.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from node.matching import KEYWORDS, unmet, values
from node.rules import Rule
from node.study import Image, ReceivedStudy
from pipeline.attributes import text
from pipeline.types import Side, ViewName

LONGEST_VALUE = 64
MOST_CONDITIONS = 3
MOST_KINDS = 5
MOST_REASONS = 12
SIDES = {Side.RIGHT: "the right side", Side.LEFT: "the left side", Side.UNPAIRED: "no single side"}


@dataclass(frozen=True, slots=True)
class SideFound:
    """What is here of one side."""

    side: Side
    views: tuple[ViewName, ...]
    unknown: int
    """Images whose view cannot be told."""


def no_rule(study: ReceivedStudy, rules: Sequence[Rule]) -> tuple[str, ...]:
    """What was seen, and for each rule why it did not take it."""
    if not rules:
        return ("No rules are configured; add [[rules]] to the settings.",)
    if not study.images:
        return ("The study has no image.",)
    kinds = sorted({_seen(image) for image in study.images})
    more = [f"and {len(kinds) - MOST_KINDS} more"] if len(kinds) > MOST_KINDS else []
    seen = "; ".join(kinds[:MOST_KINDS] + more)
    return (f"No rule takes this study: {seen}.", *(_why_not(study, rule) for rule in rules))


def missing_views(rule: Rule, images: int, found: Sequence[SideFound]) -> str:
    """Which views the rule needs, and what is here instead."""
    needs = _joined([f"{_article(view)} {view}" for view in rule.views])
    start = f"Rule '{rule.name}' needs {needs} view"
    if not found and images < len(rule.views):
        return f"{start}; only {_images(images)} {'is' if images == 1 else 'are'} here."
    if not found:
        return f"{start} of one side; of the {_images(images)} here, none tells its side."
    if len(found) == 1:
        return f"{start}; only {_here(found[0])} here."
    sides = (f"of {SIDES[one.side]} only {_here(one)} here" for one in found)
    return f"{start} of one side; {', '.join(sides)}."


def of_image(image: Image, reason: str) -> str:
    """A reason that concerns one image, which is named as the modality numbers it."""
    series, number = (image.attributes.get(k) for k in ("SeriesNumber", "InstanceNumber"))
    name = f"Image {number} of series {series}"
    if not isinstance(number, int) or not isinstance(series, int):
        name = f"Image {image.sop_instance_uid}"
    return f"{name}: {reason.rstrip('.')}."


TWO_PATIENTS: Final = (
    "Its images name more than one patient (PatientID): bones of two patients must not be mixed. "
    "Correct the study in the PACS, and send it again under a new Study Instance UID."
)


def bounded(head: str, reasons: Sequence[str]) -> tuple[str, ...]:
    """The head and the different reasons, as many as somebody reads."""
    different = list(dict.fromkeys(reasons))
    more = [f"And {len(different) - MOST_REASONS} more of this kind."]
    return (head, *different[:MOST_REASONS], *(more if len(different) > MOST_REASONS else ()))


def _seen(image: Image) -> str:
    said = image.attributes
    modality = text(said, "Modality") or "no modality"
    part = text(said, "BodyPartExamined")
    part = f"body part {_quoted(part)}" if part else "no body part"
    described = next((d for k in _DESCRIPTIONS if (d := said.get(k)) and isinstance(d, str)), None)
    return f"{modality}, {part}, " + (_quoted(described) if described else "no description")


_DESCRIPTIONS = ("SeriesDescription", "ProtocolName", "StudyDescription")


def _why_not(study: ReceivedStudy, rule: Rule) -> str:
    """By the image that comes nearest to what the rule asks for."""
    nearest = min(study.images, key=lambda image: (len(unmet(image, rule)), image.sop_instance_uid))
    faults = []
    for name, asked in unmet(nearest, rule):
        said = _joined([_quoted(value) for value in values(nearest, name)])
        label = KEYWORDS.get(name, name.replace("_ae_title", " AE title"))
        faults.append(f"{label} is {said or 'absent'}, and it asks for {asked}")
    if len(faults) > MOST_CONDITIONS:
        faults[MOST_CONDITIONS:] = [f"and {len(faults) - MOST_CONDITIONS} more do not fit"]
    return f"Rule '{rule.name}' does not take it: {'; '.join(faults)}."


def _here(found: SideFound) -> str:
    parts = [
        f"{_article(view)} {view} view" if count == 1 else f"{count} {view} views"
        for view, count in sorted(Counter(found.views).items())
    ]
    if found.unknown:
        parts.append(f"{_images(found.unknown)} of unknown view")
    is_one = len(parts) == 1 and len(found.views) + found.unknown == 1
    return f"{_joined(parts)} {'is' if is_one else 'are'}"


def _images(count: int) -> str:
    return "one image" if count == 1 else f"{count} images"


def _article(view: str) -> str:
    """As it is spoken: an A-P, a P-A, an L-L, an R-L."""
    return "an" if view in {"AP", "LL", "RL"} else "a"


def _joined(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _quoted(value: str) -> str:
    return f"'{value[:LONGEST_VALUE]}'"
