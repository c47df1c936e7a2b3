"""Means over people, of the mean of each, and how sure they are.

Who has more samples weighs no more. What is measured differs from family to family, and stands with
it; how it is told does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over people, and where 95 % of the means of as many people drawn anew lie."""

    mean: float
    low: float
    high: float


def by_person(
    judgements: Sequence[object], measure: str, *, whose: str = "person"
) -> dict[str, float]:
    """The mean of each person over the samples, in the order in which people come.

    Args:
        judgements: Dataclasses, one a sample.
        measure: The name of a number of theirs.
        whose: The name of what tells people, or things, apart.
    """
    values: dict[str, list[float]] = {}
    for one in judgements:
        values.setdefault(getattr(one, whose), []).append(getattr(one, measure))
    return {who: fmean(own) for who, own in values.items()}


def interval(values: Sequence[float], *, seed: int = 7) -> Interval:
    """The mean of one value a person, and its 95 % bootstrap interval over people."""
    of = np.asarray(values, np.float64)
    draws = np.random.default_rng(seed).integers(len(of), size=(2000, len(of)))
    low, high = np.percentile(of[draws].mean(axis=1), (2.5, 97.5))
    return Interval(float(of.mean()), float(low), float(high))


def told(of: Interval, digits: int, sign: str = "") -> str:
    """An interval as a table shows it."""
    mean, low, high = (f"{value:{sign}.{digits}f}" for value in (of.mean, of.low, of.high))
    return f"{mean} ({low} to {high})"
