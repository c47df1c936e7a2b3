"""Pictures of bodies whose shadow and light are known by hand."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
import trimesh
from PIL import Image

from pipeline.camera import camera
from pipeline.geometry import project
from pipeline.picture import HEIGHT, WIDTH, Nearness, compose
from pipeline.render import outline, shaded, silhouette, viewpoint, visible
from pipeline.types import Mesh, Radiograph, View, ViewName


def a_mesh(made: trimesh.Trimesh) -> Mesh:
    return Mesh(np.asarray(made.vertices, float), np.asarray(made.faces, np.int64))


def a_sphere(radius: float, centre: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    made = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    made.apply_translation(centre)
    return a_mesh(made)


def a_view(name: ViewName = ViewName.AP) -> View:
    return camera(
        name,
        source_to_detector=1200.0,
        source_to_patient=800.0,
        row_spacing=0.5,
        column_spacing=0.5,
        rows=240,
        columns=200,
    )


def test_the_silhouette_of_a_sphere_is_its_tangent_cone() -> None:
    mask = silhouette(a_sphere(20.0), a_view())

    radius_px = 1200 * np.tan(np.arcsin(20 / 800)) / 0.5
    assert mask.shape == (240, 200)
    assert mask.sum() == pytest.approx(np.pi * radius_px**2, rel=0.01)


def test_a_closed_mesh_has_no_gaps_in_its_silhouette() -> None:
    box = a_mesh(trimesh.creation.box((30, 30, 30)))

    mask = silhouette(box, a_view())

    rows, columns = np.nonzero(mask)
    assert mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()
    # the near face is 785 mm from the source; pixel centres within 15 x 1200 / 785 / 0.5 pixels
    assert rows.max() - rows.min() + 1 == 2 * int(15 * 1200 / 785 / 0.5 + 0.5)


@pytest.mark.parametrize("name", list(ViewName))
def test_a_speck_is_drawn_where_the_camera_projects_it(name: ViewName) -> None:
    place = (13.0, -8.0, 21.0)

    rows, columns = np.nonzero(silhouette(a_sphere(1.5, place), a_view(name)))

    expected = project(a_view(name), np.array(place))
    assert [rows.mean(), columns.mean()] == pytest.approx(expected, abs=0.6)


def test_the_nearest_surface_hides_the_one_behind() -> None:
    near, far = a_sphere(10.0, (0, -30, 0)), a_sphere(20.0, (0, 30, 0))
    both = Mesh(
        np.concatenate([near.vertices, far.vertices]),
        np.concatenate([near.faces, far.faces + len(near.vertices)]),
    )

    seen = visible(both, a_view())

    middle = 120 * 200 + 100
    at = int(np.flatnonzero(seen.pixel == middle)[0])
    assert seen.face[at] < len(near.faces)
    assert seen.depth[at] == pytest.approx(800 - 30 - 10, abs=0.1)


def test_each_pixel_is_seen_once_with_shares_that_sum_to_one() -> None:
    seen = visible(a_sphere(20.0), a_view())

    assert len(np.unique(seen.pixel)) == len(seen.pixel)
    assert np.allclose(seen.weights.sum(axis=1), 1)


def test_what_is_behind_the_source_or_beside_the_detector_is_not_drawn() -> None:
    assert not silhouette(a_sphere(5.0, (0, -900, 0)), a_view()).any()
    assert not silhouette(a_sphere(5.0, (300, 0, 0)), a_view()).any()


def test_light_falls_from_the_upper_left_and_edges_are_smooth() -> None:
    view = viewpoint((0, 1, 0), size_px=120, field_mm=60)

    picture = shaded(a_sphere(20.0), view)

    grey = picture[..., :3].mean(axis=-1)
    assert picture.shape == (120, 120, 4)
    assert grey[45, 45] > grey[75, 75] + 40
    partly = (picture[..., 3] > 0) & (picture[..., 3] < 255)
    assert partly.sum() > 50


def test_a_viewpoint_from_the_front_has_the_patients_left_at_its_right() -> None:
    view = viewpoint((0, 1, 0), size_px=101, field_mm=101.0, centre=(5.0, 6.0, 7.0))

    pixels = project(view, [[5.0, 6.0, 7.0], [15.0, 6.0, 7.0], [5.0, 6.0, 27.0]])

    assert pixels[0] == pytest.approx([50, 50])
    assert pixels[1] == pytest.approx([50, 60])
    assert pixels[2] == pytest.approx([30, 50])


def test_the_outline_is_inside_the_mask_and_open_at_the_border() -> None:
    mask = np.zeros((20, 20), np.bool_)
    mask[:15, 5:15] = True

    rim = outline(mask, 2)

    assert not (rim & ~mask).any()
    assert not rim[0, 8]
    assert rim[14, 8]
    assert rim[13, 8]
    assert not rim[12, 8]


@pytest.fixture(scope="module")
def radiographs() -> list[Radiograph]:
    ramp = np.tile(np.linspace(0, 4000, 200, dtype=np.float32), (240, 1))
    return [
        Radiograph(ramp, np.ones_like(ramp, np.bool_), a_view(name), "1", "2", "3")
        for name in (ViewName.AP, ViewName.LL)
    ]


def test_the_same_result_gives_the_same_bytes(radiographs: list[Radiograph]) -> None:
    near = [Nearness("Femur", 0.8, 2.0)]
    first, again = (compose(radiographs, [a_sphere(20.0)], near) for _ in range(2))

    assert first == again
    with Image.open(BytesIO(first)) as picture:
        assert picture.format == "PNG"
        assert picture.size == (WIDTH, HEIGHT)


def test_three_radiographs_and_two_bones_make_a_picture(
    radiographs: list[Radiograph],
) -> None:
    shown = [*radiographs, radiographs[0]]

    near = [Nearness("Femur", 0.8, 2.0), Nearness("Hip bone", 0.7, 3.0)]
    spheres = [a_sphere(20.0), a_sphere(30.0)]

    with Image.open(BytesIO(compose(shown, spheres, near))) as picture:
        assert picture.size == (WIDTH, HEIGHT)
