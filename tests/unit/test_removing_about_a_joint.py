"""A pair to learn from as the stage of a job meets it: two bones, in a cube about their joint."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.training.label_maps import Labels
from pipeline.training.removing import Variety, about_a_joint, incomplete

BOX = (640.0, 320.0, 320.0)
"""Voxels of 10, 5 and 5 mm."""


def three_bones() -> Labels:
    """1 and 2 meet at z 30, 2 and 3 at z 50, where one empty voxel lies between them."""
    made = np.zeros((64, 64, 64), np.uint8)
    made[5:30, 28:36, 28:36] = 1
    made[30:50, 28:36, 28:36] = 2
    made[51:60, 28:36, 28:36] = 3
    return made


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_two_neighbours_are_left_in_a_cube_and_nothing_else(seed: int) -> None:
    complete = three_bones()
    before = complete.copy()

    left = about_a_joint(complete, BOX, np.random.default_rng(seed))

    assert np.array_equal(complete, before)
    assert set(np.unique(left)) <= {0, 1, 2} or set(np.unique(left)) <= {0, 2, 3}
    assert np.array_equal(left[left > 0], complete[left > 0])
    layers = np.flatnonzero(left.any(axis=(1, 2)))
    # at most 280 mm, in layers of 10
    assert len(layers) <= 28
    if left.any():
        (field,) = ndimage.find_objects((left > 0).astype(np.uint8))
        kept = np.isin(complete[field], np.unique(left)[1:])
        assert np.array_equal(left[field], np.where(kept, complete[field], 0))


def test_bones_that_do_not_meet_are_no_joint() -> None:
    apart = np.zeros((64, 64, 64), np.uint8)
    apart[5:20, 28:36, 28:36], apart[40:50, 28:36, 28:36] = 1, 2

    with pytest.raises(ValueError, match="No two labels"):
        about_a_joint(apart, BOX, np.random.default_rng(1))


def test_how_often_is_a_key_of_the_run() -> None:
    random = np.random.default_rng(1)

    always = [
        incomplete(three_bones(), BOX, Variety(joint=1.0), random).astype(bool).sum(axis=(1, 2))
        for _ in range(8)
    ]

    # where whole bones go, or all beyond a plane, two may be left over 45 layers
    assert all(np.count_nonzero(one) <= 28 for one in always)


def test_only_the_labels_of_the_region_are_left() -> None:
    variety = Variety(joint=1.0, joint_labels=(2, 3))

    for seed in range(8):
        left = incomplete(three_bones(), BOX, variety, np.random.default_rng(seed))
        assert set(np.unique(left)) <= {0, 2, 3}
