"""`osteon models` lists what adds bones: which network, what it serves, and how good it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.__main__ import app
from pipeline import weights
from pipeline.completion_weights import read_header
from tests.completion_files import NAMES, weights_file

FILE = "pelvis.completion.safetensors"


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    return tmp_path


def listed(*options: str) -> str:
    told = CliRunner().invoke(app, ["models", *options], env={"COLUMNS": "400"})
    assert told.exit_code == 0
    return told.output


def test_a_completion_is_listed_with_its_network_and_its_figures(folder: Path) -> None:
    path = weights_file(folder, FILE)

    lines = listed().splitlines()

    (overview,) = (line for line in lines if "many-to-one" in line)
    assert "pelvis.completion" in overview
    assert "plain, many-to-one" in overview
    assert "sacrum, femur_R, femur_L" in overview
    assert "osteon complete; no region yet" in overview
    assert "16³" in overview
    assert f"pelvis.completion: osteon complete IN OUT --weights {path}" in lines
    (figure,) = (line for line in lines if "half of it" in line)
    assert "Dice 0.5" in figure


def test_a_completion_that_rules_may_ask_for_says_of_which_regions(folder: Path) -> None:
    weights_file(folder, FILE, region="hip")

    assert "osteon complete; rules of hip" in listed()


def test_without_completions_the_list_says_nothing_of_them() -> None:
    assert "osteon complete" not in listed()
    assert json.loads(listed("--json"))["completions"] == []


def test_a_script_is_told_the_same(folder: Path) -> None:
    path = weights_file(folder, FILE, region="hip")

    (told,) = json.loads(listed("--json"))["completions"]

    assert told == {
        "completion": "pelvis.completion",
        "file": str(path),
        "network": "plain",
        "task": "many-to-one",
        "adds": list(NAMES),
        "regions": ["hip"],
        "grid": 16,
        "trained": "on nobody",
        "sha256": read_header(path).digest,
        "licence": "none",
        "judged": [
            {
                "condition": "half of it",
                "bone": "sacrum",
                "people": 3,
                "measure": "Dice",
                "value": 0.5,
                "unit": "",
            }
        ],
    }


def test_damaged_weights_end_the_list_with_a_sentence(folder: Path) -> None:
    path = weights_file(folder, FILE)
    path.write_bytes(path.read_bytes()[:-7])

    told = CliRunner().invoke(app, ["models"])

    assert told.exit_code == 1
    assert "cut off" in " ".join(told.output.split())
