"""The DICOM conformance statement, printed from the tables that the code itself uses.

    python -m node.conformance > docs/conformance.md

A unit test holds the committed file against this. What stands in a table here comes from the
receiver, the delivery, the settings and the encoders; the objects are described by making one of
each kind and reading it. Only what no table says is prose.

Source: the order of chapters follows PS3.2 Annex N.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Final

from node import conformance_commitment as commitment
from node import conformance_content as content
from node import conformance_network as network

TITLE: Final = """# DICOM conformance statement

Osteon receives radiographs, makes three-dimensional models of the bones in them, and sends the
models back. This statement is printed by `python -m node.conformance` from the tables that the
code uses, and a test compares the two; do not edit it by hand.
"""

CHAPTERS: Final[tuple[tuple[str, Callable[[], str]], ...]] = (
    ("Overview", network.overview),
    ("Associations", network.associations),
    ("Receiving: storage and verification as SCP", network.receiving),
    ("Answering: storage commitment as SCP", commitment.answering),
    ("Sending: storage and verification as SCU", network.sending),
    ("Asking: query and retrieve as SCU", network.asking),
    ("Settings", network.settings),
    ("Attributes that are used", content.used),
    ("Objects that are written", content.objects),
    ("Attributes that are written", content.written),
    ("Codes", content.code_tables),
    ("Character sets", content.character_sets),
    ("Dates, times and time zones", content.times),
    ("Unique identifiers", content.identifiers),
    ("Known deviations of tools", content.deviations),
)


def statement() -> str:
    """The whole statement as Markdown."""
    chapters = [f"## {name}\n\n{chapter().strip()}\n" for name, chapter in CHAPTERS]
    return "\n".join([TITLE, *chapters])


if __name__ == "__main__":
    sys.stdout.write(statement())
