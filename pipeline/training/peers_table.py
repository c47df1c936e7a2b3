"""One table of several engines that were judged on the same samples.

Differences are paired: of each person, the peer minus the reference, so that a person who is hard
for all widens no interval. Means and 95 % bootstrap intervals are over people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.training.over_people import Interval, by_person, interval, told
from pipeline.training.peers_judging import Cost, Found, Judgement

MEASURES = {
    "dice": ("Dice", 3),
    "iou": ("IoU", 3),
    "assd_mm": ("ASSD mm", 2),
    "hd95_mm": ("HD95 mm", 1),
}
"""What is compared: its heading and its decimals."""
PAIRED = "assd_mm"
"""What is subtracted in the table."""


@dataclass(frozen=True, slots=True)
class Row:
    """One engine's bone from so many views."""

    bone: str
    engine: str
    views: int
    people: int
    means: Mapping[str, Interval]
    """By measure."""
    worst_mm: float
    """The largest ASSD of a sample."""
    differences: Mapping[str, Interval]
    """From the reference, by measure; empty for the reference itself, and for what it has not."""


def compared(found: Sequence[Found], reference: str) -> list[Row]:
    """The rows of the table, bone by bone, engine by engine, by number of views.

    Args:
        found: What was found of each engine; those that failed have no row.
        reference: The engine that all others are subtracted from, where it was judged.

    Raises:
        ValueError: an engine was judged on other cases than the reference, and nothing is paired.
    """
    bones = dict.fromkeys(j.bone for one in found for j in one.judgements)
    theirs = [j for one in found if one.name == reference for j in one.judgements]
    rows = []
    for bone in bones:
        for one in found:
            for views in sorted({j.views for j in one.judgements if j.bone == bone}):
                here = _at(one.judgements, bone, views)
                other = [] if one.name == reference else _at(theirs, bone, views)
                if other and [j.case for j in here] != [j.case for j in other]:
                    raise ValueError(f"{one.name} and {reference} were judged on different cases")
                rows.append(_row(one.name, here, other))
    return rows


def as_markdown(
    found: Sequence[Found], rows: Sequence[Row], views: Sequence[int], reference: str
) -> str:
    """Who they are, how good each is from how many views and what that costs, and what is missing.

    Args:
        found: As for `compared`.
        rows: That it made.
        views: The numbers of views that were asked for.
        reference: As there.
    """
    lines = ["| engine | parameters | trained | |", "|---|---|---|---|"]
    for one in found:
        facts = f"{one.parameters:,} | {one.trained} | {one.remark}"
        lines.append(f"| {one.name} | {f'- | - | failed: {one.failed}' if one.failed else facts} |")
    headings = [f"{heading} (95 %)" for heading, _ in MEASURES.values()]
    headings += ["worst ASSD", f"ASSD minus that of {reference} (95 %)", "processor s", "GB"]
    for bone in dict.fromkeys(row.bone for row in rows):
        here = [row for row in rows if row.bone == bone]
        people = max(row.people for row in here)
        titles = [f"{bone.replace('_', ' ')}, {people} people", "views", *headings]
        lines += ["", f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
        for one in found:
            own = {row.views: row for row in here if row.engine == one.name}
            costs = {cost.views: cost for cost in one.costs}
            for count in views if own else ():
                cells = _cells(own[count], costs[count]) if count in own else ["-"] * len(headings)
                lines.append(f"| {' | '.join([one.name, str(count), *cells])} |")
    return "\n".join([*lines, *_reasons(found, views)]) + "\n"


def _row(engine: str, here: Sequence[Judgement], other: Sequence[Judgement]) -> Row:
    mine = {measure: by_person(here, measure) for measure in MEASURES}
    theirs = {measure: by_person(other, measure) for measure in MEASURES}
    apart = {
        measure: interval([own - theirs[measure][who] for who, own in mine[measure].items()])
        for measure in (MEASURES if other else ())
    }
    means = {measure: interval(list(mine[measure].values())) for measure in MEASURES}
    worst = max(j.assd_mm for j in here)
    return Row(here[0].bone, engine, here[0].views, len(mine[PAIRED]), means, worst, apart)


def _cells(row: Row, cost: Cost) -> list[str]:
    cells = [told(row.means[m], digits) for m, (_, digits) in MEASURES.items()]
    apart = row.differences.get(PAIRED)
    cells += [f"{row.worst_mm:.2f}", told(apart, 2, sign="+") if apart else ""]
    return [*cells, f"{cost.seconds:.1f}", f"{cost.memory_gb:.1f}"]


def _reasons(found: Sequence[Found], views: Sequence[int]) -> list[str]:
    """Why there is a "-"."""
    lines = []
    for one in found:
        asked = [(count, why) for count, why in one.refused if count in views]
        for why in dict.fromkeys(why for _, why in asked):
            counts = ", ".join(str(count) for count, reason in asked if reason == why)
            noun = "view" if counts == "1" else "views"
            lines.append(f"- {one.name}, {counts} {noun}: {why}.")
    return ["", *lines] if lines else []


def _at(judgements: Sequence[Judgement], bone: str, views: int) -> list[Judgement]:
    return [j for j in judgements if (j.bone, j.views) == (bone, views)]
