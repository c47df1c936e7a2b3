"""What is taken away of a complete map: whole anatomies, or all beyond a plane.

Expected values: `published-models.md` 4.1 and 9, row 22.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.training.label_maps import Labels
from pipeline.training.removing import SHARES, cut_off, without_anatomies


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
