"""Attenuation, spectra, scatter, blur and noise, against tables and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.acquisition import Acquisition, acquired, drawn
from pipeline.beam import Beam, beam, pitches, source_to_detectors, source_to_isocentres
from pipeline.camera import camera
from pipeline.materials import (
    ENERGIES_KEV,
    Material,
    density_of,
    linear_attenuation,
    mass_attenuation,
)
from pipeline.physics import blurred, counted, focus_sigma, scattered, transmitted
from pipeline.tube import photons, spectrum
from pipeline.types import ViewName

BONE, SOFT = Material.CORTICAL_BONE, Material.SOFT_TISSUE


def a_beam(pixels: int = 48) -> Beam:
    view = camera(
        ViewName.AP,
        source_to_detector=1150.0,
        source_to_patient=1000.0,
        row_spacing=0.5,
        column_spacing=0.5,
        rows=pixels,
        columns=pixels,
    )
    return beam([view])


def one_band(kev: float) -> Tensor:
    return torch.from_numpy(np.abs(ENERGIES_KEV - kev) < 2.5).float()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("material", "kev", "expected"),
    [  # cm2/g, XCOM and NISTIR 5632
        (BONE, 30, 1.331),
        (BONE, 60, 0.3148),
        (Material.WATER, 60, 0.2059),
        (SOFT, 100, 0.1693),
        (Material.TITANIUM, 80, 0.4052),
        (Material.STEEL, 60, 1.205),
        (Material.LEAD, 100, 5.549),
    ],
)
def test_coefficients_are_those_of_nist(material: Material, kev: float, expected: float) -> None:
    assert mass_attenuation(material, np.array([float(kev)]))[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("material", "edge", "jump"),
    [  # the ratio across the K edge
        (Material.TUNGSTEN, 69.525, 4.4),
        (Material.LEAD, 88.005, 4.0),
        (Material.CAESIUM_IODIDE, 33.17, 3.1),
    ],
)
def test_attenuation_jumps_at_the_edges(material: Material, edge: float, jump: float) -> None:
    below, above = mass_attenuation(material, np.array([edge - 0.01, edge + 0.01]))

    assert above / below == pytest.approx(jump, rel=0.02)


def test_between_the_tabled_energies_everything_falls_but_at_edges() -> None:
    smooth = [BONE, SOFT, Material.FAT, Material.WATER, Material.TITANIUM, Material.COBALT_CHROME]

    attenuation = linear_attenuation(smooth)

    assert (attenuation.diff(dim=1) < 0).all()
    assert attenuation.shape == (len(smooth), len(ENERGIES_KEV))


def test_water_is_a_fifth_per_cm_at_60_kev() -> None:
    per_mm = linear_attenuation([Material.WATER], np.array([60.0]))

    assert per_mm.item() == pytest.approx(0.02059)
    assert density_of(Material.WATER) == 1.0


def test_energies_beyond_the_table_are_refused() -> None:
    with pytest.raises(ValueError, match="150 keV"):
        mass_attenuation(BONE, np.array([200.0]))


@pytest.mark.parametrize(
    ("kvp", "aluminium", "mean_kev", "half_value_mm"),
    [  # SpekPy 2.5.4, tungsten, 12 degrees
        (50, 2.5, 32.22, 1.75),
        (60, 2.5, 35.95, 2.08),
        (75, 3.0, 42.06, 2.84),
        (90, 2.5, 46.18, 3.09),
        (110, 4.0, 54.53, 4.88),
        (125, 3.0, 56.62, 4.81),
    ],
)
def test_the_tube_is_that_of_spekpy(
    kvp: float, aluminium: float, mean_kev: float, half_value_mm: float
) -> None:
    kev = np.arange(15.5, 150)
    behind = [photons(kvp, aluminium + more) for more in (0.0, half_value_mm)]

    mean = (behind[0] * kev).sum() / behind[0].sum()
    # air kerma: mass energy absorption of dry air, NISTIR 5632
    tabled = (
        [15, 20, 30, 40, 50, 60, 80, 100, 150],
        [1.334, 0.5389, 0.1537, 0.06833, 0.04098, 0.03041, 0.02407, 0.02325, 0.02496],
    )
    in_air = np.exp(np.interp(np.log(kev), *(np.log(column) for column in tabled)))
    kerma = [(n * kev * in_air).sum() for n in behind]
    assert mean == pytest.approx(mean_kev, abs=0.6)
    assert kerma[1] / kerma[0] == pytest.approx(0.5, abs=0.02)


def test_no_photon_has_more_energy_than_the_voltage_gives() -> None:
    tube = spectrum(75.0)

    assert tube.sum().item() == pytest.approx(1.0)
    assert tube[ENERGIES_KEV > 77.5].abs().max() == 0
    assert (tube >= 0).all()


def test_filters_and_voltage_harden_the_beam() -> None:
    tubes = [
        spectrum(70.0),
        spectrum(70.0, aluminium_mm=6.0),
        spectrum(70.0, copper_mm=0.3),
        spectrum(110.0, copper_mm=0.3),
    ]

    means = [float((tube.numpy() * ENERGIES_KEV).sum()) for tube in tubes]

    assert means == sorted(means)
    with pytest.raises(ValueError, match="voltage"):
        spectrum(400.0)


def test_one_energy_is_beer_and_lambert() -> None:
    lengths = torch.tensor([12.0, 150.0]).reshape(1, 2, 1, 1)

    seen = transmitted(lengths, [BONE, SOFT], one_band(62.5)).item()

    in_bone, in_soft = linear_attenuation([BONE, SOFT], np.array([62.5]))[:, 0].tolist()
    assert seen == pytest.approx(math.exp(-12 * in_bone - 150 * in_soft), rel=1e-5)


def test_beam_hardening_bends_the_line_downwards() -> None:
    """Every further mm takes away less, and all less than the open beam's mean would say."""
    mm = torch.linspace(0, 40, 81)
    tube = spectrum(75.0)

    log = -torch.log(transmitted(mm.reshape(1, 1, 1, -1), [BONE], tube))[0, 0]

    slopes = log.diff() / mm.diff()
    in_open_beam = float((linear_attenuation([BONE])[0] * tube).sum())
    assert (slopes.diff() < 0).all()
    assert (slopes > 0).all()
    assert (log[1:] < in_open_beam * mm[1:]).all()
    assert slopes[0].item() == pytest.approx(in_open_beam, rel=0.03)


def test_the_open_beam_is_one_and_each_view_has_its_own_tube() -> None:
    lengths = torch.zeros(2, 1, 4, 4)
    tubes = torch.stack([spectrum(60.0), spectrum(110.0)])

    assert torch.allclose(transmitted(lengths, [BONE], tubes), torch.ones(2, 4, 4))
    soft, hard = transmitted(lengths + 20, [BONE], tubes)[:, 0, 0]
    assert hard > 1.5 * soft


def test_metal_is_whiter_than_bone_and_lead_lets_nothing_through() -> None:
    metals = [BONE, Material.TITANIUM, Material.STEEL, Material.COBALT_CHROME, Material.LEAD]
    lengths = 3.0 * torch.eye(len(metals)).reshape(len(metals), len(metals), 1, 1)

    seen = transmitted(lengths, metals, spectrum(75.0))[:, 0, 0].tolist()

    assert seen == sorted(seen, reverse=True)
    assert seen[-1] < 1e-4
    with pytest.raises(ValueError, match="5 lengths of 1"):
        transmitted(lengths, [BONE], spectrum(75.0))


def test_transmission_has_gradients_for_lengths() -> None:
    lengths = torch.full((1, 1, 2, 2), 10.0, requires_grad=True)

    transmitted(lengths, [BONE], spectrum(75.0)).sum().backward()

    assert lengths.grad is not None
    assert (lengths.grad < 0).all()


def test_scatter_has_the_ratio_that_is_asked_for() -> None:
    transmission = torch.ones(2, 64, 64)
    transmission[:, 16:48, 16:48] = 0.05

    seen = scattered(transmission, torch.tensor([0.5, 2.0]), 12.0)

    over_primary = (seen / transmission)[:, 16:48, 16:48]
    assert over_primary.log().mean(dim=(1, 2)).exp().tolist() == pytest.approx([0.5, 2.0], rel=1e-4)


def test_lead_in_the_beam_does_not_drown_the_body_in_scatter() -> None:
    transmission = torch.full((2, 64, 64), 0.05)
    transmission[1, 2:8, 2:8] = 1e-7

    seen = scattered(transmission, 1.0, 12.0)

    assert seen[1, 40, 40].item() == pytest.approx(seen[0, 40, 40].item(), rel=0.1)


def test_scatter_is_wide_and_does_not_come_from_air() -> None:
    transmission = torch.ones(1, 64, 64)
    transmission[:, 16:48, 16:48] = 0.05

    seen = scattered(transmission, 1.0, 16.0)[0]

    assert scattered(torch.ones(1, 32, 32), 1.0, 8.0).abs().max() < 1e-6
    assert seen.argmax() // 64 in range(28, 36)
    assert seen.diff(dim=0).abs().max() < 0.1 * seen.max()  # no edge of the body in it
    assert seen[0, 0] > 0


def test_less_light_gives_less_scatter() -> None:
    transmission = torch.full((1, 64, 64), 0.1)
    light = torch.ones(1, 64, 64)
    light[:, :, :32] = 0

    seen = scattered(transmission, 1.0, 6.0, light=light)[0]

    assert seen[32, 60] > 5 * seen[32, 3]


@pytest.mark.parametrize("sigma", [0.8, 2.0])
def test_blur_has_the_gaussian_transfer_function(sigma: float) -> None:
    period = 8
    wave = torch.cos(2 * math.pi * torch.arange(128) / period).expand(1, 128, 128)

    seen = blurred(wave, sigma)[0, 64, 32:96]

    expected = math.exp(-2 * (math.pi * sigma / period) ** 2)
    assert seen.max().item() == pytest.approx(expected, rel=0.01)


def test_blur_keeps_the_signal_and_none_changes_nothing() -> None:
    images = torch.rand(2, 20, 30, generator=seeded())

    assert torch.allclose(blurred(images, 0.0), images)
    assert torch.allclose(blurred(torch.ones(1, 9, 9), 3.0), torch.ones(1, 9, 9))
    each = blurred(images, torch.tensor([0.0, 2.0]))
    assert torch.allclose(each[0], images[0])
    assert each[1].std() < images[1].std()


def test_the_penumbra_is_the_focus_seen_through_the_point() -> None:
    """1 mm of focus at magnification 1.5 is half a mm wide; FWHM is 2.355 sigma."""
    mm = focus_sigma(torch.tensor(1.0), torch.tensor(1500.0), torch.tensor(1000.0))

    assert mm.item() == pytest.approx(0.5 / 2.355, rel=1e-3)


def test_counts_have_the_mean_and_the_variance_of_poisson() -> None:
    signal = torch.full((2, 300, 300), 0.2)

    seen = counted(signal, torch.tensor([1e3, 1e4]), seeded())

    for image, n in zip(seen, (1e3, 1e4), strict=True):
        assert image.mean().item() == pytest.approx(0.2, rel=0.005)
        assert image.var().item() == pytest.approx(0.2 / n, rel=0.03)


def test_the_same_seed_counts_the_same_photons() -> None:
    signal = torch.full((1, 16, 16), 0.2)

    first, again, other = (counted(signal, 1e3, seeded(seed)) for seed in (3, 3, 4))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_beam_knows_its_distances() -> None:
    beams = a_beam()

    assert source_to_detectors(beams).item() == pytest.approx(1150.0)
    assert source_to_isocentres(beams).item() == pytest.approx(1000.0)
    assert pitches(beams).item() == pytest.approx(0.5)


def test_the_chain_shows_bone_through_scatter_blur_and_noise() -> None:
    lengths = torch.zeros(1, 2, 48, 48)
    lengths[:, 1] = 150.0
    lengths[:, :, 16:32, 16:32] += torch.tensor([12.0, -12.0]).reshape(2, 1, 1)
    beams, settings = a_beam(), [Acquisition(scatter_ratio=1.0)]

    noisy, again = (acquired(lengths, [BONE, SOFT], beams, settings, seeded(1)) for _ in range(2))

    still = acquired(lengths, [BONE, SOFT], beams, settings, None)
    primary = transmitted(lengths, [BONE, SOFT], spectrum(75.0))
    inside, around = noisy[0, 18:30, 18:30], noisy[0, 2:12, 2:12]
    assert torch.equal(noisy, again)
    assert inside.mean() < 0.9 * around.mean()
    assert inside.mean() / around.mean() > primary[0, 24, 24] / primary[0, 4, 4]
    assert noisy.mean().item() == pytest.approx(still.mean().item(), rel=0.01)
    with pytest.raises(ValueError, match="settings"):
        acquired(lengths, [BONE, SOFT], beams, [], None)


def test_drawn_rooms_differ_and_are_rooms() -> None:
    generator = seeded(5)

    rooms = [drawn(generator) for _ in range(50)]

    assert len({room.kvp for room in rooms}) == 50
    assert all(50 <= room.kvp <= 115 and room.aluminium_mm >= 2.5 for room in rooms)
    assert drawn(seeded(5)) == rooms[0]
