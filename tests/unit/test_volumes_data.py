"""What volumetric families learn from: images of one bone and the share of it in each voxel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pipeline.models.pictures import pictures
from pipeline.training.archive import Archive
from pipeline.training.exposure import CLEAN, Exposure
from pipeline.training.pool import fill, load
from pipeline.training.settings import RunFault
from pipeline.training.volumes_data import Size, Source, batch, drawn_views, filled_share, scenes
from pipeline.training.volumes_scenes import fill_held
from tests.toy_region import REGION, radius, toy_archive

SMALL = Size(image=24, grid=16)


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return toy_archive(tmp_path_factory.mktemp("toy") / "toy.npz")


@pytest.fixture(scope="module")
def pool(toy: Archive) -> Path:
    folder = toy.path.parent / "pool"
    fill(toy, toy.cases, folder, 4, image_size=32, seed=1, between=0.0)
    return folder


def _random(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _source(archive: Archive, folder: Path, exposure: Exposure = CLEAN) -> Source:
    files = sorted(folder.glob("*.npz"))
    return scenes(files, archive.cases, region=REGION, bone="femur", size=SMALL, exposure=exposure)


def _ball(size: int, r: float) -> Tensor:
    """(size, size, size) mm: distances over a cube of 120 mm."""
    along = ((torch.arange(size) + 0.5) / size - 0.5) * 120
    z, y, x = torch.meshgrid(along, along, along, indexing="ij")
    return (x.square() + y.square() + z.square()).sqrt() - r


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_the_shares_of_a_ball_sum_to_its_volume(size: int) -> None:
    share = filled_share(_ball(64, 40.0), 120.0, size)
    assert share.shape == (size,) * 3
    assert float(share.sum()) * (120 / size) ** 3 == pytest.approx(
        4 / 3 * math.pi * 40**3, rel=0.01
    )


def test_a_plane_through_the_middle_of_a_voxel_fills_half_of_it() -> None:
    along = ((torch.arange(8) + 0.5) / 8 - 0.5) * 120
    # the surface is at x = 7.5 mm, the centre of voxel 4
    distance = (along - 7.5).expand(8, 8, 8)
    wanted = torch.tensor([1.0, 1, 1, 1, 0.5, 0, 0, 0]).expand(8, 8, 8)
    assert torch.allclose(filled_share(distance, 120.0, 8), wanted)


def test_no_view_comes_again_before_all_were_shown() -> None:
    drawn = drawn_views(3, 7, _random())
    assert len(drawn) == 7
    assert sorted(drawn[:3]) == sorted(drawn[3:6]) == [0, 1, 2]


def test_views_come_in_any_number_order_and_choice() -> None:
    generator = _random()
    orders = {tuple(drawn_views(3, 2, generator)) for _ in range(200)}
    assert orders == {(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)}


def test_a_picture_has_colours_from_nothing_to_one_that_no_scale_of_the_image_changes() -> None:
    images = torch.randn(2, 32, 32, generator=_random()) * 4
    valid = torch.rand(2, 32, 32, generator=_random()) > 0.2
    shown = pictures(images, valid, 24)
    assert shown.shape == (2, 3, 24, 24)
    assert 0 <= float(shown.min()) < float(shown.max()) <= 1
    assert torch.equal(shown[:, 0], shown[:, 2])
    assert torch.allclose(pictures(images * 7 + 30, valid, 24), shown, atol=1e-5)


def test_what_the_detector_did_not_record_is_shown_by_no_value_of_it() -> None:
    images = torch.randn(1, 16, 16, generator=_random())
    valid = torch.ones(1, 16, 16, dtype=torch.bool)
    valid[:, :4] = False
    other = torch.where(valid, images, 1e6)
    assert torch.equal(pictures(images, valid, 16), pictures(other, valid, 16))


def test_a_scene_gives_the_images_of_its_views_and_the_share_of_its_bone(
    toy: Archive, pool: Path
) -> None:
    source = _source(toy, pool)
    sample = source.sample(3, [2, 0], _random())
    assert source.views == 3
    assert [item.owner for item in source.items] == ["toy-0", "toy-1", "toy-2", "toy-0"]
    assert sample.images.shape == (2, 3, 24, 24)
    scene = load(pool / "000003.npz")
    truth = filled_share(scene.field[0], 120.0, 16)
    assert torch.equal(sample.wanted, truth)
    assert torch.equal(source.wanted(3), truth)
    # clean views of one scene are the same each time, in the order that was asked for
    again = source.sample(3, [0, 1, 2], _random(9))
    assert torch.allclose(again.images[[2, 0]], sample.images, atol=1e-5)


def test_exposures_are_drawn_anew_and_follow_their_generator(toy: Archive, pool: Path) -> None:
    source = _source(toy, pool, Exposure())
    first, same, other = (source.sample(0, [0], _random(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.images, same.images)
    assert not torch.allclose(first.images, other.images, atol=0.05)


def test_a_batch_holds_as_many_items_and_views_as_were_asked_for(toy: Archive, pool: Path) -> None:
    made = batch(_source(toy, pool), 2, 5, _random())
    assert made.images.shape == (2, 5, 3, 24, 24)
    assert made.wanted.shape == (2, 16, 16, 16)
    assert made.images.dtype == made.wanted.dtype == torch.float32


def _known(archive: Archive, *, has: Sequence[bool], borrowed: Sequence[bool]) -> Archive:
    """The archive, its first case with other knowledge of its bones."""
    first = replace(archive.cases[0], has=tuple(has), borrowed=tuple(borrowed))
    return replace(archive, cases=(first, *archive.cases[1:]))


def test_a_borrowed_bone_is_learned_from_and_never_judged(toy: Archive, pool: Path) -> None:
    files = sorted(pool.glob("*.npz"))
    cases = _known(toy, has=[False, True], borrowed=[True, False]).cases
    for is_judged, owners in ((False, ["toy-0", "toy-1", "toy-2"]), (True, ["toy-1", "toy-2"])):
        source = scenes(
            files,
            cases,
            region=REGION,
            bone="femur",
            size=SMALL,
            exposure=CLEAN,
            is_judged=is_judged,
        )
        assert sorted({item.owner for item in source.items}) == owners


def test_a_bone_that_nobody_has_is_named(toy: Archive, pool: Path) -> None:
    cases = _known(toy, has=[False, True], borrowed=[False, False]).cases[:1]
    with pytest.raises(RunFault, match="femur"):
        scenes(
            sorted(pool.glob("*.npz")),
            cases,
            region=REGION,
            bone="femur",
            size=SMALL,
            exposure=CLEAN,
        )


def test_people_left_out_are_seen_from_as_many_sides_as_asked_with_their_own_bones(
    toy: Archive, tmp_path: Path
) -> None:
    fill_held(toy, toy.cases[1:2], tmp_path, 2, views=5, image_size=32, seed=3)

    scene = load(tmp_path / "000001.npz")

    assert len(scene.shots) == len(scene.thickness) == 5
    volume = float(filled_share(scene.field[0], 120.0, 64).sum()) * (120 / 64) ** 3
    assert volume == pytest.approx(4 / 3 * math.pi * radius(1, "femur") ** 3, rel=0.03)


def test_a_scene_that_is_there_is_not_made_again(toy: Archive, tmp_path: Path) -> None:
    (tmp_path / "000000.npz").write_bytes(b"kept")
    fill_held(toy, toy.cases, tmp_path, 1, views=1, image_size=32, seed=3)
    assert (tmp_path / "000000.npz").read_bytes() == b"kept"
