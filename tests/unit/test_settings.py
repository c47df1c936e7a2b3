"""One tree, no unknown key, all faults at once, no secret in sight."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from node.errors import Fault, NodeError, SettingsError
from node.rules import Priority
from node.settings import Peer, Settings, digest, load
from pipeline.types import DEFAULT_KINDS

GOOD = """
[node]
name = "west"
folder = "data"
[receiver]
port = 11113
[[peers]]
ae_title = "PACS"
addresses = ["10.0.0.1", "10.1.0.0/16", "fd00::/8"]
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "pacs.example"
[[rules]]
name = "hip"
region = "hip"
views = ["frontal", "lateral"]
destinations = ["pacs"]
match.modality = "DX"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[Fault]:
    with pytest.raises(SettingsError) as caught:
        load(written(folder, text), environ or {})
    return list(caught.value.faults)


def test_a_file_that_says_little_has_the_defaults(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, GOOD), {})

    assert loaded.node.name == "west"
    assert loaded.node.folder == tmp_path / "data"
    assert (loaded.receiver.ae_title, loaded.receiver.port) == ("OSTEON", 11113)
    assert (loaded.completeness.quiet_s, loaded.completeness.ceiling_s) == (30, 900)
    assert loaded.database_url == f"sqlite:///{tmp_path}/data/osteon.sqlite"
    assert loaded.rules[0].kinds == DEFAULT_KINDS
    assert loaded.rules[0].priority is Priority.ROUTINE
    assert loaded.calling_ae_title(loaded.destinations[0]) == "OSTEON"


def test_an_empty_file_is_a_node_that_nobody_may_call(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, ""), {})

    assert loaded.peers == ()
    assert loaded.rules == ()


def test_the_settings_cannot_be_changed(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, GOOD), {})

    with pytest.raises(ValidationError):
        loaded.receiver.port = 1  # type: ignore[misc]  # that it is refused is the test


@pytest.mark.parametrize(
    ("section", "key", "table"),
    [
        ("peers", "ae_title", 'ae_title = "A"\naddresses = ["10.0.0.1"]'),
        ("destinations", "name", 'name = "p"\nae_title = "A"\nhost = "h"'),
    ],
)
def test_a_name_stands_once(tmp_path: Path, section: str, key: str, table: str) -> None:
    faults = faults_of(tmp_path, f"[[{section}]]\n{table}\n[[{section}]]\n{table}\n")

    assert [fault.path for fault in faults] == [f"{section}[1].{key}"]


@pytest.mark.parametrize("content", [b"\xff\xfe", None], ids=["not UTF-8", "no file"])
def test_a_file_that_cannot_be_read_is_a_fault_and_no_crash(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "node.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SettingsError, match="cannot be read"):
        load(path, {})


def test_a_fault_of_the_settings_is_one_of_the_node_and_does_not_pass_by_itself() -> None:
    fault = SettingsError((Fault("a.b", "is wrong", 3),), "node.toml")

    assert isinstance(fault, NodeError)
    assert not fault.retryable
    assert str(fault) == "node.toml: 1 fault\n  line 3: a.b: is wrong"
    assert str(NodeError()) == "The node could not go on."


SECRET = "postgresql+psycopg://osteon:geheim@db/osteon"


def test_the_environment_wins_and_its_password_is_never_shown(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, GOOD), {"OSTEON_DATABASE_URL": SECRET})

    assert loaded.database_url == SECRET
    for shown in (repr(loaded), str(loaded), loaded.model_dump_json()):
        assert "geheim" not in shown


@pytest.mark.parametrize("url", ["", "geheim", "mysql://u:geheim@h/d", "sqlite:///geheim"])
def test_a_wrong_url_of_the_environment_is_told_without_repeating_it(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load(written(tmp_path, GOOD), {"OSTEON_DATABASE_URL": url})

    assert "OSTEON_DATABASE_URL" in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_password_in_the_file_is_refused_without_repeating_it(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, f'[database]\nurl = "{SECRET}"\n')

    assert "geheim" not in "".join(map(str, faults))


def test_the_digest_hangs_on_what_decides_and_not_on_where_it_runs(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    here = load(written(tmp_path, GOOD), {})
    there = load(written(tmp_path / "elsewhere", GOOD), {"OSTEON_DATABASE_URL": SECRET})
    spelt_out = load(written(tmp_path, GOOD + '\n[log]\nlevel = "info"\n'), {})
    other = load(written(tmp_path, GOOD.replace('"DX"', '"CR"')), {})

    digests = [digest(one) for one in (here, there, spelt_out, other)]

    assert digests[0] == digests[1] == digests[2] != digests[3]
    assert len(digests[0]) == 64
    assert set(digests[0]) <= set("0123456789abcdef")


def test_settings_that_are_built_in_code_must_agree_too() -> None:
    twice = Peer(ae_title="PACS", addresses=("10.0.0.1",))

    with pytest.raises(ValidationError, match="'PACS' is the ae_title of peers"):
        Settings(peers=(twice, twice))
