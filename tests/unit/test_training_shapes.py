"""Shape models, on balls and on lines whose mean and components are known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pipeline.training.posing import STILL, draw, posed, reshaped
from pipeline.training.shapes import components, learned
from tests.toy_region import CENTRES, REGION, radii, radius, toy_archive


def test_a_model_of_three_has_the_mean_of_their_sizes_and_their_deviation(tmp_path: Path) -> None:
    archive = toy_archive(tmp_path / "toy.npz")
    template = archive.cases[0]
    # three people of neighbouring whole numbers differ by a deviation of one
    middle = [float(radius(1, bone)) for bone in CENTRES]

    model = learned(archive, archive.cases)

    def drawn(weight: float) -> list[float]:
        pose = draw(STILL, REGION.far_mm, torch.Generator())
        shape = reshaped(pose, model.mean + weight * model.modes[0])
        near = posed(model.template.near, REGION.cube_mm, archive.far(template), shape).near
        return radii(near)

    assert drawn(0.0) == pytest.approx(middle, abs=0.35)
    for narrow, mean, wide in zip(*sorted([drawn(-1.0), middle, drawn(1.0)]), strict=True):
        assert mean - 1.4 < narrow < mean - 0.6
        assert mean + 0.6 < wide < mean + 1.4


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
