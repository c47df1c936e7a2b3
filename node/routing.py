"""From a complete study to the cases that are reconstructed, or to the reasons why not.

The first rule that takes an image decides alone: were a later rule tried where the first one lacks
a view, the result would hang on which image came first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from node import sentences
from node.matching import matching, taken
from node.rules import Rule
from node.sides import OneSide, Unused, by_side
from node.study import Image, ReceivedStudy
from pipeline.attributes import text
from pipeline.errors import ContradictoryGeometry, StudyError
from pipeline.geometry import missing_geometry, place
from pipeline.types import Side, ViewName
from pipeline.views import Unknown, satisfies, view_name

__all__ = ["Case", "Chosen", "Declined", "Routed", "Unused", "is_satisfied", "matching", "route"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """An image that is reconstructed from."""

    image: Image
    view: ViewName
    because: str
    """What told the view."""


@dataclass(frozen=True, slots=True)
class Case:
    """One side of one study that one rule reconstructs."""

    rule: Rule
    side: Side
    side_because: str
    """What told the side, or that the rule assumes it."""
    chosen: tuple[Chosen, ...]
    """In the order of the rule's views."""
    unused: tuple[Unused, ...]


@dataclass(frozen=True, slots=True)
class Routed:
    """At least one side can be reconstructed."""

    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Declined:
    """Nothing of the study can be reconstructed."""

    reasons: tuple[str, ...]
    """Sentences for a technician; without patient data."""
    rule: str
    """Empty where no rule takes an image."""


@dataclass(frozen=True, slots=True)
class _Lacking:
    """One side of a study that cannot be reconstructed."""

    found: sentences.SideFound
    geometry: tuple[str, ...]
    """What the images of the expected views lack; empty where a view itself is missing."""
    unused: tuple[Unused, ...]
    """Why images are of no use by themselves."""
    alone: tuple[Unused, ...]
    """Images that would be of use, were the others of their side."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An image whose view is known, and what its camera lacks."""

    chosen: Chosen
    lacks: tuple[str, ...]


def is_satisfied(study: ReceivedStudy, rules: Sequence[Rule]) -> bool:
    """True if the matching rule has, for at least one side, every view that it expects."""
    return isinstance(route(study, rules), Routed)


def route(study: ReceivedStudy, rules: Sequence[Rule]) -> Routed | Declined:
    """A case for each side that has all views, or the reasons why there is none."""
    rule = matching(study, rules)
    if rule is None:
        return Declined(sentences.no_rule(study, rules), "")
    images = sorted(taken(study, rule), key=_age)
    if len({text(image.attributes, "PatientID") for image in images} - {""}) > 1:
        return Declined((sentences.TWO_PATIENTS,), rule.name)
    sided = by_side(images, rule.assume.side)
    found = [_case(rule, one) for one in sided.sides]
    cases = [each for each in found if isinstance(each, Case)]
    lacking = [each for each in found if isinstance(each, _Lacking)]
    if not cases:
        return Declined(_reasons(rule, images, lacking, sided.unused), rule.name)
    left_over = sided.unused + tuple(u for side in lacking for u in side.unused + side.alone)
    return Routed(
        tuple(
            Case(rule, case.side, case.side_because, case.chosen, case.unused + left_over)
            for case in cases
        )
    )


def _case(rule: Rule, one: OneSide) -> Case | _Lacking:
    seen = [_view(image, one.side, rule) for image in one.images]
    unknown = tuple(each for each in seen if isinstance(each, Unused))
    known = [_Candidate(each, _lacks(each, rule)) for each in seen if isinstance(each, Chosen)]
    best = [found for view in rule.views if (found := _latest(view, known)) is not None]
    spare = tuple(_unused(each, rule) for each in known if each not in best)
    geometry = [sentences.of_image(c.chosen.image, lack) for c in best for lack in c.lacks]
    is_complete = len(best) == len(rule.views)
    if is_complete and not geometry:
        chosen = tuple(each.chosen for each in best)
        return Case(rule, one.side, one.because, chosen, unknown + spare)
    views = tuple(each.chosen.view for each in known)
    return _Lacking(
        sentences.SideFound(one.side, views, len(unknown)),
        tuple(geometry) if is_complete else (),
        unknown + spare,
        tuple(Unused(each.chosen.image, "; ".join(each.lacks) or _ALONE) for each in best),
    )


_ALONE = "Other images of its side are missing or cannot be used"


def _latest(expected: str, known: Sequence[_Candidate]) -> _Candidate | None:
    """The last exposed of that view; one whose camera can be had goes before one that lacks it."""
    of_view = [each for each in known if satisfies(expected, each.chosen.view)]
    usable = [each for each in of_view if not each.lacks]
    return next(reversed(usable or of_view), None)


def _unused(candidate: _Candidate, rule: Rule) -> Unused:
    chosen = candidate.chosen
    if not any(satisfies(expected, chosen.view) for expected in rule.views):
        return Unused(chosen.image, f"The rule does not ask for the view {chosen.view}")
    reason = "; ".join(candidate.lacks) or "A later image of the same view was taken"
    return Unused(chosen.image, reason)


def _view(image: Image, side: Side, rule: Rule) -> Chosen | Unused:
    attributes = dict(image.attributes)
    attributes.setdefault("Laterality", side.value)
    try:
        seen = view_name(attributes, rule.assume.view_of_series)
    except ContradictoryGeometry as fault:
        return Unused(image, str(fault))
    if isinstance(seen, Unknown):
        return Unused(image, seen.reason)
    return Chosen(image, seen.view, seen.because)


def _lacks(chosen: Chosen, rule: Rule) -> tuple[str, ...]:
    """Why the camera of an image cannot be had, a sentence each."""
    assume = rule.to_assume()
    if missing := missing_geometry(chosen.image.attributes, assume):
        return missing
    try:
        place(chosen.image.attributes, chosen.view, assume)
    except StudyError as fault:
        return (str(fault),)
    return ()


def _reasons(
    rule: Rule, images: Sequence[Image], lacking: Sequence[_Lacking], unused: Sequence[Unused]
) -> tuple[str, ...]:
    """Missing geometry where all views are here; else the missing views, and why any is unknown."""
    if geometry := [reason for side in lacking for reason in side.geometry]:
        head = f"Rule '{rule.name}' has its views, but not their geometry."
        return sentences.bounded(head, geometry)
    head = sentences.missing_views(rule, len(images), [side.found for side in lacking])
    why = [*unused, *(one for side in lacking for one in side.unused)]
    return sentences.bounded(head, [sentences.of_image(u.image, u.reason) for u in why])


def _age(image: Image) -> tuple[str, str, float, float, str]:
    """Sorts images from the first exposed to the last; the UID makes the order complete."""
    number = image.attributes.get("InstanceNumber")
    return (
        *_exposed_at(image),
        float(number) if isinstance(number, int | float) else 0.0,
        image.received_at.timestamp(),
        image.sop_instance_uid,
    )


def _exposed_at(image: Image) -> tuple[str, str]:
    """Date and time as digits, which sort as text; both or neither, from one pair of attributes."""
    for event in ("Acquisition", "Content"):
        date = re.sub(r"\D", "", text(image.attributes, f"{event}Date"))
        time = re.sub(r"[^\d.]", "", text(image.attributes, f"{event}Time"))
        if date:
            return date, time
    return "", ""
