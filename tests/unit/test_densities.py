"""Densities behind radiographs: what they add up to, and the images they are told from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.frustum import Frustum, path, places
from pipeline.models.tomography import rescaled
from pipeline.training import density_pairs
from pipeline.training.archive import Archive
from pipeline.training.density_judging import BONE, iou, mean_density
from pipeline.training.density_pairs import (
    ATTENUATION,
    Pairs,
    Sight,
    bone_equivalent,
    drawn_pairs,
    fill,
    load,
    shown,
)
from pipeline.training.exposure import CLEAN
from pipeline.training.posing import STILL
from pipeline.types import ViewName
from tests.toy_region import CENTRES, radius, straight, toy_archive

SIGHT = Sight(image_size=64, planes=48, shots=2)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return toy_archive(tmp_path_factory.mktemp("toy") / "toy.npz")


def random(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def still(archive: Archive) -> dict[ViewName, Pairs]:
    """The first person from three sides, unmoved: the bones of the cube alone."""
    names = (ViewName.AP, ViewName.PA, ViewName.RL)
    made = drawn_pairs(
        archive.cases[0],
        archive,
        SIGHT,
        [straight(name, size=64) for name in names],
        pose=STILL,
        generator=random(),
        targets_only=True,
    )
    each = zip(made.thickness, made.density, strict=True)
    return dict(zip(names, (Pairs(*one) for one in each), strict=True))


@pytest.mark.parametrize("name", [ViewName.AP, ViewName.RL])
def test_the_density_adds_up_to_what_the_projector_saw(
    still: dict[ViewName, Pairs], name: ViewName
) -> None:
    """Two ways to the same line integrals: marching through the patient, and summing planes."""
    pairs = still[name]
    frustum = SIGHT.frustum(straight(name, size=64), 120.0)

    summed = (pairs.density * path(frustum)).sum(dim=0)

    seen = torch.nn.functional.avg_pool2d(pairs.thickness[None], 2)[0]
    assert (summed - seen).square().mean().sqrt() < 0.03 * seen.max()
    assert summed.sum().item() == pytest.approx(seen.sum().item(), rel=0.02)


def test_the_density_stands_where_the_bones_stand(still: dict[ViewName, Pairs]) -> None:
    shot = straight(ViewName.AP, size=64)
    frustum = SIGHT.frustum(shot, 120.0)

    is_bone = still[ViewName.AP].density >= BONE

    # voxels of 2.5 mm in the archive, of 2.5 to 3 mm here: a share of bone reaches half of one out
    assert (is_bone | ~in_balls(frustum, -1.0)).all()
    assert (in_balls(frustum, 2.5) | ~is_bone).all()


def in_balls(frustum: Frustum, beyond: float) -> Tensor:
    """(D, H, W) bool: within the first person's balls, made larger by `beyond`, mm."""
    at = places(frustum)
    away = [
        (at - torch.tensor(centre)).norm(dim=-1) - radius(0, bone)
        for bone, centre in CENTRES.items()
    ]
    return torch.stack(away).amin(dim=0) < beyond


def test_the_share_of_one_bone_is_that_of_its_ball_alone(archive: Archive) -> None:
    sight, shot = replace(SIGHT, bone="femur"), straight(ViewName.AP, size=64)

    pairs = drawn_pairs(archive.cases[0], archive, sight, [shot], pose=STILL, generator=random())

    at = places(sight.frustum(shot, 120.0)) - torch.tensor(CENTRES["femur"])
    away = at.norm(dim=-1) - radius(0, "femur")
    # voxels of 2.5 mm: the surface fades over one, and is read between two
    assert (pairs.density[0][away < -3] > 0.95).all()
    assert (pairs.density[0][away > 3] < 0.05).all()


def test_from_the_front_and_from_behind_the_same_planes_hold_the_same_bones(
    still: dict[ViewName, Pairs],
) -> None:
    """An AP and a PA radiograph look alike: a network must not have to tell where the tube was."""
    depths = []
    for name in (ViewName.AP, ViewName.PA):
        weight = still[name].density.sum(dim=(1, 2))
        depths.append(float((weight * torch.arange(48)).sum() / weight.sum()))

    assert abs(depths[0] - 23.5) > 1
    assert depths[0] == pytest.approx(depths[1], abs=0.5)


def test_a_radiograph_is_divided_by_one_constant() -> None:
    """Beside a thick one a thin one stays as it is: nothing is stretched to its own range."""
    thick, thin = torch.full((1, 8, 8), 60.0), torch.full((1, 8, 8), 6.0)

    apart = [shown(one, CLEAN, random()) for one in (thick, thin)]
    together = shown(torch.cat([thick, thin]), CLEAN, random())

    assert together.shape == (2, 1, 1, 8, 8)
    assert torch.equal(torch.cat(apart), together)
    assert apart[1].max() < apart[0].min() / 5
    # 60 mm of cortical bone at an effective 45 to 60 keV: 0.05 to 0.1 per mm
    assert 3.0 < float(apart[0].max()) * ATTENUATION < 6.0


def test_a_displayed_radiograph_is_the_same_whatever_its_scale() -> None:
    image = torch.rand((2, 16, 16), generator=random())
    is_valid = torch.ones((2, 16, 16), dtype=torch.bool)
    is_valid[:, :4] = False

    made = rescaled(image, is_valid)

    assert made.shape == (2, 1, 1, 16, 16)
    assert torch.allclose(made, rescaled(40 * image + 300, is_valid), atol=1e-5)
    assert float(made[:, 0, 0, :4].max()) == 0
    assert 0 <= float(made.min()) <= float(made.max()) <= 1


def test_line_integrals_are_read_from_the_radiograph_of_bone_alone() -> None:
    thickness = torch.linspace(0, 90, 64).reshape(1, 8, 8)

    found = bone_equivalent(shown(thickness, CLEAN, random()))

    assert torch.allclose(found, thickness, atol=0.2)


def test_soft_tissue_is_taken_for_bone() -> None:
    """The limit of it: without a second energy nothing tells them apart."""
    thickness = torch.full((1, 16, 16), 20.0)
    soft = replace(CLEAN, soft_mm=150.0)

    found = bone_equivalent(shown(thickness, soft, random()))

    assert found.mean() > 25.0


def test_scenes_that_were_interrupted_are_continued_as_the_same(
    archive: Archive, tmp_path: Path
) -> None:
    sight, whole, broken = Sight(image_size=32, planes=8, shots=1), tmp_path / "a", tmp_path / "b"
    answers = iter([False, True])

    def drawn(folder: Path, is_over: Callable[[], bool] = lambda: False) -> None:
        fill(archive, archive.cases, folder, 2, sight, seed=3, between=0.0, is_over=is_over)

    drawn(whole)
    drawn(broken, lambda: next(answers))
    assert len(list(broken.iterdir())) == 1
    drawn(broken)

    for file in whole.iterdir():
        assert torch.equal(load(file).density, load(broken / file.name).density)
        assert torch.equal(load(file).thickness, load(broken / file.name).thickness)


def test_the_mean_density_is_that_of_all_cameras(tmp_path: Path) -> None:
    values = [torch.full((2, 3, 4, 4), share) for share in (0.2, 0.6)]
    for number, density in enumerate(values):
        density_pairs.save(Pairs(torch.zeros(2, 8, 8), density), tmp_path / f"{number}.npz")

    mean = mean_density(sorted(tmp_path.glob("*.npz")))

    assert torch.allclose(mean, torch.full((3, 4, 4), 0.4), atol=1e-3)


@pytest.mark.parametrize(("found", "expected"), [([1, 1, 0], 1 / 3), ([0, 1, 1], 1.0)])
def test_iou_is_common_over_either(found: list[int], expected: float) -> None:
    mask = torch.tensor(found, dtype=torch.bool)

    assert iou(mask, torch.tensor([False, True, True])) == pytest.approx(expected)


def test_two_empty_masks_agree() -> None:
    nothing = torch.zeros(4, dtype=torch.bool)

    assert iou(nothing, nothing) == 1.0
