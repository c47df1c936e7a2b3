"""Pix2Vox++ as published: its size, and what its fusion and its refiner obey."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.models.pix2vox import ACCURATE, FAST, Pix2Vox, Pix2VoxShape
from pipeline.models.residual_stems import Depth, ResidualStem
from tests.pix2vox_nets import NARROW, a_net, images_of


@pytest.fixture
def net() -> Pix2Vox:
    return a_net()


def _count(part: nn.Module | None) -> int:
    return sum(weight.numel() for weight in part.parameters()) if part is not None else 0


# what was counted in the authors' code, and by their rules
@pytest.mark.parametrize(
    ("shape", "stem", "encoder", "decoder", "refiner", "total"),
    [
        (ACCURATE[32], 1_444_928, 5_576_768, 55_854_424, 34_880_352, 96_329_421),
        (ACCURATE[64], 1_444_928, 5_576_768, 62_146_392, 34_943_920, 102_684_957),
        (ACCURATE[128], 1_444_928, 5_576_768, 62_539_736, 34_959_320, 103_093_701),
        (FAST[32], 683_072, 941_888, 3_883_480, 0, 4_843_245),
        (FAST[64], 683_072, 941_888, 3_908_088, 0, 4_867_853),
        (FAST[128], 683_072, 941_888, 3_924_504, 0, 4_884_269),
    ],
)
def test_the_parameters_are_as_many_as_published(
    shape: Pix2VoxShape, stem: int, encoder: int, decoder: int, refiner: int, total: int
) -> None:
    with torch.device("meta"):
        net = Pix2Vox(shape)

    parts = (net.encoder[0], net.encoder, net.decoder, net.merger, net.refiner)
    assert [_count(part) for part in parts] == [stem, encoder, decoder, 17_877, refiner]
    assert _count(net) == total


def test_accurate_at_32_voxels_is_what_stands_without_a_word() -> None:
    assert Pix2VoxShape() == ACCURATE[32]


@pytest.mark.parametrize(("shape", "features"), [(ACCURATE[32], 256), (FAST[32], 64)])
def test_features_are_7_by_7_and_what_is_fused_has_9_channels(
    shape: Pix2VoxShape, features: int
) -> None:
    with torch.device("meta"):
        net = Pix2Vox(shape)
        images = torch.empty(2, 3, 224, 224)

    cells = net.encoder(images)

    assert net.encoder[:-2](images).shape == (2, features, 7, 7)
    assert cells.shape == (2, features * 49 // 8, 2, 2, 2)
    assert net.decoder(cells).shape == (2, 9, 32, 32, 32)


@pytest.mark.parametrize("family", [ACCURATE, FAST])
@pytest.mark.parametrize("size", [32, 64, 128])
def test_every_published_size_gives_a_cube_of_it(
    family: dict[int, Pix2VoxShape], size: int
) -> None:
    with torch.device("meta"):
        seen = Pix2Vox(family[size])(torch.empty(2, 3, 3, 224, 224))

    assert family[size].grid_size == size
    assert seen.coarse.shape == seen.weights.shape == (2, 3, size, size, size)
    assert seen.fused.shape == seen.refined.shape == (2, size, size, size)


@pytest.mark.parametrize(
    ("decoder", "refiner", "views"),
    [((16, 8, 8, 4, 3), (2, 4, 8, 8), 2), ((16, 8, 8, 4, 4, 3), (2, 2, 4, 8, 8), 1)],
)
@torch.no_grad()
def test_larger_grids_are_finite(
    decoder: tuple[int, ...], refiner: tuple[int, ...], views: int
) -> None:
    torch.manual_seed(1)
    shape = replace(NARROW, decoder=decoder, refiner=refiner)

    seen = Pix2Vox(shape).eval()(images_of(1, views, shape))

    assert all(volume.isfinite().all() for volume in seen)
    assert seen.refined.shape == (1, *(3 * (2 ** (len(decoder) + 1),)))


@pytest.mark.parametrize(
    ("depth", "features", "shapes"),
    [
        (
            18,
            128,
            {
                "conv1": (64, 3, 7, 7),
                "layer1.1.conv2": (64, 64, 3, 3),
                "layer2.0.conv1": (128, 64, 3, 3),
                "layer2.0.downsample.0": (128, 64, 1, 1),
                "layer2.1.bn2": (128,),
            },
        ),
        (
            50,
            512,
            {
                "conv1": (64, 3, 7, 7),
                "layer1.0.downsample.0": (256, 64, 1, 1),
                "layer1.2.conv3": (256, 64, 1, 1),
                "layer2.0.conv2": (128, 128, 3, 3),
                "layer2.0.downsample.0": (512, 256, 1, 1),
                "layer2.3.bn3": (512,),
            },
        ),
    ],
)
def test_stems_see_at_an_eighth_and_are_named_as_published_weights_are(
    depth: Depth, features: int, shapes: dict[str, tuple[int, ...]]
) -> None:
    with torch.device("meta"):
        stem = ResidualStem(depth)
        seen = stem(torch.empty(1, 3, 224, 224))

    state = stem.state_dict()
    assert seen.shape == (1, features, 28, 28)
    assert {name: tuple(state[f"{name}.weight"].shape) for name in shapes} == shapes


@torch.no_grad()
@pytest.mark.parametrize("order", [[4, 3, 2, 1, 0], [1, 0, 2, 4, 3], [2, 4, 1, 0, 3]])
def test_the_order_of_the_views_does_not_matter(net: Pix2Vox, order: list[int]) -> None:
    images = images_of(1, 5)

    straight, turned = net(images), net(images[:, order])

    assert (turned.refined - straight.refined).abs().max() <= 1e-5
    assert (turned.weights - straight.weights[:, order]).abs().max() <= 1e-5
    assert straight.weights.std() > 0.01  # else there would be nothing to turn


@torch.no_grad()
def test_one_view_is_fused_to_itself(net: Pix2Vox) -> None:
    seen = net(images_of(2, 1))

    assert torch.equal(seen.fused, seen.coarse[:, 0])
    assert seen.weights.eq(1).all()


@torch.no_grad()
def test_a_view_given_twice_counts_as_one(net: Pix2Vox) -> None:
    view = images_of(2, 1)

    seen = net(torch.cat([view, view], dim=1))

    assert (seen.fused - net(view).fused).abs().max() <= 1e-6


@torch.no_grad()
def test_the_shares_of_the_views_sum_to_one_at_every_voxel(net: Pix2Vox) -> None:
    weights = net(images_of(2, 5)).weights.numpy()

    assert weights.min() >= 0
    assert weights.max() <= 1
    assert np.abs(weights.astype(np.float64).sum(axis=1) - 1).max() <= 1e-6


@torch.no_grad()
def test_the_fused_volume_lies_between_those_of_the_views(net: Pix2Vox) -> None:
    seen = net(images_of(2, 4))

    coarse, fused = seen.coarse.numpy(), seen.fused.numpy()
    assert (fused >= coarse.min(axis=1) - 1e-6).all()
    assert (fused <= coarse.max(axis=1) + 1e-6).all()
    assert (coarse.max(axis=1) - coarse.min(axis=1)).max() > 0.01


@torch.no_grad()
def test_a_sample_alone_is_seen_as_among_others(net: Pix2Vox) -> None:
    images = images_of(3, 2)

    alone = torch.cat([net.occupancy(sample[None]) for sample in images])

    assert (net.occupancy(images) - alone).abs().max() <= 1e-5


@pytest.mark.parametrize(("is_training", "at_once"), [(True, [6]), (False, [2, 2, 2])])
@torch.no_grad()
def test_statistics_are_of_all_views_and_memory_is_of_one(
    net: Pix2Vox, is_training: bool, at_once: list[int]
) -> None:
    decoded: list[int] = []
    net.decoder.register_forward_hook(lambda _net, _input, raw: decoded.append(len(raw)))

    net.train(is_training)(images_of(2, 3))

    assert decoded == at_once


@torch.no_grad()
def test_the_refined_volume_is_the_mean_of_the_fused_one_and_the_refiners(net: Pix2Vox) -> None:
    refiner = net.refiner
    assert refiner is not None
    said: list[Tensor] = []
    watching = refiner.last.register_forward_hook(lambda _net, _input, out: said.append(out))
    seen = net(images_of(2, 2))
    watching.remove()

    occupied = 1 / (1 + np.exp(-said[0][:, 0].double().numpy()))
    assert np.abs(seen.refined.numpy() - (seen.fused.numpy() + occupied) / 2).max() <= 1e-6
    assert seen.refined.min() >= 0
    assert seen.refined.max() <= 1


@torch.no_grad()
def test_a_refiner_that_knows_nothing_says_one_half(net: Pix2Vox) -> None:
    refiner = net.refiner
    assert refiner is not None
    nn.init.zeros_(refiner.last.weight)

    seen = net(images_of(2, 2))

    assert torch.equal(seen.refined, (seen.fused + 0.5) / 2)


@torch.no_grad()
def test_without_a_refiner_the_fused_volume_is_the_result() -> None:
    torch.manual_seed(1)
    seen = Pix2Vox(replace(NARROW, refiner=())).eval()(images_of(1, 2))

    assert torch.equal(seen.refined, seen.fused)


@pytest.mark.parametrize(
    "size", [(2, 0, 1, 64, 64), (2, 1, 3, 64, 64), (2, 1, 1, 64, 96), (2, 1, 64, 64)]
)
def test_images_that_it_cannot_see_are_refused(net: Pix2Vox, size: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="are not"):
        net(torch.zeros(size))


@pytest.mark.parametrize(
    "change", [{"image_size": 100}, {"heads": (16, 16, 7)}, {"refiner": (8, 16, 32)}]
)
def test_parts_that_do_not_fit_make_no_shape(change: dict[str, int | tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match=r"cannot be read|are not refined"):
        replace(NARROW, **change)  # type: ignore[arg-type] # of each field its own
