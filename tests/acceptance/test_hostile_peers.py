"""Peers that lie, stop in the middle or send garbage: each is dealt with, and disturbs nobody."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.factories import file_bytes, radiograph, uid
from tests.node_process import Node, answers_echo, running_node
from tests.parrot import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    DX_STORAGE,
    P_DATA,
    RELEASE_RQ,
    VERIFICATION,
    Parrot,
    associate_rq,
    c_echo_rq,
    c_store_rq,
    contexts_of,
    p_data,
    pdu,
    status_of,
)
from tests.processes import resident_bytes, wait_until

MEBIBYTE = 1024 * 1024
GIBIBYTE = 1024 * MEBIBYTE


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with short time-outs and room for few peers."""
    receiver = {"network_timeout_s": 2.0, "idle_timeout_s": 2.0, "maximum_associations": 4}
    folder = tmp_path_factory.mktemp("node")
    with running_node(folder, rules=(), receiver=receiver) as running:
        yield running


@pytest.fixture(autouse=True)
def still_at_work(node: Node) -> Iterator[None]:
    """After each test the node runs, and the next study is received as ever."""
    yield
    wait_until(lambda: answers_echo(node.address), 15, "the node takes associations again")
    assert node.process.is_running


def data_set(study: str) -> bytes:
    """The bytes of a radiograph as they travel: without preamble and file meta information."""
    file = file_bytes(radiograph(study=study))
    length = struct.unpack("<I", file[140:144])[0]
    return file[144 + length :]


def test_a_well_behaved_parrot_is_heard(node: Node) -> None:
    ds = radiograph(study="well behaved")
    with Parrot(node.address) as parrot:
        answer = parrot.associate()
        status = parrot.store(ds.SOPInstanceUID.encode(), data_set("well behaved"))

    assert answer is not None
    assert answer.type == ASSOCIATE_AC
    assert status == 0x0000
    assert node.instances(ds.StudyInstanceUID) == {ds.SOPInstanceUID}


def test_a_stranger_is_rejected_for_good_because_of_its_title(node: Node) -> None:
    with Parrot(node.address) as parrot:
        answer = parrot.associate(calling="STRANGER")

        assert answer is not None
        assert answer.type == ASSOCIATE_RJ
        # PS3.8 9.3.4: rejected-permanent, by the service user, calling AE title not recognised
        assert tuple(answer.body[1:4]) == (1, 1, 3)
        assert parrot.is_closed()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"\xff" * 4096,
        b"\0" * 64,
    ],
    ids=["http", "tls", "ones", "zeros"],
)
def test_what_is_not_dicom_is_hung_up_on(node: Node, garbage: bytes) -> None:
    with Parrot(node.address) as parrot:
        parrot.say(garbage)

        assert parrot.is_closed()


def test_a_silent_connection_is_closed(node: Node) -> None:
    with Parrot(node.address) as parrot:
        assert parrot.is_closed()


def test_a_peer_that_falls_silent_in_an_association_is_let_go(node: Node) -> None:
    with Parrot(node.address) as parrot:
        assert parrot.associate() is not None

        assert parrot.is_closed()


def test_a_peer_that_stops_within_a_pdu_is_let_go(node: Node) -> None:
    with Parrot(node.address) as parrot:
        parrot.say(associate_rq("MODALITY", "OSTEON")[:40])

        assert parrot.is_closed()


@pytest.mark.parametrize("kind", [ASSOCIATE_RQ, P_DATA])
def test_a_pdu_that_claims_four_gigabytes_costs_no_memory(node: Node, kind: int) -> None:
    before = resident_bytes(node.process.pid)
    with Parrot(node.address) as parrot:
        if kind == P_DATA:
            parrot.associate()
        parrot.say(pdu(kind, b"\0" * 64 * MEBIBYTE, length=4 * GIBIBYTE - 1))

        assert parrot.is_closed()
    assert resident_bytes(node.process.pid) - before < 32 * MEBIBYTE


def unfinished(store: Path) -> list[Path]:
    """Files of the instance store that hold no whole DICOM data set of their own name."""
    return [path for path in store.rglob("*") if path.is_file() and "incoming" in str(path)]


def leaves_nothing(node: Node) -> None:
    incoming = node.folder / "data" / "instances"
    wait_until(lambda: not unfinished(incoming), 10, "what came is removed")


@pytest.mark.parametrize("ending", ["abort", "reset", "close"])
def test_an_instance_that_breaks_off_leaves_no_row_and_no_file(node: Node, ending: str) -> None:
    ds = radiograph(study=f"breaks off {ending}")
    half = data_set(f"breaks off {ending}")[:8000]
    with Parrot(node.address) as parrot:
        parrot.associate()
        parrot.say(p_data(c_store_rq(ds.SOPInstanceUID.encode()), is_command=True, is_last=True))
        parrot.say(p_data(half, is_command=False, is_last=False))
        if ending == "abort":
            parrot.say(pdu(ABORT, bytes(4)))
        if ending == "reset":
            parrot.hang_up()

    rows = {path.resolve() for path in node.files(ds.StudyInstanceUID)}
    assert not rows
    leaves_nothing(node)


@pytest.mark.parametrize(
    "fragment",
    [
        struct.pack(">IBB", 10, 3, 0) + bytes(8),
        struct.pack(">IBB", 10, 1, 3) + bytes(8),
        struct.pack(">IBB", 10_000, 1, 0) + bytes(8),
        struct.pack(">IBB", 10, 1, 2) + bytes(8) + struct.pack(">IBB", 10, 1, 2) + bytes(8),
        struct.pack(">IBB", 1, 1, 2),
        b"\0\0\0",
    ],
    ids=["another context", "a command", "too long", "after the last", "too short", "no header"],
)
def test_a_fragment_that_lies_within_a_data_set_is_answered_by_an_abort(
    node: Node, fragment: bytes
) -> None:
    ds = radiograph(study=f"lies {fragment!r}")
    with Parrot(node.address) as parrot:
        parrot.associate()
        parrot.say(p_data(c_store_rq(ds.SOPInstanceUID.encode()), is_command=True, is_last=True))
        parrot.say(p_data(data_set(f"lies {fragment!r}"), is_command=False, is_last=False))
        parrot.say(pdu(P_DATA, fragment))

        answer = parrot.hear()
        assert answer is not None
        assert answer.type == ABORT
        assert parrot.is_closed()
    assert node.instances(ds.StudyInstanceUID) == frozenset()
    leaves_nothing(node)


def test_a_peer_that_stops_within_a_data_set_is_let_go(node: Node) -> None:
    ds = radiograph(study="stops within")
    with Parrot(node.address) as parrot:
        parrot.associate()
        parrot.say(p_data(c_store_rq(ds.SOPInstanceUID.encode()), is_command=True, is_last=True))
        parrot.say(p_data(data_set("stops within"), is_command=False, is_last=True)[:-1])

        assert parrot.is_closed()
    assert node.instances(ds.StudyInstanceUID) == frozenset()


def test_an_instance_in_one_pdu_with_its_command_is_received(node: Node) -> None:
    ds = radiograph(study="one PDU")
    command, data = c_store_rq(ds.SOPInstanceUID.encode()), data_set("one PDU")
    both = p_data(command, is_command=True, is_last=True)[6:]
    both += p_data(data[:500], is_command=False, is_last=False)[6:]
    with Parrot(node.address) as parrot:
        parrot.associate()
        parrot.say(pdu(P_DATA, both))
        parrot.say(p_data(data[500:], is_command=False, is_last=True))

        assert status_of(parrot.hear()) == 0x0000
    assert node.instances(ds.StudyInstanceUID) == {ds.SOPInstanceUID}


@pytest.mark.parametrize(
    "named",
    [b"../../../etc/passwd", b"1.2.\x00.3", b"1." * 40 + b"1", b"<script>", b"", b"1.2.3\n"],
    ids=["path", "nul", "81 characters", "script", "empty", "newline"],
)
def test_what_is_not_a_uid_is_refused_and_never_a_path(node: Node, named: bytes) -> None:
    with Parrot(node.address) as parrot:
        parrot.associate()
        status = parrot.store(named, data_set("not a uid"))

    assert status != 0x0000
    leaves_nothing(node)
    assert not list(node.folder.parent.rglob("*passwd*"))
    assert node.instances(uid("study", "not a uid")) == frozenset()


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_a_header_without_a_uid_is_refused_and_quarantined(node: Node, keyword: str) -> None:
    ds = radiograph(study=f"without {keyword}")
    named = str(ds.SOPInstanceUID)
    del ds[keyword]
    buffer = pydicom.filebase.DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    pydicom.filewriter.write_dataset(buffer, ds)
    with Parrot(node.address) as parrot:
        parrot.associate()
        status = parrot.store(named.encode(), buffer.getvalue())

    # PS3.4 B.2.3: A9xx, the data set does not match its SOP class; Cxxx, cannot understand
    assert status is not None
    assert status & 0xF000 in (0xA000, 0xC000)
    kept = {each.affected_sop_instance_uid: each for each in node.quarantined()}
    assert kept[named].status == status
    assert keyword in kept[named].reason


@pytest.mark.parametrize(
    "bytes_",
    [b"", b"\0" * 1000, b"\xff" * 1000, b"not DICOM at all " * 100],
    ids=["nothing", "zeros", "ones", "text"],
)
def test_a_header_that_cannot_be_parsed_is_refused_and_quarantined(
    node: Node, bytes_: bytes
) -> None:
    named = uid("cannot be parsed", bytes_)
    with Parrot(node.address) as parrot:
        parrot.associate()
        status = parrot.store(named.encode(), bytes_)

    assert status is not None
    assert status & 0xF000 in (0xA000, 0xC000)
    assert named in {each.affected_sop_instance_uid for each in node.quarantined()}


def test_a_deflated_bomb_costs_no_memory(node: Node) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    element = struct.pack("<HH2sxxI", 0x0009, 0x0010, b"OB", GIBIBYTE)
    data = bomb.compress(element)
    for _ in range(1024):
        data += bomb.compress(bytes(MEBIBYTE))
    data += bomb.flush()
    named = uid("a bomb")
    before = resident_bytes(node.process.pid)
    with Parrot(node.address) as parrot:
        parrot.say(
            associate_rq(
                "MODALITY", "OSTEON", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.1.2.1.99"
            )
        )
        assert parrot.hear() is not None
        status = parrot.store(named.encode(), data)

    assert status != 0x0000
    assert resident_bytes(node.process.pid) - before < 200 * MEBIBYTE


@pytest.mark.parametrize(
    "early",
    [
        p_data(c_echo_rq(), is_command=True, is_last=True),
        pdu(RELEASE_RQ, bytes(4)),
        pdu(ASSOCIATE_AC, associate_rq("MODALITY", "OSTEON")[6:]),
    ],
    ids=["P-DATA", "release", "an answer that nobody asked for"],
)
def test_a_pdu_out_of_turn_before_an_association_is_answered_by_an_abort(
    node: Node, early: bytes
) -> None:
    with Parrot(node.address) as parrot:
        parrot.say(early)

        # PS3.8 table 9-10, Sta2: AA-1, an A-ABORT by the service user
        answer = parrot.hear()
        assert answer is not None
        assert answer.type == ABORT
        assert parrot.is_closed()


@pytest.mark.parametrize("kind", [ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ])
def test_a_pdu_out_of_turn_within_an_association_is_answered_by_an_abort(
    node: Node, kind: int
) -> None:
    with Parrot(node.address) as parrot:
        parrot.associate()
        parrot.say(pdu(kind, associate_rq("MODALITY", "OSTEON")[6:]))

        # PS3.8 table 9-10, Sta6: AA-8, an A-ABORT by the service provider
        answer = parrot.hear()
        assert answer is not None
        assert answer.type == ABORT
        assert parrot.is_closed()


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\xff" * 64, b"\0" * 64, c_echo_rq(command_field=0x7777), c_store_rq(b"1.2")[:40]],
    ids=["empty", "ones", "zeros", "unknown", "cut off"],
)
def test_a_command_that_says_nothing_ends_the_association_and_leaves_no_place_taken(
    node: Node, garbage: bytes
) -> None:
    for _ in range(6):  # more than there are places
        with Parrot(node.address) as parrot:
            parrot.associate()
            parrot.say(p_data(garbage, is_command=True, is_last=True))

            answer = parrot.hear()
            assert answer is not None
            assert answer.type == ABORT
            assert parrot.is_closed()


@pytest.mark.parametrize("what", ["command", "data set of an echo", "data set of nothing"])
def test_a_message_without_end_costs_no_memory(node: Node, what: str) -> None:
    before = resident_bytes(node.process.pid)
    part = p_data(bytes(100_000), is_command=what == "command", is_last=False)
    with Parrot(node.address) as parrot:
        parrot.associate(sop_class=VERIFICATION)
        if what == "data set of an echo":
            echo = c_echo_rq(data_set_type=0x0001)
            parrot.say(p_data(echo, is_command=True, is_last=True))
        parrot.say(part * 1280)

        assert parrot.is_closed()
    assert resident_bytes(node.process.pid) - before < 64 * MEBIBYTE


def test_what_comes_a_byte_at_a_time_is_received(node: Node) -> None:
    ds = radiograph(study="byte by byte", pixels=np.eye(8, dtype=np.uint16))
    file = file_bytes(ds)
    data = file[144 + struct.unpack("<I", file[140:144])[0] :]
    named = ds.SOPInstanceUID.encode()
    with Parrot(node.address) as parrot:
        parrot.say_byte_by_byte(associate_rq("MODALITY", "OSTEON", DX_STORAGE))
        assert parrot.hear() is not None
        parrot.say_byte_by_byte(p_data(c_store_rq(named), is_command=True, is_last=True))
        parrot.say_byte_by_byte(p_data(data, is_command=False, is_last=True))

        assert status_of(parrot.hear()) == 0x0000
    assert node.instances(ds.StudyInstanceUID) == {ds.SOPInstanceUID}


def test_a_peer_that_trickles_a_data_set_is_let_go(node: Node) -> None:
    ds = radiograph(study="trickles")
    until = time.monotonic() + 20
    with Parrot(node.address, timeout_s=0.2) as parrot:
        parrot.socket.settimeout(10)
        parrot.associate()
        parrot.say(p_data(c_store_rq(ds.SOPInstanceUID.encode()), is_command=True, is_last=True))
        parrot.socket.settimeout(0.2)
        answer = None
        while answer is None and time.monotonic() < until:
            parrot.say(p_data(b"\0", is_command=False, is_last=False))
            try:
                answer = parrot.hear() or "closed"
            except TimeoutError:
                continue

    assert answer is not None
    assert node.instances(ds.StudyInstanceUID) == frozenset()


def test_a_peer_that_closes_its_half_within_a_data_set_leaves_nothing(node: Node) -> None:
    ds = radiograph(study="half open")
    with Parrot(node.address) as parrot:
        parrot.associate()
        parrot.say(p_data(c_store_rq(ds.SOPInstanceUID.encode()), is_command=True, is_last=True))
        parrot.say(p_data(data_set("half open")[:5000], is_command=False, is_last=False))
        parrot.fall_silent()

        assert parrot.is_closed()
    assert node.instances(ds.StudyInstanceUID) == frozenset()
    leaves_nothing(node)


@pytest.mark.parametrize(
    "title",
    [
        b"\0" * 16,
        b" " * 16,
        b"MODALITY\n[error]x",
        b"M\xc3\x96DALITY".ljust(16),
        b"../../..".ljust(16),
    ],
    ids=["nul", "blank", "newline", "umlaut", "path"],
)
def test_what_is_no_ae_title_is_turned_away_and_writes_no_line_of_the_log(
    node: Node, title: bytes
) -> None:
    whole = associate_rq("MODALITY", "OSTEON")
    with Parrot(node.address) as parrot:
        parrot.say(whole[:26] + title + whole[42:])

        answer = parrot.hear()
        assert answer is None or answer.type in (ASSOCIATE_RJ, ABORT)
        assert parrot.is_closed()
    assert "\n[error]x" not in node.log


@pytest.mark.parametrize(
    ("sop_class", "transfer_syntax", "result"),
    [
        ("1.2.826.0.1.3680043.8.498.77", "1.2.840.10008.1.2.1", 3),
        ("1.2.840.10008.5.1.4.1.1.9999", "1.2.840.10008.1.2.1", 3),
        ("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", 3),
        (DX_STORAGE, "1.2.826.0.1.3680043.8.498.78", 4),
    ],
    ids=["private", "unknown", "CT", "private transfer syntax"],
)
def test_what_the_node_does_not_take_is_refused_by_its_context_and_never_stored(
    node: Node, sop_class: str, transfer_syntax: str, result: int
) -> None:
    ds = radiograph(study=f"not taken {sop_class} {transfer_syntax}")
    with Parrot(node.address) as parrot:
        parrot.say(associate_rq("MODALITY", "OSTEON", sop_class, transfer_syntax))

        # PS3.8 9.3.3.2: 3 abstract syntax, 4 transfer syntaxes not supported
        assert contexts_of(parrot.hear()) == {1: result}
        assert parrot.store(ds.SOPInstanceUID.encode(), data_set("not taken")) is None
    leaves_nothing(node)
    assert node.instances(ds.StudyInstanceUID) == frozenset()


def test_a_request_that_names_another_class_than_its_context_is_refused(node: Node) -> None:
    ds = radiograph(study="another class")
    request = c_store_rq(ds.SOPInstanceUID.encode(), "1.2.826.0.1.3680043.8.498.77")
    with Parrot(node.address) as parrot:
        parrot.associate()
        parrot.say(p_data(request, is_command=True, is_last=True))
        parrot.say(p_data(data_set("another class"), is_command=False, is_last=True))

        assert status_of(parrot.hear()) != 0x0000
        leaves_nothing(node)
    assert node.instances(ds.StudyInstanceUID) == frozenset()


def test_strangers_cannot_use_up_the_places_of_the_modalities(node: Node) -> None:
    strangers = [Parrot(node.address) for _ in range(3)]
    strangers += [Parrot(node.address, address="127.0.0.2") for _ in range(60)]
    try:
        for stranger in strangers[:8]:
            stranger.say(associate_rq("STRANGER", "OSTEON"))
        with Parrot(node.address) as modality:
            answer = modality.associate()

        assert answer is not None
        assert answer.type == ASSOCIATE_AC
    finally:
        for stranger in strangers:
            stranger.socket.close()


def test_one_modality_leaves_a_place_to_the_others(node: Node) -> None:
    greedy: list[Parrot] = []
    answers = []
    try:
        for _ in range(4):
            greedy.append(Parrot(node.address))
            answers.append(greedy[-1].associate())
        with Parrot(node.address) as other:
            of_other = other.associate(calling="ORTHANC")
    finally:
        for parrot in greedy:
            parrot.hang_up()

    assert [answer.type for answer in answers if answer] == [*[ASSOCIATE_AC] * 3, ASSOCIATE_RJ]
    # PS3.8 9.3.4: rejected-transient, by the presentation related provider, local limit exceeded
    assert answers[3] is not None
    assert tuple(answers[3].body[1:4]) == (2, 3, 2)
    assert of_other is not None
    assert of_other.type == ASSOCIATE_AC
