"""The laws of the storage on PostgreSQL: the same tests as on SQLite, against a real server."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text

from storage import database
from storage.errors import DatabaseUnavailable
from tests.audit_laws import *  # noqa: F403 - every law is run here on PostgreSQL
from tests.commitment_laws import *  # noqa: F403 - the same
from tests.database_laws import *  # noqa: F403 - every law is run here on PostgreSQL
from tests.delivery_laws import *  # noqa: F403 - the same
from tests.grouping_laws import *  # noqa: F403 - the same
from tests.ledger_laws import *  # noqa: F403 - the same
from tests.postgresql import *  # noqa: F403 - its fixtures
from tests.query_laws import *  # noqa: F403 - the same
from tests.receiving_laws import *  # noqa: F403 - the same
from tests.retention_laws import *  # noqa: F403 - the same

pytestmark = pytest.mark.peer


def test_a_lock_that_others_hold_is_not_waited_for_longer_than_the_busy_time_out(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 0.2)
    waiting = database.connect(engine.url.render_as_string(hide_password=False))
    lock = text("LOCK TABLE chains")

    with database.begin(engine) as conn:
        conn.execute(lock)
        with pytest.raises(DatabaseUnavailable), database.begin(waiting) as other:
            other.execute(lock)

    waiting.dispose()
