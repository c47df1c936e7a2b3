"""A bone is one finding: the same name, code, colour and tracking in every object and every run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from skimage.color import rgb2lab

from pipeline.encode.write import write
from pipeline.types import Algorithm, Assume, Bone, ObjectKind, Side
from tests.factories import two_views
from tests.results import TIBIA, box, of_kind, radiographs, reconstruction, request

SEGMENTED = (
    ObjectKind.SEGMENTATION,
    ObjectKind.LABELMAP,
    ObjectKind.FRACTIONAL,
    ObjectKind.SURFACE_SEGMENTATION,
)
ALL = (*SEGMENTED, ObjectKind.STL)
ALONE = (ObjectKind.SURFACE_SEGMENTATION,)
TRACKED = ("TrackingID", "TrackingUID")


def _pair() -> tuple[Bone, ...]:
    return (
        box("Femur", side=Side.LEFT),
        box("Tibia", code=TIBIA, side=Side.LEFT),
    )


def _segments(path: Path) -> list[Dataset]:
    return [item for item in dcmread(path).SegmentSequence if item.SegmentNumber > 0]


def _tracked(folder: Path, *bones: Bone, **changes: Any) -> list[tuple[str, str]]:
    """Identifier and UID of each bone."""
    engine = {"algorithm": changes.pop("algorithm")} if "algorithm" in changes else {}
    images = changes.pop("images", two_views())
    wanted = request(folder, images, **({"kinds": ALONE} | changes))
    written = write(reconstruction(*bones, **engine), radiographs(images), wanted)
    (path,) = of_kind(written, ObjectKind.SURFACE_SEGMENTATION)
    return [(item.TrackingID, item.TrackingUID) for item in _segments(path)]


def test_a_bone_is_tracked_as_one_through_all_objects(tmp_path: Path) -> None:
    written = write(reconstruction(*_pair()), radiographs(), request(tmp_path, kinds=ALL))

    tracked = [
        [tuple(item[k].value for k in TRACKED) for item in _segments(*of_kind(written, kind))]
        for kind in SEGMENTED
    ]
    models = [dcmread(path) for path in of_kind(written, ObjectKind.STL)]
    tracked.append([tuple(ds[k].value for k in TRACKED) for ds in models])
    assert all(one == tracked[0] for one in tracked)
    assert len(set(tracked[0])) == 2
    assert all(uid.endswith(name.split()[-1]) for name, uid in tracked[0])


def test_a_bone_has_one_colour_in_all_objects(tmp_path: Path) -> None:
    written = write(reconstruction(*_pair()), radiographs(), request(tmp_path, kinds=ALL))

    colours = [
        [list(item.RecommendedDisplayCIELabValue) for item in _segments(*of_kind(written, kind))]
        for kind in SEGMENTED[:3]
    ]
    (surfaces,) = of_kind(written, ObjectKind.SURFACE_SEGMENTATION)
    models = [dcmread(path) for path in of_kind(written, ObjectKind.STL)]
    for items in (dcmread(surfaces).SurfaceSequence, models):
        colours.append([list(item.RecommendedDisplayCIELabValue) for item in items])
    assert all(one == colours[0] for one in colours)
    lightness, *hue = rgb2lab(np.array([[[180, 105, 255]]]) / 255).ravel()
    # PS3.3 C.10.7.1.1: 0 to 100, and -128 to 127, each in 16 bits
    stored = [lightness / 100 * 65535, *((value + 128) / 255 * 65535 for value in hue)]
    assert colours[0][1] == pytest.approx(stored, abs=64)


def test_a_bone_has_one_code_and_one_region_in_all_objects(tmp_path: Path) -> None:
    written = write(reconstruction(*_pair()), radiographs(), request(tmp_path, kinds=ALL))

    for kind in SEGMENTED:
        segments = _segments(*of_kind(written, kind))
        types = [item.SegmentedPropertyTypeCodeSequence[0] for item in segments]
        assert [item.CodeValue for item in types] == ["71341001", "12611008"]
        for item, segment in zip(types, segments, strict=True):
            (side,) = item.SegmentedPropertyTypeModifierCodeSequence
            (region,) = segment.AnatomicRegionSequence
            (region_side,) = region.AnatomicRegionModifierSequence
            assert (side.CodeValue, region_side.CodeValue) == ("7771000", "7771000")
            assert region.CodeValue == "29836001"


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": Algorithm("Other", "9", "a" * 64)},
        {"model": "other"},
        {"rule": "other"},
        {"assume": Assume(source_to_detector=1000.0)},
        {"kinds": ALL},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_way_of_making_it_makes_no_other_bone(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    first = _tracked(tmp_path / "first", *_pair())

    assert _tracked(tmp_path / "second", *_pair(), **change) == first


def test_the_order_of_the_bones_makes_no_other_bones(tmp_path: Path) -> None:
    first = _tracked(tmp_path / "first", *_pair())

    assert _tracked(tmp_path / "second", *_pair()[::-1]) == first[::-1]


@pytest.mark.parametrize(
    "change",
    [{"name": "Fibula"}, {"side": Side.RIGHT}, {"code": TIBIA}],
    ids=lambda change: next(iter(change)),
)
def test_another_name_side_or_code_is_another_bone(tmp_path: Path, change: dict[str, Any]) -> None:
    femur = box("Femur", side=Side.LEFT)

    uids = {
        _tracked(tmp_path / str(n), bone)[0][1]
        for n, bone in enumerate((femur, replace(femur, **change)))
    }

    assert len(uids) == 2


def test_the_same_bone_of_another_study_or_region_is_another_finding(tmp_path: Path) -> None:
    first = _tracked(tmp_path / "first", *_pair())

    assert _tracked(tmp_path / "second", *_pair(), images=two_views(study="other")) != first
    assert _tracked(tmp_path / "third", *_pair(), region="knee") != first


def test_bones_that_nothing_tells_apart_are_counted(tmp_path: Path) -> None:
    tracked = _tracked(tmp_path, *(box("Bone", centre=(n, 0, 0)) for n in (-3, 0, 3)))

    assert len(set(tracked)) == 3


def test_a_long_name_leaves_its_identifier_unique(tmp_path: Path) -> None:
    bones = [box("Very long name " * 9 + end) for end in ("A", "B")]

    names = [name for name, _ in _tracked(tmp_path, *bones)]

    assert len(set(names)) == 2
    assert all(len(name) <= 64 for name in names)
