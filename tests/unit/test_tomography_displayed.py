"""The fusion with a radiograph that a console displays: edges from it, amounts from the network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from pipeline.models.tomography import agreement, detailed, guided, integrals_of

SIZE, PLANES, REACH = 48, 12, 5
VALID = torch.ones(1, SIZE, SIZE, dtype=torch.bool)
PATH = torch.full((SIZE, SIZE), 2.0)


def bone() -> Tensor:
    """(1, D, H, W): two bars of bone with sharp edges, one before the other, one alone."""
    volume = torch.zeros(1, PLANES, SIZE, SIZE)
    volume[:, 2:6, 10:38, 12:20] = 0.5
    volume[:, 7:10, 6:30, 28:33] = 0.8
    return volume


def lines(volume: Tensor) -> Tensor:
    """(1, H, W) mm times density, by the definition of a line integral."""
    return (volume * PATH).sum(dim=1)


def displayed(volume: Tensor) -> Tensor:
    """(1, H, W) 0 to 1: the bone behind soft tissue that thins out to one side."""
    along = torch.linspace(0.3, 0.6, SIZE)[None, None, :]
    return along + 0.03 * lines(volume)


def coarse(volume: Tensor) -> Tensor:
    """(1, D, H / 2, W / 2) as a network answers: in place, but without edges."""
    blurred = avg_pool2d(volume, 7, stride=1, padding=3)
    return avg_pool2d(blurred, 2)


def test_the_mass_along_every_ray_is_that_which_was_asked_for() -> None:
    """What the fusion is for: nothing is added along a ray but by its own line integral."""
    volume = coarse(bone())
    present = integrals_of(volume, PATH)
    wanted = guided(displayed(bone()), VALID, present, reach=REACH)

    made = detailed(volume, displayed(bone()), VALID, PATH, reach=REACH)

    assert made.min() >= 0
    reachable = (present > 0.05 * present.max()) & (wanted > 0.05 * wanted.max())
    assert torch.allclose(lines(made)[reachable], wanted[reachable], rtol=1e-3)


def test_edges_come_from_the_radiograph_and_amounts_from_the_network() -> None:
    present = integrals_of(coarse(bone()), PATH)

    found = guided(displayed(bone()), VALID, present, reach=REACH)

    off = (found - lines(bone())).square().mean()
    assert off < 0.7 * (present - lines(bone())).square().mean()
    assert found.sum().item() == pytest.approx(present.sum().item(), rel=0.1)


def test_the_contrast_and_the_brightness_of_a_console_change_little() -> None:
    """Up to the variance that counts as even, so that noise makes no bone."""
    present = integrals_of(coarse(bone()), PATH)
    image = displayed(bone())

    found = [guided(one, VALID, present, reach=REACH) for one in (image, 0.6 * image + 0.3)]

    assert (found[0] - found[1]).abs().mean() < 0.05 * found[0].abs().mean()


def test_soft_tissue_that_changes_slowly_makes_no_bone() -> None:
    even = displayed(torch.zeros_like(bone()))

    found = guided(even, VALID, torch.zeros(1, SIZE, SIZE), reach=REACH)

    assert found.abs().max() < 1e-5


def test_a_radiograph_whose_light_and_dark_are_exchanged_sharpens_nothing() -> None:
    """Bone is light: an inverted image is no evidence, the answer stays blurred."""
    present = integrals_of(coarse(bone()), PATH)

    own, inverted = (
        guided(image, VALID, present, reach=REACH)
        for image in (displayed(bone()), 1 - displayed(bone()))
    )

    steepness = [
        one.diff(dim=-1).abs().max() / present.diff(dim=-1).abs().max() for one in (own, inverted)
    ]
    assert steepness[0] > 1.3
    assert steepness[1] < 1.1


def test_behind_the_collimation_there_is_nothing_and_its_edge_makes_no_bone() -> None:
    is_valid = VALID.clone()
    is_valid[:, :, 40:] = False
    image = displayed(bone()) * is_valid

    made = detailed(coarse(bone()), image, is_valid, PATH, reach=REACH)
    whole = detailed(coarse(bone()), displayed(bone()), VALID, PATH, reach=REACH)

    assert made[..., 40:].max() == 0
    # further from the edge than the windows reach nothing is changed
    assert torch.allclose(made[..., : 40 - 3 * REACH], whole[..., : 40 - 3 * REACH], atol=1e-4)


def test_agreement_is_one_for_the_same_and_low_for_another_part_of_the_body() -> None:
    present = lines(bone())

    own = agreement(displayed(bone()), VALID, present, reach=REACH)
    turned = agreement(displayed(bone()).flip(1).mT, VALID, present, reach=REACH)

    assert own.item() == pytest.approx(1.0, abs=0.03)
    assert turned.item() < 0.4


def test_line_integrals_of_a_coarse_volume_are_read_at_the_finer_pixels() -> None:
    volume = torch.rand(1, PLANES, SIZE // 2, SIZE // 2, generator=torch.Generator().manual_seed(1))

    found = integrals_of(volume - 0.1, PATH)

    # what is negative counts as none
    expected = interpolate((volume - 0.1).clamp(min=0), scale_factor=2, mode="bilinear")
    assert torch.allclose(found, lines(expected), rtol=1e-4)
