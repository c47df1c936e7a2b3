"""The bodies of real people in patients of training: what each camera sees, and where they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.materials import Material, linear_attenuation
from pipeline.projection import grid, project
from pipeline.training.exposure import CLEAN, exposed
from pipeline.training.extents import Extent
from pipeline.training.real_bodies import (
    BONE,
    MUSCLE,
    Placed,
    RealBody,
    body_of,
    lengths,
    placed,
)
from pipeline.training.shots import Shot
from pipeline.training.surroundings import body, soft_tissue
from pipeline.types import View, ViewName

SIZE, VOXELS, EDGE_MM = 96, 64, 256.0
NOTHING = Extent(torch.zeros(2), torch.zeros(2))


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def seen_from(name: ViewName) -> View:
    """300 mm at the isocentre; no ray runs along the axis, but those in the middle nearly do."""
    return Shot(name, 1150.0, 950.0, 0.0, 0.0, 300 * 1150 / 950 / SIZE, True).camera(SIZE)


def a_block(*, muscle: slice, height: slice = slice(20, 44)) -> Placed:
    """Fat of 160 x 160 mm about the isocentre, and muscle in it between these columns."""
    shares = torch.zeros(2, VOXELS, VOXELS, VOXELS)
    shares[1, height, 12:52, 12:52] = 1
    shares[0, height, 12:52, muscle] = 1
    shares[1, height, 12:52, muscle] = 0
    return Placed(shares, torch.from_numpy(grid(EDGE_MM, VOXELS)))


def a_body(*, of_side: int = 1) -> RealBody:
    """A rod of muscle upright in fat, 60 mm towards +x (or -x), with a bone about the middle."""
    labels = torch.zeros(VOXELS, VOXELS, VOXELS, dtype=torch.uint8)
    labels[:, 12:52, 8:56] = BONE + 1
    labels[:, 28:36, 28:36] = BONE
    middle = VOXELS // 2 + 15 * of_side
    labels[:, 28:36, middle - 4 : middle + 4] = MUSCLE
    return body_of(labels, EDGE_MM, (0.0, 0.0, 0.0), shown_mm=300.0)


def test_a_ray_passes_the_length_of_the_muscle_and_of_the_fat_around_it() -> None:
    block = a_block(muscle=slice(22, 42))

    across = lengths(block, seen_from(ViewName.LL))[:, SIZE // 2, SIZE // 2]
    from_front = lengths(block, seen_from(ViewName.AP))[:, SIZE // 2, SIZE // 2]

    # 20 and 40 voxels of 4 mm; from the front muscle alone lies on the ray
    assert across.tolist() == pytest.approx([80.0, 80.0], rel=0.01)
    assert from_front.tolist() == pytest.approx([160.0, 0.0], rel=0.01, abs=0.5)


def test_muscle_in_the_place_of_fat_attenuates_by_the_difference_that_nist_tells() -> None:
    around = body(150.0, 0.0, seeded(), NOTHING)._replace(
        half_axes=torch.eye(3).repeat(8, 1, 1) * 1e-3, centres=torch.full((8, 3), 400.0)
    )
    view = seen_from(ViewName.LL)
    per_mm = linear_attenuation([Material.SOFT_TISSUE, Material.FAT], np.array([60.0]))[:, 0]

    fat, both = (
        soft_tissue(around._replace(real=a_block(muscle=muscle)), view)
        for muscle in (slice(22, 22), slice(22, 42))
    )

    more = per_mm[0] * (both.muscle - fat.muscle) + per_mm[1] * (both.fat - fat.fat)
    # at 60 keV: (0.2048 cm2/g 1.05 g/cm3 - 0.1974 cm2/g 0.95 g/cm3) 8 cm
    assert float(more[SIZE // 2, SIZE // 2]) == pytest.approx(0.2201, rel=0.02)


def centre_of(image: Tensor) -> list[float]:
    """Row and column of the mean of what is seen."""
    rows, columns = torch.meshgrid(*(torch.arange(float(n)) for n in image.shape), indexing="ij")
    return [float((image * at).sum() / image.sum()) for at in (rows, columns)]


@pytest.mark.parametrize("name", [ViewName.AP, ViewName.PA, ViewName.LL, ViewName.RL])
def test_every_camera_sees_the_muscle_where_it_is(name: ViewName) -> None:
    shares = torch.zeros(2, VOXELS, VOXELS, VOXELS)
    shares[0, 40:44, 20:24, 46:50] = 1
    one = Placed(shares, torch.from_numpy(grid(EDGE_MM, VOXELS)))

    seen = centre_of(lengths(one, seen_from(name))[0])

    # voxels 46 to 49 of 64 lie between 56 and 72 mm, and so on
    assert seen == pytest.approx(project(seen_from(name), [64.0, -40.0, 40.0]).tolist(), abs=0.15)


def test_two_cameras_in_one_place_see_the_same_body() -> None:
    around, place = replace(CLEAN, soft_mm=180.0, lumps=0.4), seen_from(ViewName.AP)
    bones = torch.zeros(2, SIZE, SIZE)
    bones[:, :, 40:56] = 20.0

    for seed in range(3):
        (one, other), _ = exposed(bones, around, seeded(seed), [place, place], a_body())
        assert torch.equal(one, other)
        (without, _), _ = exposed(bones, around, seeded(seed), [place, place])
        assert (one - without).abs().max() > 0.1


def test_bones_count_as_far_as_a_radiograph_shows_them() -> None:
    labels = torch.zeros(VOXELS, VOXELS, VOXELS, dtype=torch.uint8)
    labels[28:36, 10:40, 22:60] = BONE

    near, wide = (
        body_of(labels, EDGE_MM, (0.0, 0.0, 0.0), shown_mm=shown).bones for shown in (100.0, 300.0)
    )

    # centres of voxels of 4 mm, the cube begins at -128 mm
    assert [wide.low.tolist(), wide.high.tolist()] == [[-38.0, -86.0], [110.0, 30.0]]
    assert [near.low.tolist(), near.high.tolist()] == [[-38.0, -46.0], [46.0, 30.0]]


@pytest.mark.parametrize("aside", [-12.0, 9.0])
def test_a_body_moves_to_where_the_bones_are_seen(aside: float) -> None:
    seen = Extent(torch.tensor([-80.0, -70.0]), torch.tensor([140.0, 90.0]))
    own = a_body()._replace(bones=seen)

    still = placed(own, seen, seeded())
    moved = placed(own, Extent(seen.low + aside, seen.high + aside), seeded())

    by = moved.patient_from_index[:3, 3] - still.patient_from_index[:3, 3]
    assert by.tolist() == pytest.approx([aside, aside, 0.0], abs=1e-3)


def test_a_body_is_as_deep_as_its_bones_ask_for_within_reason() -> None:
    seen = Extent(torch.tensor([-80.0, -70.0]), torch.tensor([140.0, 90.0]))
    own = a_body()._replace(bones=seen)

    volumes = [
        float(
            placed(own, Extent(seen.low * size, seen.high * size), seeded())
            .patient_from_index[:3, :3]
            .det()
            .abs()
        )
        for size in (1.0, 1.1, 2.0)
    ]

    assert volumes[1] / volumes[0] == pytest.approx(1.1**3)
    assert volumes[2] / volumes[0] == pytest.approx(1.12**3)


def test_a_body_keeps_to_what_is_usual_where_bones_are_not_seen() -> None:
    own = a_body()

    places = [placed(own, NOTHING, seeded(seed)) for seed in range(40)]

    away = [one.patient_from_index[:3, 3] - own.region_from_index[:3, 3] for one in places]
    # 5 mm, and 128 mm times the deviations of a turn (3 degrees) and of the size (5 percent)
    assert torch.stack(away).abs().max() < 2.5 * (5 + 128 * (0.05 + 2 * 0.053))


def test_a_thinner_patient_has_less_fat_under_the_skin_and_the_same_muscles() -> None:
    labels = torch.zeros(VOXELS, VOXELS, VOXELS, dtype=torch.uint8)
    labels[:, :, 20:24] = MUSCLE
    for layer in range(12):
        labels[:, :, 24 + layer] = BONE + 1 + layer
    own = body_of(labels, EDGE_MM, (0.0, 0.0, 0.0), shown_mm=300.0)

    fat, muscle = [], []
    for seed in range(20):
        shares = placed(own, NOTHING, seeded(seed)).shares[:, 0, 0].sum(dim=0)
        muscle.append(float(shares[:4].sum()))
        fat.append(float(shares[4:].sum()))

    # layers of 4 mm, of which a skin in a depth of 8 to 32 mm leaves two to eight
    assert 2 <= min(fat) < 4
    assert 6 < max(fat) <= 8
    assert set(muscle) == {4.0}
