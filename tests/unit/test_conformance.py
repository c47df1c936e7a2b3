"""The conformance statement is what the code says now, and what the code does."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from pydicom.uid import UID

from node.conformance import CHAPTERS, statement
from pipeline.types import ObjectKind

COMMITTED = Path(__file__).parents[2] / "docs" / "conformance.md"
RECEIVED = {
    "1.2.840.10008.5.1.4.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.1.1.1",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.12.1",
    "1.2.840.10008.5.1.4.1.1.12.2",
}
SENT = {
    ObjectKind.MODEL_VOLUME: "1.2.840.10008.5.1.4.1.1.2",
    ObjectKind.SEGMENTATION: "1.2.840.10008.5.1.4.1.1.66.4",
    ObjectKind.LABELMAP: "1.2.840.10008.5.1.4.1.1.66.7",
    ObjectKind.FRACTIONAL: "1.2.840.10008.5.1.4.1.1.66.4",
    ObjectKind.SURFACE_SEGMENTATION: "1.2.840.10008.5.1.4.1.1.66.5",
    ObjectKind.STL: "1.2.840.10008.5.1.4.1.1.104.3",
    ObjectKind.KEY_IMAGE: "1.2.840.10008.5.1.4.1.1.7",
    ObjectKind.TURNTABLE: "1.2.840.10008.5.1.4.1.1.7.4",
    ObjectKind.NOTICE: "1.2.840.10008.5.1.4.1.1.7",
    ObjectKind.REPORT: "1.2.840.10008.5.1.4.1.1.88.34",
}
"""PS3.6 table A-1."""
STATUSES = {"0x0000", "0x0110", "0xA700", "0xA900", "0xC000", "0xC001", "0xC002"}
COMMITMENT_STATUSES = {"0x0000", "0x0110", "0x0112", "0x0115", "0x0123", "0x0213"}


@pytest.fixture(scope="module")
def printed() -> str:
    """The statement as it is printed now."""
    return statement()


def _chapter(text: str, name: str) -> str:
    return text.split(f"## {name}\n")[1].split("\n## ", maxsplit=1)[0]


def _rows(text: str) -> list[list[str]]:
    """The cells of all lines of tables, headers and rulers included."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_the_committed_statement_is_what_is_printed_now(printed: str) -> None:
    made_again = "made again by: python -m node.conformance > docs/conformance.md"

    assert COMMITTED.read_text(encoding="utf-8") == printed, made_again


def test_every_chapter_stands_once_and_says_something(printed: str) -> None:
    assert re.findall(r"^## (.+)$", printed, re.MULTILINE) == [name for name, _ in CHAPTERS]
    for name, _ in CHAPTERS:
        assert len(_chapter(printed, name).strip()) > 100, name


def test_every_class_that_is_received_or_sent_is_told_with_its_role(printed: str) -> None:
    rows = {row[1]: row[2:] for row in _rows(_chapter(printed, "Overview"))[2:]}

    assert {uid for uid, (_, provider) in rows.items() if provider} == RECEIVED | {
        "1.2.840.10008.1.1",
        "1.2.840.10008.1.20.1",
    }
    assert set(SENT.values()) <= {uid for uid, (user, _) in rows.items() if user}


def test_every_kind_of_object_is_told_with_its_class_and_its_series(printed: str) -> None:
    sent = {
        row[0]: row[2]
        for row in _rows(_chapter(printed, "Sending: storage and verification as SCU"))
        if len(row) == 3
    }
    kinds = {row[0] for row in _rows(_chapter(printed, "Objects that are written"))}

    assert {kind: sent[kind] for kind in ObjectKind} == SENT
    assert set(ObjectKind) <= kinds


def test_every_transfer_syntax_is_told_by_a_name_of_the_standard(printed: str) -> None:
    syntaxes = {
        uid
        for uid in re.findall(r"1\.2\.840\.10008\.1\.2[.\d]*", printed)
        if UID(uid).is_transfer_syntax
    }

    assert len(syntaxes) == 13
    for uid in syntaxes:
        assert f"| {UID(uid).name} | {uid} |" in printed


def test_every_answer_to_a_c_store_is_told(printed: str) -> None:
    chapter = _chapter(printed, "Receiving: storage and verification as SCP")

    assert {row[0] for row in _rows(chapter) if row[0].startswith("0x")} == STATUSES


def test_every_answer_to_a_request_for_commitment_is_told(printed: str) -> None:
    rows = {row[0] for row in _rows(_chapter(printed, "Answering: storage commitment as SCP"))}

    assert {cell for cell in rows if cell.startswith("0x")} == COMMITMENT_STATUSES
    assert {cell for cell in rows if cell.endswith("H")} == {"0110H", "0112H", "0119H", "0131H"}


def test_every_status_of_a_destination_has_one_meaning(printed: str) -> None:
    chapter = _chapter(printed, "Sending: storage and verification as SCU")
    ranges = [row[0].split(" to ") for row in _rows(chapter) if row[0].startswith("0x")]

    ends = [(int(one[0], 16), int(one[-1], 16)) for one in ranges]
    assert ends[0][0] == 0
    assert ends[-1][1] == 0xFFFF
    assert all(low == high + 1 for (_, high), (low, _) in pairwise(ends))


def test_no_table_is_broken_by_what_stands_in_it(printed: str) -> None:
    for block in re.findall(r"(?:^\|.*\n)+", printed, re.MULTILINE):
        widths = {len(row) for row in _rows(block)}
        assert len(widths) == 1, block[:80]


def test_nothing_of_this_machine_or_this_day_is_in_the_statement(printed: str) -> None:
    assert str(Path.home()) not in printed
    assert str(COMMITTED.parents[1]) not in printed
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", printed)
