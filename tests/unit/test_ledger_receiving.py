"""The laws of receiving on SQLite."""

from __future__ import annotations

from tests.receiving_laws import *  # noqa: F403 - every law is run here on SQLite
from tests.sqlite import *  # noqa: F403 - its fixtures
