"""Bones of a network whose answer is known by hand come back where they are, on the right side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from pipeline import weights
from pipeline.encode.topology import is_manifold, signed_volume
from pipeline.errors import MissingView, NoBone, StudyError
from pipeline.geometry import mirror, rays
from pipeline.models import lifting_engine
from pipeline.models.field import asked
from pipeline.models.lifting import Lifting, Shape
from pipeline.models.lifting_engine import understand
from pipeline.reconstruct import reconstruct
from pipeline.registry import algorithm
from pipeline.types import Mesh, Radiograph, Reconstruction, Side, View, ViewName
from tests.lifting_nets import FEMUR, TIBIA, a_view, octahedra, shipped

RADIUS = 40.0
FAR_LEFT = ((30.0, -12.0, 8.0), RADIUS)
FAR_RIGHT = ((-30.0, -12.0, 8.0), RADIUS)
VOLUME = 4 / 3 * RADIUS**3
"""mm3, of an octahedron with half a diagonal of `RADIUS`."""
SIZE = 64
VOXEL = 160 / SIZE


def a_radiograph(name: ViewName, number: int = 0) -> Radiograph:
    noise = np.random.default_rng(number).normal(size=(140, 140)).astype(np.float32)
    valid = np.ones(noise.shape, np.bool_)
    return Radiograph(noise, valid, a_view(name), "1.2", f"1.2.3.{number}", "1.2.4")


def two_views() -> list[Radiograph]:
    return [a_radiograph(ViewName.AP, 0), a_radiograph(ViewName.LL, 1)]


def made(side: Side, images: list[Radiograph] | None = None) -> Reconstruction:
    return reconstruct(images or two_views(), region="hip", side=side, model="lifting")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    monkeypatch.setattr(lifting_engine, "SIZE", SIZE)  # an eighth of the time
    return tmp_path


def centre_of(made: Reconstruction, number: int = 0) -> np.ndarray:
    mesh = made.bones[number].mesh
    return np.asarray(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).center_mass)


@pytest.mark.parametrize(("side", "x"), [(Side.RIGHT, 30.0), (Side.LEFT, -30.0)])
def test_a_bone_lies_where_the_network_sees_it_and_a_left_one_is_its_mirror_image(
    folder: Path, side: Side, x: float
) -> None:
    shipped(octahedra(FAR_LEFT), folder)

    found = made(side)
    bone = found.bones[0]

    assert centre_of(found) == pytest.approx([x, -12.0, 8.0], abs=0.3)
    assert signed_volume(bone.mesh) == pytest.approx(VOLUME, rel=0.02)
    assert is_manifold(bone.mesh.faces)
    assert (bone.name, bone.code, bone.side) == (FEMUR.name, FEMUR.code, side)
    inside = np.argwhere(bone.probability.array > 0.5)
    affine = bone.probability.patient_from_index
    middle = inside.mean(axis=0) @ affine[:3, :3].T + affine[:3, 3]
    assert middle == pytest.approx([x, -12.0, 8.0], abs=VOXEL / 2)
    assert len(inside) * VOXEL**3 == pytest.approx(VOLUME, rel=0.02)


def test_the_probability_is_that_of_a_laplace_error_about_the_surface(folder: Path) -> None:
    error = 2.0
    shipped(octahedra(FAR_LEFT, error=error), folder)

    volume = made(Side.RIGHT).bones[0].probability

    index = np.moveaxis(np.indices(volume.array.shape), 0, -1)
    points = index @ volume.patient_from_index[:3, :3].T + volume.patient_from_index[:3, 3]
    away = (np.abs(points - np.array(FAR_LEFT[0])).sum(axis=-1) - RADIUS) / np.sqrt(3)
    tail = 0.5 * np.exp(-np.abs(away) / error)
    expected = np.where(away < 0, 1 - tail, tail)
    near = np.abs(away) < 3
    assert np.abs(volume.array - expected)[near].max() < 0.05
    assert volume.array.min() >= 0
    assert volume.array.max() <= 1


def test_two_bones_that_overlap_share_no_voxel_and_lose_none(folder: Path) -> None:
    one, other = ((10.0, 0.0, 0.0), 30.0), ((-10.0, 0.0, 0.0), 30.0)
    shipped(octahedra(one, other), folder, FEMUR, TIBIA)

    first, second = (bone.probability.array > 0.5 for bone in made(Side.RIGHT).bones)

    assert not (first & second).any()
    index = np.moveaxis(np.indices(first.shape), 0, -1)
    points = (index[..., ::-1] + 0.5) * VOXEL - 80
    both = np.minimum(*(np.abs(points - np.array(c)).sum(axis=-1) - r for c, r in (one, other)))
    clear = np.abs(both) > 2
    assert np.array_equal((first | second)[clear], (both < 0)[clear])


def test_the_expected_error_is_that_of_the_network_times_its_calibration(folder: Path) -> None:
    shipped(octahedra(FAR_LEFT, error=0.7), folder, replace(FEMUR, error_factor=1.5))

    figures = {figure.name: figure for figure in made(Side.LEFT).figures}

    assert figures["expected error of Femur"].value == pytest.approx(1.05, rel=1e-3)
    assert figures["expected error of Femur"].unit == "mm"


def test_one_view_is_enough_and_is_said(folder: Path) -> None:
    shipped(octahedra(FAR_LEFT), folder)

    alone = made(Side.RIGHT, [a_radiograph(ViewName.AP)])

    assert [a.value for a in alone.assumptions if a.name == "Depth"] == ["estimated from one view"]
    assert [a for a in made(Side.RIGHT).assumptions if a.name == "Depth"] == []


def test_a_bone_that_is_cut_by_the_cube_is_said_to_be_cut(folder: Path) -> None:
    shipped(octahedra(((-60.0, 0.0, 0.0), 40.0)), folder)

    cut = made(Side.RIGHT)

    assert [a.value for a in cut.assumptions if a.name == "Femur"] == [
        "cut at the edge of the model"
    ]
    assert is_manifold(cut.bones[0].mesh.faces)


def test_a_bone_that_is_not_there_is_left_out_unless_the_result_needs_it(folder: Path) -> None:
    nothing = ((0.0, 0.0, 0.0), -20.0)
    shipped(octahedra(FAR_LEFT, nothing), folder, FEMUR, replace(TIBIA, is_required=False))
    assert [bone.name for bone in made(Side.RIGHT).bones] == ["Femur"]

    shipped(octahedra(FAR_LEFT, nothing), folder, FEMUR, TIBIA)
    with pytest.raises(NoBone, match="tibia"):
        made(Side.RIGHT)


def test_the_side_must_be_known_and_there_must_be_a_view(folder: Path) -> None:
    shipped(octahedra(FAR_LEFT), folder)

    with pytest.raises(StudyError, match="side"):
        made(Side.UNPAIRED)
    with pytest.raises(MissingView):
        understand([], "hip", Side.RIGHT)


def untrained() -> Lifting:
    """Any network at all: what it says depends on all that it is given."""
    torch.manual_seed(4)
    return Lifting(Shape(("femur",), 160.0, 64, 8, planar=(8, 16), spatial=(8, 16), hidden=16))


def test_a_mirrored_patient_is_understood_as_the_other_side(folder: Path) -> None:
    shipped(untrained(), folder)
    right = two_views()
    left = [replace(one, view=mirror(one.view)) for one in right]
    points = torch.rand(500, 3) * 120 - 60

    with torch.inference_mode():
        there = asked(understand(right, "hip", Side.RIGHT).field, points)
        back = asked(understand(left, "hip", Side.LEFT).field, points)

    assert torch.allclose(there.distance, back.distance, atol=1e-4)
    assert float(there.distance.std()) > 1e-3


def test_what_lies_outside_the_collimation_is_not_looked_at(folder: Path) -> None:
    shipped(untrained(), folder)
    points = torch.rand(200, 3) * 120 - 60
    answers = []
    for padding in (0.0, 1e9, np.nan):
        images = two_views()
        for one in images:
            one.is_valid[:20] = False
            one.attenuation[:20] = padding
        with torch.inference_mode():
            answers.append(asked(understand(images, "hip", Side.RIGHT).field, points).distance)

    assert torch.equal(answers[0], answers[1])
    assert torch.equal(answers[0], answers[2])


def test_the_order_of_the_views_changes_no_byte(folder: Path) -> None:
    shipped(octahedra(FAR_LEFT), folder)

    there, back = made(Side.RIGHT), made(Side.RIGHT, two_views()[::-1])

    assert there.bones[0].mesh.vertices.tobytes() == back.bones[0].mesh.vertices.tobytes()
    array = there.bones[0].probability.array
    assert array.tobytes() == back.bones[0].probability.array.tobytes()


def test_other_weights_are_another_version_of_the_model(folder: Path) -> None:
    shipped(octahedra(FAR_LEFT), folder)
    before = algorithm("lifting", "hip")
    shipped(octahedra(FAR_RIGHT), folder)
    after = algorithm("lifting", "hip")

    assert len(before.weights_digest) == 64
    assert before.weights_digest != after.weights_digest
    # the network of the old file is not used for the new one
    assert centre_of(made(Side.RIGHT))[0] == pytest.approx(-30.0, abs=0.3)


@pytest.mark.parametrize("side", [Side.RIGHT, Side.LEFT])
def test_outlines_are_held_against_the_images_on_the_true_side(folder: Path, side: Side) -> None:
    sign = 1.0 if side is Side.RIGHT else -1.0
    fine = Shape((), 160.0, 128, 8, planar=(8, 16), spatial=(8, 16), hidden=6)
    shipped(octahedra(FAR_LEFT, sized_as=fine), folder)
    solid = made(side).bones[0].mesh
    images = []
    for number, name in enumerate((ViewName.AP, ViewName.RL)):
        view = a_view(name)
        # the shadow of the octahedron itself: only its own side explains the images
        shown = shadow(solid, view)
        valid = np.ones(shown.shape, np.bool_)
        images.append(Radiograph(shown, valid, view, "1", f"1.{number}", "1"))
    assert centre_of(made(side))[0] == pytest.approx(30 * sign, abs=0.3)

    right = made(side, images)
    wrong = made(Side.LEFT if side is Side.RIGHT else Side.RIGHT, images)

    least = [min(f.value for f in one.figures if "outline" in f.name) for one in (right, wrong)]
    names = sorted(f.name for f in right.figures if "outline" in f.name)
    assert names == ["outline on an edge of the view AP", "outline on an edge of the view RL"]
    assert least[0] > 0.8
    assert least[1] < 0.35


def shadow(mesh: Mesh, view: View) -> np.ndarray:
    """1 where a ray meets the octahedron whose middle is that of `mesh`."""
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    pixels = np.moveaxis(np.indices((view.rows, view.columns)), 0, -1)
    towards = rays(view, pixels)
    normals = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    # each face cuts the ray where n (s + t r - c) = R; entered where n r < 0, left where n r > 0
    at = RADIUS - (view.source - (low + high) / 2) @ normals.T
    slope = towards @ normals.T
    with np.errstate(divide="ignore", invalid="ignore"):
        cut = at / slope
    entered = np.where(slope < 0, cut, -np.inf).max(axis=-1)
    left = np.where(slope > 0, cut, np.inf).min(axis=-1)
    return (left > entered).astype(np.float32)
