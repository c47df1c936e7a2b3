"""Registration and modes, on balls and on lines whose components are known."""

from __future__ import annotations

import torch
from torch import Tensor

from pipeline.training.shapes import Bones, components, displaced, registered

CUBE, WIDE = 120.0, 240.0


def _ball(edge: float, x: float, radius: float) -> Tensor:
    along = ((torch.arange(32) + 0.5) / 32 - 0.5) * edge
    z, y, xs = torch.meshgrid(along, along, along, indexing="ij")
    return ((xs - x).square() + y.square() + z.square()).sqrt() - radius


def _person(x: float, radius: float) -> Bones:
    near = torch.stack([_ball(CUBE, x, radius), torch.full((32, 32, 32), 40.0)])
    return Bones(near, _ball(WIDE, x, radius)[None])


def test_a_ball_that_lies_elsewhere_and_is_larger_is_reached() -> None:
    found = registered(_person(0.0, 30.0), _person(6.0, 33.0), CUBE, WIDE)
    right, left = torch.tensor([[[[39.0, 0, 0]]]]), torch.tensor([[[[-27.0, 0, 0]]]])
    # what lies on the surface of the person is looked up on the surface of the template
    for point, on_template in ((right, 30.0), (left, -30.0)):
        moved = (point + displaced(found, point, WIDE)).flatten()
        assert abs(float(moved[0]) - on_template) < 1.0


def test_components_of_a_line_are_the_line() -> None:
    direction = torch.tensor([3.0, 0.0, 4.0])
    found = torch.stack([torch.ones(3) + t * direction for t in (-1.0, 0.0, 1.0)])
    mean, modes = components(found, 2)
    assert torch.allclose(mean, torch.ones(3), atol=1e-5)
    assert torch.allclose(modes[0].abs(), direction.abs(), atol=1e-4)
    assert modes[1].abs().max() < 1e-4


def test_there_are_never_more_modes_than_differences() -> None:
    _, modes = components(torch.randn(3, 5), 6)
    assert len(modes) == 2
