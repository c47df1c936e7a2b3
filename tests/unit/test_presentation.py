"""What the console makes of a beam: leaves, letters, windows, look-up tables and polarity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.presentation import GLYPHS, collimated, lettered, percentiles, presented, stored

FAR = 1e6


def a_signal(seed: int = 0) -> Tensor:
    return torch.exp(-4 * torch.rand(2, 32, 40, generator=torch.Generator().manual_seed(seed)))


def test_leaves_stand_where_they_are_put_and_half_of_the_light_passes_their_edge() -> None:
    edges = torch.tensor([[8.0, 55.0, -FAR, FAR]])

    light = collimated((64, 48), edges, penumbra_px=1.0, leak=0.01)[0]

    assert light[8, 20].item() == pytest.approx(0.505, abs=1e-3)
    assert light[55, 20].item() == pytest.approx(0.505, abs=1e-3)
    assert light[30].min() > 0.999
    assert light[2].max().item() == pytest.approx(0.01, abs=1e-4)


def test_the_penumbra_is_as_wide_as_asked() -> None:
    """Between 16 and 84 percent lie two standard deviations."""
    edges = torch.tensor([[50.0, FAR, -FAR, FAR]] * 2)

    light = collimated((100, 4), edges, penumbra_px=torch.tensor([2.0, 6.0]), leak=0.0)[:, :, 1]

    for profile, sigma in zip(light, (2.0, 6.0), strict=True):
        inside = ((profile > 0.1587) & (profile < 0.8413)).sum().item()
        assert inside == pytest.approx(2 * sigma, abs=1)


def test_turned_leaves_keep_their_edges_straight() -> None:
    edges = torch.tensor([[16.0, FAR, -FAR, FAR]])

    light = collimated((65, 65), edges, turn_deg=10.0, penumbra_px=0.5)[0]

    where = (light > 0.5).float().argmax(dim=0).double()
    slopes = where.diff()
    assert (where[-1] - where[0]).abs().item() / 64 == pytest.approx(np.tan(np.pi / 18), abs=0.02)
    assert slopes.min() >= -1
    assert slopes.max() <= 1


@pytest.mark.parametrize("letter", sorted(GLYPHS))
def test_letters_cover_what_their_glyph_does(letter: str) -> None:
    lead = lettered((80, 80), letter, centre=(40, 40), height_px=35.0, lead_mm=2.0)

    marks = sum(row.count("#") for row in GLYPHS[letter])
    assert (lead > 1.0).sum().item() == pytest.approx(marks * 25, rel=0.1)
    assert lead.max().item() == pytest.approx(2.0)


def test_letters_can_be_read_and_mirrored() -> None:
    """The foot of an L points to the right of the one who looks."""
    seen, behind = (
        lettered((60, 60), "L", centre=(30, 30), height_px=35.0, is_mirrored=mirrored)
        for mirrored in (False, True)
    )

    foot = seen[45:50].sum(dim=0)
    stem = seen[15:40].sum(dim=0)
    assert stem.argmax() < foot.nonzero().double().mean()
    assert torch.allclose(behind[:, 1:], seen.flip(1)[:, :-1], atol=1e-4)
    with pytest.raises(KeyError):
        lettered((60, 60), "?", centre=(30, 30), height_px=35.0)


def test_letters_turn_counter_clockwise() -> None:
    """A bar turned by 30 degrees leans to the left at its top."""
    bar = lettered((80, 80), "|", centre=(40, 40), height_px=50.0, turn_deg=30.0)

    top = bar[20:30].sum(dim=0).argmax().item()
    bottom = bar[50:60].sum(dim=0).argmax().item()
    assert top < bottom


def test_bone_is_light_and_everything_lies_between_black_and_white() -> None:
    signal = a_signal()

    grey = presented(signal)

    order = signal[0].flatten().argsort()
    assert (grey[0].flatten()[order].diff() <= 0).all()
    assert grey.min() == 0
    assert grey.max() == 1


def test_both_polarities_carry_the_same() -> None:
    signal = a_signal()

    both = presented(torch.cat([signal, signal]), is_inverted=torch.tensor([0, 0, 1, 1]))

    assert torch.allclose(both[:2], 1 - both[2:], atol=1e-6)
    values = [stored(image, bits=12).astype(np.int64) for image in both]
    assert np.abs(values[0] + values[2] - 4095).max() <= 1


def test_a_window_shows_its_ends_as_black_and_white() -> None:
    signal = torch.exp(-torch.tensor([0.5, 1.0, 2.0, 3.0, 3.5])).reshape(1, 1, 5)

    grey = presented(signal, window=torch.tensor([[1.0, 3.0]]))[0, 0]

    assert grey.tolist() == pytest.approx([0, 0, 0.5, 1, 1], abs=1e-5)


def test_the_dose_does_not_change_the_picture() -> None:
    """A factor before the logarithm is a shift after it, which the window takes away."""
    signal = a_signal()

    assert torch.allclose(presented(signal), presented(0.3 * signal), atol=1e-4)


def test_the_window_is_that_of_the_anatomy() -> None:
    signal = torch.exp(-torch.linspace(0, 4, 400)).reshape(1, 20, 20)
    region = torch.zeros(1, 20, 20, dtype=torch.bool)
    region[:, 5:15] = True

    low, high = percentiles(-torch.log(signal), 0.0, 1.0, region)[0].tolist()

    assert low == pytest.approx(4 * 100 / 399, rel=1e-3)
    assert high == pytest.approx(4 * 299 / 399, rel=1e-3)
    nowhere = percentiles(signal, 0.0, 1.0, torch.zeros_like(region))
    assert torch.isfinite(nowhere).all()


@pytest.mark.parametrize(("contrast", "slope"), [(0.0, 1.0), (1.0, 1.313), (2.0, 2.075)])
def test_the_look_up_table_is_steepest_in_the_middle(contrast: float, slope: float) -> None:
    attenuation = torch.linspace(0, 1, 1001).reshape(1, 1, -1)

    grey = presented(torch.exp(-attenuation), window=torch.tensor([[0.0, 1.0]]), contrast=contrast)[
        0, 0
    ]

    assert grey[[0, 500, 1000]].tolist() == pytest.approx([0, 0.5, 1], abs=1e-3)
    assert (grey[505] - grey[495]).item() / 0.01 == pytest.approx(slope, rel=0.01)
    assert (grey.diff() > 0).all()


def test_sharpening_raises_edges_and_leaves_flat_parts() -> None:
    signal = torch.ones(1, 32, 32)
    signal[:, :, 16:] = 0.1
    window = torch.tensor([[-5.0, 10.0]])

    plain, sharp = (presented(signal, window=window, sharpening=s) for s in (0.0, 0.8))

    assert sharp[0, 16, 16] > plain[0, 16, 16] + 0.01
    assert sharp[0, 16, 15] < plain[0, 16, 15] - 0.01
    assert torch.allclose(sharp[0, :, :2], plain[0, :, :2], atol=1e-3)


def test_starved_pixels_are_white_and_finite() -> None:
    signal = a_signal()
    signal[0, 3, 3] = 0.0

    grey = presented(signal)

    assert torch.isfinite(grey).all()
    assert grey[0, 3, 3] == 1


def test_values_fill_the_bits_that_are_stored() -> None:
    values = stored(torch.tensor([[-0.2, 0.0, 0.5, 1.0, 1.2]]), bits=10)

    assert values.dtype == np.uint16
    assert values.tolist() == [[0, 0, 512, 1023, 1023]]
