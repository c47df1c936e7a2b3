"""Bones have insides, bodies surround them, and some have metal: lengths by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.beam import Beam, beam
from pipeline.camera import camera
from pipeline.implants import ball, hip_stem, moved, screw, tube, united
from pipeline.projection import grid
from pipeline.simulate import line_integrals
from pipeline.thickness import thickness
from pipeline.tissue import (
    bone_density,
    ellipsoid_length,
    filled,
    materials_of_ct,
    shares_of_labels,
)
from pipeline.types import ViewName


def a_beam(*names: ViewName, pixels: int = 65, pitch: float = 2.0) -> Beam:
    return beam(
        [
            camera(
                name,
                source_to_detector=1200.0,
                source_to_patient=800.0,
                row_spacing=pitch,
                column_spacing=pitch,
                rows=pixels,
                columns=pixels,
            )
            for name in names or (ViewName.AP,)
        ]
    )


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def enclosed_mm3(vertices: Tensor, faces: Tensor) -> float:
    """By the divergence theorem; positive where faces look outwards."""
    a, b, c = vertices[faces].unbind(dim=1)
    return float((a * torch.linalg.cross(b, c)).sum() / 6)


def test_a_bone_is_cortex_over_spongy_bone_over_marrow() -> None:
    depth = torch.tensor([-5.0, 1.0, 3.0, 4.5, 60.0])

    share = bone_density(-depth, 4.0, spongy=0.3, marrow=0.05, fading_mm=6.0, edge_mm=0.5)

    under_cortex = 0.05 + 0.25 * math.exp(-0.5 / 6)
    assert share.tolist() == pytest.approx([0, 1, 1, under_cortex, 0.05], abs=1e-3)


def test_the_cortex_may_vary_from_point_to_point_and_has_gradients() -> None:
    distance = torch.full((4,), -3.0)
    cortex = torch.tensor([1.0, 2.0, 2.9, 6.0], requires_grad=True)

    share = bone_density(distance, cortex)
    share.sum().backward()

    assert share.tolist() == sorted(share.tolist())
    assert share[-1] == 1
    assert cortex.grad is not None
    assert cortex.grad[0] > 0


def test_a_ray_through_a_hollow_ball_passes_its_cortex_twice() -> None:
    size, edge = 90, 60.0
    axis = (torch.arange(size) + 0.5) * edge / size - edge / 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    distance = torch.sqrt(x**2 + y**2 + z**2) - 25
    bone = bone_density(distance, 3.0, spongy=0.0, marrow=0.0, edge_mm=edge / size)
    inside = filled(distance, edge / size)

    seen = line_integrals(
        torch.stack([bone, inside - bone]), torch.from_numpy(grid(edge, size)), a_beam()
    )[0, :, 32, 32]

    assert seen.tolist() == pytest.approx([6.0, 44.0], rel=0.01)


def test_ct_numbers_become_what_attenuates_as_much() -> None:
    """At 70 keV cortical bone attenuates 2.56 times as water, and muscle 1.05 times."""
    hounsfield = torch.tensor([-1000.0, -100.0, 50.0, 800.0, 1560.0])

    bone, soft = materials_of_ct(hounsfield)

    assert bone[:3].tolist() == [0, 0, 0]
    assert soft[0] == 0
    assert (2.56 * bone + 1.05 * soft).tolist() == pytest.approx(
        (1 + hounsfield / 1000).tolist(), abs=0.02
    )


def test_labels_become_channels_of_the_tissues_that_they_mean() -> None:
    labels = torch.tensor([[0, 1, 2], [5, 6, 1]])

    bone, muscle, nothing = shares_of_labels(labels, [[1, 2], [5, 6, 9], []])

    assert bone.tolist() == [[0, 1, 1], [0, 0, 1]]
    assert muscle.tolist() == [[0, 0, 0], [1, 1, 0]]
    assert nothing.sum() == 0


def test_a_ray_through_the_middle_of_an_ellipsoid_is_its_axis() -> None:
    half = torch.diag(vector(30.0, 50.0, 70.0))[None]

    seen = ellipsoid_length(vector(0, 0, 0)[None], half, a_beam(ViewName.AP, ViewName.LL))

    assert seen[:, 32, 32].tolist() == pytest.approx([100.0, 60.0])
    assert seen[0, 32, 0] == 0


def test_an_ellipsoid_is_the_mesh_of_a_ball_that_was_stretched() -> None:
    stretch = vector(1.5, 0.7, 1.1)
    shape = ball(vector(0, 0, 0), 20.0, sides=96)
    centre = vector(5.0, -9.0, 3.0)

    seen = ellipsoid_length(centre[None], torch.diag(20 * stretch)[None], a_beam())[0]

    by_mesh = thickness(shape.vertices * stretch + centre, shape.faces, a_beam())[0]
    assert (seen - by_mesh).abs().mean() < 0.05
    assert seen.max().item() == pytest.approx(by_mesh.max().item(), rel=0.01)


def test_what_bodies_share_counts_once() -> None:
    centres = torch.stack([vector(0, -20, 0), vector(0, 20, 0), vector(0, 0, 0), vector(0, 300, 0)])
    half = torch.stack([torch.eye(3).double() * r for r in (30.0, 30.0, 5.0, 10.0)])

    seen = ellipsoid_length(centres, half, a_beam())[0, 32, 32]

    assert seen.item() == pytest.approx(50 + 50 + 20)


def test_ellipsoids_have_gradients_for_size_and_place() -> None:
    centre = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    half = (torch.eye(3, dtype=torch.float64) * 20)[None].requires_grad_()

    ellipsoid_length(centre, half, a_beam())[0, 30, 30].backward()

    for reached in (centre, half):
        assert reached.grad is not None
        assert torch.isfinite(reached.grad).all()
    assert half.grad is not None
    assert half.grad[0, 1, 1] > 0


def test_a_straight_tube_is_a_cylinder() -> None:
    body = tube(torch.stack([vector(0, 0, -40), vector(0, 0, 40)]), vector(9.0), sides=64)

    seen = thickness(body.vertices, body.faces, a_beam())[0]

    assert enclosed_mm3(body.vertices, body.faces) == pytest.approx(math.pi * 81 * 80, rel=1e-6)
    assert seen[32, 32].item() == pytest.approx(18.0, rel=0.01)


def test_a_prosthetic_head_is_round_from_everywhere() -> None:
    head = ball(vector(0, 0, 0), 16.0, sides=96)

    seen = thickness(head.vertices, head.faces, a_beam(ViewName.AP, ViewName.LL))

    assert seen[:, 32, 32].tolist() == pytest.approx([32.0, 32.0], rel=0.01)
    volume = enclosed_mm3(head.vertices, head.faces)
    assert volume == pytest.approx(4 / 3 * math.pi * 16**3, rel=0.01)


def test_a_screw_is_closed_and_as_thick_as_its_thread() -> None:
    thread = screw(vector(-25.0, 0, 0), vector(25.0, 0, 0))

    seen = thickness(thread.vertices, thread.faces, a_beam(pixels=129, pitch=0.5))[0]

    middle = seen[64, 40:90]
    assert middle.max().item() == pytest.approx(4.5, rel=0.05)
    assert middle.min().item() == pytest.approx(2 * (2.25 - 0.6), rel=0.1)
    assert enclosed_mm3(thread.vertices, thread.faces) > 0


def test_a_stem_runs_from_the_head_down_the_shaft() -> None:
    head, junction, distal = vector(0, 0, 40), vector(35, 0, 5), vector(40, 0, -60)

    parts = hip_stem(head, junction, distal)

    seen = sum(thickness(part.vertices, part.faces, a_beam(pixels=193))[0] for part in parts)
    assert isinstance(seen, Tensor)
    rows, columns = (seen > 0).nonzero().unbind(dim=1)
    z, x = (96 - rows) * 2 / 1.5, (columns - 96) * 2 / 1.5
    assert z.max().item() == pytest.approx(40 + 16, abs=2)
    assert z.min().item() == pytest.approx(-60, abs=2)
    assert x.min().item() == pytest.approx(-16, abs=2)
    assert all(enclosed_mm3(part.vertices, part.faces) > 0 for part in parts)


def test_implants_are_moved_and_joined() -> None:
    affine = torch.eye(4, dtype=torch.float64)
    affine[0, 3] = 40.0
    one = ball(vector(0, 0, 0), 5.0)

    both = united([one, moved(one, affine)])

    assert enclosed_mm3(both.vertices, both.faces) == pytest.approx(
        2 * enclosed_mm3(one.vertices, one.faces)
    )
    assert both.vertices[:, 0].max().item() == pytest.approx(45.0, abs=0.1)


def test_a_tube_needs_two_points_and_a_width() -> None:
    with pytest.raises(ValueError, match="two points"):
        tube(vector(0, 0, 0)[None], vector(1.0))
    with pytest.raises(ValueError, match="radius"):
        tube(torch.stack([vector(0, 0, 0), vector(0, 0, 1)]), vector(0.0))


def test_the_bend_of_a_tube_keeps_its_volume() -> None:
    turn = torch.linspace(0, np.pi / 2, 40, dtype=torch.float64)
    path = 60 * torch.stack([torch.cos(turn), torch.zeros(40), torch.sin(turn)], dim=1)

    body = tube(path, vector(6.0), sides=48)

    # Pappus: area times the way of its middle
    expected = math.pi * 36 * 60 * math.pi / 2
    assert enclosed_mm3(body.vertices, body.faces) == pytest.approx(expected, rel=0.005)
