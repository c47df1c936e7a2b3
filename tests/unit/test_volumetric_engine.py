"""A volumetric network's bone lies where it was looked for; what it never saw is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import weights
from pipeline.camera import camera
from pipeline.encode.topology import is_manifold, signed_volume
from pipeline.errors import MissingView, StudyError
from pipeline.familiar import Views
from pipeline.models.solid import Solid, placed, solid
from pipeline.reconstruct import reconstruct
from pipeline.types import Radiograph, Reconstruction, Side, ViewName
from tests.lifting_nets import octahedra
from tests.lifting_nets import shipped as lifting_shipped
from tests.volumetric_nets import FAMILIAR, RADIUS, ball, shipped

ENGINE = "pix2vox++/F"
FEMUR_AT = (30.0, -12.0, 8.0)
"""Where the lifting network finds it; the cube lies 5 mm to the left of it and 10 mm below."""
SPHERE = 4 / 3 * np.pi * RADIUS**3


def a_radiograph(name: ViewName, number: int = 0, **geometry: float) -> Radiograph:
    noise = np.random.default_rng(number).normal(size=(140, 140)).astype(np.float32)
    taken: dict[str, float] = {"source_to_detector": 1150.0, "source_to_patient": 950.0}
    view = camera(
        name,
        row_spacing=2.0,
        column_spacing=2.0,
        rows=140,
        columns=140,
        **(taken | geometry),  # type: ignore[arg-type]  # lengths and angles
    )
    valid = np.ones(noise.shape, np.bool_)
    return Radiograph(noise, valid, view, "1.2", f"1.2.3.{number}", "1.2.4")


AP, LL = a_radiograph(ViewName.AP), a_radiograph(ViewName.LL, 1)


def made(*images: Radiograph, side: Side = Side.RIGHT) -> Reconstruction:
    return reconstruct(images or (AP, LL), region="hip", side=side, model=ENGINE)


def centre_of(made: Reconstruction) -> np.ndarray:
    vertices = made.bones[0].mesh.vertices
    return np.asarray((vertices.min(axis=0) + vertices.max(axis=0)) / 2)


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Of the weights of a hip."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    lifting_shipped(octahedra((FEMUR_AT, 40.0)), tmp_path)
    shipped(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("side", "x"), [(Side.RIGHT, 35.0), (Side.LEFT, -35.0)])
def test_the_bone_lies_in_the_cube_about_the_one_that_was_found_and_a_left_one_is_mirrored(
    side: Side, x: float
) -> None:
    found = made(side=side)
    bone = found.bones[0]

    assert centre_of(found) == pytest.approx([x, -12.0, -2.0], abs=3.0)
    assert is_manifold(bone.mesh.faces)
    assert (bone.name, bone.side, bone.code.value) == ("Femur", side, "71341001")
    inside = np.argwhere(bone.probability.array > 0.5)
    affine = bone.probability.patient_from_index
    middle = inside.mean(axis=0) @ affine[:3, :3].T + affine[:3, 3]
    assert middle == pytest.approx([x, -12.0, -2.0], abs=6.0)  # of voxels of 20 mm
    volume = len(inside) * abs(np.linalg.det(affine[:3, :3]))
    assert signed_volume(bone.mesh) == pytest.approx(volume, rel=0.1)


def test_a_cube_that_no_network_places_lies_about_the_isocentre(folder: Path) -> None:
    shipped(folder, within=None, region="hip", engine="pix2vox++/F")
    (folder / "proximal_femur.pix2vox-f.safetensors").unlink()

    assert centre_of(made()) == pytest.approx([0.0, 0.0, 0.0], abs=3.0)


def test_the_result_says_how_sure_it_is_and_which_view_it_comes_from() -> None:
    figures = {figure.name: figure for figure in made(side=Side.LEFT).figures}

    assert figures["expected error of Femur"].unit == "mm"
    assert {name for name in figures if name.startswith("outline")} == {
        "outline on an edge of the view AP",
        "outline on an edge of the view LL",
    }
    shares = [figures[f"share of the model taken from the view {name}"] for name in ("AP", "LL")]
    assert sum(share.value for share in shares) == pytest.approx(1.0, abs=1e-4)
    assert "surface outside every image, Femur" in figures


def test_the_shares_of_the_views_lie_in_the_cube_of_the_bone_and_are_1_in_all() -> None:
    found = made(LL, AP)
    cube = found.bones[0].probability

    assert [(one.view, one.label) for one in found.shares] == [("AP", "AP"), ("LL", "LL")]
    assert sum(one.volume.array for one in found.shares) == pytest.approx(1.0, abs=1e-5)
    for share in found.shares:
        assert share.volume.array.shape == (8, 8, 8)
        corners = [
            volume.patient_from_index @ [*(np.array(volume.array.shape) * end - 0.5), 1]
            for volume in (share.volume, cube)
            for end in (0, 1)
        ]
        assert corners[0] == pytest.approx(corners[2])
        assert corners[1] == pytest.approx(corners[3])


def test_one_view_is_enough_and_is_said() -> None:
    alone = made(AP)

    assert alone.shares == ()
    told = {assumption.name: assumption.value for assumption in alone.assumptions}
    assert told["Depth"] == "estimated from one view"
    assert told["Scale and direction"] == "as in the training of the network"
    assert not [f for f in alone.figures if f.name.startswith("share of the model")]


def test_the_order_of_arrival_changes_nothing() -> None:
    one, other = made(AP, LL), made(LL, AP)

    assert np.array_equal(one.bones[0].probability.array, other.bones[0].probability.array)


TURNED = a_radiograph(ViewName.AP, primary_deg=55.0)
TILTED = a_radiograph(ViewName.AP, secondary_deg=25.0)
FAR = a_radiograph(ViewName.AP, source_to_detector=2400.0, source_to_patient=2000.0)
NEAR = a_radiograph(ViewName.AP, source_to_detector=1150.0, source_to_patient=700.0)
REFUSED = {
    "too many views": ((AP, LL, AP, LL), "takes at most 3 views, there are 4"),
    "turned": ((TURNED, LL), "AP: the view is turned by 5[0-9] degrees"),
    "tilted": ((TILTED, LL), "AP: the ray is tilted by 2[0-9] degrees"),
    "far": ((FAR, LL), "2400 mm from the detector, it knows 900 to 1800 mm"),
    "magnified": ((NEAR, LL), r"magnified 1\.6\d times, it knows 1\.10 to 1\.40"),
}


@pytest.mark.parametrize(("images", "words"), REFUSED.values(), ids=REFUSED)
def test_views_like_none_that_were_learned_from_are_refused_in_words(
    images: tuple[Radiograph, ...], words: str
) -> None:
    numbered = [replace(one, sop_instance_uid=f"1.{n}") for n, one in enumerate(images)]

    with pytest.raises(StudyError, match=words) as caught:
        made(*numbered)
    assert ENGINE in str(caught.value)


def test_a_direction_that_was_not_learned_is_refused(folder: Path) -> None:
    shipped(folder, familiar=replace(FAMILIAR, views=Views(1, 2, ("frontal",))))

    with pytest.raises(MissingView, match="knows frontal views, no lateral one"):
        made()


def test_a_bone_of_a_side_that_is_not_known_is_refused() -> None:
    with pytest.raises(StudyError, match="side of the hip is not known"):
        made(side=Side.UNPAIRED)


def test_where_nothing_is_filled_there_is_no_bone(folder: Path) -> None:
    shipped(folder, level=0.999999)

    with pytest.raises(StudyError, match="finds no femur in the radiographs"):
        made()


def test_a_hip_that_the_lifting_network_does_not_find_is_refused(folder: Path) -> None:
    lifting_shipped(octahedra((FEMUR_AT, -40.0)), folder)

    with pytest.raises(StudyError, match="No femur is found where the radiographs look"):
        made()


def whole(level: float = 0.5, **changes: object) -> Solid:
    found = solid(ball(), level, cube_mm=160.0, **changes)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_the_surface_lies_where_the_probability_is_the_level() -> None:
    assert signed_volume(whole().mesh) == pytest.approx(SPHERE, rel=0.15)
    assert signed_volume(whole(0.3).mesh) > signed_volume(whole().mesh)


def test_a_mirrored_solid_is_the_mirror_image_about_the_middle_plane() -> None:
    lopsided = ball().clone()
    lopsided[:, :, :3] = 0

    one = solid(lopsided, 0.5, cube_mm=160.0, centre=(7.0, 2.0, 3.0))
    other = solid(lopsided, 0.5, cube_mm=160.0, centre=(7.0, 2.0, 3.0), is_mirrored=True)

    assert one is not None
    assert other is not None
    low, high = one.mesh.vertices.min(axis=0), one.mesh.vertices.max(axis=0)
    mirrored = [-high[0], low[1], low[2]], [-low[0], high[1], high[2]]
    assert other.mesh.vertices.min(axis=0) == pytest.approx(mirrored[0], abs=0.5)
    assert other.mesh.vertices.max(axis=0) == pytest.approx(mirrored[1], abs=0.5)


def test_voxels_of_a_mirrored_cube_lie_in_the_mirror_image() -> None:
    array = np.zeros((4, 4, 4), np.float32)
    array[0, 1, 3] = 1.0

    one, other = (
        placed(array, 40.0, (7.0, 2.0, 3.0), is_mirrored=is_mirrored)
        for is_mirrored in (False, True)
    )

    # centres of voxels of 10 mm, by hand: x = 7 + 15, y = 2 - 5, z = 3 - 15
    for volume, x in ((one, 22.0), (other, -22.0)):
        index = np.argwhere(volume.array)[0]
        assert volume.patient_from_index @ [*index, 1] == pytest.approx([x, -3.0, -12.0, 1.0])


def test_the_spread_is_the_mean_distance_from_a_surface_whose_place_is_uncertain() -> None:
    # the place of a plane at x = 0 is spread evenly over 40 mm: the mean distance from 0 is 10 mm
    x = ((torch.arange(32) + 0.5) / 32 - 0.5) * 160.0
    plane = (0.5 - x / 40).clamp(0, 1).expand(32, 32, 32)

    found = solid(plane, 0.5, cube_mm=160.0)

    assert found is not None
    # five of the six faces of the half that is filled are those of the cube, of no uncertainty
    in_the_middle = 1 / (1 + 1 + 4 * 0.5)
    assert found.spread_mm == pytest.approx(10.0 * in_the_middle, rel=0.15)
