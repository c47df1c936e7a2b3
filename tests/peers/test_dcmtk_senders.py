"""dcmtk's senders against the node: who may send, and that it is kept as it was sent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.factories import Kind, file_bytes, limb, radiograph
from tests.node_process import Node
from tests.peer_programs import (
    ENCODERS,
    SEND_OPTIONS,
    Address,
    dcmsend,
    echoscu,
    encode,
    storescu,
)

pytestmark = pytest.mark.peer

NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
"""dcmsend offers these together, and the node chooses."""
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
STRANGER = "STRANGER"
NOT_RECOGNISED = "Calling AE Title Not Recognized"


def a_file(folder: Path, study: str, syntax: str) -> Path:
    """A radiograph in a transfer syntax; of 8 bits where the syntax has no more."""
    pixels = (limb() >> 4).astype(np.uint8) if syntax == JPEG_BASELINE else limb()
    native = folder / "native.dcm"
    native.write_bytes(file_bytes(radiograph(study=study, pixels=pixels)))
    return encode(native, folder / "encoded.dcm", syntax)


def the_kept(node: Node, sent: Path) -> pydicom.FileDataset:
    """The one instance that the node keeps of the study of `sent`."""
    (path,) = node.files(pydicom.dcmread(sent).StudyInstanceUID)
    return pydicom.dcmread(path)


def test_an_allowed_title_gets_an_echo(node: Node) -> None:
    assert echoscu(node.address).is_success


def test_an_unknown_title_is_told_that_its_title_is_not_recognised(node: Node) -> None:
    ran = echoscu(node.address, calling=STRANGER)

    assert not ran.is_success
    assert NOT_RECOGNISED in ran.output


def test_a_wrong_called_title_is_told_so(node: Node) -> None:
    ran = echoscu(Address("ELSEWHERE", node.address.port))

    assert not ran.is_success
    assert "Called AE Title Not Recognized" in ran.output


@pytest.mark.parametrize("syntax", SEND_OPTIONS)
def test_what_storescu_sends_is_kept_as_it_came(node: Node, tmp_path: Path, syntax: str) -> None:
    sent = a_file(tmp_path, f"storescu {syntax}", syntax)

    ran = storescu(node.address, sent, options=[SEND_OPTIONS[syntax]])

    assert ran.is_success, ran.output
    kept = the_kept(node, sent)
    assert kept.file_meta.TransferSyntaxUID == syntax
    assert kept == pydicom.dcmread(sent)


@pytest.mark.parametrize("syntax", [*ENCODERS, *JPEG_2000])
def test_what_dcmsend_sends_is_kept_as_it_came(node: Node, tmp_path: Path, syntax: str) -> None:
    sent = a_file(tmp_path, f"dcmsend {syntax}", syntax)

    ran = dcmsend(node.address, sent, options=["-dn"])

    assert ran.is_success, ran.output
    assert "with status SUCCESS  : 1" in ran.output
    kept = the_kept(node, sent)
    original = pydicom.dcmread(sent)
    assert kept.SOPInstanceUID == original.SOPInstanceUID
    assert np.array_equal(kept.pixel_array, original.pixel_array)
    assert kept.file_meta.TransferSyntaxUID in (NATIVE if syntax in NATIVE else (syntax,))


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_radiograph_is_taken(node: Node, tmp_path: Path, kind: Kind) -> None:
    sent = tmp_path / "one.dcm"
    sent.write_bytes(file_bytes(radiograph(kind, study=f"kind {kind}")))

    ran = storescu(node.address, sent)

    assert ran.is_success, ran.output
    assert the_kept(node, sent).SOPClassUID == kind.value


@pytest.mark.parametrize("send", [storescu, dcmsend])
def test_a_stranger_leaves_nothing_behind(node: Node, tmp_path: Path, send: object) -> None:
    sent = tmp_path / "one.dcm"
    ds = radiograph(study=f"stranger {send}")
    sent.write_bytes(file_bytes(ds))
    assert callable(send)

    ran = send(node.address, sent, calling=STRANGER)

    assert "Rejected" in ran.output
    assert node.study(ds.StudyInstanceUID) is None


def test_many_images_of_one_association_are_all_kept(node: Node, tmp_path: Path) -> None:
    images = [radiograph(study="many", image=f"image {number}") for number in range(25)]
    files = [tmp_path / f"{number}.dcm" for number in range(25)]
    for ds, path in zip(images, files, strict=True):
        path.write_bytes(file_bytes(ds))

    ran = storescu(node.address, *files)

    assert ran.is_success, ran.output
    kept = node.instances(images[0].StudyInstanceUID)
    assert kept == {ds.SOPInstanceUID for ds in images}


def test_the_same_image_again_is_a_success_and_nothing_new(node: Node, tmp_path: Path) -> None:
    sent = tmp_path / "one.dcm"
    ds = radiograph(study="again")
    sent.write_bytes(file_bytes(ds))

    first, second = storescu(node.address, sent), storescu(node.address, sent)

    assert first.is_success
    assert second.is_success
    assert len(node.instances(ds.StudyInstanceUID)) == 1


def test_another_image_under_a_taken_uid_is_refused_and_the_first_stays(
    node: Node, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.dcm", tmp_path / "second.dcm"
    ds = radiograph(study="taken")
    first.write_bytes(file_bytes(ds))
    second.write_bytes(file_bytes(radiograph(study="taken", pixels=limb() // 2)))
    assert storescu(node.address, first).is_success

    ran = storescu(node.address, second)

    assert "CannotUnderstand" in ran.output, ran.output
    assert np.array_equal(the_kept(node, first).pixel_array, limb())
    assert ds.SOPInstanceUID in {each.affected_sop_instance_uid for each in node.quarantined()}
