"""`osteon models`: every engine and every completion, what it gives, and how good it was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from rich.console import Console
from rich.table import Table

from pipeline import completion_weights
from pipeline.completion_weights import TrainedCompletion
from pipeline.registry import ENGINES, Engine, Offer, offers
from pipeline.stated import Judged, Stated
from pipeline.structures import PREDICTED

ANY: Final = "any"


def show(out: Console, *, is_json: bool) -> None:
    """The engines and the completions, for a person or as JSON.

    Raises:
        BrokenWeights: a file of weights is damaged.
    """
    found, completions = offers(), completion_weights.shipped()
    if is_json:
        engines = [_as_json(one, found) for one in ENGINES.values()]
        told = {
            "engines": engines,
            "completions": [_completion_as_json(one) for one in completions],
        }
        out.print_json(data=told)
        return
    out.print(_overview(found))
    for line in _untrained(found):
        out.print(line, markup=False, soft_wrap=True)
    if completions:
        out.print(f"\nWhat adds bones that are missing, as {PREDICTED}:")
        out.print(_additions(completions))
        for one in completions:
            how = f"osteon complete IN OUT --weights {one.path}"
            out.print(f"{_name(one)}: {how}", markup=False, soft_wrap=True)
    out.print("\nHow they were judged, on people that they have not learned from:")
    out.print(_figures(found, completions))
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
                f"{engine.memory_mib:,} MiB",
                one.stated.licence or "not stated",
            )
    return table


def _additions(completions: Sequence[TrainedCompletion]) -> Table:
    table = Table("completion", "network", "adds", "serves", "grid", "licence", box=None)
    for one in completions:
        table.add_row(
            _name(one),
            f"{one.kind}, {one.task}",
            ", ".join(structure.name for structure in one.structures),
            _served(one),
            f"{one.size}³",
            one.stated.licence or "not stated",
        )
    return table


def _name(completion: TrainedCompletion) -> str:
    return completion.path.stem


def _served(completion: TrainedCompletion) -> str:
    """With any weights the command works; a rule only where they serve its region."""
    regions = ", ".join(completion.regions)
    return f"osteon complete; {f'rules of {regions}' if regions else 'no region yet'}"


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


def _figures(found: Sequence[Offer], completions: Sequence[TrainedCompletion]) -> Table:
    table = Table("of", "region", "bone", "given", "people", "figures", box=None)
    for one in found:
        _add_figures(table, one.engine.name, one.region or ANY, one.stated)
    for each in completions:
        _add_figures(table, _name(each), "", each.stated)
    return table


def _add_figures(table: Table, name: str, region: str, stated: Stated) -> None:
    """A row for each bone, condition and number of people, with all its figures."""
    rows: dict[tuple[str, str, int], list[Judged]] = {}
    for one in stated.judged:
        rows.setdefault((one.bone, one.condition, one.people), []).append(one)
    for (bone, condition, people), here in rows.items():
        table.add_row(name, region, bone, condition, str(people), ", ".join(map(_told, here)))


def _told(one: Judged) -> str:
    return f"{one.measure} {one.value:.3g} {one.unit}".rstrip()


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


def _completion_as_json(one: TrainedCompletion) -> dict[str, object]:
    return {
        "completion": _name(one),
        "file": str(one.path),
        "network": one.kind,
        "task": one.task,
        "adds": [structure.name for structure in one.structures],
        "regions": one.regions,
        "grid": one.size,
        "trained": one.trained,
        "sha256": one.digest,
        "licence": one.stated.licence,
        "judged": [asdict(each) for each in one.stated.judged],
    }
