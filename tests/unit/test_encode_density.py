"""A density in the PACS: where it lies, what its values are, and what it does not claim to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipeline.encode.lettering import burnt_in
from pipeline.encode.write import write
from pipeline.errors import PipelineError
from pipeline.types import ObjectKind, Reconstruction, Volume
from tests.results import affine, box, radiographs, reconstruction, request

SHAPE = (20, 40, 48)
KINDS = (ObjectKind.MODEL_VOLUME, ObjectKind.SEGMENTATION)


def with_density(turn: np.ndarray | None = None) -> Reconstruction:
    """A box of bone, and about it a density that differs in every voxel, beyond 0 and 1 too."""
    matrix = affine(SHAPE, turn=turn)
    values = np.random.default_rng(1).uniform(-0.2, 1.2, SHAPE).astype(np.float32)
    bone = box(shape=SHAPE, patient_from_index=matrix)
    return replace(reconstruction(bone), density=Volume(values, matrix))


def written(folder: Path, made: Reconstruction) -> list[Dataset]:
    """The slices, and the Segmentation behind them."""
    return [dcmread(one.path) for one in write(made, radiographs(), request(folder, kinds=KINDS))]


@pytest.mark.parametrize("turn", [np.eye(3), np.diag([-1.0, 1.0, 1.0])], ids=["right", "mirrored"])
def test_the_slices_hold_the_density_in_thousandths_where_it_lies(
    tmp_path: Path, turn: np.ndarray
) -> None:
    made = with_density(turn)
    assert made.density is not None

    *slices, _ = written(tmp_path, made)

    expected = np.rint(made.density.array.astype(np.float64).clip(0, 1) * 1000)
    if turn[0, 0] < 0:
        expected = expected[:, :, ::-1]
    found = np.stack([ds.pixel_array for ds in slices])
    is_free = ~burnt_in(*SHAPE[1:])
    assert np.abs(found - expected)[:, is_free].max() <= 1
    # of 2 mm, 1 mm and 1.5 mm about 0: the first voxel is the one most to the right, front and feet
    assert [float(v) for v in slices[0].ImagePositionPatient] == [-35.25, -19.5, -19.0]


def test_it_claims_no_hounsfield_units_and_says_what_it_is(tmp_path: Path) -> None:
    ds = written(tmp_path, with_density())[0]

    assert ds.ImageType[:2] == ["DERIVED", "SECONDARY"]
    assert ds.RescaleType == "US"
    assert (ds.RescaleSlope, ds.RescaleIntercept) == (1, 0)
    assert "NOT HOUNSFIELD" in ds.WindowCenterWidthExplanation
    assert "For research use" in ds.ImageComments
    assert "MODEL FROM RADIOGRAPHS - NOT A CT" in ds.SeriesDescription
    assert ds.SeriesDescription.startswith("Density, ")


def test_cortical_bone_is_white_and_air_is_black(tmp_path: Path) -> None:
    ds = written(tmp_path, with_density())[0]

    assert (ds.WindowCenter - ds.WindowWidth / 2, ds.WindowCenter + ds.WindowWidth / 2) == (0, 1000)


def test_the_segmentation_lies_over_the_density(tmp_path: Path) -> None:
    *slices, bones = written(tmp_path, with_density())

    assert bones.FrameOfReferenceUID == slices[0].FrameOfReferenceUID
    referred = bones.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    known = {ds.SOPInstanceUID for ds in slices}
    assert {one.ReferencedSOPInstanceUID for one in referred} <= known
    # the box of the bone, 8 x 6 x 14 mm, and not the density, which is everywhere
    assert 0 < bones.pixel_array.sum() < 0.05 * np.prod(SHAPE)


@pytest.mark.parametrize(
    "density",
    [
        Volume(np.zeros((20, 40, 47), np.float32), affine(SHAPE)),
        Volume(np.zeros(SHAPE, np.float32), affine(SHAPE, (2.0, 1.0, 1.6))),
        Volume(np.full(SHAPE, np.nan, np.float32), affine(SHAPE)),
    ],
    ids=["shape", "place", "no number"],
)
def test_a_density_that_is_not_that_of_the_bones_is_refused(
    tmp_path: Path, density: Volume
) -> None:
    made = replace(with_density(), density=density)

    with pytest.raises(PipelineError, match="density"):
        written(tmp_path, made)
