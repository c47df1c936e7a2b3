"""The surfaces: the mesh that was given, by a reader written from the standard."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from pydicom import dcmread

from pipeline.encode.write import write
from pipeline.errors import PipelineError
from pipeline.types import Bone, Mesh, ObjectKind, Side, SurfaceProcessing
from tests.factories import two_views
from tests.results import TIBIA, box, radiographs, reconstruction, request
from tests.surface_reader import ReadSurface, has_no_rim, read_surfaces, volume_inside

ALONE = (ObjectKind.SURFACE_SEGMENTATION,)
IN_SPACE = (
    ObjectKind.MODEL_VOLUME,
    ObjectKind.SEGMENTATION,
    ObjectKind.LABELMAP,
    ObjectKind.FRACTIONAL,
    ObjectKind.SURFACE_SEGMENTATION,
    ObjectKind.STL,
)


def _written(folder: Path, *bones: Bone, **changes: Any) -> Path:
    wanted = request(folder, **({"kinds": ALONE} | changes))
    return write(reconstruction(*bones), radiographs(), wanted)[-1].path


def _surfaces(folder: Path, *bones: Bone) -> list[ReadSurface]:
    return read_surfaces(_written(folder, *bones))


def _with(solid: trimesh.Trimesh, *, keep: slice = slice(None)) -> Bone:
    mesh = Mesh(np.asarray(solid.vertices, float), np.asarray(solid.faces, np.int64)[keep])
    return dataclasses.replace(box(), mesh=mesh)


@pytest.mark.parametrize("side", [Side.RIGHT, Side.LEFT])
def test_the_mesh_is_read_back_closed_and_outwards_within_float32(
    tmp_path: Path, side: Side
) -> None:
    ball = trimesh.creation.icosphere(subdivisions=2, radius=30).apply_translation([5, -70, 300])
    bone = dataclasses.replace(_with(ball), side=side)

    (surface,) = _surfaces(tmp_path, bone)

    np.testing.assert_array_equal(surface.points, bone.mesh.vertices.astype(np.float32))
    np.testing.assert_array_equal(surface.triangles, bone.mesh.faces)
    assert has_no_rim(surface)
    assert volume_inside(surface) == pytest.approx(ball.volume, rel=1e-4)
    assert surface.label == f"Femur {side}"
    assert (surface.finite_volume, surface.manifold) == ("YES", "YES")


def test_normals_are_of_unit_length_and_point_outwards(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=30)

    (surface,) = _surfaces(tmp_path, _with(ball))

    normals, directions = np.array(surface.normals), np.array(surface.points) / 30
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)
    assert (np.einsum("ij,ij->i", normals, directions) > 0.999).all()


def test_many_bones_are_surfaces_of_their_own(tmp_path: Path) -> None:
    bones = [box("Femur"), box("Tibia", code=TIBIA, centre=(0, 0, -20)), box("Patella")]

    surfaces = _surfaces(tmp_path, *bones)

    assert [surface.label for surface in surfaces] == ["Femur R", "Tibia R", "Patella R"]
    for surface, bone in zip(surfaces, bones, strict=True):
        np.testing.assert_allclose(surface.points, bone.mesh.vertices, atol=1e-5)


def test_an_open_mesh_is_said_to_be_open(tmp_path: Path) -> None:
    (surface,) = _surfaces(tmp_path, _with(trimesh.creation.box(), keep=slice(1, None)))

    assert not has_no_rim(surface)
    assert (surface.finite_volume, surface.manifold) == ("NO", "NO")


def test_two_solids_that_touch_in_a_point_are_closed_but_no_manifold(tmp_path: Path) -> None:
    one, other = trimesh.creation.box(), trimesh.creation.box().apply_translation([1, 1, 1])
    touching = trimesh.util.concatenate([one, other])
    touching.merge_vertices()
    assert len(touching.vertices) == 15

    (surface,) = _surfaces(tmp_path, _with(touching))

    assert has_no_rim(surface)
    assert (surface.finite_volume, surface.manifold) == ("YES", "NO")


def test_a_point_that_no_face_uses_leaves_the_normals_out(tmp_path: Path) -> None:
    bone = box()
    loose = Mesh(np.vstack([bone.mesh.vertices, [[0, 0, 0]]]), bone.mesh.faces)

    (surface,) = _surfaces(tmp_path, dataclasses.replace(bone, mesh=loose))

    assert surface.normals == []
    assert len(surface.points) == 9


def test_the_surfaces_lie_in_the_frame_of_reference_of_the_volume(tmp_path: Path) -> None:
    wanted = request(tmp_path, kinds=IN_SPACE)

    written = write(reconstruction(), radiographs(), wanted)

    assert {one.kind for one in written} == set(IN_SPACE)
    frames = {dcmread(one.path).FrameOfReferenceUID for one in written}
    assert len(frames) == 1


def test_the_box_around_the_points_and_the_sources_are_given(tmp_path: Path) -> None:
    bone = box(centre=(1, 2, 3), extents=(8, 6, 14))

    ds = dcmread(_written(tmp_path, bone))

    points = ds.SurfaceSequence[0].SurfacePointsSequence[0]
    assert list(points.PointsBoundingBoxCoordinates) == [-3, -1, -4, 5, 5, 10]
    surface = ds.SegmentSequence[0].ReferencedSurfaceSequence[0]
    sources = surface.SegmentSurfaceSourceInstanceSequence
    images = {image.SOPInstanceUID for image in two_views()}
    assert {item.ReferencedSOPInstanceUID for item in sources} == images
    listed = [i for s in ds.ReferencedSeriesSequence for i in s.ReferencedInstanceSequence]
    assert {item.ReferencedSOPInstanceUID for item in listed} == images


def test_what_dciodvfy_forbids_in_a_surface_is_absent(tmp_path: Path) -> None:
    ds = dcmread(_written(tmp_path))

    keywords = {element.keyword for element in ds.iterall()}
    assert not keywords & {"SegmentAlgorithmName", "Laterality"}


GOOD = box().mesh


@pytest.mark.parametrize(
    ("mesh", "reason"),
    [
        (Mesh(GOOD.vertices, GOOD.faces[:, ::-1]), "inside out"),
        (Mesh(GOOD.vertices[:4], GOOD.faces), "refers to points"),
        (Mesh(GOOD.vertices, GOOD.faces - 1), "refers to points"),
        (Mesh(GOOD.vertices * np.nan, GOOD.faces), "not finite"),
        (Mesh(GOOD.vertices, np.zeros((0, 3), np.int64)), "no triangles"),
        (Mesh(np.zeros((0, 3)), GOOD.faces), "no points"),
    ],
)
def test_a_broken_mesh_is_refused_and_nothing_is_written(
    tmp_path: Path, mesh: Mesh, reason: str
) -> None:
    with pytest.raises(PipelineError, match=reason):
        _written(tmp_path, dataclasses.replace(box(), mesh=mesh))

    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("processing", "value", "words"),
    [
        (None, "", None),
        (SurfaceProcessing((), 1.0), "NO", None),
        (SurfaceProcessing(("smoothed", "simplified"), 0.25), "", "25 % of points kept; smoothed"),
    ],
    ids=["not told", "nothing", "processed"],
)
def test_what_was_done_to_a_surface_is_told(
    tmp_path: Path, processing: SurfaceProcessing | None, value: str, words: str | None
) -> None:
    bone = box()
    bone = dataclasses.replace(bone, mesh=dataclasses.replace(bone.mesh, processing=processing))

    (item,) = dcmread(_written(tmp_path, bone)).SurfaceSequence

    assert item.SurfaceProcessing == value
    assert str(item.get("SurfaceProcessingDescription", "")).startswith(words or "")
    assert ("smoothed; simplified" in item.SurfaceComments) == (words is not None)
