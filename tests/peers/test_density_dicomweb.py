"""A density is served by DICOMweb as one volume: what a viewer asks before it puts slices together.

Viewers build a volume of a series whose slices share frame, directions and pixels, and whose places
are equally far apart along their normal (PS3.3 C.7.6.2); its values need no modality transform.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import CTImageStorage

from pipeline.encode.write import write
from pipeline.types import ObjectKind, Volume
from tests.factories import two_views
from tests.orthanc import Orthanc
from tests.results import affine, box, centres, radiographs, reconstruction, request

pytestmark = pytest.mark.peer

SHAPE = (20, 40, 48)
SPACING = (2.0, 1.0, 1.5)
KINDS = (ObjectKind.MODEL_VOLUME, ObjectKind.SEGMENTATION)


@dataclass(frozen=True, slots=True)
class Served:
    """What the archive answers."""

    slices: list[Dataset]
    """Headers, by DICOMweb."""
    bones: Dataset
    """Header of the segmentation, by DICOMweb."""
    written: dict[str, Dataset]
    """What was sent, by its SOP Instance UID."""


@pytest.fixture(scope="module")
def served(orthanc: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A box of bone in a density that rises from the right to the left, read back from Orthanc."""
    matrix = affine(SHAPE, SPACING)
    rising = ((centres(matrix, SHAPE)[..., 0] + 36) / 72).astype(np.float32)
    made = replace(
        reconstruction(box(shape=SHAPE, patient_from_index=matrix)),
        density=Volume(rising, matrix),
    )
    images = two_views(study="density-web")
    wanted = request(tmp_path_factory.mktemp("density"), images, kinds=KINDS)
    paths = [one.path for one in write(made, radiographs(images), wanted)]
    for path in paths:
        orthanc.upload(path.read_bytes())
    written = {str(ds.SOPInstanceUID): ds for ds in map(dcmread, paths)}
    study = f"/dicom-web/studies/{images[0].StudyInstanceUID}"
    answers: list[Any] = orthanc.get(f"{study}/metadata")
    found = [Dataset.from_json(one, lambda *_: None) for one in answers]
    slices = [ds for ds in found if ds.SOPClassUID == CTImageStorage]
    (bones,) = (ds for ds in found if "SegmentSequence" in ds)
    return Served(slices, bones, written)


def test_the_slices_are_one_series_in_one_frame_with_one_set_of_pixels(served: Served) -> None:
    same = (
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "PixelRepresentation",
        "PhotometricInterpretation",
        "RescaleSlope",
        "RescaleIntercept",
        "WindowCenter",
        "WindowWidth",
    )

    assert len(served.slices) == SHAPE[0]
    for keyword in same:
        assert len({str(ds[keyword].value) for ds in served.slices}) == 1, keyword


def test_the_slices_are_equally_far_apart_along_their_normal(served: Served) -> None:
    first = served.slices[0]
    along, down = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(along, down)
    places = np.array([np.array(ds.ImagePositionPatient, float) for ds in served.slices])

    depths = np.sort(places @ normal)

    assert np.diff(depths) == pytest.approx(SPACING[0], abs=1e-4)
    aside = places - np.outer(places @ normal, normal)
    assert np.ptp(aside, axis=0) == pytest.approx(0.0, abs=1e-4)
    assert float(first.SliceThickness) == pytest.approx(SPACING[0])


def test_the_order_of_the_instance_numbers_is_that_of_the_places(served: Served) -> None:
    by_number = sorted(served.slices, key=lambda ds: int(ds.InstanceNumber))

    heights = [float(ds.ImagePositionPatient[2]) for ds in by_number]

    assert heights in (sorted(heights), sorted(heights, reverse=True))


def test_the_values_need_no_transform_and_claim_no_hounsfield_units(served: Served) -> None:
    for ds in served.slices:
        assert (float(ds.RescaleSlope), float(ds.RescaleIntercept)) == (1.0, 0.0)
        assert ds.RescaleType == "US"
        assert "VOILUTSequence" not in ds


def test_what_the_archive_gives_back_is_the_density_in_thousandths_where_it_lies(
    served: Served, orthanc: Orthanc
) -> None:
    ds = served.slices[SHAPE[0] // 2]
    way = f"/instances/{orthanc.id_of(str(ds.SOPInstanceUID))}/frames/0/raw"

    pixels = np.frombuffer(orthanc.request(way), "<u2").reshape(ds.Rows, ds.Columns)

    assert np.array_equal(pixels, served.written[str(ds.SOPInstanceUID)].pixel_array)
    # along a row x rises by 1.5 mm a column from the first; the words stand at the edges
    x = float(ds.ImagePositionPatient[0]) + SPACING[2] * np.arange(ds.Columns)
    assert pixels[ds.Rows // 2] == pytest.approx(1000 * (x + 36) / 72, abs=1.0)


def test_every_frame_of_the_segmentation_lies_on_a_slice_of_the_density(served: Served) -> None:
    places = {str(ds.SOPInstanceUID): list(ds.ImagePositionPatient) for ds in served.slices}
    (series,) = served.bones.ReferencedSeriesSequence

    assert series.SeriesInstanceUID == served.slices[0].SeriesInstanceUID
    assert served.bones.FrameOfReferenceUID == served.slices[0].FrameOfReferenceUID
    frames = served.bones.PerFrameFunctionalGroupsSequence
    assert len(frames) > 0
    for frame in frames:
        (derivation,) = frame.DerivationImageSequence
        (source,) = derivation.SourceImageSequence
        place = list(frame.PlanePositionSequence[0].ImagePositionPatient)
        assert place == pytest.approx(places[str(source.ReferencedSOPInstanceUID)], abs=1e-4)
