"""The phantom has the measures of a hip, and no symmetry that could hide a fault."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.phantom import CORTICAL, HEAD, MARROW, SOFT_TISSUE, Phantom, occupancy, phantom
from pipeline.types import Side

SPACING = 2.0


@pytest.fixture(scope="module")
def left() -> Phantom:
    return phantom(Side.LEFT, spacing=SPACING)


def at(made: Phantom, *lps: float) -> float:
    index = np.linalg.inv(made.density.patient_from_index) @ [*lps, 1]
    return float(made.density.array[tuple(np.round(index[:3]).astype(int))])


def centroids(made: Phantom, low: float, high: float) -> np.ndarray:
    """Centroid (x, y, z) of the femur in each slice between two heights."""
    affine = made.femur.patient_from_index
    found = []
    for k in range(made.femur.array.shape[0]):
        z = affine[2, 0] * k + affine[2, 3]
        if low < z < high:
            j, i = np.nonzero(made.femur.array[k] > 0.5)
            found.append(affine[:3, :3] @ [k, j.mean(), i.mean()] + affine[:3, 3])
    return np.array(found)


def test_the_right_hip_is_the_mirror_image_of_the_left(left: Phantom) -> None:
    right = phantom(Side.RIGHT, spacing=SPACING)

    assert np.allclose(right.density.array, left.density.array[:, :, ::-1], atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_no_flip_leaves_the_bones_unchanged(left: Phantom, axis: int) -> None:
    bones = left.occupancy.array > 0.5

    flipped = np.flip(bones, axis)

    overlap = 2 * (bones & flipped).sum() / (2 * bones.sum())
    assert overlap < 0.75


def test_the_neck_leaves_the_shaft_at_127_degrees(left: Phantom) -> None:
    shaft = centroids(left, -120, -70)
    down = shaft[0] - shaft[-1]
    # the axis of the shaft, carried up to where the axis of the neck meets it
    direction = down / np.linalg.norm(down)
    head = np.array(HEAD)
    towards_head = head - shaft[-1]
    across = towards_head - (towards_head @ direction) * direction
    # offset of the head = neck length x sin(180 - 127 degrees)
    assert np.linalg.norm(across) == pytest.approx(49.0 * np.sin(np.radians(53)), abs=3.0)
    assert across[0] < 0  # medial, which is to the right in a left hip
    assert across[1] < 0  # and to the front: anteversion


def test_the_shaft_is_a_tube_of_cortex_around_marrow(left: Phantom) -> None:
    middle = centroids(left, -92, -88)[0]

    assert at(left, *middle) == pytest.approx(MARROW, rel=0.15)
    assert at(left, middle[0] + 11, middle[1], middle[2]) == pytest.approx(CORTICAL, rel=0.1)
    assert at(left, middle[0] + 30, middle[1], middle[2]) == pytest.approx(SOFT_TISSUE, rel=0.05)


def test_the_head_is_spongy_and_does_not_touch_the_cup(left: Phantom) -> None:
    touching = (left.femur.array > 0.5) & (left.pelvis.array > 0.5)

    assert SOFT_TISSUE < at(left, *HEAD) < 0.7 * CORTICAL
    assert not touching.any()


def test_marrow_counts_as_bone_in_the_truth(left: Phantom) -> None:
    x, y, z = centroids(left, -92, -88)[0]
    index = np.linalg.inv(left.occupancy.patient_from_index) @ [x, y, z, 1]

    assert left.occupancy.array[tuple(np.round(index[:3]).astype(int))] == 1.0


def test_the_truth_on_another_grid_has_the_same_volume(left: Phantom) -> None:
    coarse = left.occupancy.patient_from_index @ np.diag([1.5, 1.5, 1.5, 1.0])
    shape = tuple(int(count / 1.5) for count in left.occupancy.array.shape)

    other = occupancy(Side.LEFT, shape, coarse)

    volume = left.occupancy.array.sum() * SPACING**3
    assert other.array.sum() * (1.5 * SPACING) ** 3 == pytest.approx(volume, rel=0.02)


def test_a_hip_without_a_side_is_refused() -> None:
    with pytest.raises(ValueError, match="side"):
        phantom(Side.UNPAIRED)
