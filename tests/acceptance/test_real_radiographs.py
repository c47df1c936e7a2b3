"""Real radiographs, with their poor headers and broken streams: each ends in a told state."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pydicom
import pytest

from storage.lifecycle import FINAL, State
from storage.records import StudyState
from tests.conftest import SHARED
from tests.factories import uid
from tests.node_process import Node, destination, running_node
from tests.parrot import ASSOCIATE_AC, Parrot
from tests.peer_programs import Ran, running_storescp, storescu
from tests.processes import resident_bytes
from tests.real_radiographs import BROKEN_HIP, HIP_FILES, own_study, send_options

pytestmark = [
    pytest.mark.peer,
    pytest.mark.data,
    # pydicom says so while the test reads and writes what a real device made
    pytest.mark.filterwarnings("ignore:Invalid value for VR:UserWarning"),
]

RADIOGRAPHS = SHARED / "data" / "radiographs" / "dicom"
MALFORMED = SHARED / "data" / "malformed"
MAMMOGRAM = "fo-dicom__Tests_FO-DICOM.Tests_Test_Data_GH133.dcm"
WITHOUT_META = "fo-dicom__Tests_FO-DICOM.Tests_Test_Data_CR-MONO1-10-chest.dcm"
WITHOUT_STUDY_UID = "wearemothers__vpop-pro.com_jpeg-baseline.dcm"
WITHOUT_PIXELS = "orthanc-mirr__Database_Issue56-NoPixelData.dcm"
BROKEN_RUN = "robyoung__data_WG04_JPLY_XA1_JPLY.dcm"
WHOLE_HIP = HIP_FILES["1.2.840.10008.1.2.4.80"]

COMPLETE = {
    "Modality": "CR",
    "BodyPartExamined": "HIP",
    "ImageLaterality": "R",
    "Laterality": None,
    "ImagerPixelSpacing": ["0.2", "0.2"],
    "PixelSpacing": None,
    "DistanceSourceToDetector": "1150",
    "DistanceSourceToPatient": "1000",
}
"""What the headers lack, and a good modality would say."""

VIEWS = {"AP": ["L", "F"], "LL": ["P", "F"]}


@pytest.fixture(scope="module")
def node(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node with one rule, for hips, and a destination."""
    folder = tmp_path_factory.mktemp("real")
    with (
        running_storescp(folder / "storescp") as pacs,
        running_node(folder / "node", destinations=[destination("pacs", pacs)]) as running,
    ):
        yield running


@pytest.fixture(autouse=True)
def next_study_is_undisturbed(node: Node) -> Iterator[None]:
    """Whatever a study was, the node that got it still runs."""
    yield
    assert node.process.is_running
    assert "task_failed" not in node.log


def all_radiographs() -> list[str]:
    """The names of the files that the node takes; empty where the data is absent."""
    return sorted(path.name for path in RADIOGRAPHS.glob("*.dcm") if path.name != MAMMOGRAM)


def send(node: Node, folder: Path, name: str, study: str, **keywords: object) -> Ran:
    """One real file, in a study of its own, sent by storescu as it is."""
    target = folder / f"{study}-{keywords.get('ViewPosition', '')}.dcm"
    ds = own_study(RADIOGRAPHS / name, target, study, **keywords)
    return storescu(node.address, target, options=send_options(ds))


def send_pair(node: Node, folder: Path, study: str, **files: str) -> None:
    """Two files as the views that they are named, with all that their headers lack."""
    for view, name in files.items():
        keywords = {**COMPLETE, "ViewPosition": view, "PatientOrientation": VIEWS[view]}
        keywords["SOPInstanceUID"] = uid("instance", study, view)
        keywords["SeriesInstanceUID"] = uid("series", study, view)
        keywords["SOPClassUID"] = "1.2.840.10008.5.1.4.1.1.1"
        ran = send(node, folder, name, study, **keywords)
        assert ran.is_success, ran.output


def is_sentence(text: str) -> bool:
    """True if a technician can read it: several words that begin with a capital, and no class."""
    return text[:1].isupper() and len(text.split()) >= 4 and "Error" not in text


@pytest.mark.parametrize("name", all_radiographs())
def test_every_real_radiograph_is_kept_and_declined_in_sentences(
    node: Node, tmp_path: Path, name: str
) -> None:
    ran = send(node, tmp_path, name, name)

    assert ran.is_success, ran.output
    study = node.decided(uid("study", name))
    assert study.state is StudyState.DECLINED
    assert study.reasons
    assert all(is_sentence(reason) for reason in study.reasons), study.reasons


@pytest.mark.parametrize("syntax", HIP_FILES)
def test_the_pixels_of_the_hip_are_kept_as_they_came(
    node: Node, tmp_path: Path, syntax: str
) -> None:
    study = f"pixels {syntax}"
    send(node, tmp_path, HIP_FILES[syntax], study)

    (kept,) = node.files(uid("study", study))

    original = pydicom.dcmread(RADIOGRAPHS / HIP_FILES[syntax])
    stored = pydicom.dcmread(kept)
    assert stored.file_meta.TransferSyntaxUID == syntax
    assert stored.PixelData == original.PixelData


def test_a_single_hip_is_declined_because_a_view_is_missing(node: Node, tmp_path: Path) -> None:
    send(node, tmp_path, WHOLE_HIP, "single hip")

    study = node.decided(uid("study", "single hip"))

    assert "needs a frontal and a lateral view" in study.reasons[0]


def test_show_tells_the_reasons_to_a_person(node: Node, tmp_path: Path) -> None:
    send(node, tmp_path, WHOLE_HIP, "shown")
    study = node.decided(uid("study", "shown"))

    shown = " ".join(node.osteon("show", study.study_instance_uid).output.split())

    for reason in study.reasons:
        assert reason in shown


@pytest.mark.parametrize("syntax", HIP_FILES)
def test_the_hip_reaches_the_engine_in_every_transfer_syntax(
    node: Node, tmp_path: Path, syntax: str
) -> None:
    study = f"engine {syntax}"
    send_pair(node, tmp_path, study, AP=HIP_FILES[syntax], LL=HIP_FILES[syntax])

    job = node.finished(uid("study", study))

    assert job.state in FINAL
    assert job.state is State.DELIVERED or is_sentence(job.reason), job.reason
    assert "pixel" not in job.reason


@pytest.mark.parametrize("name", [BROKEN_HIP, BROKEN_RUN])
def test_a_broken_pixel_stream_ends_failed_and_is_named(
    node: Node, tmp_path: Path, name: str
) -> None:
    study = f"broken {name}"
    send_pair(node, tmp_path, study, AP=name, LL=WHOLE_HIP)

    job = node.finished(uid("study", study))

    assert job.state is State.FAILED
    assert is_sentence(job.reason), job.reason
    assert "pixel" in job.reason
    assert job.attempt == 1, "what the study lacks is not tried again"


def test_a_radiograph_without_pixels_ends_failed_and_is_named(node: Node, tmp_path: Path) -> None:
    send_pair(node, tmp_path, "no pixels", AP=WITHOUT_PIXELS, LL=WHOLE_HIP)

    job = node.finished(uid("study", "no pixels"))

    assert job.state is State.FAILED
    assert is_sentence(job.reason), job.reason
    assert "pixel" in job.reason.lower()


def test_a_hip_without_source_distance_is_declined_for_it(node: Node, tmp_path: Path) -> None:
    for view, orientation in VIEWS.items():
        keywords = {**COMPLETE, "ViewPosition": view, "PatientOrientation": orientation}
        keywords |= {"DistanceSourceToDetector": None, "DistanceSourceToPatient": None}
        keywords["SOPInstanceUID"] = uid("instance", "no distance", view)
        send(node, tmp_path, WHOLE_HIP, "no distance", **keywords)

    study = node.decided(uid("study", "no distance"))

    assert study.state is StudyState.DECLINED
    assert any("DistanceSourceTo" in reason for reason in study.reasons), study.reasons


def test_a_mammogram_is_not_taken_and_the_sender_is_told(node: Node, tmp_path: Path) -> None:
    ran = send(node, tmp_path, MAMMOGRAM, "mammogram")

    assert not ran.is_success
    assert "No Acceptable Presentation Contexts" in ran.output


def test_a_file_without_meta_information_is_kept(node: Node) -> None:
    original = pydicom.dcmread(RADIOGRAPHS / WITHOUT_META, force=True)

    ran = storescu(node.address, RADIOGRAPHS / WITHOUT_META)

    assert ran.is_success, ran.output
    assert node.instances(original.StudyInstanceUID) == {original.SOPInstanceUID}


def test_a_file_without_study_uid_is_refused_and_quarantined(node: Node) -> None:
    original = pydicom.dcmread(RADIOGRAPHS / WITHOUT_STUDY_UID, stop_before_pixels=True)

    ran = storescu(node.address, RADIOGRAPHS / WITHOUT_STUDY_UID, options=["-xy"])

    assert not ran.is_success
    reasons = {each.affected_sop_instance_uid: each.reason for each in node.quarantined()}
    assert "StudyInstanceUID" in reasons[original.SOPInstanceUID]


def test_malformed_files_are_answered_each_and_cost_no_memory(node: Node) -> None:
    before = resident_bytes(node.process.pid)
    files = [path for path in sorted(MALFORMED.rglob("*")) if path.is_file()]
    files = [path for path in files if path.suffix not in {".csv", ".md"}]
    unanswered = []
    for number, path in enumerate(files):
        with Parrot(node.address) as parrot:
            answer = parrot.associate()
            assert answer is not None, path.name
            assert answer.type == ASSOCIATE_AC, path.name
            status = parrot.store(uid("malformed", number).encode(), as_it_travels(path))
        if status is None:
            unanswered.append(path.name)

    assert len(files) > 100
    assert not unanswered
    assert resident_bytes(node.process.pid) - before < 300 * 1024 * 1024


def as_it_travels(path: Path, longest: int = 4 * 1024 * 1024) -> bytes:
    """The bytes after the file meta information where there is one, and not too many of them."""
    data = path.read_bytes()[:longest]
    if data[128:132] == b"DICM" and data[132:136] == b"\x02\0\0\0" and len(data) > 144:
        return data[144 + struct.unpack("<I", data[140:144])[0] :]
    return data


def test_after_all_of_that_a_good_study_is_delivered(
    node: Node, phantom_files: tuple[Path, Path], study: str
) -> None:
    assert storescu(node.address, *phantom_files).is_success

    assert node.finished(study).state is State.DELIVERED
