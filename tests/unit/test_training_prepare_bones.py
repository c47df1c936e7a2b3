"""Reading bones and landmarks: whose, which side, and which way round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trimesh

from pipeline.training.bones import Person, parts, read_landmarks, surface, volume
from pipeline.training.leg import leg_of, named_from, right_sided, shifted_leg


def test_a_landmark_is_the_mean_over_raters_and_is_named_with_its_side(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(
        "subject,bone,side,rater,repeat,landmark,x_mm,y_mm,z_mm\n"
        "a,Femur,L,1,1,Lesser Trochanter (LT),1,2,3\n"
        "a,Femur,L,2,1,Lesser Trochanter (LT),3,2,5\n"
        "a,Pelvis,,1,1,Right Pubic Tubercle (PT),7,8,9\n"
        "a,Pelvis,,1,1,Sacral Promontory (SP),0,0,1\n"
        "b,Femur,R,1,1,Lesser Trochanter (LT),9,9,9\n",
        encoding="utf-8",
    )
    found = read_landmarks(tmp_path / "l.csv")
    assert set(found["a"]) == {"Lesser Trochanter_L", "Pubic Tubercle_R", "Sacral Promontory"}
    assert found["a"]["Lesser Trochanter_L"] == pytest.approx([2, 2, 4])
    assert found["b"]["Lesser Trochanter_R"] == pytest.approx([9, 9, 9])


def test_a_mesh_that_is_turned_inwards_is_turned_outwards() -> None:
    box = trimesh.creation.box((2, 3, 4))
    inwards = surface(box.vertices + 50, box.faces[:, ::-1])
    assert volume(inwards) == pytest.approx(24)


def test_parts_are_split_by_connection_and_scraps_are_left_out() -> None:
    tibia = trimesh.creation.box((30, 30, 300))
    fibula = trimesh.creation.box((12, 12, 300)).apply_translation([40, 0, 0])
    scrap = trimesh.creation.box((2, 2, 2)).apply_translation([0, 60, 0])
    one = trimesh.util.concatenate([scrap, fibula, tibia])
    found = parts(one.vertices, one.faces)
    assert [round(volume(part)) for part in found] == [30 * 30 * 300, 12 * 12 * 300]
    assert found[1].vertices[:, 0].mean() == pytest.approx(40)


@pytest.mark.parametrize(
    ("side", "name", "seen"),
    [
        ("R", "femur_R", "femur"),
        ("R", "femur_L", "other_femur"),
        ("L", "hip_bone_L", "hip_bone"),
        ("L", "hip_bone_R", "other_hip_bone"),
        ("L", "sacrum", "sacrum"),
    ],
)
def test_bones_are_named_from_the_leg_that_is_looked_at(side: str, name: str, seen: str) -> None:
    assert named_from(side, name) == seen


def test_the_left_leg_of_a_symmetric_person_is_the_right_leg() -> None:
    right = trimesh.creation.icosphere(radius=9).apply_translation([-60, 5, 7])
    left = trimesh.creation.icosphere(radius=9).apply_translation([60, 5, 7])
    person = Person(
        name="made-up",
        source="made up",
        licence="none",
        bones={
            "femur_R": surface(right.vertices, right.faces),
            "femur_L": surface(left.vertices, left.faces),
        },
        landmarks={"Lesser Trochanter_L": np.array([60.0, 5.0, 7.0])},
    )
    legs = [leg_of(person, side, right_sided(side, np.eye(4)), {}) for side in ("R", "L")]
    for leg in legs:
        assert leg.bones["femur"].vertices.mean(axis=0) == pytest.approx([-60, 5, 7])
        assert leg.bones["other_femur"].vertices.mean(axis=0) == pytest.approx([60, 5, 7])
        assert volume(leg.bones["femur"]) > 0
    assert legs[1].landmarks["Lesser Trochanter"] == pytest.approx([-60, 5, 7])
    assert "Lesser Trochanter" not in legs[0].landmarks

    moved = shifted_leg(legs[1], np.array([3.0, -1.0, 28.0]))
    for name in ("femur", "other_femur"):
        went = moved.bones[name].vertices - legs[1].bones[name].vertices
        assert went == pytest.approx(np.tile([3.0, -1.0, 28.0], (len(went), 1)))
    assert moved.landmarks["Lesser Trochanter"] == pytest.approx([-57, 4, 35])
    clicked = moved.region_from_patient @ [60.0, 5.0, 7.0, 1.0]
    assert clicked[:3] == pytest.approx(moved.landmarks["Lesser Trochanter"])
