"""What a closer look says of a bone takes the place of what the first one said, and of no other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import weights
from pipeline.encode.topology import is_manifold, signed_volume
from pipeline.models import closer, lifting_engine
from pipeline.models.closer import centre_of
from pipeline.reconstruct import reconstruct
from pipeline.types import Bone, Radiograph, Reconstruction, Side, ViewName
from pipeline.weights import Closer
from tests.lifting_nets import FEMUR, TIBIA, a_view, octahedra, shipped

FIRST = ((24.0, -12.0, 8.0), 40.0)
OTHER = ((-45.0, 20.0, -30.0), 24.0)
CUBE_MM = 100.0
CLOSER = ((3.0, -2.0, 4.0), 34.0)
"""In its own cube."""
OFFSET = (-4.0, 5.0, 1.0)
SIZE = 64


def looks_closer(bone: str = "Femur") -> Closer:
    return Closer("hip", bone, 200.0, is_from_below=False, offset=OFFSET)


def a_radiograph(name: ViewName, number: int) -> Radiograph:
    view = a_view(name)
    noise = np.random.default_rng(number).normal(size=(140, 140)).astype(np.float32)
    valid = np.ones(noise.shape, np.bool_)
    return Radiograph(noise, valid, view, "1.2", f"1.2.3.{number}", "1.2.4")


def made(side: Side = Side.RIGHT, views: int = 2) -> Reconstruction:
    images = [a_radiograph(ViewName.AP, 0), a_radiograph(ViewName.LL, 1)][:views]
    return reconstruct(images, region="hip", side=side, model="lifting")


def volume_of(diagonal: float) -> float:
    """mm3, of an octahedron with half a diagonal of so many mm."""
    return 4 / 3 * diagonal**3


def middle_of(bone: Bone) -> np.ndarray:
    index = np.argwhere(bone.probability.array > 0.5)
    affine = bone.probability.patient_from_index
    return np.asarray(index.mean(axis=0) @ affine[:3, :3].T + affine[:3, 3])


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    monkeypatch.setattr(lifting_engine, "SIZE", SIZE)  # an eighth of the time
    # these networks see nothing: where they stand, their bone stands
    monkeypatch.setattr(closer, "BESIDE_MM", ((0.0, 0.0, 0.0),))
    shipped(octahedra(FIRST, OTHER), tmp_path, FEMUR, TIBIA)
    return tmp_path


def shipped_closer(folder: Path, bone: str = "Femur", error: float = 0.7) -> None:
    net = octahedra(CLOSER, cube_mm=CUBE_MM, error=error)
    shipped(net, folder, replace(FEMUR, error_factor=2.0), region="near", closer=looks_closer(bone))


@pytest.mark.parametrize(("side", "sign"), [(Side.RIGHT, 1.0), (Side.LEFT, -1.0)])
def test_a_bone_is_that_of_the_closer_look_where_the_first_look_found_it(
    folder: Path, side: Side, sign: float
) -> None:
    before = made(side)
    shipped_closer(folder)
    after = made(side)

    expected = np.add(np.add(FIRST[0], OFFSET), CLOSER[0]) * [sign, 1.0, 1.0]
    assert middle_of(after.bones[0]) == pytest.approx(expected, abs=1.0)
    assert signed_volume(before.bones[0].mesh) == pytest.approx(volume_of(FIRST[1]), rel=0.03)
    assert signed_volume(after.bones[0].mesh) == pytest.approx(volume_of(CLOSER[1]), rel=0.03)
    assert is_manifold(after.bones[0].mesh.faces)
    other = [bone.mesh.vertices.tobytes() for bone in (before.bones[1], after.bones[1])]
    assert other[0] == other[1]


def test_looks_from_several_places_are_averaged(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closer, "BESIDE_MM", ((6.0, 0.0, 0.0), (-6.0, 0.0, 0.0)))
    shipped_closer(folder)

    bone = made().bones[0]

    # |x - 6| + |x + 6| is 2 |x| beyond 6 mm, and 12 in the middle
    expected = np.add(np.add(FIRST[0], OFFSET), CLOSER[0])
    middle, reach = (
        f(bone.mesh.vertices.max(axis=0), bone.mesh.vertices.min(axis=0)) / 2
        for f in (np.add, np.subtract)
    )
    assert middle == pytest.approx(expected, abs=1.0)
    assert reach == pytest.approx([CLOSER[1], CLOSER[1] - 6, CLOSER[1] - 6], abs=1.0)


def test_the_places_of_the_looks_lie_evenly_about_the_bone() -> None:
    places = np.array(closer.BESIDE_MM)

    assert places.mean(axis=0) == pytest.approx([0.0, 0.0, 0.0])
    assert len(np.unique(places, axis=0)) == len(places)


def test_the_expected_error_is_that_of_the_closer_look(folder: Path) -> None:
    shipped_closer(folder, error=0.6)

    figures = {figure.name: figure.value for figure in made().figures}

    assert figures["expected error of Femur"] == pytest.approx(1.2, rel=0.02)
    assert figures["expected error of Tibia"] == pytest.approx(0.7, rel=0.02)


def test_one_view_is_not_looked_at_closer(folder: Path) -> None:
    before = made(views=1)
    shipped_closer(folder)

    after = made(views=1)

    assert before.bones[0].mesh.vertices.tobytes() == after.bones[0].mesh.vertices.tobytes()


def test_a_bone_that_the_region_does_not_give_is_not_looked_at(folder: Path) -> None:
    before = made()
    shipped_closer(folder, "Patella")

    assert made().bones[0].mesh.vertices.tobytes() == before.bones[0].mesh.vertices.tobytes()


def test_what_reaches_out_of_the_smaller_cube_is_joined_without_a_step(folder: Path) -> None:
    large = ((0.0, 0.0, 0.0), 70.0)
    shipped(octahedra(large), folder)
    # the same octahedron, of which a cube of 100 mm shows the middle
    net = octahedra(large, cube_mm=CUBE_MM)
    shipped(net, folder, region="near", closer=replace(looks_closer(), offset=(0.0, 0.0, 0.0)))

    bone = made().bones[0]

    vertices = bone.mesh.vertices
    away = (np.abs(vertices).sum(axis=1) - large[1]) / np.sqrt(3)
    assert np.abs(vertices).max() > CUBE_MM / 2 + 10
    # the very edges of an octahedron are rounded by any grid
    flat = np.sort(np.abs(vertices), axis=1)[:, 0] > 3
    assert np.abs(away[flat]).max() < 0.5


@pytest.mark.parametrize(
    ("is_from_below", "ends", "height"),
    [(False, [(-30, 50), (-60, 50)], 15.0), (True, [(-50, 30), (-50, 60)], -15.0)],
)
def test_the_centre_does_not_depend_on_how_far_the_image_shows_the_shaft(
    is_from_below: bool, ends: list[tuple[int, int]], height: float
) -> None:
    z, y, x = torch.meshgrid(*(torch.arange(64.0) * 2.5 - 78.75,) * 3, indexing="ij")
    for low, top in ends:
        shaft = torch.maximum(torch.hypot(x - 10, y + 6) - 12, torch.maximum(z - top, low - z))

        centre = centre_of(shaft, 160.0, 70.0, is_from_below=is_from_below)

        assert centre is not None
        assert centre.tolist() == pytest.approx([10.0, -6.0, height], abs=1.5)


def test_there_is_no_centre_without_a_bone() -> None:
    assert centre_of(torch.ones(64, 64, 64), 160.0, 70.0, is_from_below=False) is None
