"""The length of rays inside closed meshes, against solid geometry and against voxels."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.beam import beam, moved
from pipeline.camera import camera
from pipeline.errors import DegenerateView
from pipeline.projection import grid, mirror, rays
from pipeline.simulate import line_integrals
from pipeline.thickness import thickness
from pipeline.types import View, ViewName

SID, SOD = 1200.0, 800.0
SHARED = Path(os.environ.get("OSTEON_SHARED", Path(__file__).parents[3] / "shared"))


def a_view(name: ViewName = ViewName.AP, pixels: int = 65, pitch: float = 2.0) -> View:
    """65 pixels: the middle one, 32, lies on the central ray."""
    return camera(
        name,
        source_to_detector=SID,
        source_to_patient=SOD,
        row_spacing=pitch,
        column_spacing=pitch,
        rows=pixels,
        columns=pixels,
    )


def a_cube(edge: float) -> tuple[Tensor, Tensor]:
    """Corner (x, y, z) has the index 4x + 2y + z; two triangles a face, outwards."""
    corners = torch.tensor(list(np.ndindex(2, 2, 2)), dtype=torch.float64)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))]
    return (corners - 0.5) * edge, torch.tensor(faces)


def a_ball(radius: float, around: int = 96) -> tuple[Tensor, Tensor]:
    """A ball of quadrangles between circles of latitude; its poles are on the z axis."""
    lat = np.linspace(0, np.pi, around // 2 + 1)[1:-1]
    lon = np.arange(around) * 2 * np.pi / around
    rings = np.stack(
        [
            np.outer(np.sin(lat), np.cos(lon)),
            np.outer(np.sin(lat), np.sin(lon)),
            np.outer(np.cos(lat), np.ones(around)),
        ],
        axis=-1,
    )
    vertices = np.concatenate([rings.reshape(-1, 3), [[0, 0, 1.0], [0, 0, -1.0]]]) * radius
    ring, place = np.indices((len(lat) - 1, around)).reshape(2, -1)
    after = (place + 1) % around
    a, b = ring * around + place, ring * around + after
    c, d = a + around, b + around
    north, south = len(vertices) - 2, len(vertices) - 1
    round_about = np.arange(around)
    following = (round_about + 1) % around
    below = (len(lat) - 1) * around
    faces = np.concatenate(
        [
            np.stack([a, c, d], 1),
            np.stack([a, d, b], 1),
            np.stack([np.full(around, north), round_about, following], 1),
            np.stack([np.full(around, south), below + following, below + round_about], 1),
        ]
    )
    return torch.from_numpy(vertices), torch.from_numpy(faces)


def chords(view: View, radius: float, centre: tuple[float, float, float] = (0, 0, 0)) -> Tensor:
    """2 sqrt(r^2 - d^2), d being the distance of the ray from the centre."""
    towards = rays(view, np.stack(np.indices((view.rows, view.columns)), axis=-1))
    away = np.cross(np.asarray(centre) - view.source, towards)
    inside = np.clip(radius**2 - (away**2).sum(axis=-1), 0, None)
    return torch.from_numpy(2 * np.sqrt(inside))


@pytest.mark.parametrize("name", list(ViewName))
def test_a_cube_on_the_axis_is_as_long_as_its_edge(name: ViewName) -> None:
    seen = thickness(*a_cube(50.0), beam([a_view(name)]))[0]

    assert seen[32, 32].item() == pytest.approx(50.0, rel=1e-6)


def test_every_ray_through_a_cube_is_as_long_as_a_slab_says() -> None:
    """Rays that pass the front and the back face are longer by their obliquity alone."""
    view = a_view()

    seen = thickness(*a_cube(50.0), beam([view]))[0]

    towards = rays(view, np.stack(np.indices((65, 65)), axis=-1))
    offset = 2.0 * np.abs(np.arange(65) - 32)
    within = offset * (SOD + 25) / SID < 25
    expected = 50.0 / towards[..., 1]
    assert np.allclose(seen[within][:, within], expected[within][:, within], rtol=1e-5)


@pytest.mark.parametrize("name", list(ViewName))
def test_every_ray_through_a_ball_has_the_length_of_its_chord(name: ViewName) -> None:
    view = a_view(name)

    seen = thickness(*a_ball(30.0, around=192), beam([view]))[0]

    expected = chords(view, 30.0)
    assert (seen - expected).abs()[expected > 15].max() < 0.1
    assert (seen - expected).abs().mean() < 0.02


def test_a_ball_is_magnified_by_sid_over_sod() -> None:
    small, radius = a_view(pixels=257, pitch=0.25), 12.0

    seen = thickness(*a_ball(radius), beam([small]))[0]

    shadow_mm2 = float((seen > 0).sum()) * 0.25**2
    at_detector = SID * np.tan(np.arcsin(radius / SOD))
    assert shadow_mm2 == pytest.approx(np.pi * at_detector**2, rel=0.01)


def test_the_mesh_and_the_voxels_of_one_ball_look_alike() -> None:
    view, radius, size = a_view(), 25.0, 80
    axis = (np.arange(size) + 0.5) * 60 / size - 30
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    share = np.clip((radius - np.sqrt(x**2 + y**2 + z**2)) * size / 60 + 0.5, 0, 1)
    voxels = torch.from_numpy(share.astype(np.float32))

    by_mesh = thickness(*a_ball(radius), beam([view]))[0]

    by_voxels = line_integrals(voxels[None], torch.from_numpy(grid(60.0, size)), beam([view]))
    difference = (by_mesh - by_voxels[0, 0]).abs()
    assert difference[chords(view, radius) > 12].max() < 60 / size
    assert difference.mean() < 0.1


def test_rays_through_shared_edges_and_corners_count_once() -> None:
    """The diagonal of each face and its middle lie on rays; so do the ball's poles from above."""
    vertices, faces = a_cube(64.0)
    # each corner is seen exactly at a pixel centre: 32 mm at the depth of 800 mm is 24 pixels
    flat = vertices.clone()
    flat[:, 1] *= 1e-9

    seen = thickness(vertices, faces, beam([a_view()]))[0]

    assert seen[32, 32].item() == pytest.approx(64.0, rel=1e-5)
    assert (seen >= 0).all()
    assert thickness(flat, faces, beam([a_view()])).abs().max() < 1e-6


def test_turning_a_mesh_inside_out_makes_a_cavity() -> None:
    vertices, faces = a_ball(30.0)
    inner, _ = a_ball(20.0)
    both = torch.cat([vertices, inner])
    shells = torch.cat([faces, faces.flip(1) + len(vertices)])

    seen = thickness(both, shells, beam([a_view()]))[0]

    assert seen[32, 32].item() == pytest.approx(20.0, rel=0.01)


def test_the_mirrored_body_in_the_mirrored_view_gives_the_same_image() -> None:
    vertices, faces = a_ball(20.0)
    vertices = vertices * torch.tensor([1.0, 0.6, 1.3]).double() + torch.tensor([9.0, 4.0, 2.0])
    view = a_view(ViewName.LL)
    flip = torch.tensor([-1.0, 1.0, 1.0]).double()

    there = thickness(vertices * flip, faces.flip(1), beam([mirror(view)]))

    assert torch.allclose(there, thickness(vertices, faces, beam([view])), atol=1e-4)


def test_each_beam_may_see_its_own_shape() -> None:
    vertices, faces = a_ball(20.0)
    views = beam([a_view(), a_view(ViewName.LL)])

    seen = thickness(torch.stack([vertices, vertices * 1.5]), faces, views)

    assert seen[:, 32, 32].tolist() == pytest.approx([40.0, 60.0], rel=0.01)


def test_the_gradient_for_vertices_and_cameras_is_that_of_differences() -> None:
    vertices, faces = a_ball(20.0, around=24)
    vertices = vertices + torch.tensor([1.3, 0.7, -2.1])  # no ray along an edge, where slopes jump
    still = beam([a_view(pixels=33, pitch=3.0)])
    weights = torch.linspace(0, 1, 33, dtype=torch.float64)

    def figure(stretch: Tensor, shift: Tensor) -> Tensor:
        seen = thickness(vertices * stretch, faces, moved(still, torch.zeros(3), shift))
        return (seen.square() * weights).sum()

    stretch = torch.ones(3, dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    figure(stretch, shift).backward()

    for given, first, tiny in ((stretch, 1.0, 1e-5), (shift, 0.0, 1e-4)):
        assert given.grad is not None
        for axis in range(3):
            step = tiny * torch.eye(3, dtype=torch.float64)[axis]
            ends = [
                figure(
                    *(
                        (first + sign * step, shift)
                        if given is stretch
                        else (stretch, first + sign * step)
                    )
                )
                for sign in (1, -1)
            ]
            slope = (ends[0] - ends[1]).item() / (2 * tiny)
            assert given.grad[axis].item() == pytest.approx(
                slope, abs=0.01 * given.grad.abs().max().item()
            )


def test_a_hole_in_the_mesh_is_refused() -> None:
    vertices, faces = a_ball(20.0)

    with pytest.raises(ValueError, match="not closed"):
        thickness(vertices, faces[::3], beam([a_view()]))


def test_a_mesh_around_the_source_is_refused() -> None:
    with pytest.raises(DegenerateView):
        thickness(*a_cube(2500.0), beam([a_view()]))


@pytest.mark.data
@pytest.mark.parametrize("bone", ["Femur_L", "Hip_L", "Sacrum"])
def test_a_real_bone_seen_from_afar_has_its_volume(bone: str) -> None:
    """Rays of a source 10 km away are parallel: lengths times the area of a pixel."""
    path = SHARED / "data/bones/vsd/z001.npz"
    if not path.exists():
        pytest.skip(f"the shared bones are not here: {path}")
    with np.load(path) as person:
        vertices = torch.from_numpy(person[f"{bone}/v"].astype(np.float64))
        faces = torch.from_numpy(person[f"{bone}/f"].astype(np.int64))
    vertices = vertices - (vertices.amax(dim=0) + vertices.amin(dim=0)) / 2
    far = camera(
        ViewName.LL,
        source_to_detector=1e7 + 1000,
        source_to_patient=1e7,
        row_spacing=2.0,
        column_spacing=2.0,
        rows=280,
        columns=120,
    )

    seen = thickness(vertices, faces, beam([far]))

    a, b, c = vertices[faces].unbind(dim=1)
    volume = float((a * torch.linalg.cross(b, c)).sum() / 6)
    assert float(seen.sum()) * 4.0 == pytest.approx(volume, rel=0.005)
    assert seen.min() >= 0


def test_nothing_and_what_lies_beside_the_detector_are_zero() -> None:
    vertices, faces = a_cube(10.0)
    far = vertices + torch.tensor([300.0, 0.0, 0.0])

    assert thickness(far, faces, beam([a_view()])).abs().max() == 0
    assert thickness(vertices[:0], faces[:0], beam([a_view()])).abs().max() == 0


def test_faces_of_no_area_change_nothing() -> None:
    vertices, faces = a_cube(50.0)
    folded = torch.cat([faces, torch.tensor([[0, 1, 0], [3, 3, 3]])])

    seen = thickness(vertices, folded, beam([a_view()]))

    assert torch.equal(seen, thickness(vertices, faces, beam([a_view()])))


def test_many_portions_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = thickness(*a_ball(25.0), beam([a_view()]))
    monkeypatch.setattr("pipeline.thickness.PAIRS_AT_ONCE", 100)

    parts = thickness(*a_ball(25.0), beam([a_view()]))

    assert torch.allclose(whole, parts, atol=1e-9)


def test_a_detector_moved_aside_sees_the_same_lengths_elsewhere() -> None:
    still = beam([a_view()])
    aside = still.patient_from_pixel.clone()
    aside[..., 2] += 4 * aside[..., 1]  # four columns

    seen = thickness(*a_ball(20.0), replace(still, patient_from_pixel=aside))[0]

    assert torch.allclose(seen[:, :-4], thickness(*a_ball(20.0), still)[0][:, 4:], atol=1e-4)
