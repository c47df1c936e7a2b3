"""The laws of the reads on SQLite, and that none of the ticking ones reads a whole table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from storage import queries
from storage.database import reading
from tests.query_laws import *  # noqa: F403 - every law is run here on SQLite
from tests.sqlite import *  # noqa: F403 - its fixtures
from tests.storage_cases import NODE, STUDY, T0

READS: dict[str, Callable[[Connection], Any]] = {
    "study": lambda conn: queries.study(conn, STUDY),
    "waiting_studies": queries.waiting_studies,
    "recent_studies": queries.recent_studies,
    "instances": lambda conn: queries.instances(conn, STUDY),
    "instance_by_uid": lambda conn: queries.instance_by_uid(conn, "1.2"),
    "job": lambda conn: queries.job(conn, 1),
    "job_instances": lambda conn: queries.job_instances(conn, 1),
    "jobs of a study": lambda conn: queries.jobs(conn, STUDY),
    "next_queued": lambda conn: queries.next_queued(conn, T0),
    "overdue": lambda conn: queries.overdue(conn, T0),
    "running": queries.running,
    "delivering_jobs": queries.delivering_jobs,
    "results": lambda conn: queries.results(conn, 1),
    "own_objects": lambda conn: queries.own_objects(conn, STUDY),
    "deliveries": lambda conn: queries.deliveries(conn, 1),
    "due_deliveries": lambda conn: queries.due_deliveries(conn, NODE, "PACS", T0),
    "due_deliveries, the report last": lambda conn: queries.due_deliveries(
        conn, NODE, "PACS", T0, last=("report",)
    ),
    "delivery_attempts": lambda conn: queries.delivery_attempts(conn, 1),
    "decisions": lambda conn: queries.decisions(conn, STUDY),
    "entries of a job": lambda conn: queries.entries(conn, job_id=1),
    "entries of a study": lambda conn: queries.entries(conn, study_instance_uid=STUDY),
    "open_transfers": lambda conn: queries.open_transfers(conn, STUDY),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_of_the_node_uses_an_index(engine: Engine, name: str) -> None:
    asked: list[tuple[str, Any]] = []

    def listen(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    with reading(engine) as conn:
        event.listen(conn, "before_cursor_execute", listen)
        READS[name](conn)
        event.remove(conn, "before_cursor_execute", listen)
        plans = [
            row.detail
            for statement, parameters in asked
            for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]

    assert plans
    assert [step for step in plans if step.startswith("SCAN") and "INDEX" not in step] == []
