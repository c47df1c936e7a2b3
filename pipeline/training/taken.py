"""How far a training has come."""

from __future__ import annotations

from dataclasses import dataclass

SINCE = " since the weights "


@dataclass(frozen=True, slots=True)
class Taken:
    """The steps that were taken, and with which weights they began, if not with chance."""

    steps: int
    begun: str = ""
    """The weights, in words: their file, and what they say of their own training."""

    def __str__(self) -> str:
        """As "3,900 steps", or "40 steps since the weights knee.safetensors 1a2b3c (..)"."""
        return f"{self.steps:,} steps{self.since}"

    @property
    def since(self) -> str:
        """What follows the steps, in words; nothing where they began with chance."""
        return f"{SINCE}{self.begun}" if self.begun else ""
