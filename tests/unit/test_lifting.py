"""The lifting network as a function: what it may depend on, and what not."""

from __future__ import annotations

import pytest
import torch

from pipeline.models.lifting import Answer, Lifting, Seen, Shape, normalised

SHAPE = Shape(
    bones=("femur", "hip_bone"),
    cube_mm=200.0,
    image_size=32,
    grid_size=8,
    planar=(8, 16),
    spatial=(8, 16),
    hidden=16,
)


@pytest.fixture
def net() -> Lifting:
    torch.manual_seed(3)
    return Lifting(SHAPE).eval()


def _views(count: int) -> Seen:
    """Cameras around the long axis, 800 mm from the isocentre, that see 250 mm of it."""
    torch.manual_seed(5)
    angles = torch.linspace(0, 2, count)
    rays = torch.stack([angles.sin(), angles.cos(), torch.zeros(count)], dim=-1)
    across = torch.stack([angles.cos(), -angles.sin(), torch.zeros(count)], dim=-1)
    down = torch.tensor([0.0, 0.0, -1.0]).expand(count, -1)
    zoom = 800 / 125
    rows = torch.stack([across * zoom, down * zoom, rays], dim=1)
    shift = torch.tensor([0.0, 0.0, 800.0]).expand(count, -1)[..., None]
    images = torch.rand(1, count, 2, 32, 32)
    images[:, :, 1] = 1
    present = torch.ones(1, count, dtype=torch.bool)
    return Seen(images, torch.cat([rows, shift], dim=-1)[None], -rays[None] * 800, present)


def _chosen(seen: Seen, order: list[int]) -> Seen:
    return Seen(*(part[:, order] for part in seen))


POINTS = (torch.rand(1, 50, 3, generator=torch.Generator().manual_seed(1)) - 0.5) * 160


def _same(one: Answer, other: Answer) -> bool:
    return all(torch.allclose(a, b, atol=1e-4) for a, b in zip(one, other, strict=True))


@torch.no_grad()
def test_the_order_of_the_views_does_not_matter(net: Lifting) -> None:
    seen = _views(3)
    assert _same(net(seen, POINTS), net(_chosen(seen, [2, 0, 1]), POINTS))


@torch.no_grad()
def test_a_view_that_is_absent_takes_no_part(net: Lifting) -> None:
    two = _views(2)
    absent = two._replace(is_present=torch.tensor([[True, False]]))
    other = absent._replace(images=absent.images.clone())
    other.images[:, 1] = 7
    assert torch.allclose(net(absent, POINTS).distance, net(other, POINTS).distance, atol=1e-4)


@torch.no_grad()
def test_one_view_beside_an_absent_one_is_one_view(net: Lifting) -> None:
    """One view alone, and one beside an absent one, are the same radiograph."""
    two = _views(2)
    padded = net(two._replace(is_present=torch.tensor([[True, False]])), POINTS)
    assert _same(net(_chosen(two, [0]), POINTS), padded)


@torch.no_grad()
def test_one_view_is_enough_for_an_answer_and_a_second_changes_it(net: Lifting) -> None:
    seen = _views(2)
    one, both = net(_chosen(seen, [0]), POINTS), net(seen, POINTS)
    assert torch.isfinite(one.distance).all()
    assert not _same(one, both)


@torch.no_grad()
def test_a_point_is_answered_alike_alone_and_among_others(net: Lifting) -> None:
    features = net.features(_views(2))
    alone = net.at(features, POINTS[:, 7:8])
    assert torch.allclose(alone.distance, net.at(features, POINTS).distance[:, 7:8], atol=1e-4)


@torch.no_grad()
def test_each_bone_has_an_occupancy_a_distance_and_an_error(net: Lifting) -> None:
    answer = net(_views(2), POINTS)
    assert [part.shape for part in answer] == [(1, 50, 2)] * 3


@torch.no_grad()
def test_a_point_behind_the_source_is_seen_nowhere_and_still_answered(net: Lifting) -> None:
    assert torch.isfinite(net(_views(2), POINTS + 5000).distance).all()


def test_every_weight_learns(net: Lifting) -> None:
    net.train()
    features = net.features(_views(2))
    said = [*net.at(features, POINTS), features.shadows, features.coarse]
    sum(part.square().mean() for part in said).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_network_of_the_default_size_stays_under_8_million_weights() -> None:
    net = Lifting(Shape(bones=("femur", "tibia", "patella", "fibula"), cube_mm=160.0))
    assert sum(p.numel() for p in net.parameters()) < 8e6


def test_normalised_images_do_not_depend_on_scale_and_offset() -> None:
    image = torch.rand(2, 20, 20)
    valid = torch.ones(2, 20, 20, dtype=torch.bool)
    valid[:, :4] = False
    other = image.clone() * 900 + 40
    other[:, :4] = 1e6  # what is invalid is not looked at
    assert torch.allclose(normalised(image, valid), normalised(other, valid), atol=1e-4)
    assert (normalised(image, valid)[:, :4] == 0).all()


def test_an_image_without_a_valid_pixel_is_nothing() -> None:
    made = normalised(torch.rand(1, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool))
    assert (made == 0).all()
