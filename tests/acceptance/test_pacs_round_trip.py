"""Orthanc as the PACS sends two radiographs and gets bones back, in the same study and patient."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    EncapsulatedSTLStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    SurfaceSegmentationStorage,
)

from storage.lifecycle import State
from tests.factories import file_bytes, uid, with_own_uids
from tests.node_process import Node, destination, running_node
from tests.orthanc import Orthanc
from tests.peer_programs import Address, dciodvfy, dcmqi_segments, findscu, running_storescp

pytestmark = pytest.mark.peer

STUDY = uid("study", "round trip")

IN_SPACE = {
    CTImageStorage,
    SegmentationStorage,
    SurfaceSegmentationStorage,
    EncapsulatedSTLStorage,
}
"""Results with coordinates; the others are pictures and text."""
BESIDE = {
    SecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    Comprehensive3DSRStorage,
}
SERIES = sorted(["DX", "DX", "CT", "SEG", "SEG", "M3D", "OT", "OT", "SR"])
"""Modality of each series of the study, radiographs and results."""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """What was sent, and where everything is now that the job is DELIVERED."""

    node: Node
    sent: tuple[Dataset, ...]
    job_id: int
    received: Path
    """Folder of a second destination, storescp."""


@pytest.fixture(scope="module")
def trip(
    orthanc: Orthanc,
    exposures: tuple[Dataset, Dataset],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RoundTrip]:
    """Orthanc has sent the phantom's two radiographs, and both destinations have the results."""
    folder = tmp_path_factory.mktemp("round-trip")
    sent = tuple(with_own_uids(ds, "round trip") for ds in exposures)
    pacs = Address(orthanc.ae_title, orthanc.dicom_port)
    with running_storescp(folder / "storescp") as second:
        places = [destination("pacs", pacs), destination("second", second)]
        with running_node(folder / "node", destinations=places) as node:
            orthanc.know("node", node.address.ae_title, node.address.port)
            orthanc.send([orthanc.upload(file_bytes(ds)) for ds in sent], "node")
            job = node.finished(STUDY)
            assert job.state is State.DELIVERED, node.osteon("show", job.id).output
            yield RoundTrip(node, sent, job.id, folder / "storescp" / "received")


def results_at(orthanc: Orthanc, trip: RoundTrip) -> list[Dataset]:
    """The objects of the study that Orthanc did not hold before."""
    ours = {str(ds.SOPInstanceUID) for ds in trip.sent}
    made = sorted(orthanc.sop_instance_uids(STUDY) - ours)
    return [pydicom.dcmread(io.BytesIO(orthanc.file(each))) for each in made]


@pytest.fixture(scope="module")
def results(orthanc: Orthanc, trip: RoundTrip) -> list[Dataset]:
    return results_at(orthanc, trip)


def the_one(results: list[Dataset], sop_class_uid: str) -> Dataset:
    """The only result of a SOP class."""
    (found,) = [ds for ds in results if ds.SOPClassUID == sop_class_uid]
    return found


def test_results_are_found_in_the_study_by_c_find(
    orthanc: Orthanc, trip: RoundTrip, tmp_path: Path
) -> None:
    at = Address(orthanc.ae_title, orthanc.dicom_port)

    found = findscu(
        at, tmp_path / "find", "SERIES", StudyInstanceUID=STUDY, Modality="", SeriesInstanceUID=""
    )

    assert sorted(ds.Modality for ds in found) == SERIES
    assert {ds.StudyInstanceUID for ds in found} == {STUDY}


def test_results_are_found_in_the_study_by_qido(orthanc: Orthanc, trip: RoundTrip) -> None:
    found = orthanc.qido("series", StudyInstanceUID=STUDY)

    modalities = sorted(series["00080060"]["Value"][0] for series in found)
    assert modalities == SERIES


def test_results_belong_to_the_same_patient(trip: RoundTrip, results: list[Dataset]) -> None:
    keywords = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID")
    keywords += ("StudyID", "StudyDate", "StudyTime", "AccessionNumber")

    for ds in results:
        for keyword in keywords:
            assert ds.get(keyword) == trip.sent[0].get(keyword), (ds.SOPClassUID.name, keyword)


def test_every_kind_of_result_has_arrived(results: list[Dataset]) -> None:
    classes = {ds.SOPClassUID for ds in results}

    assert classes == IN_SPACE | BESIDE


def test_results_of_one_job_share_a_frame_of_reference_of_their_own(
    results: list[Dataset],
) -> None:
    frames = {ds.get("FrameOfReferenceUID") for ds in results if ds.SOPClassUID in IN_SPACE}

    assert len(frames) == 1
    assert None not in frames


def test_dcmqi_reads_the_segmentation_voxel_for_voxel_as_it_was_made(
    trip: RoundTrip, results: list[Dataset], tmp_path: Path
) -> None:
    from_pacs = the_one(results, SegmentationStorage)
    path = tmp_path / "seg.dcm"
    from_pacs.save_as(path)
    made = the_made(trip, "segmentation")

    (read,) = dcmqi_segments(path, tmp_path / "dcmqi").values()

    volume = hd.seg.segread(made).get_volume(segment_numbers=[1], combine_segments=True)
    assert read.array.any()
    assert same_voxels(read.array, read.patient_from_index, volume)


def the_made(trip: RoundTrip, kind: str) -> Path:
    """The only object of a kind that the job wrote."""
    rows = trip.node.show(trip.job_id)["results"]
    (path,) = [row["written"]["path"] for row in rows if row["written"]["kind"] == kind]
    return trip.node.folder / "data" / "results" / str(path)


def same_voxels(array: np.ndarray, patient_from_index: np.ndarray, volume: hd.Volume) -> bool:
    """True if every voxel set in one is set in the other, compared at its place in the patient."""
    ours = np.argwhere(volume.array > 0)
    theirs = np.argwhere(array > 0)
    if len(ours) != len(theirs):
        return False
    at_ours = ours @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    at_theirs = theirs @ patient_from_index[:3, :3].T + patient_from_index[:3, 3]
    return bool(np.allclose(in_order(at_ours), in_order(at_theirs), atol=1e-3))


def in_order(points: np.ndarray) -> np.ndarray:
    """The points sorted by their coordinates in whole micrometres times ten."""
    rounded = np.round(points, 2)
    return points[np.lexsort(rounded.T)]


def test_all_objects_pass_dciodvfy(results: list[Dataset], tmp_path: Path) -> None:
    slices = [ds for ds in results if ds.SOPClassUID == CTImageStorage]
    others = [ds for ds in results if ds.SOPClassUID != CTImageStorage]

    for ds in (*others, slices[0], slices[-1]):
        path = tmp_path / f"{ds.SOPInstanceUID}.dcm"
        ds.save_as(path)
        assert dciodvfy(path) == [], ds.SOPClassUID.name


def test_storescp_has_taken_the_same_objects(trip: RoundTrip, results: list[Dataset]) -> None:
    received = {pydicom.dcmread(path).SOPInstanceUID for path in trip.received.iterdir()}

    assert received == {ds.SOPInstanceUID for ds in results}


def test_every_delivery_is_a_row_with_its_status(trip: RoundTrip, results: list[Dataset]) -> None:
    rows = trip.node.show(trip.job_id)["deliveries"]

    assert len(rows) == 2 * len(results)
    assert {row["state"] for row in rows} == {"ACKNOWLEDGED"}
    assert {row["status"] for row in rows} == {0x0000}


def test_results_sent_back_to_the_node_are_refused_and_make_no_second_job(
    orthanc: Orthanc, trip: RoundTrip
) -> None:
    study = orthanc.id_of(STUDY)
    assert study is not None

    with pytest.raises(RuntimeError, match="modalities/node/store"):
        orthanc.send([study], "node")

    assert len(trip.node.jobs(STUDY)) == 1


def test_the_audit_of_it_verifies(trip: RoundTrip) -> None:
    ran = trip.node.osteon("audit", "verify")

    assert ran.is_success, ran.output
