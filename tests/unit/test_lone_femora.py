"""Femora in the hips of others: where they stand, what is whose, and who is judged when."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from pipeline.training.bones import Person, volume
from pipeline.training.folds import read_folds
from pipeline.training.leg import Leg
from pipeline.training.lone_femora import among, read_femora, standing
from pipeline.training.pose import MIRROR, moved
from pipeline.training.signed_distance import Float, Surface

PIVOT = (20.0, -11.0, 36.0)
LARGER = 1.1


def a_femur(lowest: float = -300.0) -> Surface:
    """A right one, medial towards +x, the centre of its head at the pivot: radius 24 mm."""
    boxes = [
        [(-50, -8, lowest), (-30, 8, -30)],
        [(-62, -2, -30), (-40, 22, 8)],
        [(-34, 6, -75), (-22, 18, -55)],
        [(-45, -7, -35), (-15, 7, -10)],
    ]
    parts = [trimesh.creation.box(bounds=box).subdivide_to_size(5) for box in boxes]
    whole = trimesh.util.concatenate([trimesh.creation.icosphere(4, 24.0), *parts])
    return Surface(np.asarray(whole.vertices + PIVOT), np.asarray(whole.faces))


def a_host(person: str = "z009") -> Leg:
    wing = trimesh.creation.box(bounds=[(0, -20, 60), (60, 20, 180)])
    bones = {"femur": a_femur(), "hip_bone": Surface(np.asarray(wing.vertices), wing.faces)}
    return Leg(person, "R", f"vsd/{person}", "licence of the host", np.eye(4), bones)


def somewhere(seed: int) -> Float:
    place = np.eye(4)
    place[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    place[:3, 3] = [300, -200, 900]
    return place


def a_larger_one(side: str, seed: int = 1) -> Person:
    """The femur of the host, larger, in another pose, as a left one mirrored."""
    femur = a_femur()
    femur = moved(
        Surface(LARGER * femur.vertices, femur.faces), MIRROR if side == "L" else np.eye(4)
    )
    return Person(
        "ICL", "staple/ICL", "own licence", {f"femur_{side}": moved(femur, somewhere(seed))}
    )


@pytest.mark.parametrize("side", ["R", "L"])
def test_a_femur_keeps_its_size_and_its_head_stands_at_the_pivot(side: str) -> None:
    leg = standing(a_larger_one(side), side, a_host(), PIVOT)

    wanted = LARGER * (a_femur().vertices - PIVOT) + PIVOT
    upper = leg.bones["femur"].vertices[leg.bones["femur"].vertices[:, 2] > -50]
    away = cKDTree(wanted).query(upper)[0]
    assert away.mean() < 1.5
    assert volume(leg.bones["femur"]) == pytest.approx(LARGER**3 * volume(a_femur()), rel=1e-3)


def test_the_bones_of_the_host_fit_the_head_and_are_said_to_be_borrowed() -> None:
    leg = standing(a_larger_one("R"), "R", a_host(), PIVOT)

    fitted = LARGER * (a_host().bones["hip_bone"].vertices - PIVOT) + PIVOT
    assert leg.bones["hip_bone"].vertices == pytest.approx(fitted, abs=0.6)
    assert set(leg.borrowed) == {"hip_bone"}
    assert "vsd-z009-R" in leg.borrowed["hip_bone"]
    assert "own licence" in leg.licence
    assert "licence of the host" in leg.licence


def test_a_femur_that_was_cut_off_runs_out_of_the_picture() -> None:
    short = moved(a_femur(lowest=-120.0), somewhere(2))

    leg = standing(Person("m", "libhip/m", "MIT", {"femur_R": short}), "R", a_host(), PIVOT)

    assert leg.bones["femur"].vertices[:, 2].min() == pytest.approx(-256, abs=1)


def test_nobody_stands_in_the_hip_of_a_person_of_another_fold() -> None:
    folds = read_folds()
    hosts = [a_host(name) for name in ("z001", "z023", "z035")]

    (leg,) = among([a_larger_one("R")], hosts, PIVOT)

    assert folds["ICL"] == folds["z023"] != folds["z035"]
    assert "z023" in leg.borrowed["hip_bone"]


def test_new_people_moved_nobody_into_another_fold() -> None:
    """As the weights of before were trained and judged."""
    before = [
        ("z001", "z013", "z064"),
        ("z009", "z023", "z049", "ICL"),
        ("z035", "z050", "z056", "MC22"),
        ("z019", "z036", "z042", "TLEM2"),
        ("z046", "z055", "z057", "VAKHUM"),
    ]
    folds = read_folds()
    assert [{folds[person] for person in row} for row in before] == [{0}, {1}, {2}, {3}, {4}]
    assert {person for person, fold in folds.items() if fold == 0} == set(before[0])


@pytest.mark.data
def test_eleven_femora_of_seven_people_have_no_hip(shared_data: Path) -> None:
    femora = read_femora(shared_data)

    sides = [name for person in femora for name in person.bones if name.startswith("femur")]
    assert (len(femora), len(sides)) == (7, 11)
    assert all(person.name in read_folds() for person in femora)
    libhip = [
        bone for person in femora if "libhip" in person.name for bone in person.bones.values()
    ]
    # a proximal third, cm^3; their left is the patient's left, +x
    assert all(150e3 < volume(bone) < 260e3 for bone in libhip)
    for person in femora:
        for name, bone in person.bones.items():
            if "libhip" in person.name:
                assert (bone.vertices[:, 0].mean() > 0) == (name == "femur_L")
