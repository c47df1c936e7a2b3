"""Values of others, made so that every database takes them."""

from __future__ import annotations

import math

from storage.records import Json


def printable(text: str, length: int) -> str:
    """Printable ASCII, at most `length` characters; anything else becomes "?"."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)[:length]


def plain(value: Json) -> Json:
    """Numbers that JSON cannot say ("nan" is met in the field as a DS) become their names."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value
