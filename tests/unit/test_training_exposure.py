"""Exposures of training: each effect alone does what its name says, and no more."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.beam import beam
from pipeline.thickness import thickness
from pipeline.training.exposure import CLEAN, Exposure, exposed
from pipeline.training.extents import extent
from pipeline.training.shots import Shot
from pipeline.training.surroundings import (
    Lumps,
    body,
    lump_length,
    metal,
    soft_tissue,
    view,
)
from pipeline.types import View, ViewName

SIZE = 96


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seen_from(name: ViewName) -> View:
    """300 mm at the isocentre."""
    return Shot(name, 1150.0, 950.0, 0.0, 0.0, 300 * 1150 / 950 / SIZE, True).camera(SIZE)


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
    implant = metal(seeded(seed))

    length = thickness(implant.vertices, implant.faces, beam([view(SIZE, SIZE)]))
    assert length.min() >= 0
    # along its axis a nail or a plate is at most 200 mm long, across it a head has 32
    assert 2 < length.max() < 210
    assert length.count_nonzero() < 0.2 * SIZE * SIZE


def test_two_cameras_in_one_place_see_one_patient() -> None:
    """Nothing but the patient is drawn: no tube, no grain, no display."""
    around = replace(CLEAN, soft_mm=180.0, lumps=0.4, implants=1.0)
    twice, place = a_bone().repeat(2, 1, 1), seen_from(ViewName.AP)

    for seed in range(4):
        (one, other), _ = exposed(twice, around, seeded(seed), [place, place])
        assert torch.allclose(one, other, atol=1e-5)
    (one, other), _ = exposed(twice, around, seeded())
    assert (one - other).abs().max() > 0.1


@pytest.mark.parametrize("seed", range(6))
def test_metal_stands_as_high_in_the_lateral_view_as_in_the_frontal_one(seed: int) -> None:
    """What is up to 120 mm from the isocentre is seen larger by less than a seventh."""
    views = [seen_from(ViewName.AP), seen_from(ViewName.LL)]
    nothing = torch.zeros(2, SIZE, SIZE)

    images, _ = exposed(nothing, replace(CLEAN, implants=1.0), seeded(seed), views)

    heights = [(image > 0.2).any(dim=1).nonzero()[:, 0].float() - SIZE / 2 for image in images]
    for frontal, lateral in zip(*[(rows.min(), rows.max()) for rows in heights], strict=True):
        assert abs(float(frontal - lateral)) < 2 + abs(float(frontal)) * 2 / 7


def test_a_lump_adds_the_integral_of_its_gaussian() -> None:
    lump = Lumps(torch.zeros(1, 3), torch.tensor([30.0]), torch.tensor([0.5]))
    room = beam([seen_from(ViewName.LL)])

    length = lump_length(lump, room)[0]

    # half a share over 30 mm times the root of two pi; pixels are 3.1 mm apart at the isocentre
    assert length.max() == pytest.approx(0.5 * 30 * math.sqrt(2 * math.pi), rel=0.01)
    # the ray to the middle of a pixel at the border passes at 950 sin(atan(148.4 / 950))
    beside = 950 * math.sin(math.atan(148.4375 / 950))
    at_border = float(length.max()) * math.exp(-(beside**2) / (2 * 30**2))
    assert length[SIZE // 2, 0] == pytest.approx(at_border, rel=0.02)


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
    tissue = soft_tissue(body(150.0, 0.0, seeded(seed)), view(SIZE, SIZE))

    assert tissue.muscle.shape == tissue.fat.shape == (SIZE, SIZE)
    assert torch.minimum(tissue.muscle, tissue.fat).min() >= 0
    # rays lean by up to 10 degrees, and the long axis of the body by some more
    assert 0.2 * 150 < (tissue.muscle + tissue.fat).max() < 1.4 * 150


@pytest.mark.parametrize("seed", range(6))
def test_bones_lie_within_the_body_in_every_view(seed: int) -> None:
    views = [seen_from(name) for name in (ViewName.AP, ViewName.LL, ViewName.PA)]
    wide = torch.zeros(3, SIZE, SIZE)
    wide[:, 20:80, 12:84] = 5.0
    # 36 of 96 pixels of 300 mm to either side
    reach = 300 * 36 / SIZE

    around = extent(wide, views)
    patient = body(100.0, 0.0, seeded(seed), around)

    assert around.low.tolist() == pytest.approx([-reach, -reach], abs=3)
    assert around.high.tolist() == pytest.approx([reach, reach], abs=3)
    for one, bone in zip(views, wide, strict=True):
        tissue = soft_tissue(patient, one)
        covered = (tissue.muscle + tissue.fat)[bone > 0] > 1
        # here and there gas lies before a bone
        assert covered.float().mean() > 0.97


def test_what_no_view_shows_is_nowhere() -> None:
    nowhere = extent(torch.zeros(1, SIZE, SIZE), [seen_from(ViewName.AP)])

    assert nowhere.low.tolist() == nowhere.high.tolist() == [0.0, 0.0]


def test_lumps_make_the_body_uneven() -> None:
    even, uneven = (
        soft_tissue(body(150.0, lumps, seeded(2)), view(SIZE, SIZE)) for lumps in (0.0, 0.4)
    )

    assert (uneven.muscle + uneven.fat - even.muscle - even.fat).abs().max() > 5
