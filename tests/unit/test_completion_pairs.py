"""Pairs of a complete and an incomplete map, and the folders and runs that they come from.

Expected values: `published-models.md` 4.1 and 9, row 22.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.training.completion_layout import people_in, read_map, write_person
from pipeline.training.completion_pairs import CUT, pairs_of
from pipeline.training.completion_settings import read
from pipeline.training.label_maps import LabelledPerson, write, zoomed
from pipeline.training.label_sets import muscles, pelvis
from pipeline.training.removing import without_anatomies
from pipeline.training.settings import RunFault
from tests.completion_files import lopsided

BOX = (320.0, 320.0, 320.0)


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
    assert run.archive.name == "hips.npz"
