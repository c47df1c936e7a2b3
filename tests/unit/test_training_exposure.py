"""Exposures of training: each effect alone does what its name says, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.beam import beam
from pipeline.training.exposure import CLEAN, Exposure, exposed
from pipeline.training.surroundings import metal_thickness, soft_tissue, view

SIZE = 96


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_bone() -> Tensor:
    """(1, H, W) mm: a shaft of 20 mm in the middle of the image."""
    thickness = torch.zeros(1, SIZE, SIZE)
    thickness[:, :, 40:56] = 20.0
    return thickness


def test_the_same_generator_exposes_the_same_image() -> None:
    first, again, other = (exposed(a_bone(), Exposure(), seeded(seed))[0] for seed in (3, 3, 4))

    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("seed", range(3))
def test_a_clean_exposure_does_not_depend_on_what_is_drawn(seed: int) -> None:
    image, valid = exposed(a_bone(), CLEAN, seeded(seed))

    assert torch.equal(image, exposed(a_bone(), CLEAN, seeded(9))[0])
    assert valid.all()
    assert image[0, :, :38].abs().max() < 1e-5
    # 20 mm of cortical bone lie between 80 keV (0.0428 / mm) and 40 keV (0.1278 / mm), NIST
    assert 20 * 0.0428 < image[0, 50, 48].item() < 20 * 0.1278


def test_metal_is_brighter_than_bone_and_changes_nothing_beside_it() -> None:
    plain, _ = exposed(a_bone(), CLEAN, seeded())

    image, _ = exposed(a_bone(), replace(CLEAN, implants=1.0), seeded())

    differs = (image - plain).abs() > 1e-4
    assert 0.001 < differs.float().mean() < 0.2
    assert image[differs].max() > plain.max()


def test_metal_is_there_as_often_as_asked() -> None:
    plain, _ = exposed(a_bone(), CLEAN, seeded())
    draws = seeded()

    found = [
        not torch.allclose(exposed(a_bone(), replace(CLEAN, implants=0.25), draws)[0], plain)
        for _ in range(60)
    ]

    assert 5 < sum(found) < 27


@pytest.mark.parametrize("seed", range(6))
def test_metal_has_the_extent_of_an_implant(seed: int) -> None:
    metal = metal_thickness(beam([view(SIZE, SIZE)]), seeded(seed))

    assert metal.min() >= 0
    # along its axis a nail or a plate is at most 200 mm long, across it a head has 32
    assert 2 < metal.max() < 210
    assert metal.count_nonzero() < 0.2 * SIZE * SIZE


@pytest.mark.parametrize("seed", range(4))
def test_photons_behind_the_body_scatter_the_logarithm_by_no_more_than_the_noise(
    seed: int,
) -> None:
    """The deviation of the logarithm of n counts is one over the root of n."""
    flat = torch.full((1, SIZE, SIZE), 30.0)

    image, _ = exposed(flat, replace(CLEAN, noise=0.03), seeded(seed))

    assert 0.002 < image.std().item() < 0.036


def test_noise_is_strongest_where_least_is_counted() -> None:
    stairs = torch.zeros(1, SIZE, SIZE)
    stairs[:, :, 48:] = 40.0

    image, _ = exposed(stairs, replace(CLEAN, noise=0.03), seeded())

    assert image[0, :, 50:].std() > 3 * image[0, :, :46].std()


def test_leaves_take_the_light_and_what_they_cover_does_not_count() -> None:
    covered = replace(CLEAN, collimation=0.3)
    plain, _ = exposed(a_bone(), CLEAN, seeded())

    for seed in range(8):
        image, valid = exposed(a_bone(), covered, seeded(seed))
        assert (image[~valid] >= plain[~valid]).all()
        assert torch.allclose(image[valid], plain[valid], atol=0.12)
        assert valid[0, SIZE // 2, SIZE // 2]


def test_a_letter_of_lead_lies_beside_the_patient() -> None:
    marked = replace(CLEAN, markers=1.0)
    plain, _ = exposed(torch.zeros(1, SIZE, SIZE), CLEAN, seeded())

    for seed in range(8):
        image, _ = exposed(torch.zeros(1, SIZE, SIZE), marked, seeded(seed))
        columns = ((image - plain)[0] > 0.5).any(dim=0).nonzero()[:, 0]
        assert 0 < len(columns) < 0.12 * SIZE
        assert columns.max() < 0.25 * SIZE or columns.min() > 0.75 * SIZE


def test_blur_and_display_keep_the_order_of_grey() -> None:
    plain, _ = exposed(a_bone(), CLEAN, seeded())

    image, _ = exposed(a_bone(), replace(CLEAN, gamma=0.35), seeded())

    assert image.min() >= 0
    assert image.max() <= 1
    assert image[plain > 0.5].min() > image[plain < 0.01].max()


@pytest.mark.parametrize("seed", range(6))
def test_a_body_is_no_thicker_than_asked(seed: int) -> None:
    tissue = soft_tissue((SIZE, SIZE), 150.0, 0.0, seeded(seed))

    assert tissue.muscle.shape == tissue.fat.shape == (SIZE, SIZE)
    assert torch.minimum(tissue.muscle, tissue.fat).min() >= 0
    # rays lean by up to 10 degrees, and the long axis of the body by some more
    assert 0.2 * 150 < (tissue.muscle + tissue.fat).max() < 1.4 * 150


def test_lumps_make_the_body_uneven() -> None:
    even, uneven = (soft_tissue((SIZE, SIZE), 150.0, lumps, seeded(2)) for lumps in (0.0, 0.4))

    assert (uneven.muscle + uneven.fat - even.muscle - even.fat).abs().max() > 5
