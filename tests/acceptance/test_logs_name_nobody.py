"""All that a node writes to its terminal, at its most talkative, names no patient."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from pydicom.dataset import Dataset

from storage.lifecycle import State
from tests.factories import file_bytes, radiograph, uid, with_own_uids
from tests.node_process import Node, destination
from tests.parrot import Parrot
from tests.peer_programs import Address
from tests.processes import free_port

PLANTED = {
    "PatientName": "Zzyzx^Planted",
    "PatientID": "ZZ-PLANTED-ID",
    "AccessionNumber": "ZZPLANTEDACC",
    "PatientBirthDate": "19010203",
    "OtherPatientIDs": "ZZ-OTHER-ID",
    "ReferringPhysicianName": "Zzyzx^Referrer",
}
MALFORMED = {b"19010203": b"ZZBIRTHD", b"1234.5678": b"ZZNOMETER"}
"""What replaces a date and a distance: parsers like to repeat what they cannot read."""
TRACES = ("zzyzx", "zz-planted", "zzplanted", "19010203", "zz-other", "zzbirthd", "zznometer")


def travelling(ds: Dataset) -> bytes:
    """The data set without preamble and file meta information."""
    file = file_bytes(ds)
    return file[144 + struct.unpack("<I", file[140:144])[0] :]


def malformed(data: bytes) -> bytes:
    """With a date that is none, and a distance that is none."""
    for value, other in MALFORMED.items():
        assert value in data
        data = data.replace(value, other)
    return data


def store(node: Node, sop_instance_uid: str, data: bytes) -> int | None:
    """The status of a C-STORE over an association of its own."""
    with Parrot(node.address, timeout_s=60) as parrot:
        parrot.associate()
        return parrot.store(sop_instance_uid.encode(), data)


@pytest.mark.parametrize("format_", ["console", "json"])
def test_no_name_number_or_birth_date_of_a_patient_is_logged(
    a_node: Callable[..., Node], exposures: tuple[Dataset, Dataset], format_: str
) -> None:
    nobody = Address("NOBODY", free_port())
    node = a_node(
        destinations=[destination("pacs", nobody)], log={"level": "debug", "format": format_}
    )
    good = [with_own_uids(ds, f"good {format_}", **PLANTED) for ds in exposures]
    lone = radiograph(study="lone", BodyPartExamined="HIP", **PLANTED)
    odd = radiograph(study="odd", DistanceSourceToDetector="1234.5678", **PLANTED)
    homeless = radiograph(study="homeless", StudyInstanceUID=None, **PLANTED)
    other = radiograph(study="lone", SeriesDescription="other", **PLANTED)
    cut = travelling(radiograph(study="cut", **PLANTED))[:900]
    garbled = travelling(radiograph(study="garbled", **PLANTED)).replace(b"PN", b"\xff\xff")

    statuses = {
        "good": [store(node, ds.SOPInstanceUID, travelling(ds)) for ds in good],
        "lone": [store(node, lone.SOPInstanceUID, travelling(lone))],
        "odd": [store(node, odd.SOPInstanceUID, malformed(travelling(odd)))],
        "homeless": [store(node, homeless.SOPInstanceUID, travelling(homeless))],
        "other": [store(node, other.SOPInstanceUID, travelling(other))],
        "cut": [store(node, uid("cut"), cut)],
        "garbled": [store(node, uid("garbled"), garbled)],
    }
    for study in ("lone", "odd"):
        node.decided(uid("study", study))
    node.reached(uid("study", f"good {format_}"), {State.DELIVERING})
    node.stop()

    accepted = {name for name, all_ in statuses.items() if all_ == [0x0000] * len(all_)}
    assert accepted == {"good", "lone", "odd"}
    # Not vacuous: the names did come in, and the log did speak of what brought them.
    kept = b"".join(path.read_bytes() for path in node.files(uid("study", "odd")))
    assert b"Zzyzx" in kept
    assert b"ZZBIRTHD" in kept
    for event in ("instance_refused", "study_decided", "job_started", "stopping"):
        assert event in node.log
    log = node.log.lower()
    assert [trace for trace in TRACES if trace in log] == []
