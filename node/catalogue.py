"""`osteon models`: every engine, what it gives of which region, and how good it was found to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from rich.console import Console
from rich.table import Table

from pipeline.registry import ENGINES, Engine, Offer, offers
from pipeline.stated import Judged

ANY: Final = "any"


def show(out: Console, *, is_json: bool) -> None:
    """The engines, for a person or as JSON.

    Raises:
        BrokenWeights: a file of weights is damaged.
    """
    found = offers()
    if is_json:
        out.print_json(data=[_as_json(one, found) for one in ENGINES.values()])
        return
    out.print(_overview(found))
    for line in _untrained(found):
        out.print(line, markup=False, soft_wrap=True)
    out.print("\nHow they were judged, on people that they have not learned from:")
    out.print(_figures(found))
    out.print(
        "A rule chooses by `engine`; what is found from radiographs is for research use: not a CT,"
        " and not a diagnosis."
    )


def _overview(found: Sequence[Offer]) -> Table:
    table = Table("engine", "region", "bones", "views", "grid", "memory", "licence", box=None)
    for engine in ENGINES.values():
        mine = [one for one in found if one.engine == engine]
        for one in mine:
            table.add_row(
                engine.name,
                one.region or ANY,
                ", ".join(one.bones),
                one.views.words,
                f"{one.grid}³",
                f"{engine.memory_mib:,} MiB" if engine.memory_mib else "not measured",
                one.stated.licence or "not stated",
            )
    return table


def _untrained(found: Sequence[Offer]) -> list[str]:
    """A line for each recipe whose engines have no weights here."""
    here = {one.engine for one in found}
    missing = [one for one in ENGINES.values() if one not in here and one.recipe]
    recipes = dict.fromkeys(one.recipe for one in missing)
    return [
        f"No weights here: {', '.join(one.name for one in missing if one.recipe == recipe)}"
        f" (osteon train {recipe}, then osteon export)"
        for recipe in recipes
    ]


def _figures(found: Sequence[Offer]) -> Table:
    table = Table("engine", "region", "bone", "given", "people", "figures", box=None)
    for one in found:
        kinds = dict.fromkeys((j.bone, j.condition, j.people) for j in one.stated.judged)
        for bone, condition, people in kinds:
            here = [
                j
                for j in one.stated.judged
                if (j.bone, j.condition, j.people) == (bone, condition, people)
            ]
            figures = ", ".join(_told(each) for each in here)
            table.add_row(one.engine.name, one.region or ANY, bone, condition, str(people), figures)
    return table


def _told(one: Judged) -> str:
    return f"{one.measure} {one.value:g} {one.unit}".rstrip()


def _as_json(engine: Engine, found: Sequence[Offer]) -> dict[str, object]:
    return {
        "engine": engine.name,
        "version": engine.version,
        "memory_mib": engine.memory_mib,
        "recipe": engine.recipe,
        "offers": [_offer_as_json(one) for one in found if one.engine == engine],
    }


def _offer_as_json(one: Offer) -> dict[str, object]:
    return {
        "region": one.region or ANY,
        "bones": one.bones,
        "views": asdict(one.views),
        "grid": one.grid,
        "sha256": one.digest,
        "licence": one.stated.licence,
        "judged": [asdict(each) for each in one.stated.judged],
    }
