"""Peers that are no peers: who is let in, who is turned away, and who is let go."""

from __future__ import annotations

import pytest

from tests.factories import radiograph
from tests.hostile_peers import data_set, leaves_nothing
from tests.node_process import Node
from tests.parrot import (
    ABORT,
    ASSOCIATE_AC,
    ASSOCIATE_RJ,
    ASSOCIATE_RQ,
    DX_STORAGE,
    RELEASE_RQ,
    Parrot,
    associate_rq,
    c_echo_rq,
    contexts_of,
    p_data,
    pdu,
)


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
