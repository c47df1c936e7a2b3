"""Many associations at a time, each with something to store: none is kept out or let down."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest

from benchmarks.receive import LOADS, forget_peak, peak_megabytes
from benchmarks.sender import send as send_large
from storage import audit, database
from tests.factories import file_bytes, radiograph
from tests.node_process import Node, running_node
from tests.parrot import ASSOCIATE_AC, ASSOCIATE_RJ, Parrot

AT_ONCE = 100
EACH = 2
SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What one modality sent, and what it was told."""

    study_instance_uid: str
    sop_instance_uids: frozenset[str]
    statuses: tuple[int | None, ...]


def send(node: Node, number: int, all_are_in: Barrier) -> Sent:
    """One association, with its instances stored while all others are open."""
    name = f"hundred {number}"
    images = [
        radiograph(study=name, image=str(image), pixels=np.full((16, 16), image, np.uint16))
        for image in range(EACH)
    ]
    with Parrot(node.address, timeout_s=SECONDS) as parrot:
        answer = parrot.associate(calling="MODALITY" if number % 2 else "ORTHANC")
        assert answer is not None
        assert answer.type == ASSOCIATE_AC
        all_are_in.wait(SECONDS)
        statuses = []
        for ds in images:
            file = file_bytes(ds)
            data_set = file[144 + struct.unpack("<I", file[140:144])[0] :]
            statuses.append(parrot.store(ds.SOPInstanceUID.encode(), data_set))
    uids = frozenset(str(ds.SOPInstanceUID) for ds in images)
    return Sent(str(images[0].StudyInstanceUID), uids, tuple(statuses))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node with a place for each of them, and for no more; nobody of another test is still in."""
    receiver = {"maximum_associations": AT_ONCE, "maximum_associations_per_peer": AT_ONCE}
    with running_node(tmp_path, rules=(), receiver=receiver) as running:
        yield running


def test_a_hundred_associations_at_once_are_served_without_an_error(node: Node) -> None:
    with ThreadPoolExecutor(AT_ONCE) as modalities:
        barrier = Barrier(AT_ONCE)
        sent = list(modalities.map(lambda n: send(node, n, barrier), range(AT_ONCE)))

    assert [each.statuses for each in sent] == [(0x0000,) * EACH] * AT_ONCE
    for each in sent:
        assert node.instances(each.study_instance_uid) == each.sop_instance_uids
    with database.reading(node.engine) as conn:
        assert isinstance(audit.verify(conn), audit.Verified)


def test_one_more_than_there_are_places_is_told_to_come_again(node: Node) -> None:
    crowd = [Parrot(node.address, timeout_s=SECONDS) for _ in range(AT_ONCE)]
    try:
        answers = [each.associate() for each in crowd]
        with Parrot(node.address) as late:
            refused = late.associate(calling="ORTHANC")
    finally:
        for each in crowd:
            each.socket.close()

    assert [answer.type for answer in answers if answer] == [ASSOCIATE_AC] * AT_ONCE
    assert refused is not None
    assert refused.type == ASSOCIATE_RJ
    # PS3.8 9.3.4: rejected-transient, by the presentation related provider, local limit exceeded
    assert tuple(refused.body[1:4]) == (2, 3, 2)


def test_sixteen_large_radiographs_at_once_fit_into_250_megabytes(node: Node) -> None:
    forget_peak(node.process.pid)

    send_large(node.address, 16, 1, LOADS["dx"].side_px, "sixteen")

    assert peak_megabytes(node.process.pid) < 250
