"""Other people's programs agree that our objects are what the standard asks for."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dcmqi
import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread

from pipeline.encode.write import write
from pipeline.types import Assumption, Bone, ObjectKind, ResultObject, Side
from tests.factories import two_views
from tests.processes import LOOPBACK, Process, absent, free_port, is_listening, program
from tests.results import (
    TIBIA,
    affine,
    box,
    centres,
    one_of_each,
    radiographs,
    reconstruction,
    request,
    request_of_files,
    turned,
)

pytestmark = pytest.mark.peer

SHAPE = (20, 64, 80)
SHARED = Path(os.environ.get("OSTEON_SHARED", Path(__file__).parents[2].parent / "shared"))
ASSUMED = (Assumption("source to detector", 1150.0, "mm", "absent"),)
IN_SPACE = (
    ObjectKind.MODEL_VOLUME,
    ObjectKind.SEGMENTATION,
    ObjectKind.LABELMAP,
    ObjectKind.FRACTIONAL,
    ObjectKind.SURFACE_SEGMENTATION,
    ObjectKind.STL,
)
KNOWN_ERRORS = {
    # PS3.3 A.51 of 2024: the tool is of 2022, and knows neither the class nor a segment 0
    ObjectKind.LABELMAP: {
        "Error - Information Object Not found",
        "Error - SegmentNumber not monotonically increasing from one by one - have "
        "SegmentSequence item number 1 (from one) with SegmentNumber of 0",
    }
}
EXTENDED = {
    "(0x0018,0x1002) UI Device UID",  # IHE AI Results 6.5.3.1, in ContributingEquipmentSequence
    # of PS3.3 C.35.1 since 2020, younger than the tool's table of the module
    "(0x0062,0x000d) US Recommended Display CIELab Value",
    "(0x0066,0x000c) FL Recommended Presentation Opacity",
    "(0x0068,0x7004) UI Model Group UID",
    # an Encapsulated STL has no place of its own for the bone, its region and its identity
    "(0x0062,0x0020) UT Tracking ID",
    "(0x0062,0x0021) UI Tracking UID",
    "(0x0008,0x2218) SQ Anatomic Region Sequence",
    "(0x0008,0x2220) SQ Anatomic Region Modifier Sequence",
    "(0x0008,0x2228) SQ Primary Anatomic Structure Sequence",
    "(0x0008,0x2230) SQ Primary Anatomic Structure Modifier Sequence",
    "(0x0008,0x0100) SH Code Value",
    "(0x0008,0x0102) SH Coding Scheme Designator",
    "(0x0008,0x0104) LO Code Meaning",
}
KNOWN_WARNINGS = {
    "Warning - Dicom dataset contains attributes not present in standard DICOM IOD - "
    "this is a Standard Extended SOP Class",
    *(f"Warning - Attribute is not present in standard DICOM IOD - {one}" for one in EXTENDED),
    # a coding scheme of our own: there is no standard title for a model from radiographs
    "Warning - Unrecognized defined term <99OSTEON> for value 1 of attribute "
    "<Coding Scheme Designator>",
    # the values are probabilities: HU, the only term that the tool knows, would be a lie
    "Warning - Unrecognized defined term <US> for value 1 of attribute <Rescale Type>",
    # the study came without one, and a result makes none up
    "Warning - Missing attribute or value that would be needed to build DICOMDIR - Study ID",
}
JAPANESE = {
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
    "PatientName": "Test^Knee=試験^膝=しけん^ひざ",
}
LATIN_1 = {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Tést^Kniegelenk^Ä"}
POOR = dict.fromkeys(
    (
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
        "AccessionNumber",
        "ReferringPhysicianName",
        "StudyDescription",
        "Manufacturer",
        "ManufacturerModelName",
        "StationName",
    )
)


@dataclass(frozen=True, slots=True)
class Job:
    """What one job was given, and what it wrote."""

    bones: tuple[Bone, ...]
    sources: tuple[Path, ...]
    objects: tuple[ResultObject, ...]

    def of(self, kind: ObjectKind) -> list[Path]:
        """The files of a kind."""
        return [one.path for one in self.objects if one.kind is kind]


def three_bones() -> tuple[Bone, ...]:
    return (
        box("Femur", shape=SHAPE, centre=(-12, 0, 4), side=Side.LEFT),
        box("Tibia", shape=SHAPE, centre=(-10, 3, -6), side=Side.LEFT, code=TIBIA),
        box("Sacrum", shape=SHAPE, centre=(15, -9, 0), side=Side.UNPAIRED),
    )


def oblique(turn: Any) -> tuple[Bone, ...]:
    return (box(shape=SHAPE, patient_from_index=affine(SHAPE, turn=turn)),)


CASES: dict[str, tuple[tuple[Bone, ...], dict[str, Any], dict[str, Any]]] = {
    "one right bone": ((box(shape=SHAPE),), {}, {}),
    "many left bones, Japanese": (three_bones(), JAPANESE, {"side": Side.LEFT}),
    "oblique, poor headers": (oblique(turned(25)), POOR, {"side": Side.UNPAIRED}),
    "left-handed": (oblique(np.diag([-1.0, 1.0, 1.0])), {}, {"region": "nowhere"}),
    "unpaired pelvis": (three_bones(), {}, {"region": "pelvis", "side": Side.UNPAIRED}),
    "left femur": ((box(shape=SHAPE, side=Side.LEFT),), {}, {"region": "femur"}),
    "no volume": (three_bones(), {}, {"kinds": IN_SPACE[1:]}),
    "right, Latin-1, no accession number": (
        (box(shape=SHAPE),),
        LATIN_1 | {"AccessionNumber": None},
        {},
    ),
}


@pytest.fixture(scope="module", params=CASES)
def job(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A job for each case."""
    return _job(request.param, tmp_path_factory.mktemp("job"))


def _job(name: str, folder: Path) -> Job:
    bones, keywords, changes = CASES[name]
    images = two_views(**keywords)
    wanted = request(folder, images, **({"kinds": IN_SPACE} | changes))
    made = reconstruction(*bones, assumptions=ASSUMED)
    written = write(made, radiographs(images), wanted)
    return Job(bones, tuple(source.path for source in wanted.sources), written)


def _said(*command: str | Path) -> list[str]:
    """The lines that a program wrote to either stream."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    return done.stdout.decode(errors="replace").splitlines()


def test_dciodvfy_finds_no_error_and_no_warning_that_is_not_explained(job: Job) -> None:
    dciodvfy = program("dciodvfy")
    slices = job.of(ObjectKind.MODEL_VOLUME)
    others = [one for one in job.objects if one.kind is not ObjectKind.MODEL_VOLUME]
    ends = [one for one in job.objects if one.path in (slices[:1] + slices[-1:])]

    for one in (*ends, *others):
        lines = [line.strip() for line in _said(dciodvfy, one.path)]
        complaints = [line for line in lines if line.startswith(("Error", "Warning"))]
        known = KNOWN_WARNINGS | KNOWN_ERRORS.get(one.kind, set())
        assert set(complaints) <= known, one.path.name
        assert lines, "dciodvfy names the object at least"


REAL = (
    "pydicom__ljdata_ds_JPEGLSLossless_RG2_JLSL.dcm",
    "pydicom__ljdata_ds_JPEGExtended_RG2_JPLY_fixed.dcm",
    "orthanc-mirr__Database_HierarchicalAnonymization_2019-03-28_CR000000.dcm",
    "orthanc-mirr__Database_Issue56-NoPixelData.dcm",
    "orthanc-mirr__Database_KarstenHilbertRF.dcm",
    "robyoung__data_WG04_RLE_XA1_RLE.dcm",
)


@pytest.mark.data
@pytest.mark.parametrize("name", REAL)
def test_a_result_of_a_real_radiograph_has_no_error_that_its_source_has_not(
    tmp_path: Path, name: str
) -> None:
    dciodvfy = program("dciodvfy")
    source = SHARED / "data" / "radiographs" / "dicom" / name
    if not source.exists():
        pytest.skip(f"{source} is not here")
    image = dcmread(source, stop_before_pixels=True)
    files = {str(image.SOPInstanceUID): source.read_bytes()}

    wanted = request_of_files(tmp_path, files, kinds=IN_SPACE)
    written = write(reconstruction(box(shape=SHAPE)), radiographs([image]), wanted)

    said = [line.strip() for line in _said(dciodvfy, source)]
    inherited = {line for line in said if line.startswith("Error")}
    for one in one_of_each(written):
        lines = [line.strip() for line in _said(dciodvfy, one.path)]
        errors = {line for line in lines if line.startswith("Error")}
        assert errors <= inherited | KNOWN_ERRORS.get(one.kind, set())


def test_dcentvfy_finds_the_set_and_its_sources_consistent(job: Job) -> None:
    known = [one.path for one in job.objects if one.kind is not ObjectKind.LABELMAP]

    lines = _said(program("dcentvfy"), *job.sources, *known)

    explained = (
        "Attribute present in one instance but not the other",  # a source may lack what we add
        # by the tool's tables the number is of the study in an SR or an STL, and of the series in
        # every image, because an item of Request Attributes Sequence can hold one as well
        "attribute - Element=<AccessionNumber> IE <Study> versus <Series>",
        "attribute - Element=<AccessionNumber> IE <Series> versus <Study>",
    )
    assert [line for line in lines if not any(words in line for words in explained)] == []


def test_dcmdump_parses_every_object(job: Job) -> None:
    dcmdump = program("dcmdump")

    for one in job.objects:
        lines = _said(dcmdump, "-E", "-q", "+P", "SOPInstanceUID", one.path)
        assert f"[{one.sop_instance_uid}]" in "".join(lines)
        assert not [line for line in lines if line.startswith(("E:", "W:"))]


def test_dcmqi_reads_every_segment_voxel_by_voxel_where_it_was(job: Job, tmp_path: Path) -> None:
    tool = Path(dcmqi.__file__).parent / "bin" / "segimage2itkimage"
    if not tool.exists():
        absent("dcmqi has no segimage2itkimage")
    (path,) = job.of(ObjectKind.SEGMENTATION)

    lines = _said(tool, "--inputDICOM", path, "--outputDirectory", tmp_path, "-t", "nrrd")

    for number, bone in enumerate(job.bones, 1):
        assert (tmp_path / f"{number}.nrrd").exists(), "\n".join(lines)
        image = SimpleITK.ReadImage(tmp_path / f"{number}.nrrd")
        matrix, occupied = bone.probability.patient_from_index, bone.probability.array > 0.5
        read = _points(image)
        expected = centres(matrix, SHAPE)[occupied]
        assert len(read) == len(expected) > 100
        np.testing.assert_allclose(_sorted(read), _sorted(expected), atol=1e-3)
        np.testing.assert_allclose(sorted(image.GetSpacing()), sorted((2.0, 1.0, 1.5)))


def test_dcmqi_reads_every_probability_voxel_by_voxel_where_it_was(
    job: Job, tmp_path: Path
) -> None:
    tool = Path(dcmqi.__file__).parent / "bin" / "segimage2itkimage"
    if not tool.exists():
        absent("dcmqi has no segimage2itkimage")
    (path,) = job.of(ObjectKind.FRACTIONAL)

    lines = _said(tool, "--inputDICOM", path, "--outputDirectory", tmp_path, "-t", "nrrd")

    for number, bone in enumerate(job.bones, 1):
        assert (tmp_path / f"{number}.nrrd").exists(), "\n".join(lines)
        image = SimpleITK.ReadImage(tmp_path / f"{number}.nrrd")
        matrix, values = bone.probability.patient_from_index, bone.probability.array
        assert set(np.unique(SimpleITK.GetArrayFromImage(image))) == {0, 26, 230}
        for low, high, stored in ((0.05, 0.5, 26), (0.5, 1, 230)):
            read = _points(image, stored)
            expected = centres(matrix, SHAPE)[(values > low) & (values <= high)]
            assert len(read) == len(expected) > 100
            np.testing.assert_allclose(_sorted(read), _sorted(expected), atol=1e-3)


def _points(image: SimpleITK.Image, stored: int | None = None) -> np.ndarray[Any, Any]:
    """(N, 3) LPS mm of the voxels that are set, or that have the value `stored`."""
    values = SimpleITK.GetArrayFromImage(image)
    index = np.argwhere(values > 0 if stored is None else values == stored)[:, ::-1]
    direction = np.array(image.GetDirection()).reshape(3, 3)
    placed = (index * np.array(image.GetSpacing())) @ direction.T + np.array(image.GetOrigin())
    return np.asarray(placed)


def _sorted(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    rounded = np.round(points, 2) + 0.0
    return points[np.lexsort(rounded.T)]


def test_storescp_accepts_every_object_by_c_store(job: Job, tmp_path: Path) -> None:
    storescp, storescu = program("storescp"), program("storescu")
    received, port = tmp_path / "received", free_port()
    received.mkdir()
    server = [storescp, "-aet", "PACS", "-od", received, str(port)]

    with Process(server, log=tmp_path / "storescp.log", environment={"TCP_NODELAY": "1"}) as peer:
        peer.wait_until(lambda: is_listening(port), 10, "storescp listens")
        sent = [one for one in job.objects if one.kind is not ObjectKind.LABELMAP]
        files = [one.path for one in sent]
        lines = _said(storescu, "-v", "-R", "-aec", "PACS", LOOPBACK, str(port), *files)

    answers = [line for line in lines if "Received Store Response" in line]
    assert len(answers) == len(files), "\n".join(lines[-20:])
    assert all(line.endswith("(Success)") for line in answers)
    uids = {dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in received.iterdir()}
    assert uids == {one.sop_instance_uid for one in sent}
