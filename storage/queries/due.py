"""When a row is due."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Column, ColumnElement


def is_due(
    column: Column[Any], at: datetime, longest_wait: timedelta | None
) -> ColumnElement[bool]:
    """Due at `at`; also what would wait for longer than any wait, as the clock was set back."""
    has_come: ColumnElement[bool] = column <= at
    return has_come if longest_wait is None else has_come | (column > at + longest_wait)
