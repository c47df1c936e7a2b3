"""Means over people, of the mean of each, and how sure they are.

Who has more samples weighs no more. Whatever is judged here is told so: a judgement is any
dataclass that knows its person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol

import numpy as np


class Judged(Protocol):
    """What was found of one sample of a person."""

    @property
    def person(self) -> str:
        """Whose sample it is."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over people, and where 95 % of the means of as many people drawn anew lie."""

    mean: float
    low: float
    high: float


def by_person(judgements: Sequence[Judged], measure: str) -> dict[str, float]:
    """The mean of each person over the samples; `measure` is an attribute of the judgements."""
    people = dict.fromkeys(one.person for one in judgements)
    return {
        person: fmean(getattr(one, measure) for one in judgements if one.person == person)
        for person in people
    }


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
