"""The model volume: the values and the places that were given, and what it says of itself."""

from __future__ import annotations

import dataclasses
import tempfile
from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from pipeline.encode.lettering import LETTERS, burnt_in
from pipeline.encode.write import write
from pipeline.errors import PipelineError
from pipeline.types import Assumption, Bone, ObjectKind, Reconstruction, Side, Volume
from tests.factories import Kind, two_views
from tests.results import (
    TIBIA,
    affine,
    box,
    centres,
    radiographs,
    reconstruction,
    request,
    turned,
)

GRIDS = {
    "axial": affine((20, 24, 28)),
    "oblique": affine((20, 24, 28), turn=turned(25)),
    "left-handed": affine((20, 24, 28), turn=np.diag([-1.0, 1.0, 1.0])),
    "thin": affine((20, 24, 28), spacing=(0.333333333, 1 / 7, 0.1)),
}
SIGNS = [np.array(signs) for signs in product((1.0, -1.0), repeat=3)]


def _slices(
    folder: Path, made: Reconstruction, images: list[Dataset] | None = None, **changes: Any
) -> list[Dataset]:
    wanted = request(folder, images, kinds=(ObjectKind.MODEL_VOLUME,), **changes)
    return [dcmread(one.path) for one in write(made, radiographs(images), wanted)]


def _affine_of(slices: list[Dataset]) -> NDArray[np.float64]:
    """(k, j, i, 1) to LPS mm by the equation of PS3.3 C.7.6.2.1.1."""
    first, last = (np.array(ds.ImagePositionPatient, float) for ds in (slices[0], slices[-1]))
    orientation = np.array(slices[0].ImageOrientationPatient, float)
    between_rows, between_columns = (float(value) for value in slices[0].PixelSpacing)
    matrix = np.eye(4)
    matrix[:3, 0] = (last - first) / (len(slices) - 1)
    matrix[:3, 1] = orientation[3:] * between_rows
    matrix[:3, 2] = orientation[:3] * between_columns
    matrix[:3, 3] = first
    return matrix


def _at_places(
    values: NDArray[np.generic], matrix: NDArray[np.float64]
) -> dict[tuple[float, ...], float]:
    """The values that are not 0, by the place of their voxel, to a thousandth of a mm."""
    places = centres(matrix, values.shape)[values > 0]
    rounded = np.rint(places * 1000) / 1000 + 0.0
    return dict(zip(map(tuple, rounded.tolist()), values[values > 0].tolist(), strict=True))


@pytest.mark.parametrize("name", GRIDS)
def test_values_and_places_of_the_voxels_are_read_back(tmp_path: Path, name: str) -> None:
    bone = box(patient_from_index=GRIDS[name])

    slices = _slices(tmp_path, reconstruction(bone))

    values = np.stack([ds.pixel_array for ds in slices])
    expected = np.rint(bone.probability.array.astype(np.float64) * 1000)
    assert _at_places(values, _affine_of(slices)) == _at_places(expected, GRIDS[name])
    assert {ds.FrameOfReferenceUID for ds in slices} == {slices[0].FrameOfReferenceUID}


@settings(max_examples=15, deadline=None)
@given(
    degrees=st.floats(-180, 180),
    spacing=st.tuples(*[st.floats(0.05, 20)] * 3),
    offset=st.tuples(*[st.floats(-2000, 2000)] * 3),
)
def test_every_orthogonal_grid_is_read_back_where_it_was(
    degrees: float, spacing: tuple[float, ...], offset: tuple[float, ...]
) -> None:
    shape = (3, 4, 5)
    matrix = affine(shape, spacing, turned(degrees))
    matrix[:3, 3] += offset
    solid = Volume(np.full(shape, 0.9, np.float32), matrix)

    with tempfile.TemporaryDirectory() as folder:
        slices = _slices(
            Path(folder), reconstruction(dataclasses.replace(box(), probability=solid))
        )

    values = np.stack([ds.pixel_array for ds in slices])
    found, given = (centres(*one) for one in ((_affine_of(slices), values.shape), (matrix, shape)))
    away = np.linalg.norm(found.reshape(-1, 1, 3) - given.reshape(1, -1, 3), axis=-1)
    assert away.min(axis=1).max() < 1e-5
    assert away.min(axis=0).max() < 1e-5


AXES = [np.eye(3)[list(order)] * signs for order in permutations(range(3)) for signs in SIGNS]


@pytest.mark.parametrize("turn", AXES, ids=str)
def test_slices_run_to_the_head_rows_to_the_back_and_columns_to_the_left(
    tmp_path: Path, turn: NDArray[np.float64]
) -> None:
    shape, spacing = (4, 5, 6), (2.0, 1.0, 1.5)
    matrix = affine(shape, spacing, turn)
    away = np.abs(centres(matrix, shape) - [1, -1, 2]).max(axis=-1)
    array = np.where(away < 3, 0.9, 0).astype(np.float32)
    solid = dataclasses.replace(box(), probability=Volume(array, matrix))

    slices = _slices(tmp_path, reconstruction(solid))

    values, found = np.stack([ds.pixel_array for ds in slices]), _affine_of(slices)
    assert list(slices[0].ImageOrientationPatient) == [1, 0, 0, 0, 1, 0]
    assert found[2, 0] > 0
    assert _at_places(values, found) == _at_places(np.rint(array * 1000.0), matrix)


def test_the_volume_shows_the_most_probable_bone_of_each_voxel(tmp_path: Path) -> None:
    left = box("Femur", centre=(-5, 0, 0))
    right = box("Tibia", code=TIBIA, centre=(5, 0, 0))

    slices = _slices(tmp_path, reconstruction(left, right))

    values = np.stack([ds.pixel_array for ds in slices])
    expected = np.rint(np.maximum(left.probability.array, right.probability.array) * 1000.0)
    np.testing.assert_array_equal(values, expected)


def test_the_slices_say_that_they_are_no_ct(tmp_path: Path) -> None:
    ds = _slices(tmp_path, reconstruction())[0]

    assert list(ds.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert ds.SeriesDescription == "Volume, hip R: MODEL FROM RADIOGRAPHS - NOT A CT"
    for text in (ds.ImageComments, ds.DerivationDescription):
        assert text.startswith("MODEL FROM RADIOGRAPHS - NOT A CT. ")
        assert "Visual hull 1.0" in text
    assert "Stored value = 1000 x probability of bone" in ds.ImageComments
    assert (ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType) == (1, 0, "US")


def test_the_window_shows_no_bone_as_black_and_certain_bone_as_dark_grey(tmp_path: Path) -> None:
    ds = _slices(tmp_path, reconstruction())[0]

    assert ds.WindowCenter - ds.WindowWidth / 2 == 0
    assert ds.WindowCenter + ds.WindowWidth / 2 == 3000  # certain bone is 1000: a third of white


def test_the_warning_is_burnt_in_along_two_edges_with_a_value_that_no_bone_has(
    tmp_path: Path,
) -> None:
    shape = (3, 100, 128)
    bone = box(shape=shape, extents=(200, 150, 10), patient_from_index=affine(shape))

    slices = _slices(tmp_path, reconstruction(bone))

    for ds in slices:
        written = ds.pixel_array == 1500
        assert written.any()
        assert written[:7].any()
        assert written[-7:].any()
        assert not written[7:-7].any()
        bones = np.rint(bone.probability.array[ds.InstanceNumber - 1] * 1000.0)
        np.testing.assert_array_equal(ds.pixel_array[~written], bones[~written])
        assert ds.BurnedInAnnotation == "NO"  # C.7.6.1: no patient and no date in the pixels


def test_a_slice_too_small_for_the_warning_has_none(tmp_path: Path) -> None:
    assert not burnt_in(24, 28).any()
    assert not burnt_in(512, 40).any()
    assert burnt_in(64, 64).any()


@pytest.mark.parametrize("columns", [64, 100, 128, 512])
def test_all_letters_of_the_warning_are_drawn_inside_the_image(columns: int) -> None:
    written = burnt_in(columns, columns)

    halves = written[: columns // 2], written[columns // 2 :]
    for half, words in zip(halves, ("MODEL FROM RADIOGRAPHS", "NOT A CT"), strict=True):
        assert half.sum() == sum(row.count("#") for letter in words for row in LETTERS[letter])


def test_every_radiograph_is_referred_to_as_a_source(tmp_path: Path) -> None:
    images = two_views()

    for ds in _slices(tmp_path, reconstruction(), images):
        sources = {
            (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID)
            for item in ds.SourceImageSequence
        }
        assert sources == {(image.SOPClassUID, image.SOPInstanceUID) for image in images}
        assert "ReferencedFrameNumber" not in ds.SourceImageSequence[0]


def test_the_frame_of_a_run_is_referred_to(tmp_path: Path) -> None:
    images = two_views(Kind.XA)
    wanted = request(tmp_path, images, kinds=(ObjectKind.MODEL_VOLUME,), frame_number=7)

    written = write(reconstruction(), radiographs(images, frame_number=7), wanted)

    ds = dcmread(written[0].path)
    assert [item.ReferencedFrameNumber for item in ds.SourceImageSequence] == [7, 7]


def test_what_was_assumed_is_said_on_every_slice(tmp_path: Path) -> None:
    assumed = (Assumption("source to detector", 1150.0, "mm", "absent"),)

    ds = _slices(tmp_path, reconstruction(assumptions=assumed))[0]

    assert "ASSUMED, NOT MEASURED: source to detector 1150.0 mm" in ds.DerivationDescription
    assert "ASSUMED, NOT MEASURED: source to detector 1150.0 mm" in ds.ImageComments


@pytest.mark.parametrize(
    ("side", "region", "laterality"),
    [
        ("R", "hip", "R"),
        ("L", "hip", "L"),
        ("U", "Hip", "B"),
        ("U", "pelvis", "U"),
        ("U", "moon", "U"),
    ],
)
def test_the_side_of_the_volume_is_that_of_the_request(
    tmp_path: Path, side: str, region: str, laterality: str
) -> None:
    ds = _slices(tmp_path, reconstruction(), side=Side(side), region=region)[0]

    assert ds.ImageLaterality == laterality
    assert "Laterality" not in ds  # C.7.3.1: not beside ImageLaterality
    modifiers = ds.AnatomicRegionSequence[0].get("AnatomicRegionModifierSequence", [])
    expected = {"R": ["Right"], "L": ["Left"], "U": []}[side]
    assert [item.CodeMeaning for item in modifiers] == expected


def test_a_left_and_a_right_bone_make_a_pair(tmp_path: Path) -> None:
    bones = [box(side=Side.LEFT, centre=(-8, 0, 0)), box(side=Side.RIGHT, centre=(8, 0, 0))]

    ds = _slices(tmp_path, reconstruction(*bones), side=Side.UNPAIRED, region="moon")[0]

    assert ds.ImageLaterality == "B"


def test_instance_numbers_run_from_one_along_the_slices(tmp_path: Path) -> None:
    slices = _slices(tmp_path, reconstruction())

    assert [ds.InstanceNumber for ds in slices] == list(range(1, 21))


def _broken(**changes: Any) -> Bone:
    bone = box()
    fields = {"array": bone.probability.array, "patient_from_index": affine((20, 24, 28))}
    return dataclasses.replace(bone, probability=Volume(**(fields | changes)))


SHEARED = affine((20, 24, 28))
SHEARED[0, 0] = 0.5
NAN = np.full((20, 24, 28), np.nan, np.float32)


@pytest.mark.parametrize(
    ("bones", "reason"),
    [
        ([_broken(patient_from_index=SHEARED)], "not orthogonal"),
        ([_broken(patient_from_index=np.zeros((4, 4)))], "no extent"),
        ([_broken(patient_from_index=np.full((4, 4), np.nan))], "not a finite"),
        ([_broken(array=NAN)], "leaves 0 to 1"),
        ([_broken(array=np.full((20, 24, 28), 2, np.float32))], "leaves 0 to 1"),
        ([_broken(array=np.full((20, 24, 28), 0.4, np.float32))], "reaches"),
        ([_broken(array=np.zeros((0, 4, 4), np.float32))], "shape"),
        ([box(), box("Tibia", patient_from_index=affine((20, 24, 28), (1, 1, 1)))], "another grid"),
    ],
)
def test_what_slices_cannot_say_is_refused_and_nothing_is_written(
    tmp_path: Path, bones: list[Bone], reason: str
) -> None:
    with pytest.raises(PipelineError, match=reason):
        _slices(tmp_path, reconstruction(*bones))

    assert not list((tmp_path / "out").iterdir())


def test_a_result_without_bones_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="without bones"):
        _slices(tmp_path, reconstruction(bones=()))
