"""Faults of a settings file, told so that whoever wrote it finds them: path, line, hint."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from node.errors import Fault

Loc = tuple[str | int, ...]

RENAMED: Final = {"model": "engine"}
"""Keys of earlier settings, and what they are called now."""
_HEADER = re.compile(r"^\s*(\[\[|\[)\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"^\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"))*)\s*=")


def faults_of(
    error: ValidationError, model: type[BaseModel], lines: Mapping[Loc, int]
) -> tuple[Fault, ...]:
    """What pydantic found, in the words of the file; the value itself is never repeated.

    Left out is what follows from another fault: a list that is too short because its items are
    wrong, and the disagreement of tables, which has no place and is told by `contradictions`.
    """
    found = error.errors(include_url=False, include_input=False)
    around = {tuple(one["loc"][:-1]) for one in found}
    return tuple(
        _fault(one, model, lines)
        for one in found
        if one["loc"] and not (one["type"] == "too_short" and tuple(one["loc"]) in around)
    )


def _fault(error: ErrorDetails, model: type[BaseModel], lines: Mapping[Loc, int]) -> Fault:
    loc: Loc = tuple(error["loc"])
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if error["type"] == "extra_forbidden":
        message = _unknown_key(str(loc[-1]), _known_keys(model, loc[:-1]))
    elif error["type"] == "missing":
        message = "is required"
    return Fault(path_of(loc), message, line_of(loc, lines))


def path_of(loc: Loc) -> str:
    """`("rules", 0, "match")` as `rules[0].match`."""
    path = ""
    for step in loc:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path.removeprefix(".")


def line_of(loc: Loc, lines: Mapping[Loc, int]) -> int | None:
    """The line of `loc`, or of the nearest table around it."""
    while loc and loc not in lines:
        loc = loc[:-1]
    return lines.get(loc)


def lines_of(text: str) -> dict[Loc, int]:
    """The 1-based line of each table and key of a TOML text that is known to be valid."""
    lines: dict[Loc, int] = {}
    counts: dict[Loc, int] = {}
    table: Loc = ()
    is_in_text = False
    for number, line in enumerate(text.splitlines(), start=1):
        fences = line.count('"""') + line.count("'''")
        if is_in_text:
            is_in_text = fences % 2 == 0
            continue
        is_in_text = fences % 2 == 1
        if header := _HEADER.match(line):
            table = _within(_steps(header[2]), counts)
            if header[1] == "[[":
                counts[table] = counts.get(table, -1) + 1
                table = (*table, counts[table])
            lines[table] = number
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_steps(key[1])), number)
    return lines


def _steps(dotted: str) -> tuple[str, ...]:
    return tuple(step.strip().strip("\"'") for step in dotted.split("."))


def _within(steps: tuple[str, ...], counts: Mapping[Loc, int]) -> Loc:
    """`rules.match` lies in the last of the `[[rules]]` that came before it."""
    loc: Loc = ()
    for position, step in enumerate(steps):
        loc = (*loc, step)
        if loc in counts and position < len(steps) - 1:
            loc = (*loc, counts[loc])
    return loc


def _unknown_key(key: str, known: Sequence[str]) -> str:
    if RENAMED.get(key) in known:
        return f"unknown key; it is called {RENAMED[key]} now"
    close = get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f"unknown key; did you mean {close[0]}?"
    return f"unknown key; here stand {', '.join(known)}"


def _known_keys(model: type[BaseModel], loc: Loc) -> tuple[str, ...]:
    for step in loc:
        if isinstance(step, str) and step in model.model_fields:
            model = _model_in(model.model_fields[step].annotation) or model
    return tuple(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:  # an annotation may be anything
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)
