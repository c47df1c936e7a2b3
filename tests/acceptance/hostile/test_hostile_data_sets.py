"""Data sets that are not what they say: each is refused with a reason, and disturbs nobody."""

from __future__ import annotations

import struct
import zlib

import pydicom
import pytest

from tests.factories import radiograph, uid
from tests.hostile_peers import GIBIBYTE, MEBIBYTE, data_set, leaves_nothing, settled_bytes
from tests.node_process import Node
from tests.parrot import Parrot, associate_rq, c_store_rq, p_data, status_of
from tests.processes import resident_bytes


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
    before = settled_bytes(node)
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
