"""What the README says about settings and commands is true."""

import re
import tomllib
from pathlib import Path

from typer.testing import CliRunner

from node.__main__ import app
from node.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_two_commands_head_the_readme() -> None:
    first = README.split("```")[1]

    assert [line.split("#")[0].strip() for line in first.strip().splitlines()] == [
        "make demo",
        "make test",
    ]


def test_the_settings_of_the_readme_are_settings() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)

    settings = Settings.model_validate(tomllib.loads(block))

    assert settings.rules[0].destinations == ("pacs",)
    assert settings.peers[0].ae_title == "PACS"


def test_every_command_of_the_readme_exists() -> None:
    commands = re.findall(r"^\| `osteon ([a-z]+)( verify)?", README, re.MULTILINE)

    told = {command for command, _ in commands}
    assert told == {one.callback.__name__ for one in app.registered_commands} | {"audit"}
    for command, second in commands:
        words = [command, *second.split(), "--help"]
        assert CliRunner().invoke(app, words).exit_code == 0


def test_every_file_that_a_document_links_to_is_there() -> None:
    for document in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
            assert (ROOT / target).is_file(), f"{document} links to {target}"
