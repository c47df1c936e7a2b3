"""The common pose: frames and fits that are known because the bones were moved by hand."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from pipeline.training.pose import (
    MIRROR,
    Reference,
    femoral_head,
    laid_on,
    moved,
    pelvic_frame,
    shifted,
)
from pipeline.training.signed_distance import Float, Surface


def turned(seed: int) -> Float:
    """A rotation and a shift of a hand's breadth."""
    random = np.random.default_rng(seed)
    transform = trimesh.transformations.random_rotation_matrix(random.random(3))
    transform[:3, 3] = random.normal(0, 80, 3)
    return np.asarray(transform)


def club() -> Surface:
    """A shaft that flares towards an end without symmetry, of two knuckles and a knob in front."""
    cone = trimesh.creation.revolve([[0, 8], [26, 12], [12, 90], [11, 300], [0, 310]], sections=40)
    parts = [
        cone,
        trimesh.creation.icosphere(subdivisions=3, radius=24).apply_translation([-20, 6, 14]),
        trimesh.creation.icosphere(subdivisions=3, radius=20).apply_translation([22, 8, 10]),
        trimesh.creation.icosphere(subdivisions=2, radius=10).apply_translation([-12, -25, 30]),
        trimesh.creation.icosphere(subdivisions=3, radius=25).apply_translation([35, 0, 300]),
    ]
    dense = trimesh.util.concatenate([part.subdivide_to_size(7) for part in parts])
    return Surface(np.array(dense.vertices, np.float64), np.array(dense.faces, np.int64))


def test_the_pelvis_stands_in_its_anterior_plane_however_the_person_lay() -> None:
    upright = {
        "ASIS_R": np.array([-120.0, -30.0, 90.0]),
        "ASIS_L": np.array([120.0, -30.0, 90.0]),
        "Pubic Tubercle_R": np.array([-25.0, -30.0, 0.0]),
        "Pubic Tubercle_L": np.array([25.0, -30.0, 0.0]),
    }
    lying = turned(3)
    clicked = {name: lying[:3, :3] @ p + lying[:3, 3] for name, p in upright.items()}
    frame = pelvic_frame(clicked)
    assert frame[:3, :3] @ lying[:3, :3] == pytest.approx(np.eye(3), abs=1e-9)


def test_the_head_of_a_femur_is_found_on_its_own_sphere() -> None:
    head = trimesh.creation.icosphere(subdivisions=4, radius=23.0)
    shaft = trimesh.creation.cylinder(14, 200, transform=shifted(np.array([-45.0, 5, -110])))
    neck = trimesh.creation.cylinder(13, segment=[[-45, 5, -30], [-15, 0, -8]])
    points = np.concatenate([p.subdivide_to_size(5).vertices for p in (head, shaft, neck)])
    found = femoral_head(points + np.array([7.0, -9.0, 30.0]))
    assert found.centre == pytest.approx([7.0, -9.0, 30.0], abs=0.3)
    assert found.radius == pytest.approx(23.0, abs=0.3)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_long_bone_is_laid_on_its_reference_from_any_pose(seed: int) -> None:
    bone = club()
    end = bone.vertices[bone.vertices[:, 2] < bone.vertices[:, 2].min() + 105]
    found = laid_on(moved(bone, turned(seed)).vertices, Reference(end, 90.0), mirrored=False)
    assert found.transform @ turned(seed) == pytest.approx(np.eye(4), abs=0.2)


def test_a_left_bone_is_laid_by_its_mirror_image_and_by_nothing_else() -> None:
    bone = club()
    end = bone.vertices[bone.vertices[:, 2] < bone.vertices[:, 2].min() + 105]
    left = moved(moved(bone, MIRROR), turned(5)).vertices
    as_left = laid_on(left, Reference(end, 90.0), mirrored=True)
    as_right = laid_on(left, Reference(end, 90.0), mirrored=False)
    assert as_left.transform @ turned(5) @ MIRROR == pytest.approx(np.eye(4), abs=0.05)
    assert np.linalg.det(as_left.transform[:3, :3]) == pytest.approx(-1)
    assert as_right.gap > 1.4 * as_left.gap


def test_a_larger_bone_keeps_its_size_and_its_joint_stays_at_the_origin() -> None:
    bone = club()
    end = bone.vertices[bone.vertices[:, 2] < bone.vertices[:, 2].min() + 105]
    found = laid_on(1.15 * bone.vertices, Reference(end, 90.0), mirrored=False)
    assert found.transform == pytest.approx(np.eye(4), abs=0.05)


def test_faces_look_outwards_after_a_mirror() -> None:
    mirrored = moved(club(), MIRROR)
    volume = trimesh.Trimesh(mirrored.vertices, mirrored.faces, process=False).volume
    assert volume > 0
