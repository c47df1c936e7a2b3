"""Pairs to learn and to judge completion from: of an archive of ours, or of a published folder.

From an archive every pair is drawn anew: a person, varied, with something taken away. A published
folder holds its pairs; nothing in them is varied.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.training.completion_layout import PublishedPerson, people_in, read_map
from pipeline.training.completion_settings import CompletionRun
from pipeline.training.label_maps import (
    LabelledPerson,
    LabelMaps,
    Labels,
    Triple,
    mirrored_numbers,
    zoomed,
)
from pipeline.training.removing import (
    SHARES,
    about_a_joint,
    cut_off,
    incomplete,
    varied,
    without_anatomies,
)
from pipeline.training.settings import RunFault

CUT = "cut off"
"""What a pair is called whose map a plane cuts."""
JOINT = "about a joint"
"""And one that has what a reconstruction of a joint would have."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A map and what is left of it, (size, size, size) both."""

    complete: Labels
    incomplete: Labels


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A pair of somebody who is left out."""

    person: str
    condition: str
    """How much is missing."""
    pair: Pair
    unjudged: tuple[int, ...] = ()
    """Labels that are not truly this person's own."""


class Pairs(Protocol):
    """Where pairs come from."""

    @property
    def names(self) -> tuple[str, ...]:
        """The labels, from number 1."""

    @property
    def box_mm(self) -> Triple | None:
        """Edges of the maps along z, y, x, where the source says them."""

    @property
    def licence(self) -> str:
        """Of the maps, as far as the source says it."""

    def drawn(self, count: int, random: np.random.Generator) -> list[Pair]:
        """`count` incomplete maps of one complete map, to learn from."""

    def learned(self) -> Iterator[Labels]:
        """The complete maps that are learned from, as they stand."""

    def judged(self) -> Iterator[JudgedPair]:
        """The pairs that are judged."""


@dataclass(frozen=True, slots=True)
class ArchivePairs:
    """Pairs of an archive."""

    maps: LabelMaps
    run: CompletionRun

    @property
    def names(self) -> tuple[str, ...]:
        """The labels, from number 1."""
        return self.maps.names

    @property
    def box_mm(self) -> Triple:
        """Edges of the box along z, y, x."""
        return self.maps.box_mm

    @property
    def licence(self) -> str:
        """Those of all people that are learned from."""
        return "; ".join(sorted({one.licence for one in self.maps.trained_in(self.run.fold)}))

    def drawn(self, count: int, random: np.random.Generator) -> list[Pair]:
        """A person who is not judged, varied once, and incomplete in `count` ways."""
        people = self.maps.trained_in(self.run.fold)
        person = people[int(random.integers(len(people)))]
        complete = varied(
            _whole(self.maps, person),
            self.maps.box_mm,
            self.run.network.size,
            mirrored_numbers(self.maps.names),
            self.run.variety,
            random,
        )
        return [
            Pair(complete, incomplete(complete, self.maps.box_mm, self.run.variety, random))
            for _ in range(count)
        ]

    def learned(self) -> Iterator[Labels]:
        """The people that are not judged, and their mirror images."""
        mirror = mirrored_numbers(self.maps.names)
        for person in self.maps.trained_in(self.run.fold):
            labels = self._zoomed(person)
            yield labels
            yield mirror[labels[..., ::-1]]

    def judged(self) -> Iterator[JudgedPair]:
        """Each person left out with whole anatomies missing, and as often cut by a plane.

        As often, too, with what a reconstruction would have, where the weights are to complete one.

        Raises:
            RunFault: nobody is left out.
        """
        if self.run.fold is None:
            raise RunFault("fold is none: everyone was learned from, nobody is left to judge on")
        for number, person in enumerate(self.maps.judged_in(self.run.fold)):
            complete = self._zoomed(person)
            borrowed = tuple(self.names.index(name) + 1 for name in person.borrowed)
            for instance in range(self.run.judged_instances):
                random = np.random.default_rng([self.run.judged_seed, number, instance])
                share = SHARES[instance % len(SHARES)]
                left = without_anatomies(complete, share, random)
                pair = Pair(complete, left)
                yield JudgedPair(person.person, f"at least {share:.0%} missing", pair, borrowed)
                left = cut_off(complete, random.uniform(SHARES[0], SHARES[-1]), random)
                yield JudgedPair(person.person, CUT, Pair(complete, left), borrowed)
                if self.run.regions:
                    among = self.run.variety.joint_labels
                    left = about_a_joint(complete, self.maps.box_mm, random, among)
                    yield JudgedPair(person.person, JOINT, Pair(complete, left), borrowed)

    def _zoomed(self, person: LabelledPerson) -> Labels:
        return zoomed(_whole(self.maps, person), (self.run.network.size,) * 3)


@cache
def _whole(maps: LabelMaps, person: LabelledPerson) -> Labels:
    """The archives are small: each map is unpacked once."""
    return maps.labels(person)


@dataclass(frozen=True, slots=True)
class PublishedPairs:
    """Pairs of a folder in the published layout."""

    people: tuple[PublishedPerson, ...]
    left_out: tuple[PublishedPerson, ...]
    names: tuple[str, ...]
    size: int
    box_mm: Triple | None = None
    licence: str = ""

    def drawn(self, count: int, random: np.random.Generator) -> list[Pair]:
        """A person of `train` and `count` of the incomplete maps."""
        person = self.people[int(random.integers(len(self.people)))]
        chosen = random.integers(len(person.incomplete), size=count)
        complete = self._read(person.full)
        return [Pair(complete, self._read(person.incomplete[int(n)])) for n in chosen]

    def learned(self) -> Iterator[Labels]:
        """The complete maps of `train`."""
        for person in self.people:
            yield self._read(person.full)

    def judged(self) -> Iterator[JudgedPair]:
        """The pairs of `test`."""
        for person in self.left_out:
            complete = self._read(person.full)
            for path in person.incomplete:
                yield JudgedPair(person.person, "published", Pair(complete, self._read(path)))

    def _read(self, path: Path) -> Labels:
        return zoomed(read_map(path, len(self.names)), (self.size,) * 3)


def pairs_of(run: CompletionRun) -> Pairs:
    """The pairs of a run.

    Raises:
        RunFault: the archive is not there, or the folder has another layout.
    """
    if run.archive is not None:
        if not run.archive.exists():
            raise RunFault(f"There is no archive {run.archive}: make it with label_sets")
        return ArchivePairs(LabelMaps.load(run.archive), run)
    if run.published is None:
        raise RunFault("A run has either the key archive or the key published")
    people, left_out = (people_in(run.published / part) for part in ("train", "test"))
    return PublishedPairs(people, left_out, run.names, run.network.size)
