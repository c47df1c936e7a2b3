"""How volumetric families are judged: overlap, F-score, more views, their order, a bad view."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.training.volumes_data import Item, Sample, Source
from pipeline.training.volumes_judging import (
    MEAN_SHAPE,
    NETWORK,
    Claim,
    Condition,
    by_owner,
    corrupted,
    gains,
    judged,
    mean_shape,
    orders,
)
from pipeline.training.volumes_table import as_json, as_markdown
from pipeline.training.voxel_metrics import f_score

SIZE = 16
OWNERS = ("ann", "ann", "bea", "cay")


def _truth(number: int) -> Tensor:
    """(16, 16, 16): a box 4 + number voxels high."""
    made = torch.zeros(SIZE, SIZE, SIZE)
    made[2 : 6 + number, 4:12, 4:12] = 1.0
    return made


def _sample(number: int, views: range | list[int], generator: torch.Generator) -> Sample:
    """Each image is filled with the height of the box; view v is marked by its first column."""
    images = torch.full((len(views), 3, 4, 4), (4 + number) / SIZE)
    for place, view in enumerate(views):
        images[place, :, :, 0] = view / 8
    return Sample(images, _truth(number))


@pytest.fixture
def source() -> Source:
    items = tuple(Item(f"{n}", owner, "box") for n, owner in enumerate(OWNERS))
    return Source(items, 5, _sample, _truth)  # type: ignore[arg-type]  # ranges are sequences


def _box(height: Tensor) -> Tensor:
    made = torch.zeros(SIZE, SIZE, SIZE)
    made[2 : 2 + round(float(height) * SIZE), 4:12, 4:12] = 1.0
    return made


def _knows(images: Tensor) -> Tensor:
    """The truth of each sample, whatever the number of views."""
    return torch.stack([_box(one[0, 0, -1, -1]) for one in images])


def _blurred(share: Callable[[int], float], images: Tensor) -> Tensor:
    """The truth, of which a part is lost that depends on the number of views."""
    made = _knows(images)
    made[:, :, : 4 + round(8 * share(images.shape[1]))] = 0
    return made


def test_who_knows_the_truth_has_every_measure_full(source: Source) -> None:
    found = judged(_knows, torch.zeros(SIZE, SIZE, SIZE), source, [1, 5, 8], seed=1)
    mine = [j for j in found if j.engine == NETWORK]
    assert [(j.item, j.views) for j in mine] == [(f"{n}", v) for n in range(4) for v in (1, 5)]
    for one in mine:
        assert (one.iou_30, one.iou_40, one.f_score) == (1.0, 1.0, 1.0)


def test_the_overlap_is_that_of_a_hand_at_each_threshold(source: Source) -> None:
    # of a box 4 high, at .35 all of its 8 x 8 columns, at .45 half of them
    sure = torch.zeros(SIZE, SIZE, SIZE)
    sure[2:6, 4:12, 4:12] = 0.35
    sure[2:6, 4:8, 4:12] = 0.45
    found = judged(lambda _: sure[None], torch.zeros_like(sure), source, [1], seed=1)
    assert (found[0].iou_30, found[0].iou_40) == (1.0, 0.5)
    # an item of height 7: 4 x 64 of 7 x 64 voxels
    assert found[6].iou_30 == pytest.approx(4 / 7)


def test_the_mean_shape_is_the_share_of_items_that_fill_a_voxel(source: Source) -> None:
    shape = mean_shape(source)
    heights = [float(shape[2 + n, 5, 5]) for n in range(8)]
    assert heights == [1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]


def test_an_owner_counts_once_however_many_items_it_has(source: Source) -> None:
    sure = _truth(1)
    found = judged(lambda _: sure[None], torch.zeros_like(sure), source, [1], seed=1)
    means = by_owner(found, "iou_40", Condition(NETWORK, 1))
    assert means == {
        "ann": pytest.approx((4 / 5 + 1) / 2),
        "bea": pytest.approx(5 / 6),
        "cay": pytest.approx(5 / 7),
    }


def _claims(found: list[Claim], words: str) -> list[bool]:
    return [claim.holds for claim in found if words in claim.name]


def test_more_views_that_help_are_seen_to_help(source: Source) -> None:
    better = partial(_blurred, lambda views: 0.4 / views)
    found = gains(judged(better, mean_shape(source), source, [1, 3, 5], seed=1))
    assert _claims(found, "does not fall") == [True, True]
    assert _claims(found, "bring at least") == [True]


def test_more_views_that_harm_are_seen_to_harm(source: Source) -> None:
    worse = partial(_blurred, lambda views: 0.1 * views)
    found = gains(judged(worse, mean_shape(source), source, [1, 3, 5], seed=1))
    assert _claims(found, "does not fall") == [False, False]
    assert _claims(found, "bring at least") == [False]


def test_who_looks_at_nothing_is_no_better_than_the_mean_shape(source: Source) -> None:
    shape = _truth(5)
    blind = gains(judged(lambda _: shape[None], shape, source, [1], seed=1))
    seeing = gains(judged(_knows, shape, source, [1], seed=1))
    assert _claims(blind, MEAN_SHAPE) == [False]
    assert _claims(seeing, MEAN_SHAPE) == [True]


def test_the_same_views_are_shown_at_every_number_of_them(source: Source) -> None:
    seen: list[Tensor] = []

    def watches(images: Tensor) -> Tensor:
        seen.append(images[0])
        return _knows(images)

    judged(watches, _truth(0), source, [1, 3], seed=1)
    assert torch.equal(seen[1][:1], seen[0])


def test_an_engine_that_adds_does_not_depend_on_the_order(source: Source) -> None:
    assert all(claim.holds for claim in orders(_knows, source, seed=1))


def test_an_engine_that_trusts_the_first_view_alone_depends_on_the_order(source: Source) -> None:
    def hasty(images: Tensor) -> Tensor:
        made = _knows(images)
        # the second view of an item leads it astray
        return torch.where(images[:, 0, 0, 0, 0, None, None, None] == 1 / 8, 0 * made, made)

    assert [claim.holds for claim in orders(hasty, source, seed=1)] == [False, False]


def _equal_shares(images: Tensor) -> Tensor:
    return torch.full((*images.shape[:2], SIZE, SIZE, SIZE), 1 / images.shape[1])


def test_fusion_that_finds_the_noise_beats_the_plain_mean(source: Source) -> None:
    def is_noise(image: Tensor) -> bool:
        return float(image[0, :, 1:].std()) > 0.01

    def alone(image: Tensor, truth: Tensor) -> Tensor:
        return 1 - truth if is_noise(image) else truth

    def fuses(images: Tensor) -> Tensor:
        truth = _box(images[0, 0, 0, -1, -1])
        if images.shape[1] == 1:
            return alone(images[0, 0], truth)[None]
        return truth[None]

    fused = corrupted(fuses, lambda images: 0.3 * _equal_shares(images), source, seed=1)
    assert [claim.holds for claim in fused] == [True, True]


def test_a_fusion_that_is_the_plain_mean_gains_nothing(source: Source) -> None:
    def means(images: Tensor) -> Tensor:
        return images[:, :, 0, -1, -1].mean(dim=1)[:, None, None, None].expand(1, *(SIZE,) * 3)

    gain, share = corrupted(means, _equal_shares, source, seed=1)
    assert gain.found.mean == pytest.approx(0.0, abs=1e-6)
    assert share.found.mean == pytest.approx(1 / 3)


def _cube(size: int, first: int, *, moved: int = 0) -> NDArray[np.bool_]:
    made = np.zeros((size, size, size), np.bool_)
    made[first + moved : first + moved + 20, first : first + 20, first : first + 20] = True
    return made


def test_surfaces_that_are_the_same_score_fully_and_none_scores_nothing() -> None:
    cube = _cube(32, 4)
    assert f_score(cube, cube) == 1.0
    assert f_score(np.zeros_like(cube), cube) == 0.0
    assert f_score(cube, np.zeros_like(cube)) == 0.0
    assert f_score(np.zeros_like(cube), np.zeros_like(cube)) == 1.0


def test_a_cube_that_is_moved_by_a_voxel_is_missed_by_the_two_faces_that_left() -> None:
    # 1 % of 64 voxels is less than the one by which they moved: of four of six sides, each 20 x 20,
    # all but a row stays
    assert f_score(_cube(64, 10), _cube(64, 10, moved=1)) == pytest.approx(4 * 19 * 20 / 2400)
    # and 1 % of 128 voxels is more
    assert f_score(_cube(128, 10), _cube(128, 10, moved=1)) == 1.0


def test_tables_name_engines_views_and_claims(source: Source) -> None:
    found = judged(_knows, mean_shape(source), source, [1, 3], seed=1)
    claims = gains(found)
    lines = as_markdown(found, claims).splitlines()
    assert lines[0].startswith("| box | views | items | owners | IoU at .3")
    assert "| network | 3 | 4 | 3 | 1.000 (1.000 to 1.000) |" in "\n".join(lines)
    assert sum(line.startswith("| mean shape |") for line in lines) == 2
    told = json.loads(json.dumps(as_json(found, claims)))
    assert len(told["items"]) == 16
    assert {claim["name"] for claim in told["claims"]} == {claim.name for claim in claims}
