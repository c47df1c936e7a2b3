"""The published hourglass by its numbers, and the fusion that makes it agree with its radiograph.

The rows are those of the specification of published models: 28 the network, 30 what it can learn,
31 the fusion.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pipeline.models.tomography import Tomography, TomographyShape, fused, relative_error
from tests.soft_balls import balls, grained, mistaken, rms

SMALL = TomographyShape(planes=12, width=4, blocks=(1, 2))


def published() -> Tomography:
    with torch.device("meta"):
        return Tomography()


def test_the_published_network_has_4153280_parameters() -> None:
    count = sum(weight.numel() for weight in published().parameters())

    assert count == 4_153_280


def test_it_is_made_of_the_published_layers() -> None:
    kinds = Counter(type(module) for module in published().modules())

    assert kinds[nn.Conv2d] == 68
    assert kinds[nn.ConvTranspose2d] == 4
    assert kinds[nn.BatchNorm2d] == 67


def test_no_layer_has_a_bias_but_the_norms() -> None:
    layers = [m for m in published().modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]

    assert all(layer.bias is None for layer in layers)


def test_upsampling_keeps_the_channels_apart() -> None:
    ups = [m for m in published().modules() if isinstance(m, nn.ConvTranspose2d)]

    assert {tuple(up.weight.shape) for up in ups} == {(256, 1, 4, 4)}
    assert all(up.groups == 256 for up in ups)


def test_a_radiograph_of_256_pixels_becomes_128_planes_of_128_pixels() -> None:
    volume = published()(torch.empty(1, 1, 1, 256, 256, device="meta")).volume

    assert volume.shape == (1, 128, 128, 128)


def test_the_hourglass_narrows_to_8_pixels_and_widens_again() -> None:
    net, sizes = published(), []
    for stage in [*net.down, *net.up]:
        stage.register_forward_hook(lambda _m, _i, out: sizes.append(out.shape[-1]))

    net(torch.empty(1, 1, 1, 256, 256, device="meta"))

    assert sizes == [64, 32, 16, 8, 16, 32, 64, 128]


def test_radiographs_need_not_be_square() -> None:
    volume = Tomography(SMALL)(torch.rand(2, 1, 1, 32, 48)).volume

    assert volume.shape == (2, 12, 16, 24)


def test_the_answer_is_linear_and_may_be_negative() -> None:
    torch.manual_seed(0)
    net = Tomography(SMALL)
    last = net.tail[-1]
    image = torch.rand(2, 1, 1, 32, 32)

    before = net(image).volume
    last.weight.data *= -2.0
    after = net(image).volume

    assert before.min() < 0 < before.max()
    assert torch.allclose(after, -2 * before, atol=1e-5)


@pytest.mark.parametrize(
    "shape", [(1, 2, 1, 32, 32), (1, 1, 3, 32, 32), (1, 1, 32, 32), (1, 1, 1, 36, 32)]
)
def test_more_than_one_view_or_an_odd_size_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"one view|multiple of 8"):
        Tomography(SMALL)(torch.zeros(shape))


def test_a_radiograph_alone_gives_what_it_gives_beside_others() -> None:
    torch.manual_seed(0)
    net = Tomography(SMALL).eval()
    images = torch.rand(3, 1, 1, 32, 32)

    together, alone = net(images).volume, net(images[1:2]).volume

    assert torch.allclose(together[1:2], alone, atol=1e-5)


def test_the_loss_is_the_mean_square_over_voxels() -> None:
    torch.manual_seed(0)
    net = Tomography(SMALL).eval()
    images, wanted = torch.rand(2, 1, 1, 32, 32), torch.rand(2, 12, 16, 16)

    losses = net.loss(images, wanted)

    off = (net(images).volume - wanted).detach().double().numpy()
    assert losses["total"].item() == pytest.approx((off**2).sum() / off.size, rel=1e-5)
    shown = ((off**2).sum() / (wanted.double().numpy() ** 2).sum()) ** 0.5
    assert losses["relative"].item() == pytest.approx(shown, rel=1e-5)


def test_four_pairs_are_learned_by_heart_and_not_from_another_radiograph() -> None:
    """Row 30, narrow and small: volume error below 5 %, and the image is what tells it."""
    torch.manual_seed(0)
    wanted = balls(1, count=4, planes=12, size=12, edge=3.0)
    images = radiographs(wanted)
    net = Tomography(TomographyShape(planes=12, width=24, blocks=(1, 1)))

    learn(net, images, wanted, steps=550)

    with torch.no_grad():
        own = relative_error(net.eval()(images).volume, wanted)
        other = relative_error(net(images.roll(1, dims=0)).volume, wanted)
    assert own < 0.05
    assert other > 0.5


def radiographs(volumes: Tensor) -> Tensor:
    """(B, 1, 1, 2 H, 2 W) line integrals of (B, D, H, W), whole planes of 1 give 1."""
    return interpolate(volumes.mean(dim=1, keepdim=True), scale_factor=2, mode="bilinear")[:, None]


def learn(net: Tomography, images: Tensor, wanted: Tensor, steps: int) -> None:
    descent = torch.optim.Adam(net.parameters(), lr=2e-2, betas=(0.9, 0.99))
    slowing = torch.optim.lr_scheduler.CosineAnnealingLR(descent, steps, eta_min=1e-4)
    for _ in range(steps):
        descent.zero_grad()
        net.loss(images, wanted)["total"].backward()
        descent.step()
        slowing.step()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("edge", [3.0, 12.0])
def test_fusion_explains_the_radiograph_and_does_not_hurt_the_volume(
    seed: int, edge: float
) -> None:
    """Row 31: reprojection error at least ten times smaller, below 1 % of the range."""
    truth = grained(balls(seed, 2, planes=24, size=64, edge=edge), seed)
    path = torch.full((64, 64), 2.0)
    measured = (truth * path).sum(dim=1)
    coarse = mistaken(truth, seed)

    fine = fused(coarse, measured, path)

    before = interpolate(coarse, size=(64, 64), mode="bilinear")
    misfit, left = (rms((v * path).sum(dim=1) - measured) for v in (before, fine))
    assert left < misfit / 10
    assert left < 0.01 * float(measured.max())
    assert rms(fine - truth) < rms(before - truth)
    assert fine.min() >= 0


def test_fusion_leaves_alone_what_already_fits() -> None:
    truth = balls(4, 2, planes=24, size=32)
    path = torch.full((32, 32), 3.0)

    fine = fused(truth, (truth * path).sum(dim=1), path)

    assert torch.allclose(fine, truth, atol=1e-5)


def test_fusion_adds_along_a_ray_in_proportion_to_what_is_there() -> None:
    volume = torch.tensor([0.0, 1.0, 3.0])[None, :, None, None].expand(1, 3, 4, 4)
    path = torch.full((4, 4), 0.5)

    fine = fused(volume, torch.full((1, 4, 4), 4.0), path, passes=1)

    # 0.5 * (0 + 1 + 3) = 2 mm where 4 are measured: everything twice
    assert torch.allclose(fine[0, :, 2, 2], torch.tensor([0.0, 2.0, 6.0]))


def test_one_pass_scales_a_ray_by_four_at_most_and_by_a_quarter_at_least() -> None:
    volume, path = torch.ones(1, 10, 2, 2), torch.ones(2, 2)
    measured = torch.tensor([[100.0, 100.0], [0.0, 0.0]])[None]

    fine = fused(volume, measured, path, passes=1)

    assert torch.allclose(fine[0, 0], torch.tensor([[4.0, 4.0], [0.25, 0.25]]))


def test_rays_may_have_paths_of_their_own() -> None:
    volume = torch.ones(1, 4, 8, 8)
    path = torch.linspace(1, 2, 64).reshape(8, 8)

    fine = fused(volume, 6 * path[None], path)

    assert torch.allclose(fine, torch.full_like(fine, 1.5), atol=1e-5)


def test_fusion_is_finite_where_neither_saw_anything() -> None:
    fine = fused(torch.zeros(1, 5, 4, 4), torch.zeros(1, 8, 8), torch.ones(8, 8))

    assert torch.equal(fine, torch.zeros(1, 5, 8, 8))


def test_a_noisy_thin_ray_takes_the_ratio_of_those_around_it() -> None:
    """Measured is twice the present everywhere but on one almost empty ray, which noise hit."""
    volume = torch.ones(1, 10, 7, 7)
    volume[0, :, 3, 3] = 1e-4
    measured = torch.full((1, 7, 7), 20.0)
    measured[0, 3, 3] = 0.15

    fine = fused(volume, measured, torch.ones(7, 7), passes=1)

    assert fine[0, 0, 3, 3].item() == pytest.approx(2e-4, rel=1e-3)
    assert fine[0, 0, 3, 4].item() == pytest.approx(2.0)
