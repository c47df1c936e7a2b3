"""The segmentation: exactly the voxels of each bone, and references that a viewer can follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipeline.encode.write import write
from pipeline.types import Algorithm, Assumption, Bone, ObjectKind, Side
from tests.factories import two_views
from tests.results import (
    TIBIA,
    affine,
    box,
    centres,
    of_kind,
    radiographs,
    reconstruction,
    request,
    turned,
)

SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
ALL = tuple(ObjectKind)
ALONE = (ObjectKind.SEGMENTATION,)
TURNS = {
    "axial": np.eye(3),
    "oblique": turned(25),
    "left-handed": np.diag([-1.0, 1.0, 1.0]),
}
SHAPE = (20, 24, 28)

Points = set[tuple[float, float, float]]


def _segmentation(
    folder: Path, *bones: Bone, kind: ObjectKind = ObjectKind.SEGMENTATION, **changes: Any
) -> Dataset:
    engine = {key: changes.pop(key) for key in ("algorithm", "assumptions") if key in changes}
    written = write(reconstruction(*bones, **engine), radiographs(), request(folder, **changes))
    (path,) = of_kind(written, kind)
    return dcmread(path)


def _rounded(points: np.ndarray[Any, Any]) -> Points:
    return {(x, y, z) for x, y, z in (np.round(points, 3) + 0.0).reshape(-1, 3).tolist()}


def _points(ds: Dataset, number: int) -> Points:
    """LPS mm of the voxels of a segment, frame by frame (PS3.3 C.7.6.16.2.3, C.7.6.2.1.1)."""
    shared = ds.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    rows, columns = (float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing)
    frames = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
    points: Points = set()
    for frame, group in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        owner = group if "SegmentIdentificationSequence" in group else shared
        if owner.SegmentIdentificationSequence[0].ReferencedSegmentNumber != number:
            continue
        corner = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        j, i = np.nonzero(frame)
        along = np.outer(i * columns, orientation[:3]) + np.outer(j * rows, orientation[3:])
        points |= _rounded(corner + along)
    return points


@pytest.mark.parametrize("kinds", [ALL, ALONE], ids=["with volume", "alone"])
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_the_voxels_of_a_bone_are_read_back_where_they_were(
    tmp_path: Path, turn: np.ndarray[Any, Any], kinds: tuple[ObjectKind, ...]
) -> None:
    matrix = affine(SHAPE, turn=turn)
    bone = box(patient_from_index=matrix)

    ds = _segmentation(tmp_path, bone, kinds=kinds)

    assert (ds.SOPClassUID, ds.SegmentationType) == (SEGMENTATION, "BINARY")
    expected = _rounded(centres(matrix, SHAPE)[bone.probability.array > 0.5])
    assert len(expected) > 100
    assert _points(ds, 1) == expected


def test_many_bones_are_segments_of_their_own_even_where_they_overlap(tmp_path: Path) -> None:
    bones = [box(f"Bone{n}", centre=(2.0 * n, 0, 0), code=TIBIA) for n in range(-2, 3)]

    ds = _segmentation(tmp_path, *bones)

    assert [item.SegmentNumber for item in ds.SegmentSequence] == [1, 2, 3, 4, 5]
    assert ds.SegmentsOverlap == "YES"
    for number, bone in enumerate(bones, 1):
        inside = bone.probability.array > 0.5
        assert _points(ds, number) == _rounded(centres(affine(SHAPE), SHAPE)[inside])


def test_a_segment_names_its_bone_its_region_and_its_side(tmp_path: Path) -> None:
    bones = [
        box("Femur", side=Side.LEFT),
        box("Tibia", code=TIBIA, side=Side.RIGHT),
        box("Sacrum", side=Side.UNPAIRED),
    ]

    ds = _segmentation(tmp_path, *bones)

    labels = [item.SegmentLabel for item in ds.SegmentSequence]
    assert labels == ["Femur L", "Tibia R", "Sacrum"]
    for item, code, side in zip(
        ds.SegmentSequence,
        ["71341001", "12611008", "71341001"],
        [["7771000"], ["24028007"], []],
        strict=True,
    ):
        kind, region = item.SegmentedPropertyTypeCodeSequence[0], item.AnatomicRegionSequence[0]
        assert item.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "91723000"
        assert (kind.CodeValue, kind.CodingSchemeDesignator) == (code, "SCT")
        assert region.CodeValue == "29836001"
        modifiers = kind.get("SegmentedPropertyTypeModifierCodeSequence", [])
        assert [m.CodeValue for m in modifiers] == side
        modifiers = region.get("AnatomicRegionModifierSequence", [])
        assert [m.CodeValue for m in modifiers] == side


def test_an_unknown_region_falls_back_on_the_bone(tmp_path: Path) -> None:
    ds = _segmentation(tmp_path, region="left little finger of the moon")

    assert ds.SegmentSequence[0].AnatomicRegionSequence[0].CodeValue == "71341001"


@pytest.mark.parametrize(
    ("digest", "family"), [("", "123104"), ("ab" * 32, "123110")], ids=["hull", "network"]
)
def test_a_segment_names_the_algorithm_with_its_parameters(
    tmp_path: Path, digest: str, family: str
) -> None:
    engine = Algorithm("Test engine", "2.1", digest, (("grid", "128"), ("cut", "0.5")))

    ds = _segmentation(tmp_path, algorithm=engine)

    segment = ds.SegmentSequence[0]
    item = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert segment.SegmentAlgorithmType == "AUTOMATIC"
    assert segment.SegmentAlgorithmName == "Test engine"
    assert (item.AlgorithmName, item.AlgorithmVersion) == ("Test engine", "2.1")
    assert item.AlgorithmFamilyCodeSequence[0].CodeValue == family
    assert item.AlgorithmParameters.startswith("cut=0.5,grid=128")
    assert digest in item.AlgorithmParameters


def test_the_segmentation_says_that_it_is_a_model_from_radiographs(tmp_path: Path) -> None:
    assumed = (Assumption("pixel spacing", 0.2, "mm", "absent"),)

    ds = _segmentation(tmp_path, assumptions=assumed)

    assert ds.ContentLabel == "RADIOGRAPH_MODEL"
    assert ds.ContentDescription == "MODEL FROM RADIOGRAPHS - NOT A CT, SCALE OR VIEW ASSUMED"
    assert "pixel spacing 0.2 mm" in ds.SegmentSequence[0].SegmentDescription


def test_the_volume_is_the_only_referenced_series_and_all_of_it(tmp_path: Path) -> None:
    wanted = request(tmp_path)

    written = write(reconstruction(), radiographs(), wanted)

    ds = dcmread(of_kind(written, ObjectKind.SEGMENTATION)[0])
    (series,) = ds.ReferencedSeriesSequence  # a second item keeps OHIF 3.12 loading for ever
    slices = [dcmread(path) for path in of_kind(written, ObjectKind.MODEL_VOLUME)]
    assert {series.SeriesInstanceUID} == {one.SeriesInstanceUID for one in slices}
    referenced = {item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence}
    assert referenced == {one.SOPInstanceUID for one in slices}
    assert ds.FrameOfReferenceUID == slices[0].FrameOfReferenceUID


def test_every_frame_refers_to_the_slice_at_its_place(tmp_path: Path) -> None:
    written = write(reconstruction(), radiographs(), request(tmp_path))

    place = {}
    for path in of_kind(written, ObjectKind.MODEL_VOLUME):
        slice_ = dcmread(path)
        place[slice_.SOPInstanceUID] = list(slice_.ImagePositionPatient)
    (path,) = of_kind(written, ObjectKind.SEGMENTATION)
    for group in dcmread(path).PerFrameFunctionalGroupsSequence:
        (source,) = group.DerivationImageSequence[0].SourceImageSequence
        assert place[source.ReferencedSOPInstanceUID] == list(
            group.PlanePositionSequence[0].ImagePositionPatient
        )


@pytest.mark.parametrize("kinds", [ALL, ALONE], ids=["with volume", "alone"])
def test_the_radiographs_are_the_source_images(
    tmp_path: Path, kinds: tuple[ObjectKind, ...]
) -> None:
    ds = _segmentation(tmp_path, kinds=kinds)

    sources = {item.ReferencedSOPInstanceUID for item in ds.SourceImageSequence}
    assert sources == {image.SOPInstanceUID for image in two_views()}


def test_alone_the_segmentation_refers_to_no_slice_that_was_not_written(tmp_path: Path) -> None:
    ds = _segmentation(tmp_path, kinds=ALONE)

    known = {str(image.SOPInstanceUID) for image in two_views()}
    referenced = {
        str(element.value)
        for element in ds.iterall()
        if element.keyword == "ReferencedSOPInstanceUID"
    }
    assert referenced == known
    series = {item.SeriesInstanceUID for item in ds.ReferencedSeriesSequence}
    assert series == {image.SeriesInstanceUID for image in two_views()}


def _touching() -> tuple[Bone, Bone]:
    """Two bones that share voxels, of which the second is surer where x > 0."""
    femur, tibia = box("Femur"), box("Tibia", code=TIBIA)
    surer = np.where(centres(affine(SHAPE), SHAPE)[..., 0] > 0, 1.0, 0.8).astype(np.float32)
    values = np.where(tibia.probability.array > 0.5, surer, 0).astype(np.float32)
    return femur, replace(tibia, probability=replace(tibia.probability, array=values))


@pytest.mark.parametrize("kinds", [ALL, (ObjectKind.LABELMAP,)], ids=["with volume", "alone"])
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
def test_a_label_map_is_read_back_by_highdicom_where_the_bones_were(
    tmp_path: Path, turn: np.ndarray[Any, Any], kinds: tuple[ObjectKind, ...]
) -> None:
    matrix = affine(SHAPE, turn=turn)
    bones = (
        box("Femur", patient_from_index=matrix, centre=(-6, 0, 0)),
        box("Tibia", patient_from_index=matrix, centre=(6, 0, 0), code=TIBIA),
    )

    ds = _segmentation(tmp_path, *bones, kind=ObjectKind.LABELMAP, kinds=kinds)

    assert (ds.SOPClassUID, ds.SegmentationType) == (LABEL_MAP, "LABELMAP")
    volume = hd.seg.Segmentation.from_dataset(ds).get_volume(combine_segments=True)
    for number, bone in enumerate(bones, 1):
        expected = _rounded(centres(matrix, SHAPE)[bone.probability.array > 0.5])
        found = np.argwhere(volume.array == number)
        assert _rounded(volume.map_indices_to_reference(found)) == expected


def test_a_voxel_of_two_bones_goes_to_the_likelier_in_a_label_map(tmp_path: Path) -> None:
    ds = _segmentation(tmp_path, *_touching(), kind=ObjectKind.LABELMAP, kinds=ALL)

    right = centres(affine(SHAPE), SHAPE)[..., 0] > 0
    inside = box().probability.array > 0.5
    frames = ds.pixel_array.reshape(-1, ds.Rows, ds.Columns)
    assert (frames == 2).sum() == (inside & right).sum()
    assert (frames == 1).sum() == (inside & ~right).sum()
    assert ds.SegmentsOverlap == "NO"


def test_the_background_of_a_label_map_is_no_bone(tmp_path: Path) -> None:
    ds = _segmentation(tmp_path, *_touching(), kind=ObjectKind.LABELMAP, kinds=ALL)

    background, *bones = ds.SegmentSequence
    assert (background.SegmentNumber, background.SegmentLabel) == (0, "Background")
    assert "TrackingUID" not in background
    assert "AnatomicRegionSequence" not in background
    assert [item.SegmentLabel for item in bones] == ["Femur R", "Tibia R"]
    assert ds.PixelPaddingValue == 0


@pytest.mark.parametrize("kinds", [ALL, (ObjectKind.FRACTIONAL,)], ids=["with volume", "alone"])
def test_a_fractional_segmentation_keeps_the_probability_in_255_steps(
    tmp_path: Path, kinds: tuple[ObjectKind, ...]
) -> None:
    bone = box()
    rising = np.linspace(0, 1, bone.probability.array.size, dtype=np.float32).reshape(SHAPE)
    bone = replace(bone, probability=replace(bone.probability, array=rising))

    ds = _segmentation(tmp_path, bone, kind=ObjectKind.FRACTIONAL, kinds=kinds)

    assert (ds.SOPClassUID, ds.SegmentationType) == (SEGMENTATION, "FRACTIONAL")
    assert (ds.SegmentationFractionalType, ds.MaximumFractionalValue) == ("PROBABILITY", 255)
    place = {k: centres(affine(SHAPE), SHAPE)[k, 0, 0, 2] for k in range(SHAPE[0])}
    frames = dict(
        zip(
            (
                g.PlanePositionSequence[0].ImagePositionPatient[2]
                for g in ds.PerFrameFunctionalGroupsSequence
            ),
            ds.pixel_array,
            strict=True,
        )
    )
    for k, z in place.items():
        assert np.abs(frames[z] / 255 - rising[k]).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("kind", [ObjectKind.LABELMAP, ObjectKind.FRACTIONAL])
def test_every_kind_of_segmentation_refers_to_the_volume_and_the_radiographs(
    tmp_path: Path, kind: ObjectKind
) -> None:
    written = write(reconstruction(), radiographs(), request(tmp_path, kinds=ALL))

    ds = dcmread(of_kind(written, kind)[0])
    slices = [dcmread(path).SOPInstanceUID for path in of_kind(written, ObjectKind.MODEL_VOLUME)]
    (series,) = ds.ReferencedSeriesSequence
    assert [i.ReferencedSOPInstanceUID for i in series.ReferencedInstanceSequence] == slices
    sources = {item.ReferencedSOPInstanceUID for item in ds.SourceImageSequence}
    assert sources == {image.SOPInstanceUID for image in two_views()}
