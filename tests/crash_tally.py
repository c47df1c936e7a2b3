"""What a run of the crash matrix comes to: a table by point, for whoever asks how it was tested."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

LINE: Final = "{:<18}{:>8}{:>8}{:>12}{:>10}"


@dataclass(slots=True)
class Count:
    """Of one point."""

    rounds: int = 0
    kills: int = 0
    violations: int = 0
    """Rounds in which the point was not reached, or what must hold did not."""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts by the name of the point."""

    counts: dict[str, Count] = field(default_factory=dict)

    @contextmanager
    def round(self, point: str) -> Iterator[Count]:
        """What is done within is one round; whoever kills counts it."""
        count = self.counts.setdefault(point, Count())
        count.rounds += 1
        began = time.monotonic()
        try:
            yield count
        except BaseException:
            count.violations += 1
            raise
        finally:
            count.seconds += time.monotonic() - began

    def lines(self) -> Iterator[str]:
        """The table: the points in the order in which they were reached first, and the sum."""
        yield LINE.format("point", "rounds", "kills", "violations", "s a round")
        for point, count in self.counts.items():
            yield _line(point, count)
        every = self.counts.values()
        yield _line(
            "all",
            Count(
                sum(count.rounds for count in every),
                sum(count.kills for count in every),
                sum(count.violations for count in every),
                sum(count.seconds for count in every),
            ),
        )


def _line(name: str, count: Count) -> str:
    a_round = f"{count.seconds / max(count.rounds, 1):.1f}"
    return LINE.format(name, count.rounds, count.kills, count.violations, a_round)
