"""How good a volumetric family is on items it has not seen, view by view.

Overlap at the thresholds of the papers and the F-score at 1 %, beside those of the mean shape of
what was learned from, which looks at no image. Three claims of the families are put to the test:
that more views do not make it worse, that the order of the views hardly matters, and that fusion
withstands a view that shows nothing. Means and intervals are over owners.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, permutations
from statistics import fmean
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.models.recurrent import order_spread, overlap
from pipeline.training.over_people import Interval, by_person, interval
from pipeline.training.volumes_data import Item, Sample, Source
from pipeline.training.voxel_metrics import f_score

THRESHOLDS = (0.3, 0.4)
"""A voxel of a larger probability is filled: of Pix2Vox++ and of 3D-R2N2."""
HALF = 0.5
"""A voxel of which as much is filled is filled."""
NETWORK, MEAN_SHAPE = "network", "mean shape"
LEAST_GAIN = 0.02
"""By three views over one, where the views help as they should."""
LARGEST_SPREAD = 0.02
"""Of the overlap, and of the probabilities, between orders of three views."""
ORDERED = 3
"""Views whose orders are compared, and one of which is corrupted."""
CORRUPTED = 1
"""Which of these is noise."""
LARGEST_WEIGHT = 0.35
"""Of that one."""
MEAN_OF = 200
"""Items that the mean shape is the mean of, at most."""

Occupancy = Callable[..., Tensor]
"""From what `Sample.seen` gives to probabilities (B, D, D, D)."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One item from so many views, by one engine."""

    engine: str
    views: int
    item: str
    owner: str
    category: str
    iou_30: float
    """At the first of `THRESHOLDS`."""
    iou_40: float
    """At the second."""
    f_score: float
    """At the first, as of Pix2Vox++."""


class Condition(NamedTuple):
    """Of which a judgement is one."""

    engine: str
    views: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What a family should show, and whether it did."""

    name: str
    holds: bool
    found: Interval
    """Over owners, of what the name says."""


def judged(
    occupancy: Occupancy,
    mean_shape: Tensor,
    source: Source,
    counts: Sequence[int],
    *,
    seed: int,
    told: Callable[[Judgement], None] = lambda _: None,
) -> list[Judgement]:
    """Every item from each number of views, the first ones of it: the same images at each number.

    Args:
        occupancy: Of the network.
        mean_shape: (D, D, D), 0 to 1.
        source: Items to judge on.
        counts: Numbers of views; larger ones than the source has are left out.
        seed: Of what is drawn for the images.
        told: Is given each judgement of the network.
    """
    found = []
    shown = [count for count in counts if count <= source.views]
    for number, item in enumerate(source.items):
        sample = drawn(source, number, max(shown), seed)
        blind = _judgement(MEAN_SHAPE, 0, item, mean_shape, sample.wanted)
        for views in shown:
            with torch.no_grad():
                made = occupancy(*sample.seen(slice(views)))[0]
            judgement = _judgement(NETWORK, views, item, made, sample.wanted)
            told(judgement)
            found += [judgement, replace(blind, views=views)]
    return found


def mean_shape(source: Source) -> Tensor:
    """(D, D, D): the share of the items that fill each voxel, of up to `MEAN_OF` spread evenly."""
    every = -(-len(source.items) // MEAN_OF)
    numbers = range(0, len(source.items), every)
    return torch.stack([source.wanted(number) for number in numbers]).mean(dim=0)


def by_owner(
    judgements: Sequence[Judgement], measure: str, condition: Condition
) -> dict[str, float]:
    """The mean of each owner."""
    here = [j for j in judgements if Condition(j.engine, j.views) == condition]
    return by_person(here, measure, whose="owner")


def gains(judgements: Sequence[Judgement]) -> list[Claim]:
    """What more views bring, and what the network brings beside the mean shape; paired by owner."""
    counts = sorted({j.views for j in judgements})
    claims = []
    for fewer, more in pairwise(counts):
        gain = _paired(judgements, Condition(NETWORK, more), Condition(NETWORK, fewer))
        name = f"IoU at .4 does not fall from {fewer} to {more} views"
        claims.append(Claim(name, gain.mean >= 0, gain))
    if {1, 3} <= set(counts):
        gain = _paired(judgements, Condition(NETWORK, 3), Condition(NETWORK, 1))
        name = f"three views bring at least {LEAST_GAIN} of IoU at .4 over one"
        claims.append(Claim(name, gain.mean >= LEAST_GAIN, gain))
    for views in counts:
        gain = _paired(judgements, Condition(NETWORK, views), Condition(MEAN_SHAPE, views))
        name = f"IoU at .4 of {views} views is above that of the mean shape"
        claims.append(Claim(name, gain.low > 0, gain))
    return claims


def orders(occupancy: Occupancy, source: Source, *, seed: int) -> list[Claim]:
    """Over all six orders of the first three views: how far apart the answers are."""
    overlaps: dict[str, list[float]] = {}
    probabilities: dict[str, list[float]] = {}
    for number, item in enumerate(source.items):
        sample = drawn(source, number, ORDERED, seed)
        with torch.no_grad():
            made = torch.stack(
                [occupancy(*sample.seen(list(order))) for order in permutations(range(ORDERED))]
            )
        spread = order_spread(made, sample.wanted[None])
        overlaps.setdefault(item.owner, []).append(float(spread.overlap))
        probabilities.setdefault(item.owner, []).append(float(spread.probability))
    return [
        _bounded("spread of IoU at .4 over the orders of three views", overlaps),
        _bounded("mean difference of probabilities between orders", probabilities),
    ]


def corrupted(
    occupancy: Occupancy,
    shares: Callable[..., Tensor],
    source: Source,
    *,
    seed: int,
) -> list[Claim]:
    """What fusion makes of three views, the second of which is noise, beside the plain mean.

    Args:
        occupancy: Of the network.
        shares: From what `Sample.seen` gives to the share of each view (1, V, D, D, D).
        source: Items to judge on.
        seed: Of what is drawn for the images, and of the noise.
    """
    gained: dict[str, list[float]] = {}
    weighed: dict[str, list[float]] = {}
    for number, item in enumerate(source.items):
        sample = drawn(source, number, ORDERED, seed)
        # the channels of a radiograph are one piece of memory
        images, wanted = sample.images.clone(), sample.wanted
        noise = torch.Generator().manual_seed(seed + number)
        images[CORRUPTED] = torch.rand(images[0].shape, generator=noise)
        with torch.no_grad():
            noisy = sample._replace(images=images)
            fused = occupancy(*noisy.seen())
            plain = torch.stack([occupancy(*noisy.seen([n])) for n in range(ORDERED)]).mean(dim=0)
            gain = overlap(fused, wanted[None]) - overlap(plain, wanted[None])
            gained.setdefault(item.owner, []).append(float(gain))
            share = float(shares(*noisy.seen())[0, CORRUPTED].mean())
            weighed.setdefault(item.owner, []).append(share)
    gain_of, share_of = _over_owners(gained), _over_owners(weighed)
    name = "IoU at .4 of the fused volume less that of the plain mean, one view of three noise"
    bound = f"mean share of the view that is noise, below {LARGEST_WEIGHT}"
    return [
        Claim(name, gain_of.mean >= 0, gain_of),
        Claim(bound, share_of.mean < LARGEST_WEIGHT, share_of),
    ]


def drawn(source: Source, number: int, views: int, seed: int) -> Sample:
    """The first views of an item; the same seed, the same images."""
    generator = torch.Generator().manual_seed(seed + 1000 * number)
    return source.sample(number, range(views), generator)


def _judgement(engine: str, views: int, item: Item, made: Tensor, wanted: Tensor) -> Judgement:
    low, high = (float(overlap(made[None], wanted[None], at)) for at in THRESHOLDS)
    score = f_score((made > THRESHOLDS[0]).numpy(), (wanted >= HALF).numpy())
    return Judgement(engine, views, item.name, item.owner, item.category, low, high, score)


def _paired(judgements: Sequence[Judgement], one: Condition, other: Condition) -> Interval:
    """Of each owner the IoU at .4 under one condition, less that under the other."""
    mine, theirs = (by_owner(judgements, "iou_40", condition) for condition in (one, other))
    return interval([mine[owner] - theirs[owner] for owner in mine])


def _over_owners(values: Mapping[str, Sequence[float]]) -> Interval:
    return interval([fmean(one) for one in values.values()])


def _bounded(name: str, values: Mapping[str, Sequence[float]]) -> Claim:
    found = _over_owners(values)
    return Claim(f"{name}, at most {LARGEST_SPREAD}", found.mean <= LARGEST_SPREAD, found)
