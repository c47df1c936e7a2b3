"""The hull of bodies whose shadows are known by hand, and what it refuses."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from pipeline.camera import camera
from pipeline.errors import MissingView, StudyError
from pipeline.geometry import cropped, project
from pipeline.metrics import dice
from pipeline.models.visual_hull import extent, visual_hull
from pipeline.phantom import occupancy, phantom
from pipeline.quality import judge
from pipeline.reconstruct import reconstruct
from pipeline.registry import UnknownEngine, algorithm
from pipeline.segment import Silhouette
from pipeline.simulate import project as drr
from pipeline.simulate import radiograph_pixels
from pipeline.types import Radiograph, Side, View, ViewName, Volume

SIZE = 64


def a_view(name: ViewName, turned_deg: float = 0.0, pixels: int = 160) -> View:
    return camera(
        name,
        source_to_detector=1150.0,
        source_to_patient=950.0,
        row_spacing=1.0,
        column_spacing=1.0,
        rows=pixels,
        columns=pixels,
        primary_deg=turned_deg,
    )


def shadow_of_a_ball(view: View, centre: tuple[float, float, float], radius: float) -> Silhouette:
    """The pixels whose ray passes the centre within the radius."""
    pixels = np.moveaxis(np.indices((view.rows, view.columns)), 0, -1)
    step = view.patient_from_detector @ view.detector_from_index
    towards = pixels @ step[:3, :2].T + step[:3, 3] - view.source
    towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
    away = np.linalg.norm(np.cross(towards, np.array(centre) - view.source), axis=-1)
    mask = away < radius
    return Silhouette(mask, mask.astype(np.float32), np.ones_like(mask), view)


def centres(volume: Volume) -> np.ndarray:
    index = np.moveaxis(np.indices(volume.array.shape), 0, -1)
    return index @ volume.patient_from_index[:3, :3].T + volume.patient_from_index[:3, 3]


@pytest.mark.parametrize(
    ("views", "least"),
    [
        ([a_view(ViewName.AP), a_view(ViewName.LL)], 0.88),
        ([a_view(ViewName.PA), a_view(ViewName.RL)], 0.88),
        ([a_view(ViewName.AP, -30), a_view(ViewName.AP, 30), a_view(ViewName.LL)], 0.88),
        # at 52 degrees the silhouettes leave a rhombus of 4 / sin(52) r2: a Dice of 0.76
        ([a_view(ViewName.AP, -38), a_view(ViewName.AP, 14)], 0.76),
    ],
)
def test_a_ball_is_found_where_it_is_from_any_views(views: list[View], least: float) -> None:
    centre, radius = (8.0, -12.0, 15.0), 18.0

    hull = visual_hull([shadow_of_a_ball(view, centre, radius) for view in views], size=SIZE)

    truth = np.linalg.norm(centres(hull) - centre, axis=-1) < radius
    assert dice(hull.array > 0.5, truth) > least


def test_values_are_occupancies_and_the_surface_is_not_a_staircase() -> None:
    views = [a_view(ViewName.AP), a_view(ViewName.LL)]

    hull = visual_hull([shadow_of_a_ball(v, (0, 0, 0), 20) for v in views], size=SIZE)

    assert hull.array.dtype == np.float32
    assert hull.array.min() >= 0
    assert hull.array.max() <= 1
    between = (hull.array > 0.05) & (hull.array < 0.95)
    assert between.sum() > 0.1 * (hull.array > 0.5).sum()


def test_the_order_of_the_views_does_not_matter() -> None:
    shadows = [
        shadow_of_a_ball(v, (5, 3, -9), 17) for v in (a_view(ViewName.AP), a_view(ViewName.LL))
    ]

    there, back = visual_hull(shadows, size=SIZE), visual_hull(shadows[::-1], size=SIZE)

    assert np.allclose(there.array, back.array, atol=1e-5)
    assert np.array_equal(there.patient_from_index, back.patient_from_index)


def test_every_view_sees_the_whole_grid() -> None:
    views = [a_view(ViewName.AP), cropped(a_view(ViewName.LL), 20, 0, 120, 160)]
    shadows = [shadow_of_a_ball(v, (0, 0, 0), 200) for v in views]

    half = extent(shadows) / 2

    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * half
    for view in views:
        pixels = project(view, corners)
        assert (pixels > -0.51).all()
        assert (pixels < np.array([view.rows, view.columns]) - 0.49).all()


def test_the_grid_is_no_larger_than_the_bone_needs() -> None:
    views = [a_view(ViewName.AP), a_view(ViewName.LL)]

    edge = extent([shadow_of_a_ball(v, (0, 0, 0), 15) for v in views])

    assert 30 < edge < 36


@pytest.mark.parametrize("names", [["AP"], ["AP", "AP"], ["AP", "PA"], ["LL", "RL"]])
def test_views_along_one_line_are_refused(names: list[str]) -> None:
    shadows = [shadow_of_a_ball(a_view(ViewName(name)), (0, 0, 0), 15) for name in names]

    with pytest.raises(MissingView, match=r"two views|same line"):
        visual_hull(shadows, size=SIZE)


def test_a_view_that_does_not_show_the_isocentre_is_refused() -> None:
    views = [a_view(ViewName.AP), cropped(a_view(ViewName.LL), 100, 0, 60, 160)]

    with pytest.raises(StudyError, match="isocentre"):
        visual_hull([shadow_of_a_ball(v, (0, 0, 0), 60) for v in views], size=SIZE)


def test_the_hull_of_the_phantom_overlaps_its_truth() -> None:
    hip = phantom(Side.RIGHT, spacing=2.0)
    affine = torch.from_numpy(hip.density.patient_from_index)
    radiographs = []
    for seed, name in enumerate((ViewName.AP, ViewName.LL)):
        view = camera(
            name,
            source_to_detector=1150.0,
            source_to_patient=950.0,
            row_spacing=0.8,
            column_spacing=0.8,
            rows=400,
            columns=320,
        )
        pixels = radiograph_pixels(
            drr(torch.from_numpy(hip.density.array), affine, view), seed=seed
        )
        valid = np.ones(pixels.shape, np.bool_)
        radiographs.append(Radiograph(pixels.astype(np.float32), valid, view, "1", "2", "3"))

    made = reconstruct(radiographs, region="hip", side=Side.RIGHT, model="visual-hull")

    bone = made.bones[0]
    truth = occupancy(Side.RIGHT, (128, 128, 128), bone.probability.patient_from_index)
    assert dice(bone.probability.array > 0.5, truth.array > 0.5) > 0.78
    assert judge(made.figures) == ()
    assert bone.name == "Bone of the hip region"
    assert (bone.code.scheme, bone.code.value) == ("SCT", "272673000")
    assert bone.side is Side.RIGHT
    assert made.algorithm == algorithm("visual-hull", "hip")


def test_an_unknown_model_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UnknownEngine, match="visual-hull"):
        algorithm("crystal-ball", "hip")


def test_naming_an_engine_loads_no_numerical_library() -> None:
    program = (
        "import sys; from pipeline.registry import algorithm; algorithm('visual-hull', 'hip');"
        "print(sorted({'torch', 'scipy', 'skimage', 'trimesh'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert done.stdout.decode().strip() == "[]"
