"""The laws of writing together on SQLite."""

from __future__ import annotations

from tests.grouping_laws import *  # noqa: F403 - every law is run here on SQLite
from tests.sqlite import *  # noqa: F403 - its fixtures
