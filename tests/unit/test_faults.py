"""A fault of the settings file is told with its path, its line and a hint."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from node.errors import Fault, SettingsError
from node.faults import line_of, lines_of
from node.settings import load


def faults_of(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[Fault]:
    path = folder / "node.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(path, environ or {})
    return list(caught.value.faults)


FAULTS = {
    "misspelt section": ("[reciever]\nport = 1\n", "reciever", "did you mean receiver?", 1),
    "misspelt key": ('[receiver]\nae_titel = "X"\n', "receiver.ae_titel", "mean ae_title?", 2),
    "unknown key": ("[log]\nzzz = 1\n", "log.zzz", "here stand level, format", 2),
    "text for a number": ('[receiver]\nport = "1"\n', "receiver.port", "valid integer", 2),
    "number for a bool": (
        "[receiver]\naccept_any_called_ae_title = 1\n",
        "receiver.accept_any_called_ae_title",
        "valid boolean",
        2,
    ),
    "bool for a number": ("[receiver]\nport = true\n", "receiver.port", "valid integer", 2),
    "port too high": ("[receiver]\nport = 65536\n", "receiver.port", "less than or equal", 2),
    "no time": ("[retries]\nfirst_s = 0\n", "retries.first_s", "greater than 0", 2),
    "endless time": ("[retries]\nfirst_s = inf\n", "retries.first_s", "finite number", 2),
    "no number": ("[retries]\nfactor = nan\n", "retries.factor", "finite number", 2),
    "shrinking wait": ("[retries]\nfactor = 0.5\n", "retries.factor", "greater than or", 2),
    "first above longest": ("[retries]\nfirst_s = 901\n", "retries", "not be greater", 1),
    "ceiling below quiet": (
        "[completeness]\nceiling_s = 5\n",
        "completeness",
        "must not be smaller than quiet_s",
        1,
    ),
    "asks nobody": (
        '[completeness]\nask = "x"\n',
        "completeness.ask",
        "no destination is named",
        2,
    ),
    "AE title too long": (
        '[receiver]\nae_title = "SEVENTEEN_LETTERS"\n',
        "receiver.ae_title",
        "1 to 16 characters",
        2,
    ),
    "AE title of blanks": ('[receiver]\nae_title = "  "\n', "receiver.ae_title", "1 to 16", 2),
    "AE title with backslash": (
        "[receiver]\nae_title = 'A\\B'\n",
        "receiver.ae_title",
        "no backslash",
        2,
    ),
    "AE title with control": (
        '[receiver]\nae_title = "A\\u0007B"\n',
        "receiver.ae_title",
        "printable ASCII",
        2,
    ),
    "AE title with umlaut": ('[receiver]\nae_title = "Ä"\n', "receiver.ae_title", "ASCII", 2),
    "no address": (
        '[[peers]]\nae_title = "A"\naddresses = []\n',
        "peers[0].addresses",
        "least 1",
        3,
    ),
    "not an address": (
        '[[peers]]\nae_title = "A"\naddresses = ["10.0.0.256"]\n',
        "peers[0].addresses[0]",
        "neither an IP address nor a network",
        3,
    ),
    "machine with a mask": (
        '[[peers]]\nae_title = "A"\naddresses = ["10.1.2.3/16"]\n',
        "peers[0].addresses[0]",
        "did you mean 10.1.0.0/16?",
        3,
    ),
    "host with a blank": (
        '[[destinations]]\nname = "p"\nae_title = "P"\nhost = "a b"\n',
        "destinations[0].host",
        "not a host name",
        4,
    ),
    "missing key": ('[[peers]]\nae_title = "A"\n', "peers[0].addresses", "is required", 1),
    "table for an array": ('[rules]\nname = "x"\n', "rules", "tuple", 1),
    "unknown level": ('[log]\nlevel = "loud"\n', "log.level", "must be 'debug'", 2),
    "name with a slash": ('[node]\nname = "../x"\n', "node.name", "letters, digits", 2),
    "other database": ('[database]\nurl = "mysql://h/d"\n', "database.url", "only sqlite and", 2),
    "no URL": ('[database]\nurl = "data.sqlite"\n', "database.url", "not a database URL", 2),
    "relative SQLite": (
        '[database]\nurl = "sqlite:///x.sqlite"\n',
        "database.url",
        "absolute path",
        2,
    ),
    "SQLite in memory": ('[database]\nurl = "sqlite://"\n', "database.url", "absolute path", 2),
    "password": (
        '[database]\nurl = "postgresql://u:geheim@h/d"\n',
        "database.url",
        "a password has no place in this file",
        2,
    ),
    "not TOML": ("[receiver\n", "", "not TOML", None),
}


@pytest.mark.parametrize(("text", "path", "message", "line"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_told_with_its_place(
    tmp_path: Path, text: str, path: str, message: str, line: int | None
) -> None:
    faults = faults_of(tmp_path, text)

    assert [(fault.path, fault.line) for fault in faults] == [(path, line)]
    assert message in faults[0].message


EVERYTHING_WRONG = """[node]
nam = "x"
[receiver]
port = 0.5
[completeness]
ask = "nobody"
[[rules]]
name = "hip"
views = ["frontal"]
destinations = ["nobody"]
match.modality = { one_of = ["DX"], contains = "D" }
[[rules]]
name = "hip"
region = "hip"
views = ["frontal", "lateral"]
destinations = ["nobody"]
match.modality = "DX"
"""


def test_all_faults_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, EVERYTHING_WRONG, {"OSTEON_DATABASE_URL": ""})

    assert [(fault.line, fault.path) for fault in faults] == [
        (None, "OSTEON_DATABASE_URL"),
        (2, "node.nam"),
        (4, "receiver.port"),
        (6, "completeness.ask"),
        (7, "rules[0].region"),
        (7, "rules[0].engine"),
        (10, "rules[0].destinations"),
        (11, "rules[0].match.modality"),
        (13, "rules[1].name"),
        (16, "rules[1].destinations"),
    ]


LINED = '''# first
[a]
x = 1  # one
y.z = 2
long = """
x = 9
"""
[[b]]
"k" = 1
[b.c]
k = 2
[[b]]
list = [
  "k = 3",
]
[b.c]
k = 4
'''


@pytest.mark.parametrize(
    ("loc", "line"),
    [
        (("a",), 2),
        (("a", "x"), 3),
        (("a", "y", "z"), 4),
        (("a", "long"), 5),
        (("b", 0), 8),
        (("b", 0, "k"), 9),
        (("b", 0, "c"), 10),
        (("b", 0, "c", "k"), 11),
        (("b", 1), 12),
        (("b", 1, "list", 0), 13),
        (("b", 1, "c", "k"), 17),
        (("b", 1, "c", "missing"), 16),
        (("nowhere",), None),
    ],
)
def test_the_line_of_a_key_is_found(loc: tuple[str | int, ...], line: int | None) -> None:
    tomllib.loads(LINED)

    assert line_of(loc, lines_of(LINED)) == line
