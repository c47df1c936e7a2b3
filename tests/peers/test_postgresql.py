"""The laws of the storage on PostgreSQL: the same tests as on SQLite, against a real server."""

from __future__ import annotations

import pytest

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
