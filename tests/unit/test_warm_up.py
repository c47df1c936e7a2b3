"""A worker has loaded what a result set needs before its first job, and nothing hangs on that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node import worker
from pipeline import rehearsal

SECOND_SET = """
import sys, tempfile
from pathlib import Path
from node.worker import prepare
prepare(1)
from pipeline.encode.write import write
from pipeline.types import DEFAULT_KINDS
from tests.results import radiographs, reconstruction, request
with tempfile.TemporaryDirectory() as folder:
    wanted = request(Path(folder), kinds=DEFAULT_KINDS)
    fresh = set(sys.modules)
    write(reconstruction(), radiographs(), wanted)
print(*sorted(set(sys.modules) - fresh))
"""


def test_the_first_result_set_of_a_warm_worker_loads_no_module() -> None:
    said = subprocess.run(
        [sys.executable, "-c", SECOND_SET], capture_output=True, text=True, check=True, timeout=120
    )

    assert said.stdout.split() == []


def test_a_worker_whose_warm_up_fails_is_there_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> None:
        raise OSError("no room on the device")

    monkeypatch.setattr(rehearsal, "warm_up", fail)

    worker._rehearse_once()


def test_the_warm_up_makes_a_result_set_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = []
    real = rehearsal.write
    monkeypatch.setattr(rehearsal, "write", lambda *what: made.append(real(*what)))

    rehearsal.warm_up()

    assert {one.kind for one in made[0]} == set(rehearsal.WARM_KINDS)
    assert not list(tmp_path.iterdir())
