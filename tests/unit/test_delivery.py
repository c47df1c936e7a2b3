"""Sending to a destination over loopback. Statuses: PS3.4 B.2.3 and PS3.7 annex C."""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
)
from pynetdicom import AE, evt

from node import archive, delivery
from node.delivery import Answer, Parcel, Unreachable, Verdict
from node.settings import Destination
from tests.factories import Kind, file_bytes, radiograph


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def destination(port: int, ae_title: str = "PACS") -> Destination:
    return Destination(
        name="pacs",
        ae_title=ae_title,
        host="127.0.0.1",
        port=port,
        connect_timeout_s=2,
        response_timeout_s=5,
    )


def parcels(folder: Path, *views: str) -> list[Parcel]:
    made = []
    for key, view in enumerate(views):
        path = folder / f"{view}.dcm"
        path.write_bytes(file_bytes(radiograph(view=view)))
        made.append(Parcel(key, Kind.DX, path))
    return made


@contextmanager
def listening(
    classes: Mapping[str, Sequence[str]],
    answer: Callable[[evt.Event], int] = lambda _event: 0x0000,
) -> Iterator[int]:
    """A peer that takes these SOP classes in these transfer syntaxes; gives its port."""
    ae = AE(ae_title="PACS")
    for sop_class, syntaxes in classes.items():
        ae.add_supported_context(sop_class, list(syntaxes))
    handlers = [(evt.EVT_C_STORE, answer)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()


def sent_to(port: int, sent: Sequence[Parcel]) -> Iterator[Answer]:
    answers = delivery.send(sent, destination(port), "OSTEON")
    assert not isinstance(answers, Unreachable)
    return answers


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[archive.Archive]:
    with archive.running(tmp_path / "pacs", "PACS", free_port()) as running:
        yield running


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (0x0000, Verdict.ACCEPTED),
        (0xB000, Verdict.ACCEPTED),
        (0xB006, Verdict.ACCEPTED),
        (0xB007, Verdict.ACCEPTED),
        (0xA700, Verdict.TRY_AGAIN),
        (0xA7FF, Verdict.TRY_AGAIN),
        (0x0110, Verdict.TRY_AGAIN),
        (0xA900, Verdict.REFUSED),
        (0xC000, Verdict.REFUSED),
        (0xCFFF, Verdict.REFUSED),
        (0x0122, Verdict.REFUSED),
        (0x0124, Verdict.REFUSED),
    ],
)
def test_a_status_has_one_meaning(status: int, expected: Verdict) -> None:
    assert delivery.verdict(status) is expected


def test_a_destination_receives_the_bytes_of_the_file(
    tmp_path: Path, pacs: archive.Archive
) -> None:
    sent = parcels(tmp_path, "AP", "LL")

    answers = delivery.send(sent, destination(pacs.port), "OSTEON")

    assert not isinstance(answers, Unreachable)
    assert list(answers) == [Answer(key, Verdict.ACCEPTED, 0x0000, "") for key in (0, 1)]
    for parcel, received in zip(sent, pacs.files, strict=True):
        assert dcmread(received) == dcmread(parcel.path)


def test_a_dead_destination_is_unreachable_and_the_reason_says_where(tmp_path: Path) -> None:
    port = free_port()

    answers = delivery.send(parcels(tmp_path, "AP"), destination(port), "OSTEON")

    assert isinstance(answers, Unreachable)
    assert f"127.0.0.1:{port}" in answers.reason


def test_a_rejected_association_asks_about_the_ae_titles(tmp_path: Path) -> None:
    ae = AE(ae_title="PACS")
    ae.require_calling_aet = ["SOMEBODY"]
    ae.add_supported_context(Kind.DX)
    server = ae.start_server(("127.0.0.1", 0), block=False)
    assert server is not None
    port = server.server_address[1]

    answers = delivery.send(parcels(tmp_path, "AP"), destination(port), "OSTEON")

    server.shutdown()
    assert isinstance(answers, Unreachable)
    assert "is 'OSTEON' known there" in answers.reason


def test_a_class_that_is_not_taken_is_left_out_and_the_others_go(tmp_path: Path) -> None:
    ae = AE(ae_title="PACS")
    ae.add_supported_context(Kind.DX)
    kept: list[str] = []

    def keep(event: evt.Event) -> int:
        kept.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    assert server is not None
    (taken,) = parcels(tmp_path, "AP")
    other = tmp_path / "other.dcm"
    other.write_bytes(file_bytes(radiograph(Kind.XA)))

    answers = delivery.send(
        [Parcel(7, Kind.XA, other), taken], destination(server.server_address[1]), "OSTEON"
    )

    assert not isinstance(answers, Unreachable)
    left_out, accepted = answers
    server.shutdown()
    assert (left_out.key, left_out.verdict, left_out.status) == (7, Verdict.LEFT_OUT, None)
    assert left_out.reason == f"pacs does not take objects (SOP class {Kind.XA})"
    assert accepted.verdict is Verdict.ACCEPTED
    assert len(kept) == 1


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_destination_that_takes_another_syntax_receives_the_same_object_in_it(
    tmp_path: Path, syntax: str
) -> None:
    sent = parcels(tmp_path, "AP")
    kept: list[tuple[str, Dataset]] = []

    def keep(event: evt.Event) -> int:
        kept.append((event.context.transfer_syntax, event.dataset))
        return 0x0000

    with listening({Kind.DX: [syntax]}, keep) as port:
        answers = list(sent_to(port, sent))

    ((used, received),) = kept
    assert answers == [Answer(0, Verdict.ACCEPTED, 0x0000, "")]
    assert used == syntax
    assert received == dcmread(sent[0].path)


def test_a_destination_that_takes_nothing_leaves_everything_out(tmp_path: Path) -> None:
    with listening({Kind.XA: [ExplicitVRLittleEndian]}) as port:
        answers = list(sent_to(port, parcels(tmp_path, "AP", "LL")))

    assert [(each.key, each.verdict, each.status) for each in answers] == [
        (0, Verdict.LEFT_OUT, None),
        (1, Verdict.LEFT_OUT, None),
    ]
    assert answers[0].reason == f"pacs does not take objects (SOP class {Kind.DX})"


def test_a_class_that_is_taken_compressed_only_is_left_out_and_the_reason_says_so(
    tmp_path: Path,
) -> None:
    with listening({Kind.DX: [JPEGLosslessSV1], Kind.XA: [ExplicitVRLittleEndian]}) as port:
        other = Parcel(1, Kind.XA, tmp_path / "AP.dcm")
        (answer, _) = sent_to(port, [*parcels(tmp_path, "AP"), other])

    assert answer.verdict is Verdict.LEFT_OUT
    assert "no uncompressed transfer syntax" in answer.reason


def test_the_words_of_a_left_out_result_name_its_class(tmp_path: Path) -> None:
    (image,) = parcels(tmp_path, "AP")
    surface = "1.2.840.10008.5.1.4.1.1.66.5"

    with listening({Kind.DX: [ExplicitVRLittleEndian]}) as port:
        (_, answer) = sent_to(port, [image, Parcel(1, surface, image.path)])

    assert answer.reason == f"pacs does not take surface segmentation (SOP class {surface})"


@pytest.mark.parametrize(("status", "sent"), [(0xA700, ["AP"]), (0xC000, ["AP", "LL"])])
def test_the_last_of_a_set_goes_only_when_all_others_were_answered_for_good(
    tmp_path: Path, status: int, sent: list[str]
) -> None:
    first, last = (
        replace(parcel, group=5, is_last=view == "LL")
        for parcel, view in zip(parcels(tmp_path, "AP", "LL"), ("AP", "LL"), strict=True)
    )
    came: list[str] = []

    def refuse_the_first(event: evt.Event) -> int:
        came.append(event.dataset.ViewPosition)
        return status if len(came) == 1 else 0x0000

    with listening({Kind.DX: [ExplicitVRLittleEndian]}, refuse_the_first) as port:
        answers = list(sent_to(port, [first, last]))

    assert came == sent
    assert [each.key for each in answers] == list(range(len(sent)))


def test_a_set_that_waits_does_not_hold_up_the_last_of_another(tmp_path: Path) -> None:
    first, last = parcels(tmp_path, "AP", "LL")
    came: list[str] = []

    def busy_at_first(event: evt.Event) -> int:
        came.append(event.dataset.ViewPosition)
        return 0xA700 if len(came) == 1 else 0x0000

    with listening({Kind.DX: [ExplicitVRLittleEndian]}, busy_at_first) as port:
        answers = list(sent_to(port, [first, replace(last, group=6, is_last=True)]))

    assert [each.verdict for each in answers] == [Verdict.TRY_AGAIN, Verdict.ACCEPTED]


@pytest.mark.parametrize(
    ("status", "expected"), [(0xA700, Verdict.TRY_AGAIN), (0xC123, Verdict.REFUSED)]
)
def test_the_answer_of_the_destination_is_kept(
    tmp_path: Path, status: int, expected: Verdict
) -> None:
    ae = AE(ae_title="PACS")
    ae.add_supported_context(Kind.DX)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _event: status)]
    )
    assert server is not None

    answers = delivery.send(
        parcels(tmp_path, "AP"), destination(server.server_address[1]), "OSTEON"
    )

    assert not isinstance(answers, Unreachable)
    (answer,) = answers
    server.shutdown()
    assert (answer.verdict, answer.status) == (expected, status)


def test_an_association_that_is_lost_midway_means_try_again(tmp_path: Path) -> None:
    ae = AE(ae_title="PACS")
    ae.add_supported_context(Kind.DX)

    def hang_up(event: evt.Event) -> int:
        event.assoc.abort()
        return 0x0000

    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, hang_up)]
    )
    assert server is not None

    answers = delivery.send(
        parcels(tmp_path, "AP", "LL"), destination(server.server_address[1]), "OSTEON"
    )

    assert not isinstance(answers, Unreachable)
    both = list(answers)
    server.shutdown()
    assert [(each.verdict, each.status) for each in both] == [(Verdict.TRY_AGAIN, None)] * 2


def test_a_destination_that_answers_echo_is_fine(pacs: archive.Archive) -> None:
    assert delivery.echo(destination(pacs.port), "OSTEON") is None
    assert isinstance(delivery.echo(destination(free_port()), "OSTEON"), Unreachable)
