"""A rule for tomography: one radiograph comes back as a density, and bone over it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, SegmentationStorage

from pipeline.demonstration import REGION, specimen
from storage.lifecycle import State
from tests.factories import file_bytes, uid, with_own_uids
from tests.node_process import destination, running_node
from tests.orthanc import Orthanc
from tests.peer_programs import Address, dciodvfy, dcmqi_segments

pytestmark = pytest.mark.peer

STUDY = uid("study", "tomography")
RULE = {
    "name": "hip-density",
    "region": REGION,
    "views": ["frontal"],
    "engine": "tomography",
    "destinations": [],
    "kinds": ["model-volume", "segmentation", "report"],
    "match": {"modality": {"one_of": ["CR", "DX"]}, "body_part_examined": "HIP"},
}


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, ...]:
    """The frontal and the lateral radiograph of the demo's hip, in a study of this file's own."""
    at = datetime(2026, 1, 2, 10, 11, 12, tzinfo=UTC)
    made = specimen(tmp_path_factory.mktemp("specimen"), at)
    return tuple(with_own_uids(pydicom.dcmread(path), "tomography") for path in made.paths)


@pytest.fixture(scope="module")
def results(
    orthanc: Orthanc, sent: tuple[Dataset, ...], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Dataset]]:
    """What Orthanc has of the study besides the radiographs."""
    folder = tmp_path_factory.mktemp("tomography")
    pacs = Address(orthanc.ae_title, orthanc.dicom_port)
    with running_node(folder, destinations=[destination("pacs", pacs)], rules=[RULE]) as node:
        orthanc.know("node", node.address.ae_title, node.address.port)
        orthanc.send([orthanc.upload(file_bytes(ds)) for ds in sent], "node")
        job = node.finished(STUDY)
        assert job.state is State.DELIVERED, node.osteon("show", job.id).output
        made = orthanc.sop_instance_uids(STUDY) - {str(ds.SOPInstanceUID) for ds in sent}
        yield [pydicom.dcmread(io.BytesIO(orthanc.file(each))) for each in sorted(made)]


def of(results: list[Dataset], sop_class_uid: str) -> list[Dataset]:
    return [ds for ds in results if ds.SOPClassUID == sop_class_uid]


def test_the_archive_has_the_density_and_a_segmentation_that_lies_over_it(
    results: list[Dataset],
) -> None:
    slices, (bones,) = of(results, CTImageStorage), of(results, SegmentationStorage)

    assert len(slices) == 128
    assert {ds.FrameOfReferenceUID for ds in slices} == {bones.FrameOfReferenceUID}
    (series,) = bones.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == slices[0].SeriesInstanceUID
    known = {ds.SOPInstanceUID for ds in slices}
    assert {one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence} <= known


def test_every_slice_says_that_it_is_relative_and_from_one_radiograph(
    results: list[Dataset], sent: tuple[Dataset, ...]
) -> None:
    """The lateral one came too, and took no part."""
    frontal = next(ds for ds in sent if ds.ViewPosition == "AP")

    for ds in of(results, CTImageStorage):
        assert ds.ImageType[0] == "DERIVED"
        assert "from 1 radiograph(s) (AP)" in ds.DerivationDescription
        assert "Depth estimated from one view" in ds.DerivationDescription
        assert "not Hounsfield units" in ds.ImageComments
        assert "RescaleType" in ds
        assert ds.RescaleType != "HU"
        sources = [one.ReferencedSOPInstanceUID for one in ds.SourceImageSequence]
        assert sources == [frontal.SOPInstanceUID]


def test_bone_is_named_for_how_it_was_found_and_is_where_the_density_is_high(
    results: list[Dataset], tmp_path: Path
) -> None:
    (bones,) = of(results, SegmentationStorage)
    slices = sorted(of(results, CTImageStorage), key=lambda ds: float(ds.ImagePositionPatient[2]))
    path = tmp_path / "seg.dcm"
    bones.save_as(path)

    (read,) = dcmqi_segments(path, tmp_path / "dcmqi").values()

    (segment,) = bones.SegmentSequence
    assert "by threshold" in segment.SegmentLabel
    assert "one view" in segment.SegmentLabel
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    density = np.stack([ds.pixel_array for ds in slices])
    first = np.array(slices[0].ImagePositionPatient, float)
    at = np.argwhere(read.array > 0) @ read.patient_from_index[:3, :3].T
    at += read.patient_from_index[:3, 3]
    step = [float(slices[0].SpacingBetweenSlices), *map(float, slices[0].PixelSpacing)]
    k, j, i = np.rint((at - first)[:, ::-1] / step).astype(int).T
    # burnt-in words are brighter than any density
    assert density[k, j, i].min() > np.percentile(density[density < 1500], 80)


def test_dciodvfy_finds_no_fault(results: list[Dataset], tmp_path: Path) -> None:
    slices = of(results, CTImageStorage)
    others = [ds for ds in results if ds.SOPClassUID != CTImageStorage]

    for ds in (*others, slices[0], slices[-1]):
        path = tmp_path / f"{ds.SOPInstanceUID}.dcm"
        ds.save_as(path)
        assert dciodvfy(path) == [], ds.SOPClassUID.name
