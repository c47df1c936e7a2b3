"""Settings as TOML text, because the standard library only reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping

Plain = bool | int | float | str


def toml(tables: Mapping[str, object], prefix: str = "") -> str:
    """The TOML text of nested tables; a list of mappings becomes an array of tables."""
    lines = [f"{_key(key)} = {_value(value)}" for key, value in tables.items() if _is_inline(value)]
    for key, value in tables.items():
        name = f"{prefix}{_key(key)}"
        if isinstance(value, Mapping):
            lines += ["", f"[{name}]", toml(value, f"{name}.")]
        elif not _is_inline(value) and isinstance(value, list):
            for item in value:
                lines += ["", f"[[{name}]]", toml(item, f"{name}.")]
    return "\n".join(lines)


def _is_inline(value: object) -> bool:
    if isinstance(value, list):
        return not any(isinstance(item, Mapping) for item in value)
    return not isinstance(value, Mapping)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return json.dumps(str(value))


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)
