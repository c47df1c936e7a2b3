"""Completion only adds: what was seen stays, and what is added is apart.

Expected: `published-models.md` 4.5 and row 26, and geometry by hand.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from pipeline.completing import (
    Completer,
    NothingKnown,
    complete,
    only_added,
    placed,
)
from pipeline.structures import LabelMap, Structure

SIZE = 16
BOX = (160.0, 160.0, 160.0)
"""Voxels of 10 mm."""


def affine(spacing: float = 10.0, origin: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """k runs along z, j along y, i along x."""
    made = np.zeros((4, 4))
    made[[2, 1, 0], [0, 1, 2]] = spacing
    made[:3, 3], made[3, 3] = origin, 1
    return made


def two_blocks() -> np.ndarray:
    """Structure 1 at low z, structure 2 at high z; the middles are at (0, 0, -+40) mm."""
    made = np.zeros((SIZE,) * 3, np.uint8)
    made[2:6, 6:10, 6:10], made[10:14, 6:10, 6:10] = 1, 2
    return made


def completer(answer: np.ndarray | None = None) -> Completer:
    """It is sure of `answer`, whatever it is asked."""
    told = two_blocks() if answer is None else answer
    chances = np.stack([told == n for n in range(3)]).astype(np.float32)
    return Completer(
        structures=(
            Structure("lower", (0.0, 0.0, -40.0), 64_000.0),
            Structure("upper", (0.0, 0.0, 40.0), 64_000.0),
        ),
        box_mm=BOX,
        size=SIZE,
        chances=lambda _: chances.copy(),
    )


def places(of: LabelMap) -> np.ndarray:
    """(N, 3) LPS mm of the voxels that have a label."""
    index = np.argwhere(of.array)
    made: np.ndarray = index @ of.patient_from_index[:3, :3].T + of.patient_from_index[:3, 3]
    return made


def in_box(array: np.ndarray) -> LabelMap:
    """A map on the grid of the box, whose middle is the origin."""
    return LabelMap(array.astype(np.uint16), affine(10.0, (-75, -75, -75)))


@settings(deadline=None, max_examples=30)
@drawn(seed=st.integers(0, 2**32 - 1))
def test_no_voxel_that_was_given_is_changed_whatever_is_predicted(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = (5, 6, 7)
    given = random.integers(0, 4, shape).astype(np.uint16)
    predicted = random.integers(0, 4, shape).astype(np.uint16)

    made = only_added(LabelMap(given, np.eye(4)), LabelMap(predicted, np.eye(4)))

    assert np.array_equal(made.given.array, given)
    assert not ((made.added.array > 0) & (given > 0)).any()
    assert np.array_equal((made.added.array > 0) | (given > 0), (predicted > 0) | (given > 0))


def test_a_structure_that_is_missing_is_added_beside_what_was_given() -> None:
    lower = np.where(two_blocks() == 1, 7, 0)

    made = complete(in_box(lower), {7: 1}, completer())

    assert np.array_equal(made.given.array, lower)
    assert np.array_equal(made.added.array, np.where(two_blocks() == 2, 2, 0))


def test_what_is_unknown_is_kept_and_not_built_over() -> None:
    array = np.where(two_blocks() == 1, 7, 0)
    array[12, 8, 8] = 99

    made = complete(in_box(array), {7: 1}, completer())

    assert made.given.array[12, 8, 8] == 99
    assert made.added.array[12, 8, 8] == 0
    assert (made.added.array == 2).sum() == 63


def test_nothing_is_added_to_what_was_seen_inside_the_field_of_view() -> None:
    half = two_blocks()
    half[2:4] = 0  # the lower half of the lower block is background

    made = complete(in_box(half), {1: 1, 2: 2}, completer())

    assert not made.added.array.any()


def test_a_structure_goes_on_beyond_the_edge_of_the_field_of_view() -> None:
    array = two_blocks()[4:]  # the field of view ends in the middle of the lower block
    given = LabelMap(array.astype(np.uint16), affine(10.0, (-75, -75, -35)))

    made = complete(given, {1: 1, 2: 2}, completer())

    places = np.argwhere(made.added.array)
    z = places[:, 0] * 10 + made.added.patient_from_index[2, 3]
    # centres of the two layers of voxels below, 4 x 4 each
    assert sorted(set(z.tolist())) == [-55.0, -45.0]
    assert len(places) == 2 * 16
    assert (made.given.array > 0).sum() == (array > 0).sum()


def test_what_was_given_keeps_its_place_when_the_grid_grows() -> None:
    array = two_blocks()[4:]
    given = LabelMap(array.astype(np.uint16), affine(10.0, (-75, -75, -35)))

    made = complete(given, {1: 1, 2: 2}, completer())

    here, there = places(given), places(made.given)
    assert np.array_equal(here, there)
    assert made.given.array.shape == made.added.array.shape


def test_only_what_is_wanted_is_added() -> None:
    lower = np.where(two_blocks() == 1, 1, 0)

    made = complete(in_box(lower), {1: 1}, completer(), wanted=frozenset({1}))

    assert not made.added.array.any()


def test_crumbs_are_no_anatomy() -> None:
    answer = np.where(two_blocks() == 1, 1, 0)
    answer[14, 14, 14] = 2  # one voxel of a structure that usually has 64

    made = complete(in_box(np.where(two_blocks() == 1, 1, 0)), {1: 1}, completer(answer))

    # its volume, 1000 mm^3 of 64,000, is below a fiftieth
    assert not made.added.array.any()


def test_a_finer_map_gets_a_smooth_addition_of_the_same_volume() -> None:
    lower = np.where(two_blocks() == 1, 1, 0).repeat(3, 0).repeat(3, 1).repeat(3, 2)
    given = LabelMap(lower.astype(np.uint16), affine(10 / 3, (-80 + 5 / 3,) * 3))

    made = complete(given, {1: 1}, completer())

    volume = (made.added.array == 2).sum() * (10 / 3) ** 3
    # corners of a cube are rounded, by at most a third of a voxel of the box
    assert volume == pytest.approx(64_000, rel=0.1)


def test_axes_may_run_the_other_way() -> None:
    lower = np.where(two_blocks() == 1, 1, 0)
    turned = affine(10.0, (75, 75, 75)) @ np.diag([-1.0, -1.0, -1.0, 1.0])
    given = LabelMap(lower[::-1, ::-1, ::-1].astype(np.uint16).copy(), turned)

    made = complete(given, {1: 1}, completer())

    assert np.array_equal(made.added.array[::-1, ::-1, ::-1], np.where(two_blocks() == 2, 2, 0))


def test_the_box_follows_the_patient() -> None:
    lower = np.where(two_blocks() == 1, 1, 0).astype(np.uint16)
    seen = LabelMap(lower, affine(10.0, (25, -15, 905)))

    # the map of the box lies 100, 60 and 980 mm from where its middle is the origin
    assert placed(seen, completer().structures).tolist() == pytest.approx([100.0, 60.0, 980.0])


def test_a_structure_that_is_cut_does_not_move_the_box() -> None:
    seen = LabelMap(two_blocks()[4:].astype(np.uint16), affine(10.0, (-75, -75, -35)))

    assert placed(seen, completer().structures).tolist() == pytest.approx([0.0, 0.0, 0.0])


def test_a_map_of_nothing_known_is_refused() -> None:
    with pytest.raises(NothingKnown):
        complete(in_box(two_blocks()), {9: 1}, completer())
