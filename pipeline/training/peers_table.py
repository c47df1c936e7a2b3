"""One table of several engines that were judged on the same people.

Differences are paired: of each person, the peer minus the reference, so that a person who is hard
for all widens no interval. Means and 95 % bootstrap intervals are over people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from pipeline.training.judging import Interval, Judgement, interval

MEASURES = {"dice": ("Dice", 3), "assd_mm": ("ASSD mm", 2), "hd95_mm": ("HD95 mm", 2)}
"""What is compared: its heading and its decimals."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Who is compared, and what it cost."""

    name: str
    parameters: int
    """Numbers that were learned from people."""
    trained_s: float
    """By the clock on the wall, without the simulation of the scenes."""
    answers_s: float
    """Mean over the reconstructions."""
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One engine's bone under one condition."""

    condition: str
    bone: str
    engine: str
    people: int
    means: Mapping[str, Interval]
    """By measure."""
    differences: Mapping[str, Interval]
    """From the reference, by measure; empty for the reference itself."""


def compared(found: Mapping[str, Sequence[Judgement]], reference: str) -> list[Row]:
    """The rows of the table, bone by bone; engines in the order of `found`.

    Args:
        found: What was judged, by engine; an engine need not stand under every condition.
        reference: The engine that all others are subtracted from.

    Raises:
        ValueError: an engine was judged on other cases than the reference, and nothing is paired.
    """
    rows = []
    for condition, bone in dict.fromkeys((j.condition, j.bone) for j in found[reference]):
        for engine in found:
            here = _at(found[engine], condition, bone)
            if not here:
                continue
            other = _at(found[reference], condition, bone)
            if [j.case for j in here] != [j.case for j in other]:
                raise ValueError(f"{engine} and {reference} were judged on different cases")
            mine = {m: _by_person(here, m) for m in MEASURES}
            theirs = {m: _by_person(other, m) for m in MEASURES}
            means = {m: interval(list(mine[m].values())) for m in MEASURES}
            apart = {
                m: interval([mine[m][person] - theirs[m][person] for person in mine[m]])
                for m in MEASURES
            }
            differences = {} if engine == reference else apart
            people = len({j.person for j in here})
            rows.append(Row(condition, bone, engine, people, means, differences))
    return rows


def as_markdown(engines: Sequence[Engine], rows: Sequence[Row], reference: str) -> str:
    """Two tables: what each engine cost, and how good it was."""
    lines = ["| engine | parameters | trained for s | answers in s | |", "|---|---|---|---|---|"]
    lines += [
        f"| {e.name} | {e.parameters:,} | {e.trained_s:,.0f} | {e.answers_s:.2f} | {e.remark} |"
        for e in engines
    ]
    headings = [heading for heading, _ in MEASURES.values()]
    titles = ["condition (simulated)", "bone", "people", "engine"]
    titles += [f"{heading} (95 %)" for heading in headings]
    titles += [f"{heading} minus that of {reference} (95 %)" for heading in headings]
    lines += ["", f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for row in rows:
        cells = [row.condition, row.bone.replace("_", " "), str(row.people), row.engine]
        cells += [_told(row.means[m], digits) for m, (_, digits) in MEASURES.items()]
        cells += [
            _told(row.differences[m], digits, sign="+") if row.differences else ""
            for m, (_, digits) in MEASURES.items()
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def as_json(
    engines: Sequence[Engine], rows: Sequence[Row], found: Mapping[str, Sequence[Judgement]]
) -> Mapping[str, object]:
    """The same with every single case."""
    return {
        "engines": [asdict(one) for one in engines],
        "rows": [asdict(one) for one in rows],
        "cases": {name: [asdict(one) for one in judged] for name, judged in found.items()},
    }


def _at(judgements: Sequence[Judgement], condition: str, bone: str) -> list[Judgement]:
    return [j for j in judgements if (j.condition, j.bone) == (condition, bone)]


def _by_person(judgements: Sequence[Judgement], measure: str) -> dict[str, float]:
    people = dict.fromkeys(j.person for j in judgements)
    return {
        person: fmean(getattr(j, measure) for j in judgements if j.person == person)
        for person in people
    }


def _told(of: Interval, digits: int, sign: str = "") -> str:
    mean, low, high = (f"{value:{sign}.{digits}f}" for value in (of.mean, of.low, of.high))
    return f"{mean} ({low} to {high})"
