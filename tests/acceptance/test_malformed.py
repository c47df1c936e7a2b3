"""About 600 malformed or tricky files of other projects, each sent over an association of its own.

The files go out as they are, but for two elements: each gets a SOP class that the node takes, so
that it is not refused for that alone, and is announced under the UID that it has, or a made-up one.
Nothing here parses them: whatever hangs, hangs in the node.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from storage import database, queries
from tests.factories import uid
from tests.node_process import Node, answers_echo, running_node
from tests.parrot import DX_STORAGE, EXPLICIT_LITTLE, Parrot, associate_rq, contexts_of

MEBIBYTE = 1024 * 1024
SETTLED_AFTER = 100
"""Files until the node has imported and cached all that it ever will."""
MOST_CPU_S = 2.0
"""For one instance. Processor time, because other programs make wall time on a busy machine."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What is sent of one file."""

    sop_instance_uid: str
    transfer_syntax: str
    data_set: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it."""

    file: str
    sop_instance_uid: str
    status: int | None
    cpu_s: float


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node without rules: each study is decided, and declined."""
    folder = tmp_path_factory.mktemp("node")
    with running_node(folder, rules=()) as running:
        yield running


@pytest.mark.data
@pytest.mark.timeout(1200)
def test_each_malformed_file_has_a_status_and_a_row_and_leaves_the_node_as_it_was(
    node: Node, shared_data: Path
) -> None:
    files = sorted(p for p in (shared_data / "malformed").rglob("*") if p.suffix != ".csv")
    files = [path for path in files if path.is_file()]
    answers = [answer(node, path, shared_data) for path in files[:SETTLED_AFTER]]
    before = resident_bytes_of_node(node)
    answers += [answer(node, path, shared_data) for path in files[SETTLED_AFTER:]]
    grown = resident_bytes_of_node(node) - before

    assert len(answers) > 500
    assert [each for each in answers if each.status is None] == []
    assert [each for each in answers if each.cpu_s > MOST_CPU_S] == []
    assert without_row(node, answers) == []
    assert grown < 64 * MEBIBYTE
    assert answers_echo(node.address)
    assert "Traceback" not in node.log


def answer(node: Node, path: Path, root: Path) -> Answer:
    """What the node says to the file."""
    sent = as_sent(path.read_bytes(), path.name)
    before = cpu_seconds(node.process.pid)
    with Parrot(node.address, timeout_s=60) as parrot:
        parrot.say(associate_rq("MODALITY", "OSTEON", DX_STORAGE, sent.transfer_syntax))
        if contexts_of(parrot.hear()) != {1: 0}:
            return answer_in(EXPLICIT_LITTLE, node, sent, str(path.relative_to(root)))
        status = parrot.store(sent.sop_instance_uid.encode(), sent.data_set)
    spent = cpu_seconds(node.process.pid) - before
    return Answer(str(path.relative_to(root)), sent.sop_instance_uid, status, spent)


def answer_in(transfer_syntax: str, node: Node, sent: Sent, name: str) -> Answer:
    """What the node says to the same bytes under another transfer syntax: a lie."""
    before = cpu_seconds(node.process.pid)
    with Parrot(node.address, timeout_s=60) as parrot:
        parrot.say(associate_rq("MODALITY", "OSTEON", DX_STORAGE, transfer_syntax))
        parrot.hear()
        status = parrot.store(sent.sop_instance_uid.encode(), sent.data_set)
    return Answer(name, sent.sop_instance_uid, status, cpu_seconds(node.process.pid) - before)


def without_row(node: Node, answers: list[Answer]) -> list[Answer]:
    """What was answered, but stands neither among the instances nor in quarantine."""
    lost = []
    with database.reading(node.engine) as conn:
        kept = queries.quarantined(conn, limit=len(answers))
        refused = {each.affected_sop_instance_uid for each in kept}
        for each in answers:
            is_kept = queries.instance_by_uid(conn, each.sop_instance_uid) is not None
            if not (is_kept if each.status == 0 else each.sop_instance_uid in refused):
                lost.append(each)
    return lost


def as_sent(file: bytes, name: str) -> Sent:
    """The data set of a file, DICOM or not, as a digital radiograph of its own UID."""
    syntax = re.search(rb"\x02\x00\x10\x00UI..([0-9.]+)", file[:2048], re.DOTALL)
    data = with_class(file[after_meta(file) :])
    named = re.search(rb"\x08\x00\x18\x00(?:UI..|....)([0-9.]{5,64})", data[:65536], re.DOTALL)
    return Sent(
        named[1].decode() if named else uid("malformed", name),
        syntax[1].decode() if syntax else EXPLICIT_LITTLE,
        data,
    )


def after_meta(file: bytes) -> int:
    """Where the data set begins: after preamble and group 2, where there are any (PS3.10 7.1)."""
    at = 132 if file[128:132] == b"DICM" else 0
    while file[at : at + 2] == b"\x02\x00":
        is_long = file[at + 4 : at + 6] in (b"OB", b"UN", b"OW", b"SQ", b"UT")
        shape, size = ("<I", 12) if is_long else ("<H", 8)
        value = file[at + size - struct.calcsize(shape) : at + size]
        if len(value) < struct.calcsize(shape):
            break
        at += size + int(struct.unpack(shape, value)[0])
    return min(at, len(file))


def with_class(data: bytes) -> bytes:
    """The data set with the SOP class of a digital radiograph, where it has one to replace."""
    value = DX_STORAGE.encode() + b"\0"
    explicit = b"\x08\x00\x16\x00UI" + struct.pack("<H", len(value)) + value
    implicit = b"\x08\x00\x16\x00" + struct.pack("<I", len(value)) + value
    if found := re.search(rb"\x08\x00\x16\x00UI..[0-9.]+\0?", data[:65536], re.DOTALL):
        return data[: found.start()] + explicit + data[found.end() :]
    if found := re.search(rb"\x08\x00\x16\x00.\0\0\0[0-9.]+\0?", data[:65536], re.DOTALL):
        return data[: found.start()] + implicit + data[found.end() :]
    return data


def cpu_seconds(pid: int) -> float:
    """Processor time of a process itself, without what it started (Linux)."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident_bytes_of_node(node: Node) -> int:
    """Resident memory of the process that receives; its workers may still be warming up (Linux)."""
    pages = int(Path(f"/proc/{node.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
