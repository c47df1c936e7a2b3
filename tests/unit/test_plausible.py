"""An addition that no body has is refused, and the reason is said.

Expected: volumes and places of blocks, by hand.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.completing import Completed
from pipeline.plausible import CUT, NOT_ATTACHED, accepted, too_little_seen
from pipeline.structures import LabelMap, Structure

STRUCTURES = (Structure("femur_R", (0, 0, 0), 64_000.0), Structure("sacrum", (0, 0, 0), 64_000.0))
KNOWN = {1: 1}
"""Label 1 is the femur, which was seen; the sacrum was not."""
Span = tuple[int, int]


def grid() -> np.ndarray:
    """Voxels of 10 mm."""
    made = np.diag([0.0, 0.0, 0.0, 1.0])
    made[[2, 1, 0], [0, 1, 2]] = 10.0
    return made


def found(*blocks: tuple[int, Span, Span, Span]) -> Completed:
    """The femur fills 4^3 voxels at 8 to 12; of what is added, number and place along z, y, x."""
    given, added = (np.zeros((24, 24, 24), np.uint16) for _ in range(2))
    given[8:12, 8:12, 8:12] = 1
    for number, *place in blocks:
        added[tuple(slice(*one) for one in place)] = number
    added[given > 0] = 0
    return Completed(LabelMap(given, grid()), LabelMap(added, grid()))


BESIDE = (2, (8, 12), (8, 12), (13, 17))
"""A sacrum of the usual size, one voxel from the femur: their nearest centres lie 20 mm apart."""


def test_a_bone_beside_what_was_seen_is_added() -> None:
    near = (2, (8, 12), (8, 12), (12, 16))

    made = accepted(found(near), KNOWN, STRUCTURES)

    assert made.refused == ()
    assert (made.added.array == 2).sum() == 64


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (BESIDE, NOT_ATTACHED),
        ((2, (8, 12), (8, 12), (12, 13)), "too small: 16 cm3, usual are 64 cm3"),
        ((2, (6, 14), (6, 14), (12, 15)), "too large: 192 cm3, usual are 64 cm3"),
        ((1, (0, 4), (8, 12), (8, 12)), NOT_ATTACHED),
        ((1, (12, 20), (8, 12), (8, 12)), "too large: 192 cm3, usual are 64 cm3"),
    ],
)
def test_what_no_body_has_is_refused_in_words(
    block: tuple[int, Span, Span, Span], words: str
) -> None:
    made = accepted(found(block), KNOWN, STRUCTURES)

    (refused,) = made.refused
    assert refused.number == block[0]
    assert words in refused.reason
    assert not made.added.array.any()


def test_what_the_box_cuts_is_refused() -> None:
    near = replace(found((2, (8, 12), (8, 12), (12, 16))), cut_by_box=frozenset({2}))

    (refused,) = accepted(near, KNOWN, STRUCTURES).refused

    assert refused.reason == CUT


def test_what_goes_on_beyond_the_box_in_people_may_be_cut_by_it() -> None:
    near = replace(found((2, (8, 12), (8, 12), (12, 16))), cut_by_box=frozenset({2}))
    open_ended = (STRUCTURES[0], replace(STRUCTURES[1], ends_in_box=False))

    assert accepted(near, KNOWN, open_ended).refused == ()


@pytest.mark.parametrize("ends_in_box", [True, False])
def test_a_shaft_that_tapers_ends_flat_where_people_have_more_of_it(ends_in_box: bool) -> None:
    """A layer as wide as the femur where the view cuts it, and a point below it."""
    shaft = found((1, (7, 8), (8, 12), (8, 12)), (1, (5, 7), (9, 11), (9, 11)))
    cut = replace(shaft, field=(slice(8, 16), slice(4, 20), slice(4, 20)))
    told = (replace(STRUCTURES[0], ends_in_box=ends_in_box), STRUCTURES[1])

    made = accepted(cut, KNOWN, told)

    assert made.refused == ()
    layers = np.flatnonzero((made.added.array == 1).any(axis=(1, 2)))
    assert layers.tolist() == ([5, 6, 7] if ends_in_box else [7])


def test_a_bone_may_be_joined_by_another_that_is_added() -> None:
    more = (*STRUCTURES, Structure("hip_bone_R", (0, 0, 0), 64_000.0))
    chain = found((2, (8, 12), (8, 12), (12, 16)), (3, (8, 12), (8, 12), (16, 20)))

    assert accepted(chain, KNOWN, more).refused == ()


def test_of_a_bone_that_was_seen_only_what_touches_it_is_added() -> None:
    two = found((1, (12, 13), (8, 12), (8, 12)), (1, (20, 22), (8, 12), (8, 12)))

    made = accepted(two, KNOWN, STRUCTURES)

    assert made.refused == ()
    assert (made.added.array == 1).sum() == 16
    assert not made.added.array[20:].any()


@pytest.mark.parametrize(
    ("extent", "reason"),
    [
        ((40.0, 40.0, 40.0), None),
        ((40.0, 40.0, 50.0), None),
        ((40.0, 40.0, 60.0), "it would measure 40 x 40 x 40 mm, usual are 40 x 40 x 60 mm"),
        ((30.0, 40.0, 40.0), "it would measure 40 x 40 x 40 mm, usual are 30 x 40 x 40 mm"),
    ],
)
def test_a_bone_is_about_as_wide_deep_and_long_as_such_a_bone_is(
    extent: tuple[float, float, float], reason: str | None
) -> None:
    near = found((2, (8, 12), (8, 12), (12, 16)))
    told = (STRUCTURES[0], replace(STRUCTURES[1], extent=extent))

    refused = accepted(near, KNOWN, told).refused

    assert [one.reason for one in refused] == ([reason] if reason else [])


@pytest.mark.parametrize(
    ("layers", "reason"),
    [(4, None), (5, None), (6, "it would have 96 cm3, that of the other side 64 cm3")],
)
def test_the_bone_of_the_other_side_is_about_as_large(layers: int, reason: str | None) -> None:
    more = (STRUCTURES[0], Structure("femur_L", (0, 0, 0), 80_000.0))
    other = found((2, (8, 12), (8, 12), (12, 12 + layers)))

    refused = accepted(other, KNOWN, more).refused

    assert [one.reason for one in refused] == ([reason] if reason else [])


def test_a_bone_that_the_field_cuts_tells_nothing_of_the_size_of_the_other() -> None:
    more = (STRUCTURES[0], Structure("femur_L", (0, 0, 0), 80_000.0))
    other = found((2, (8, 12), (8, 12), (12, 18)))
    cut = replace(other, field=(slice(8, 20), slice(0, 24), slice(0, 24)))

    assert accepted(cut, KNOWN, more).refused == ()


@pytest.mark.parametrize(
    ("wide", "is_refused"),
    # of 4 x 4 voxels, with all that touch them: a row of one touches two rows, of two three
    [(1, True), (2, False), (4, False)],
)
def test_a_bone_goes_on_from_most_of_its_section(wide: int, is_refused: bool) -> None:
    below = found((1, (12, 13), (8, 12), (8, 8 + wide)))
    cut = replace(below, field=(slice(0, 12), slice(0, 24), slice(0, 24)))

    refused = accepted(cut, KNOWN, STRUCTURES).refused

    reasons = [one.reason for one in refused]
    assert bool(reasons) is is_refused
    assert all(one.startswith("it goes on from 50% of the section") for one in reasons)


def test_what_is_asked_is_left_as_it_is() -> None:
    asked = found(BESIDE)
    before = asked.added.array.copy()

    accepted(asked, KNOWN, STRUCTURES)

    assert np.array_equal(asked.added.array, before)


@pytest.mark.parametrize(("layers", "enough"), [(2, True), (1, False)])
def test_half_of_some_bone_must_have_been_seen(layers: int, enough: bool) -> None:
    array = np.zeros((24, 24, 24), np.uint16)
    array[8 : 8 + layers, 8:12, 8:12] = 1

    assert (too_little_seen(LabelMap(array, grid()), KNOWN, STRUCTURES) is None) == enough


def test_what_is_no_known_bone_places_nothing() -> None:
    array = np.ones((4, 4, 4), np.uint16)

    assert too_little_seen(LabelMap(array, grid()), {}, STRUCTURES)
