"""The example shows every setting, invents none, and states the defaults that the code has."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from node.conditions import Condition
from node.settings import Settings, load

EXAMPLE = Path(__file__).parents[2] / "config" / "node.example.toml"
TEXT = EXAMPLE.read_text(encoding="utf-8")
TABLES = tomllib.loads(TEXT)
WORDS_OF_A_SITE = "rules.assume.view_of_series"
MILLIMETRES = {"source_to_detector", "source_to_patient", "pixel_spacing"}


def settings_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = model_in(field.annotation)
        if inner is None or inner is Condition:
            yield prefix + name
        else:
            yield from settings_of(inner, f"{prefix}{name}.")


def model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for part in get_args(annotation) if (m := model_in(part))), None)


def keys_of(table: Any, prefix: str = "") -> Iterator[str]:
    """Paths of keys as the tree has them: tables of an array are one."""
    for name, value in table.items():
        path = prefix + name
        tables = value if isinstance(value, list) else [value]
        is_condition = path.startswith("rules.match.")
        is_table = any(isinstance(one, dict) for one in tables)
        if path == WORDS_OF_A_SITE or is_condition or not is_table:
            yield path
        else:
            for inner in tables:
                yield from keys_of(inner, f"{path}.")


def stated_defaults() -> Iterator[tuple[str, Any]]:
    """(path, value) of each key under a line that says "# default"."""
    table, is_default = "", False
    for line in TEXT.splitlines():
        if header := re.match(r"\[+([\w.]+)\]+$", line):
            table = header[1]
        elif line == "# default":
            is_default = True
        elif is_default:
            key, _, value = line.partition(" = ")
            yield f"{table}.{key}", tomllib.loads(f"x = {value}")["x"]
            is_default = False


def field_of(path: str) -> FieldInfo:
    model: type[BaseModel] = Settings
    *tables, key = path.split(".")
    for table in tables:
        model = model_in(model.model_fields[table].annotation) or model
    return model.model_fields[key]


def explained() -> Iterator[str]:
    """Path of each key and table that has a comment right above it."""
    table, above = "", ""
    for line in TEXT.splitlines():
        if header := re.match(r"\[+([\w.]+)\]+$", line):
            table = header[1]
            path = table
        else:
            path = f"{table}.{line.partition(' = ')[0]}"
        if above.startswith("# ") and not line.startswith("#"):
            yield path
        above = line


def as_written(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def test_the_example_loads() -> None:
    settings = load(EXAMPLE, {})

    assert [rule.name for rule in settings.rules] == ["hip", "knee", "knee-room1"]
    assert [peer.ae_title for peer in settings.peers] == ["PACS", "DXROOM1"]
    assert settings.node.folder == EXAMPLE.parent / "osteon-data"


def test_every_setting_is_in_the_example() -> None:
    missing = set(settings_of(Settings)) - set(keys_of(TABLES))

    assert missing == set()


def test_every_key_of_the_example_is_a_setting() -> None:
    invented = set(keys_of(TABLES)) - set(settings_of(Settings))

    assert invented == set()


@pytest.mark.parametrize(("path", "value"), list(stated_defaults()))
def test_a_stated_default_is_that_of_the_code(path: str, value: Any) -> None:
    default = field_of(path).get_default(call_default_factory=True)

    assert value == (str(default) if isinstance(default, Path) else as_written(default))


def test_whatever_may_be_left_out_and_has_a_value_then_is_marked_as_default() -> None:
    stated = {path for path, _ in stated_defaults()}
    unmarked = [path for path in settings_of(Settings) if path not in stated]

    has_value = [path for path in unmarked if field_of(path).default not in (None, ())]

    assert [path for path in has_value if not field_of(path).is_required()] == []


def test_every_key_is_explained_right_above_it() -> None:
    assert set(settings_of(Settings)) - set(explained()) == set()


@pytest.mark.parametrize("path", list(settings_of(Settings)))
def test_a_setting_that_is_measured_says_its_unit_first(path: str) -> None:
    key = path.rsplit(".", maxsplit=1)[-1]
    described = field_of(path).description or ""

    assert described.endswith(".")
    if key.endswith("_s"):
        assert re.match(r"s\b", described)
    if key.endswith("_bytes"):
        assert described.startswith("Bytes.")
    if key in MILLIMETRES:
        assert described.startswith("mm")
