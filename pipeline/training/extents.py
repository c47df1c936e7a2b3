"""How far bones reach, as cameras see them: what is known of them once they are shadows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.beam import beam, source_to_detectors, source_to_isocentres, towards_pixels
from pipeline.types import View

LEAST_BONE_MM = 1.0


class Extent(NamedTuple):
    """How far something reaches, LPS mm about the isocentre: x and y, (2,) each."""

    low: Tensor
    high: Tensor


def extent(thickness: Tensor, views: Sequence[View]) -> Extent:
    """How far bones reach to either side, to the front and to the back, as cameras see them.

    Args:
        thickness: (N, H, W) mm of bone.
        views: Their cameras. A direction that none of them sees from the side is said to be empty.
    """
    low, high = torch.zeros(2), torch.zeros(2)
    for bone, seen_by in zip(thickness, views, strict=True):
        shown = beam([seen_by])
        ways = towards_pixels(shown)[0][bone > LEAST_BONE_MM]
        if not len(ways):
            continue
        enlarged = source_to_detectors(shown)[0] / source_to_isocentres(shown)[0]
        places = (shown.source[0] + ways / enlarged)[:, :2].float()
        low = torch.minimum(low, places.amin(dim=0))
        high = torch.maximum(high, places.amax(dim=0))
    return Extent(low, high)
