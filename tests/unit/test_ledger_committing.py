"""The laws of requests for storage commitment on SQLite."""

from __future__ import annotations

from tests.commitment_laws import *  # noqa: F403 - every law is run here on SQLite
from tests.sqlite import *  # noqa: F403 - its fixtures
