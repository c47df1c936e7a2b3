"""Row 31 of the specification for radiographs as a PACS has them: displayed, in 8 bits.

A displayed image has lost its scale and, behind soft tissue, the slow part of its line integrals.
So the tenfold fall of the reprojection error holds against the integrals that are made of it: the
network's, with the fine detail of the radiograph. Against the true ones the error falls, by as much
as detail is of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pipeline.models.tomography import detailed, guided, integrals_of
from pipeline.presentation import presented, stored
from pipeline.radiograph import exposure
from tests.factories import radiograph
from tests.soft_balls import balls, grained, mistaken, rms

SIZE, REACH = 96, 10
PATH = torch.full((SIZE, SIZE), 2.0)
PER_MM = 0.04
"""Attenuation of the densest bone."""


class Seen(NamedTuple):
    """A radiograph as it was read from its file."""

    image: Tensor
    """(1, H, W)."""
    is_valid: Tensor


def lines(volume: Tensor) -> Tensor:
    """(1, H, W) mm, by the definition of a line integral."""
    return (volume * PATH).sum(dim=1)


def from_the_console(truth: Tensor, *, contrast: float, photometric: str) -> Seen:
    """Bone behind a thigh that thins out to one side, in 8 bits with this film curve."""
    thigh = torch.linspace(1.0, 2.0, SIZE)
    shown = presented(torch.exp(-(thigh + PER_MM * lines(truth))), contrast=contrast)
    pixels = stored(shown, bits=8)[0].astype(np.uint8)
    is_dark = photometric == "MONOCHROME1"
    ds = radiograph(
        pixels=255 - pixels if is_dark else pixels,
        PhotometricInterpretation=photometric,
        PresentationLUTShape="INVERSE" if is_dark else "IDENTITY",
    )
    read = exposure(ds)
    return Seen(torch.from_numpy(read.attenuation)[None], torch.from_numpy(read.is_valid)[None])


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("contrast", [0.0, 1.5])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_fusion_explains_a_displayed_radiograph_and_does_not_hurt_the_volume(
    seed: int, contrast: float, photometric: str
) -> None:
    truth = grained(balls(seed, planes=24, size=SIZE, edge=24.0), seed)
    coarse = mistaken(truth, seed)
    seen = from_the_console(truth, contrast=contrast, photometric=photometric)

    made = detailed(coarse, seen.image, seen.is_valid, PATH, reach=REACH)

    before = interpolate(coarse.clamp(min=0), size=(SIZE, SIZE), mode="bilinear")
    asked = guided(seen.image, seen.is_valid, integrals_of(coarse, PATH), reach=REACH)
    within = seen.is_valid
    assert within.float().mean() > 0.9
    misfit, left = (rms((lines(v) - asked)[within]) for v in (before, made))
    assert left < misfit / 10
    assert left < 0.01 * float(asked.max())
    assert made.min() >= 0
    where = within[:, None].expand_as(truth)
    assert rms((made - truth)[where]) < rms((before - truth)[where])
    truly = [rms((lines(v) - lines(truth))[within]) for v in (before, made)]
    assert truly[1] < 0.97 * truly[0]


def test_eight_bits_change_next_to_nothing_of_what_twelve_say() -> None:
    truth = grained(balls(0, planes=24, size=SIZE, edge=24.0), 0)
    coarse, thigh = mistaken(truth, 0), torch.linspace(1.0, 2.0, SIZE)
    shown = presented(torch.exp(-(thigh + PER_MM * lines(truth))))
    valid = torch.ones(1, SIZE, SIZE, dtype=torch.bool)

    few, many = (
        torch.from_numpy(stored(shown, bits).astype(np.float32) / (2**bits - 1)) for bits in (8, 12)
    )
    made = [detailed(coarse, image, valid, PATH, reach=REACH) for image in (few, many)]

    assert rms(made[0] - made[1]) < 0.05 * rms(made[1] - truth)
