"""The command as a script sees it: exit codes, JSON, and sentences on the error stream."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from node.__main__ import app
from storage import database, ledger, queries
from storage.lifecycle import Event, State
from storage.records import DeliveryState, StudyState
from storage.schema import entries
from tests.storage_cases import (
    T0,
    a_claimed_job,
    a_delivering_job,
    a_queued_job,
    a_result,
    an_instance,
)

SETTINGS = """
[node]
folder = "data"
[[peers]]
ae_title = "XRAY"
addresses = ["127.0.0.1"]
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = 1
connect_timeout_s = 1
[[rules]]
name = "hip"
region = "hip"
views = ["frontal", "lateral"]
destinations = ["pacs"]
[rules.match]
modality = "DX"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(SETTINGS)
    return path


def osteon(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(config)])


def engine_of(config: Path) -> Any:
    engine = database.connect(f"sqlite:///{config.parent / 'data' / 'osteon.sqlite'}")
    database.migrate(engine)
    return engine


@pytest.fixture
def engine(config: Path) -> Any:
    assert osteon(config, "migrate").exit_code == 0
    made = engine_of(config)
    yield made
    made.dispose()


@pytest.mark.parametrize(
    "command", ["serve", "demo", "doctor", "migrate", "show", "requeue", "audit"]
)
def test_every_command_has_a_help_text(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])

    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 5


@pytest.mark.parametrize("words", [["show"], ["doctor"], ["migrate"], ["audit", "verify"]])
def test_wrong_settings_end_with_3_and_all_faults(tmp_path: Path, words: list[str]) -> None:
    path = tmp_path / "node.toml"
    path.write_text("[reciever]\nport = 1\n[node]\nname = 7\n")

    result = osteon(path, *words)

    assert result.exit_code == 3
    assert "did you mean receiver?" in result.stderr
    assert "node.name" in result.stderr
    assert "Traceback" not in result.output


def test_a_missing_file_of_settings_ends_with_3(tmp_path: Path) -> None:
    result = osteon(tmp_path / "nowhere.toml", "show")

    assert result.exit_code == 3
    assert "cannot be read" in result.stderr


def test_migrate_says_what_it_did_and_then_that_there_is_nothing_to_do(config: Path) -> None:
    first = osteon(config, "migrate")
    second = osteon(config, "migrate")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert "0001" in first.output
    assert "Nothing to do" in second.output


def test_an_empty_node_says_so(config: Path) -> None:
    result = osteon(config, "show")

    assert result.exit_code == 0
    assert "Nothing was received yet" in result.output


def test_what_is_not_there_ends_with_5(config: Path) -> None:
    for what in ("1.2.3", "7"):
        result = osteon(config, "show", what)

        assert result.exit_code == 5
        assert what in result.stderr


def test_a_declined_study_shows_its_reasons(config: Path, engine: Any) -> None:
    instance = an_instance()
    with database.begin(engine) as conn:
        ledger.receive(conn, "osteon", instance)
        ledger.decide(
            conn,
            "osteon",
            T0,
            study_instance_uid=instance.study_instance_uid,
            revision=1,
            completeness="nothing came for 30 s",
            verdict=StudyState.DECLINED,
            rule="hip",
            reasons=["Only one image is here."],
            configuration_digest="",
        )

    for words in (["show"], ["show", instance.study_instance_uid]):
        result = osteon(config, *words)

        assert result.exit_code == 0
        assert "DECLINED" in result.output
        assert "Only one image is here." in result.output


def test_show_prints_json_for_a_script(config: Path, engine: Any) -> None:
    job_id = a_queued_job(engine)

    shown = json.loads(osteon(config, "show", str(job_id), "--json").stdout)

    assert shown["job"]["state"] == "QUEUED"
    assert shown["entries"]


def test_text_that_looks_like_markup_is_shown_as_it_is(config: Path, engine: Any) -> None:
    job_id = a_claimed_job(engine)
    with database.begin(engine) as conn:
        ledger.advance(
            conn,
            "osteon",
            job_id,
            1,
            State.RECONSTRUCTING,
            Event.GAVE_UP,
            T0,
            reason="[bold red]<script>alert(1)</script>[/]",
        )

    result = osteon(config, "show", str(job_id))

    assert "[bold red]<script>alert(1)</script>[/]" in result.output


def test_requeue_of_a_job_with_objects_delivers_them_again(config: Path, engine: Any) -> None:
    job_id = a_delivering_job(engine, a_result())
    _refuse_all(engine, job_id)

    result = osteon(config, "requeue", str(job_id))

    assert result.exit_code == 0
    assert "same UIDs" in result.output


def _refuse_all(engine: Any, job_id: int) -> None:
    with database.reading(engine) as conn:
        pending = queries.deliveries(conn, job_id)
    with database.begin(engine) as conn:
        for delivery in pending:
            ledger.record_attempt(
                conn,
                "osteon",
                T0,
                delivery.id,
                state=DeliveryState.REFUSED,
                status=0xC000,
                reason="no",
            )
        ledger.settle(conn, "osteon", job_id, 1, T0)


def test_requeue_of_a_job_that_is_worked_on_ends_with_1(config: Path, engine: Any) -> None:
    job_id = a_queued_job(engine)

    result = osteon(config, "requeue", str(job_id))

    assert result.exit_code == 1
    assert "QUEUED" in result.stderr


def test_requeue_of_a_job_that_is_not_there_ends_with_5(config: Path, engine: Any) -> None:
    result = osteon(config, "requeue", "7")

    assert result.exit_code == 5
    assert "no job 7" in result.stderr


def test_audit_verify_ends_with_1_at_the_entry_that_was_changed(config: Path, engine: Any) -> None:
    a_queued_job(engine)
    assert osteon(config, "audit", "verify").exit_code == 0
    with database.begin(engine) as conn:
        conn.exec_driver_sql("DROP TRIGGER entries_no_update")
        conn.execute(entries.update().where(entries.c.sequence == 2).values(kind="job.forged"))

    result = osteon(config, "audit", "verify")

    assert result.exit_code == 1
    assert "entry 2" in result.output


def test_doctor_ends_with_1_and_names_the_destination_that_does_not_answer(config: Path) -> None:
    result = osteon(config, "doctor", "--json")

    findings = {finding["what"]: finding for finding in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert not findings["destination pacs"]["is_fine"]
    assert "127.0.0.1:1" in findings["destination pacs"]["says"]
    assert findings["data folder"]["is_fine"]


def test_doctor_of_an_unknown_destination_names_those_that_there_are(config: Path) -> None:
    result = osteon(config, "doctor", "--destination", "archive")

    assert result.exit_code == 1
    assert "pacs" in result.output
