"""What was found of a volumetric family, as Markdown and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from pipeline.training.over_people import interval, told
from pipeline.training.volumes_judging import Claim, Condition, Judgement, by_owner

MEASURES = {"iou_30": "IoU at .3", "iou_40": "IoU at .4", "f_score": "F-score at 1 %"}


def as_markdown(judgements: Sequence[Judgement], claims: Sequence[Claim]) -> str:
    """A table of each category, one of all together where there are several, and the claims."""
    categories = list(dict.fromkeys(j.category for j in judgements))
    parts = [_table(_of(judgements, category), category) for category in categories]
    if len(categories) > 1:
        parts.append(_table(judgements, "all"))
    lines = ["| claim | holds | found (95 %) |", "|---|---|---|"]
    lines += [
        f"| {one.name} | {'yes' if one.holds else 'no'} | {told(one.found, 3)} |" for one in claims
    ]
    return "\n\n".join([*parts, "\n".join(lines)]) + "\n"


def as_json(judgements: Sequence[Judgement], claims: Sequence[Claim]) -> Mapping[str, object]:
    """The same with every single item."""
    return {
        "claims": [asdict(one) for one in claims],
        "items": [asdict(one) for one in judgements],
    }


def _table(judgements: Sequence[Judgement], title: str) -> str:
    headings = [
        title,
        "views",
        "items",
        "owners",
        *(f"{name} (95 %)" for name in MEASURES.values()),
    ]
    lines = [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings)]
    for condition in sorted({Condition(j.engine, j.views) for j in judgements}):
        here = [j for j in judgements if Condition(j.engine, j.views) == condition]
        owners = {j.owner for j in here}
        means = [
            told(interval(list(by_owner(here, measure, condition).values())), 3)
            for measure in MEASURES
        ]
        cells = [condition.engine, str(condition.views), str(len(here)), str(len(owners)), *means]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _of(judgements: Sequence[Judgement], category: str) -> list[Judgement]:
    return [j for j in judgements if j.category == category]
