"""The fast look-up of the network on a grid says what the network itself says."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.camera import camera
from pipeline.models.field import Field, asked, centres, field, signed_distances
from pipeline.models.framing import seen
from pipeline.models.lifting import Answer, Features, Lifting, Shape
from pipeline.types import ViewName
from tests.lifting_nets import octahedra


def understood(net: Lifting, *names: ViewName) -> Features:
    torch.manual_seed(1)
    size = net.shape.image_size
    spacing = 1.25 * 1.2 * net.shape.cube_mm / size
    views = [
        camera(
            name,
            source_to_detector=1100.0,
            source_to_patient=900.0,
            row_spacing=spacing,
            column_spacing=spacing,
            rows=size,
            columns=size,
        )
        for name in names
    ]
    images = torch.rand(len(views), size, size)
    return net.features(seen(images, torch.ones_like(images) > 0, views))


def untrained() -> Lifting:
    torch.manual_seed(4)
    shape = Shape(("a", "b"), 160.0, 64, 8, planar=(8, 16), spatial=(8, 16), hidden=16)
    return Lifting(shape).eval()


@pytest.mark.parametrize(
    "names", [(ViewName.AP,), (ViewName.PA, ViewName.RL), (ViewName.AP, ViewName.LL, ViewName.PA)]
)
@torch.inference_mode()
def test_a_point_is_answered_as_the_network_answers_it(names: tuple[ViewName, ...]) -> None:
    net = untrained()
    features = understood(net, *names)
    # far beyond the cube as well: there, some views do not see the point
    points = (torch.rand(3000, 3) - 0.5) * 400

    fast, slow = asked(field(net, features), points), net.at(features, points[None])

    for one, other in zip(fast, Answer(*slow), strict=True):
        assert torch.allclose(one, other[0], atol=1e-4)


@torch.inference_mode()
def test_every_voxel_is_on_the_side_of_the_surface_that_the_network_puts_it() -> None:
    net = octahedra(((12.0, -7.0, 20.0), 33.0), ((-30.0, 0.0, -20.0), 25.0))
    of = field(net, understood(net, ViewName.AP))

    sparse = signed_distances(of, 64)

    dense = asked(of, centres(of.net.shape.cube_mm, 64)).distance.T.reshape(2, 64, 64, 64)
    assert torch.equal(sparse < 0, dense < 0)
    near = dense.abs() < 2.0
    assert torch.allclose(sparse[near], dense[near], atol=1e-5)


@torch.inference_mode()
def test_a_piece_thinner_than_the_coarsest_voxel_is_found() -> None:
    # an iliac wing is 3 to 5 mm thin; the coarsest voxel of a hip has an edge of 7.5 mm
    net = octahedra(((2.0, 1.0, -3.0), 5.0), cube_mm=240.0)
    of = field(net, understood(net, ViewName.AP))

    found = signed_distances(of, 64)

    dense = asked(of, centres(of.net.shape.cube_mm, 64)).distance.T.reshape(1, 64, 64, 64)
    assert (dense < 0).sum() > 1
    assert torch.equal(found < 0, dense < 0)


@torch.inference_mode()
def test_only_voxels_near_a_surface_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    net = octahedra(((0.0, 0.0, 0.0), 40.0))
    of = field(net, understood(net, ViewName.AP))
    counted = []

    def counting(of: Field, points: torch.Tensor) -> Answer:
        counted.append(len(points))
        return asked(of, points)

    monkeypatch.setattr("pipeline.models.field.asked", counting)
    signed_distances(of, 64)

    assert sum(counted) < 0.4 * 64**3


def test_a_grid_smaller_than_the_coarsest_is_asked_as_a_whole() -> None:
    net = octahedra(((0.0, 0.0, 0.0), 40.0))
    with torch.inference_mode():
        of = field(net, understood(net, ViewName.AP))
        found = signed_distances(replace(of), 16)

    assert found.shape == (1, 16, 16, 16)
