"""What is from no radiograph says so in every object, and changes nothing in what was seen.

Expected: issue 6, item 4; PS3.3 C.8.20.2, C.8.23.1, C.24.2, C.27.1; PS3.16 TID 1411.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from pipeline.colours import colours
from pipeline.encode.stl import document
from pipeline.encode.write import write
from pipeline.types import (
    Algorithm,
    Bone,
    Figure,
    ObjectKind,
    Reconstruction,
    ResultObject,
    Side,
)
from pipeline.wording import bones_section, quality_section
from tests.results import FEMUR, TIBIA, box, of_kind, radiographs, reconstruction, request

COMPLETION = Algorithm("Anatomy completion", "1.0.0", "c" * 64)
MARK = "predicted, not imaged"
FIGURE = Figure("volume", 0.7, "cm3")
KINDS = (
    ObjectKind.MODEL_VOLUME,
    ObjectKind.SEGMENTATION,
    ObjectKind.SURFACE_SEGMENTATION,
    ObjectKind.STL,
    ObjectKind.REPORT,
)


def seen() -> Bone:
    return box("Femur", code=FEMUR, extents=(6, 6, 6))


def unseen() -> Bone:
    """The same bone, where no radiograph has shown it."""
    below = box("Femur", code=FEMUR, centre=(0, 0, -12), extents=(6, 6, 6))
    return replace(below, is_predicted=True)


def completed() -> Reconstruction:
    return reconstruction(seen(), unseen(), completed_by=COMPLETION)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[ResultObject]:
    folder = tmp_path_factory.mktemp("completed")
    return list(write(completed(), radiographs(), request(folder, kinds=KINDS)))


def read(written: list[ResultObject], kind: ObjectKind) -> Dataset:
    return dcmread(of_kind(written, kind)[-1])


@pytest.mark.parametrize("kind", [ObjectKind.SEGMENTATION, ObjectKind.SURFACE_SEGMENTATION])
def test_only_the_segment_of_what_is_predicted_says_so(
    written: list[ResultObject], kind: ObjectKind
) -> None:
    first, second = read(written, kind).SegmentSequence

    assert (first.SegmentLabel, second.SegmentLabel) == ("Femur R", f"Femur R: {MARK}")
    assert second.SegmentDescription.startswith(MARK.upper())
    assert MARK.upper() not in first.SegmentDescription
    assert second.SegmentAlgorithmType == "AUTOMATIC"
    assert second.TrackingID.startswith(f"Femur R: {MARK}")
    assert second.TrackingUID != first.TrackingUID


def test_each_segment_names_the_algorithm_that_made_it(written: list[ResultObject]) -> None:
    first, second = read(written, ObjectKind.SEGMENTATION).SegmentSequence

    assert (first.SegmentAlgorithmName, second.SegmentAlgorithmName) == (
        "Visual hull", "Anatomy completion",
    )  # fmt: skip
    (algorithm,) = second.SegmentationAlgorithmIdentificationSequence
    assert algorithm.AlgorithmVersion == "1.0.0"
    assert f"weights_sha256={'c' * 64}" in algorithm.AlgorithmParameters


def test_the_surface_of_what_is_predicted_is_half_transparent(written: list[ResultObject]) -> None:
    first, second = read(written, ObjectKind.SURFACE_SEGMENTATION).SurfaceSequence

    assert first.RecommendedPresentationOpacity == 1.0
    assert second.RecommendedPresentationOpacity == 0.5
    assert second.SurfaceComments.startswith(MARK.upper())


def test_voxels_and_surfaces_of_what_was_seen_are_those_of_a_result_without_additions(
    tmp_path: Path, written: list[ResultObject]
) -> None:
    alone = list(write(reconstruction(seen()), radiographs(), request(tmp_path, kinds=KINDS)))

    voxels = [
        hd.seg.segread(of_kind(made, ObjectKind.SEGMENTATION)[0])
        .get_volume(segment_numbers=[1], combine_segments=True)
        .array
        for made in (alone, written)
    ]
    surfaces = [
        read(made, ObjectKind.SURFACE_SEGMENTATION).SurfaceSequence[0].SurfacePointsSequence[0]
        for made in (alone, written)
    ]
    assert np.array_equal((voxels[0] > 0).nonzero(), _of_common_slices(voxels[1] > 0, voxels[0]))
    assert surfaces[0].PointCoordinatesData == surfaces[1].PointCoordinatesData


def _of_common_slices(mask: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, ...]:
    """Where the mask is, counted from its first slice: empty frames of both may be left out."""
    k, j, i = mask.nonzero()
    return k - k.min() + (other > 0).nonzero()[0].min(), j, i


def test_the_volume_shows_what_was_seen_alone(tmp_path: Path, written: list[ResultObject]) -> None:
    alone = write(reconstruction(seen()), radiographs(), request(tmp_path, kinds=KINDS))

    pixels = [
        [dcmread(path).PixelData for path in of_kind(list(made), ObjectKind.MODEL_VOLUME)]
        for made in (alone, written)
    ]
    assert pixels[0] == pixels[1]


def test_an_stl_file_says_in_its_heading_what_it_is_not(written: list[ResultObject]) -> None:
    first, second = (dcmread(path) for path in of_kind(written, ObjectKind.STL))

    heading = second.EncapsulatedDocument[:80].decode("ascii")
    assert heading.startswith("PREDICTED, NOT IMAGED - NOT A CT;")
    assert heading.rstrip().endswith("Femur R")
    assert "SPACE=LPS" in heading
    assert second.DocumentTitle.startswith(f"Femur R: {MARK}")
    assert MARK.upper().encode() not in first.EncapsulatedDocument[:80]
    assert document(unseen()) == second.EncapsulatedDocument


def test_each_number_of_the_report_says_that_its_bone_is_predicted(
    written: list[ResultObject],
) -> None:
    groups = hd.sr.srread(of_kind(written, ObjectKind.REPORT)[0]).content
    numbers: dict[bool, list[bool]] = {True: [], False: []}
    for group in groups.get_volumetric_roi_measurement_groups():
        is_predicted = MARK in group.tracking_identifier
        for one in group.get_measurements():
            texts = [item.value for item in one[0].ContentSequence if "TextValue" in item]
            numbers[is_predicted].append(MARK.upper() in texts)

    assert numbers[True] == [True] * 4
    assert numbers[False] == [False] * 4


def test_both_algorithms_are_equipment_of_every_object(written: list[ResultObject]) -> None:
    for one in written:
        items = dcmread(one.path, stop_before_pixels=True).ContributingEquipmentSequence
        names = [item.ManufacturerModelName for item in items]
        assert names[-2:] == ["Visual hull", "Anatomy completion"]


def test_a_completed_result_is_another_one_than_the_same_without(tmp_path: Path) -> None:
    kinds = (ObjectKind.SURFACE_SEGMENTATION,)

    uids = {
        write(made, radiographs(), request(tmp_path / str(n), kinds=kinds))[0].sop_instance_uid
        for n, made in enumerate(
            (
                reconstruction(seen()),
                reconstruction(seen(), completed_by=COMPLETION),
                reconstruction(seen(), completed_by=replace(COMPLETION, weights_digest="d" * 64)),
            )
        )
    }

    assert len(uids) == 3


def test_colours_of_what_is_predicted_are_pale_and_change_no_other() -> None:
    bones = (box("Femur"), box("Tibia", code=TIBIA))
    more = (*bones, unseen(), replace(unseen(), side=Side.LEFT))

    made = colours(more)

    assert made[:2] == colours(bones)
    assert len(set(made)) == len(more)
    for pale in made[2:]:
        assert min(pale) >= 127
    # half of the way from the teal of the femur to white
    assert made[2] == ((40 + 255) // 2, (205 + 255) // 2, (185 + 255) // 2)


def test_the_legend_of_the_key_image_says_what_is_predicted() -> None:
    entries = bones_section((seen(), unseen()), scale_assumed=False).entries

    assert [MARK in entry for entry in entries] == [False, True]


def test_a_volume_that_was_added_is_no_check_that_was_passed() -> None:
    limited = replace(FIGURE, low=0.5)

    section = quality_section((limited, FIGURE))

    assert section.heading == "QUALITY: ALL 1 CHECKS PASSED"
    assert len(section.entries) == 2
