"""Maps of labels for completion: zoomed, mirrored, moved, filled with bones, and kept in a file.

Expected values: `published-models.md` 4.1 and 9, row 27.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.training.label_maps import LabelledPerson, LabelMaps, mirrored_numbers, write, zoomed
from pipeline.training.label_sets import PELVIS, filled
from pipeline.training.removing import PUBLISHED, Variety, varied
from pipeline.training.signed_distance import Surface
from tests.completion_files import lopsided

BOX = (320.0, 320.0, 320.0)


@pytest.mark.parametrize("shape", [(128, 128, 96), (64, 100, 37), (128, 128, 128)])
def test_labels_survive_the_zoom_to_128_and_back(shape: tuple[int, int, int]) -> None:
    labels = np.random.default_rng(2).choice([0, 3, 7, 12], shape).astype(np.uint8)

    made = zoomed(labels, (128, 128, 128))

    assert np.unique(made).tolist() == [0, 3, 7, 12]
    assert np.array_equal(zoomed(made, shape), labels)


def test_a_zoomed_voxel_has_the_label_at_its_centre() -> None:
    line = np.array([1, 2, 3, 4, 5, 6], np.uint8).reshape(1, 1, 6)

    assert zoomed(line, (1, 1, 3)).ravel().tolist() == [2, 4, 6]
    assert zoomed(line, (1, 1, 2)).ravel().tolist() == [2, 5]


def test_a_mirror_image_exchanges_right_and_left() -> None:
    assert mirrored_numbers(PELVIS).tolist() == [0, 1, 3, 2, 5, 4]


def test_a_pair_without_its_partner_has_no_mirror_image() -> None:
    with pytest.raises(ValueError, match="no femur_L"):
        mirrored_numbers(("sacrum", "femur_R"))


def test_maps_of_no_variety_stand_as_they_are() -> None:
    mirror = mirrored_numbers(("a_R", "a_L", "b"))

    made = varied(lopsided(), BOX, 32, mirror, PUBLISHED, np.random.default_rng(0))

    assert np.array_equal(made, lopsided())


def test_a_mirrored_map_keeps_right_on_the_right() -> None:
    mirror = mirrored_numbers(("a_R", "a_L", "b"))
    always = Variety(mirrored=1.0, turn_deg=0.0, scale=0.0, shift_mm=0.0)

    made = varied(lopsided(), BOX, 32, mirror, always, np.random.default_rng(0))

    # the patient's right is at low x
    assert np.argwhere(made == 1)[:, 2].max() < 16 < np.argwhere(made == 2)[:, 2].min()
    assert (made == 1).sum() == (lopsided() == 2).sum()


def test_a_shift_is_one_in_mm() -> None:
    # a box of 32 voxels along z of 10 mm, and of 1 mm along x
    box = (320.0, 320.0, 32.0)
    moved = Variety(mirrored=0.0, turn_deg=0.0, scale=0.0, shift_mm=3.0)
    mirror = mirrored_numbers(("a_R", "a_L", "b"))

    places = [
        np.argwhere(varied(lopsided(), box, 32, mirror, moved, np.random.default_rng(n)) == 1)
        for n in range(12)
    ]

    lows = np.array([place.min(axis=0) for place in places if len(place)])
    assert np.abs(lows[:, 0] - 20).max() <= 1
    assert np.ptp(lows[:, 2]) >= 4


def octahedron(centre: tuple[float, float, float], radius: float) -> Surface:
    points = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    faces = [[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]]
    return Surface(points * radius + centre, np.array(faces))


def test_a_bone_fills_its_volume_in_a_box_of_unequal_edges() -> None:
    box = (128.0, 64.0, 96.0)
    bones = {"a": octahedron((20.0, 0.0, -30.0), 15.0)}

    made = filled(bones, ("a",), box, 64)

    step = np.array(box) / 64
    assert made.sum() * step.prod() == pytest.approx(4 / 3 * 15**3, rel=0.03)
    middle = (np.argwhere(made).mean(axis=0) + 0.5) * step - np.array(box) / 2
    assert middle.tolist() == pytest.approx([-30.0, 0.0, 20.0], abs=0.3)


def test_an_archive_gives_back_what_was_written(tmp_path: Path) -> None:
    case = LabelledPerson("z", "Test^Pelvis", "made", "none", 3, ("b",))

    write(tmp_path / "a.npz", ("a_R", "a_L", "b"), BOX, {case: lopsided()})
    read_back = LabelMaps.load(tmp_path / "a.npz")

    assert read_back.cases == (case,)
    assert (read_back.names, read_back.box_mm) == (("a_R", "a_L", "b"), BOX)
    assert np.array_equal(read_back.labels(case), lopsided())
