"""What a weights file says of each structure that its network learned.

Expected: blocks whose middles, volumes and extents are known by hand.
"""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.training.completion_export import structures_of
from pipeline.training.settings import RunFault

BOX_MM = (80.0, 40.0, 40.0)


def a_map(*blocks: tuple[slice, slice, slice]) -> np.ndarray:
    """8 x 4 x 4 voxels of 10 mm; the blocks are labels 1, 2 and so on."""
    made = np.zeros((8, 4, 4), np.uint8)
    for number, block in enumerate(blocks, start=1):
        made[block] = number
    return made


def test_middle_volume_and_extent_are_means_over_people() -> None:
    small = a_map((slice(3, 5), slice(1, 3), slice(1, 3)))
    large = a_map((slice(3, 7), slice(1, 3), slice(1, 3)))

    (bone,) = structures_of([small, large], ["sacrum"], BOX_MM)

    assert bone.middle == (0.0, 0.0, 5.0)
    assert bone.volume_mm3 == 12_000.0
    assert bone.extent == (20.0, 20.0, 30.0)
    assert bone.ends_in_box


def test_what_the_box_cuts_in_most_people_does_not_end_in_it() -> None:
    cut, whole = (slice(0, 4), slice(1, 3), slice(1, 3)), (slice(1, 4), slice(1, 3), slice(1, 3))

    for maps, ends in ([cut, cut, whole], False), ([cut, whole, whole], True):
        (femur,) = structures_of([a_map(one) for one in maps], ["femur_R"], BOX_MM)
        assert femur.ends_in_box is ends


def test_a_label_that_nobody_has_is_a_fault() -> None:
    with pytest.raises(RunFault, match="sacrum"):
        structures_of([a_map()], ["sacrum"], BOX_MM)
