"""What two tables of the settings must agree on.

It works on the raw tables of the file, so that a name that points nowhere is told in the same
breath as every other fault, even where one of the tables is faulty itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from node.kinds import CAPTURES
from pipeline.types import ObjectKind


class Contradiction(NamedTuple):
    """Two tables disagree."""

    loc: tuple[str | int, ...]
    message: str


def contradictions(raw: Mapping[str, Any]) -> Iterator[Contradiction]:
    """Names that stand twice, names that point nowhere, and rules that nobody can receive."""
    destinations = _by_name(raw)
    yield from _repeated(raw, "peers", "ae_title")
    yield from _repeated(raw, "destinations", "name")
    yield from _repeated(raw, "rules", "name")
    completeness = raw.get("completeness")
    ask = completeness.get("ask") if isinstance(completeness, Mapping) else None
    if isinstance(ask, str) and ask not in destinations:
        yield Contradiction(("completeness", "ask"), _no_such_destination(ask, destinations))
    notices = raw.get("notices")
    for name in _texts(notices.get("destinations", ()) if isinstance(notices, Mapping) else ()):
        if name not in destinations:
            loc = ("notices", "destinations")
            yield Contradiction(loc, _no_such_destination(name, destinations))
    for number, rule in _tables(raw, "rules"):
        at_rule = ("rules", number, "destinations")
        for name in _texts(rule.get("destinations", ())):
            if name not in destinations:
                yield Contradiction(at_rule, _no_such_destination(name, destinations))
            elif not _kinds(rule) & (_kinds(destinations[name]) | CAPTURES):
                yield Contradiction(
                    at_rule, f"'{name}' takes none of the kinds that this rule writes"
                )


def _repeated(raw: Mapping[str, Any], section: str, key: str) -> Iterator[Contradiction]:
    first: dict[str, int] = {}
    for number, table in _tables(raw, section):
        value = table.get(key)
        if not isinstance(value, str):
            continue
        if value.strip() in first:
            message = f"'{value}' is the {key} of {section}[{first[value.strip()]}] already"
            yield Contradiction((section, number, key), message)
        first.setdefault(value.strip(), number)


def _no_such_destination(name: str, destinations: Mapping[str, Any]) -> str:
    close = get_close_matches(name, destinations, n=1)
    hint = (
        f"did you mean '{close[0]}'?" if close else f"there is {', '.join(destinations) or 'none'}"
    )
    return f"no destination is named '{name}'; {hint}"


def _by_name(raw: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    tables = (table for _, table in _tables(raw, "destinations"))
    return {table["name"]: table for table in tables if isinstance(table.get("name"), str)}


def _tables(raw: Mapping[str, Any], section: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    section_tables = raw.get(section)
    if isinstance(section_tables, list | tuple):
        for number, table in enumerate(section_tables):
            if isinstance(table, Mapping):
                yield number, table


def _kinds(table: Mapping[str, Any]) -> set[str]:
    """The kinds named, as text; all, where they are faulty: that fault is told elsewhere."""
    every = {kind.value for kind in ObjectKind}
    return (set(_texts(table.get("kinds", ()))) & every) or every


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list | tuple) else ()
