"""Training pairs of completion: what is taken away, what is kept, and the published layout.

Expected values: `published-models.md` 4.1 and 9, rows 22 and 27.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.training.completion_layout import people_in, read_map, write_person
from pipeline.training.completion_pairs import CUT, pairs_of
from pipeline.training.completion_settings import read
from pipeline.training.label_maps import (
    LabelledPerson,
    LabelMaps,
    Labels,
    mirrored_numbers,
    write,
    zoomed,
)
from pipeline.training.label_sets import PELVIS, filled, muscles, pelvis
from pipeline.training.removing import (
    PUBLISHED,
    SHARES,
    Variety,
    cut_off,
    varied,
    without_anatomies,
)
from pipeline.training.settings import RunFault
from pipeline.training.signed_distance import Surface

BOX = (320.0, 320.0, 320.0)


def slabs(counts: tuple[int, ...]) -> Labels:
    """One row of voxels: `counts[n]` of them have the label n + 1, and five have none."""
    row = np.repeat(np.arange(1, len(counts) + 1), counts)
    return np.concatenate([row, np.zeros(5)]).astype(np.uint8).reshape(1, 1, -1)


@pytest.mark.parametrize("share", SHARES)
@settings(deadline=None, max_examples=30)
@given(counts=st.lists(st.integers(1, 60), min_size=5, max_size=12), seed=st.integers(0, 2**32 - 1))
def test_whole_labels_go_until_the_share_is_gone(
    share: float, counts: list[int], seed: int
) -> None:
    complete = slabs(tuple(counts))
    before = complete.copy()

    try:
        left = without_anatomies(complete, share, np.random.default_rng(seed))
    except ValueError:
        # only where all are needed: without the smallest there would not be enough
        assert sum(counts) - min(counts) < share * sum(counts)
        return

    gone = [n for n in range(1, len(counts) + 1) if not (left == n).any()]
    assert sum(counts[n - 1] for n in gone) >= share * sum(counts)
    assert 0 < len(gone) < len(counts)
    assert all((left == n).sum() in (0, count) for n, count in enumerate(counts, start=1))
    assert np.array_equal(left[left > 0], complete[left > 0])
    assert np.array_equal(complete, before)


def test_the_same_seed_removes_the_same() -> None:
    complete = slabs((9, 8, 7, 6, 5, 4))

    first, second = (without_anatomies(complete, 0.2, np.random.default_rng(5)) for _ in range(2))

    assert np.array_equal(first, second)


def test_seeds_remove_different_anatomies() -> None:
    complete = slabs((9, 8, 7, 6, 5, 4))

    made = {without_anatomies(complete, 0.1, np.random.default_rng(n)).tobytes() for n in range(40)}

    # any of the six alone is more than a tenth, except the last, which needs another
    assert len(made) >= 6


def test_a_single_anatomy_is_not_removed() -> None:
    with pytest.raises(ValueError, match="10% of the volume cannot be removed from 1"):
        without_anatomies(slabs((9,)), 0.1, np.random.default_rng(0))


def test_a_large_anatomy_goes_alone_rather_than_with_all_others() -> None:
    made = {
        tuple(np.unique(without_anatomies(slabs((90, 10)), 0.4, np.random.default_rng(n))))
        for n in range(20)
    }

    assert made == {(0, 2)}


@settings(deadline=None, max_examples=40)
@given(share=st.floats(0.1, 0.6), seed=st.integers(0, 2**32 - 1))
def test_a_cut_takes_its_share_on_one_side_of_a_plane(share: float, seed: int) -> None:
    complete = np.random.default_rng(1).integers(0, 4, (10, 20, 30)).astype(np.uint8)

    left = cut_off(complete, share, np.random.default_rng(seed))

    gone = np.argwhere((left == 0) & (complete > 0))
    kept = np.argwhere(left > 0)
    is_parted = (gone.max(axis=0) < kept.min(axis=0)) | (gone.min(axis=0) > kept.max(axis=0))
    assert is_parted.sum() == 1
    # a plane falls between voxels: at most half a layer of ten is gone or kept too much
    assert len(gone) / (complete > 0).sum() == pytest.approx(share, abs=0.06)


def test_a_cut_takes_a_layer_of_what_is_thin_and_leaves_one() -> None:
    thin = np.zeros((1, 2, 1), np.uint8)
    thin[0, :, 0] = 3

    left = cut_off(thin, 0.01, np.random.default_rng(0))

    assert np.count_nonzero(left) == 1


@pytest.mark.parametrize("nr_voxels", [0, 1])
def test_what_has_no_two_layers_is_not_cut(nr_voxels: int) -> None:
    lone = np.zeros((2, 2, 2), np.uint8)
    lone[0, 0, :nr_voxels] = 1

    with pytest.raises(ValueError, match="nothing in the map that a plane could cut"):
        cut_off(lone, 0.3, np.random.default_rng(0))


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


def lopsided() -> Labels:
    """Label 1 (right) at low x, label 2 (left) at high x, label 3 (midline) below."""
    made = np.zeros((32, 32, 32), np.uint8)
    made[20:26, 10:20, 4:9], made[20:26, 10:20, 20:28], made[2:6, 10:20, 14:18] = 1, 2, 3
    return made


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


def a_run(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(f'folder = "run"\n{text}', encoding="utf-8")
    return path


def test_nobody_is_judged_whom_the_network_has_learned_from(tmp_path: Path) -> None:
    people = {
        LabelledPerson(f"z{n}", f"z{n}", "made", "none", n % 2, ("b",)): lopsided()
        for n in range(4)
    }
    write(tmp_path / "a.npz", ("a_R", "a_L", "b"), BOX, people)

    run = read(a_run(tmp_path, 'archive = "a.npz"\nfold = 1\n[network]\nsize = 32\n'))
    pairs = pairs_of(run)
    judged = list(pairs.judged())

    assert {one.person for one in judged} == {"z1", "z3"}
    assert {one.condition for one in judged} == {
        "at least 10% missing", "at least 20% missing", "at least 40% missing", CUT,
    }  # fmt: skip
    assert {one.unjudged for one in judged} == {(3,)}
    # both people that are left, and their mirror images
    assert len(list(pairs.learned())) == 4


def test_the_published_layout_is_read_as_it_is_written(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    full = random.integers(0, 4, (40, 24, 32)).astype(np.uint8)
    left = [without_anatomies(full, 0.1, random) for _ in range(10)]
    for part, person in (("train", "s0001"), ("test", "s0777")):
        write_person(tmp_path / part, person, full, left)

    (person,) = people_in(tmp_path / "train")

    assert person.person == "s0001"
    assert [path.name for path in person.incomplete] == [f"s0001_{n}.nii.gz" for n in range(10)]
    assert np.array_equal(read_map(person.full, 3), full)
    for path, labels in zip(person.incomplete, left, strict=True):
        assert np.array_equal(read_map(path, 3), labels)

    text = 'published = "."\nnames = ["a", "b", "c"]\n[network]\nsize = 32\n'
    pairs = pairs_of(read(a_run(tmp_path, text)))
    (pair,) = pairs.drawn(1, np.random.default_rng(0))
    assert np.array_equal(pair.complete, zoomed(full, (32, 32, 32)))
    assert [one.person for one in pairs.judged()] == ["s0777"] * 10


def test_a_label_beyond_the_names_is_refused(tmp_path: Path) -> None:
    write_person(tmp_path, "s0001", np.full((4, 4, 4), 9, np.uint8), [])

    with pytest.raises(RunFault, match="has the labels 9 to 9, not 0 to 3"):
        read_map(tmp_path / "s0001_full.nii.gz", 3)


def test_a_person_without_incomplete_maps_is_refused(tmp_path: Path) -> None:
    write_person(tmp_path, "s0001", lopsided(), [])

    with pytest.raises(RunFault, match="lacks its full map"):
        people_in(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "either the key archive or the key published"),
        ('archive = "a"\n[network]\nkind = "googlenet"', "network.kind is plain or skip or"),
        ('archive = "a"\n[network]\nsize = 40', "multiple of 16"),
        ('archive = "a"\n[network]\nkind = "inception"\nsize = 16', "32 for inception"),
        ('archive = "a"\n[network]\ndivided_by = 16', "1, 2, 4 or 8"),
        ('published = "."', "names is missing"),
        ('archive = "a"\n[training]\nsteps = 1.5', "a whole number"),
        ('archive = "a"\nfoold = 1', "Unknown key foold"),
    ],
)
def test_what_a_run_cannot_mean_is_refused_by_its_key(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(RunFault, match=words):
        read(a_run(tmp_path, text))


@pytest.mark.data
def test_a_pelvis_lies_in_the_box_and_a_mirrored_femur_is_told(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "bones" / "vsd"
    folder.mkdir(parents=True)
    for name in ("z001.npz", "z057.npz", "landmarks.csv"):
        (folder / name).symlink_to(shared_data / "bones" / "vsd" / name)

    made = pelvis(tmp_path)

    told = {case.person: (case.fold, case.borrowed) for case in made.cases}
    # folds.toml; bones.csv has no left femur of z057
    assert told == {"z001": (0, ()), "z057": (4, ("femur_L",))}
    for labels in made.cases.values():
        inner = labels[1:-1, 1:-1, 1:-1]
        # sacrum and hip bones touch no face
        assert all((labels == n).sum() == (inner == n).sum() for n in (1, 2, 3))
        assert np.argwhere(labels == 2)[:, 2].mean() < 64 < np.argwhere(labels == 3)[:, 2].mean()
        assert np.argwhere(labels >= 4)[:, 0].mean() < np.argwhere(labels == 1)[:, 0].mean()


@pytest.mark.data
def test_the_muscles_of_both_sides_are_told_apart(shared_data: Path) -> None:
    made = muscles(shared_data)

    assert (len(made.names), len(made.cases)) == (54, 3)
    for labels in made.cases.values():
        for right, left in (("femur_R", "femur_L"), ("gracilis_muscle_R", "gracilis_muscle_L")):
            counts = [(labels == made.names.index(name) + 1).sum() for name in (right, left)]
            assert counts[0] == pytest.approx(counts[1], rel=0.35)


def test_the_run_file_that_is_shipped_can_be_followed() -> None:
    run = read(Path(__file__).parents[2] / "config" / "train-completion.toml")

    assert run.archive is not None
    assert run.archive.name == "pelvis.npz"
