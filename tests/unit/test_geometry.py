"""Cameras, rays and their tags, against a hand, the standard, and a real calibration."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from pipeline.errors import ContradictoryGeometry, MissingGeometry
from pipeline.geometry import (
    binned,
    camera,
    cropped,
    grid,
    magnification,
    mirror,
    missing_geometry,
    patient_from_pixel,
    pixel_from_patient,
    project,
    rays,
    source_to_detector,
    source_to_isocentre,
    unproject,
    view_from_matrices,
    view_from_tags,
)
from pipeline.types import Assume, View, ViewName

AP, PA, LL, RL = ViewName
SHARED = Path(os.environ.get("OSTEON_SHARED", Path(__file__).parents[2] / "../shared"))
BIPLANE = SHARED / "data/radiographs/biplane/Calibration"


def a_camera(name: ViewName, **changes: object) -> View:
    arguments: dict[str, object] = {
        "source_to_detector": 1000.0,
        "source_to_patient": 800.0,
        "row_spacing": 0.2,
        "column_spacing": 0.3,
        "rows": 101,
        "columns": 81,
    }
    return camera(name, **{**arguments, **changes})


def a_header(**changes: object) -> Dataset:
    ds = Dataset()
    ds.SOPInstanceUID = "1.2.3"
    ds.Modality = "DX"
    ds.DistanceSourceToDetector = "1000"
    ds.DistanceSourceToPatient = "800"
    ds.ImagerPixelSpacing = ["0.2", "0.3"]
    ds.PatientOrientation = ["L", "F"]
    ds.Rows, ds.Columns = 101, 81
    for keyword, value in changes.items():
        if value is None:
            del ds[keyword]
        else:
            setattr(ds, keyword, value)
    return ds


def spacing_of(view: View) -> tuple[float, float]:
    return view.detector_from_index[1, 0], view.detector_from_index[0, 1]


coordinates = st.floats(-150, 150, allow_nan=False)
points = st.tuples(coordinates, coordinates, coordinates).map(np.array)
names = st.sampled_from(list(ViewName))
deviations = st.floats(-45, 45)


@st.composite
def cameras(draw: st.DrawFn) -> View:
    sid = draw(st.floats(600, 3000))
    return camera(
        draw(names),
        source_to_detector=sid,
        source_to_patient=sid * draw(st.floats(0.5, 0.98)),
        row_spacing=draw(st.floats(0.05, 1)),
        column_spacing=draw(st.floats(0.05, 1)),
        rows=draw(st.integers(1, 4000)),
        columns=draw(st.integers(1, 4000)),
        primary_deg=draw(deviations),
        secondary_deg=draw(deviations),
    )


# The nominal views, by hand: SID 1000, SOD 800, so a shift at the isocentre grows by 1.25.
@pytest.mark.parametrize(
    ("name", "source", "point", "row_column"),
    [
        (AP, (0, -800, 0), (12, 0, 8), (50 - 50, 40 + 50)),
        (PA, (0, 800, 0), (12, 0, 8), (50 - 50, 40 + 50)),
        (LL, (-800, 0, 0), (0, 12, 8), (50 - 50, 40 + 50)),
        (RL, (800, 0, 0), (0, 12, 8), (50 - 50, 40 + 50)),
        (AP, (0, -800, 0), (12, 200, 8), (50 - 40, 40 + 40)),
        (LL, (-800, 0, 0), (200, 12, 8), (50 - 40, 40 + 40)),
    ],
)
def test_a_point_is_seen_where_a_hand_computes_it(
    name: ViewName,
    source: tuple[float, ...],
    point: tuple[float, ...],
    row_column: tuple[float, float],
) -> None:
    view = a_camera(name)

    seen = project(view, point)

    assert_allclose(view.source, source, atol=1e-12)
    assert_allclose(seen, row_column, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "far"), [(AP, (0, 200, 0)), (PA, (0, -200, 0)), (LL, (200, 0, 0)), (RL, (-200, 0, 0))]
)
def test_the_detector_stands_behind_the_named_side(name: ViewName, far: tuple[float, ...]) -> None:
    centre = patient_from_pixel(a_camera(name)) @ [50, 40, 0, 1]

    assert_allclose(centre[:3], far, atol=1e-9)


@given(cameras(), st.floats(-500, 4500), st.floats(-500, 4500), st.floats(50, 3000))
def test_project_after_unproject_is_the_identity(
    view: View, row: float, column: float, depth: float
) -> None:
    seen = project(view, unproject(view, (row, column), depth))

    assert_allclose(seen, (row, column), atol=1e-6)


@given(cameras(), points)
def test_unproject_after_project_is_the_identity_at_the_depth_of_the_point(
    view: View, point: NDArray[np.float64]
) -> None:
    depth = (pixel_from_patient(view) @ [*point, 1.0])[2]

    back = unproject(view, project(view, point), depth)

    assert_allclose(back, point, atol=1e-6)


@given(cameras(), points)
def test_the_ray_of_a_seen_point_passes_through_it(view: View, point: NDArray[np.float64]) -> None:
    direction = rays(view, project(view, point))

    towards = (point - view.source) / np.linalg.norm(point - view.source)
    assert_allclose(direction, towards, atol=1e-9)


@given(cameras(), points)
def test_the_matrix_projects_as_the_triangle_of_source_point_and_detector_does(
    view: View, point: NDArray[np.float64]
) -> None:
    normal = view.patient_from_detector[:3, 2]
    centre = view.patient_from_detector[:3, 3]
    reach = normal @ (centre - view.source) / (normal @ (point - view.source))

    hit = view.source + reach * (point - view.source)

    row, column = project(view, point)
    assert_allclose((patient_from_pixel(view) @ [row, column, 0, 1])[:3], hit, atol=1e-6)


@given(cameras(), st.floats(0.05, 0.95))
def test_the_central_ray_lands_on_the_centre_of_the_image(view: View, part: float) -> None:
    depth = part * source_to_detector(view)
    point = view.source + view.patient_from_detector[:3, 2] * depth

    assert_allclose(project(view, point), ((view.rows - 1) / 2, (view.columns - 1) / 2), atol=1e-6)
    assert_allclose(project(view, np.zeros(3)), project(view, point), atol=1e-6)


@given(cameras())
def test_magnification_is_measured_by_projecting_one_millimetre(view: View) -> None:
    step = view.patient_from_detector[:3, 0]

    moved = (project(view, step) - project(view, np.zeros(3)))[1] * spacing_of(view)[1]

    assert magnification(view) == pytest.approx(moved, rel=1e-6)
    assert magnification(view) == pytest.approx(
        source_to_detector(view) / source_to_isocentre(view)
    )


def test_magnification_is_source_to_detector_over_source_to_isocentre() -> None:
    assert magnification(a_camera(AP)) == pytest.approx(1000 / 800)


@pytest.mark.parametrize(("one", "other", "axis"), [(AP, PA, 0), (LL, RL, 1)])
@given(across=coordinates, up=coordinates)
def test_opposite_views_agree_in_the_plane_of_the_isocentre(
    one: ViewName, other: ViewName, axis: int, across: float, up: float
) -> None:
    point = np.array([0.0, 0.0, up])
    point[axis] = across

    assert_allclose(project(a_camera(one), point), project(a_camera(other), point), atol=1e-9)


@given(points)
def test_ap_and_pa_seen_from_their_detectors_are_mirrored_and_equal_up_to_magnification(
    point: NDArray[np.float64],
) -> None:
    front = a_camera(AP, patient_orientation=("R", "F"))
    back = a_camera(PA, patient_orientation=("L", "F"))
    centre = np.array([50, 40])

    seen = (project(front, point) - centre) * (800 + point[1])
    mirrored = (project(back, point) - centre) * (800 - point[1])

    assert_allclose(seen, mirrored * [1, -1], atol=1e-6)


@given(points)
def test_ll_and_rl_mirror(point: NDArray[np.float64]) -> None:
    mirrored = point * [-1, 1, 1]

    seen = project(a_camera(RL), mirrored)

    assert_allclose(seen, project(a_camera(LL), point), atol=1e-9)


@given(cameras(), points)
def test_a_mirrored_view_sees_the_mirrored_patient_in_the_same_image(
    view: View, point: NDArray[np.float64]
) -> None:
    other = mirror(view)

    assert_allclose(project(other, point * [-1, 1, 1]), project(view, point), atol=1e-6)
    assert other.name is {AP: AP, PA: PA, LL: RL, RL: LL}[view.name]


def test_mirroring_twice_is_no_mirroring() -> None:
    view = a_camera(LL, primary_deg=10, secondary_deg=-5)

    again = mirror(mirror(view))

    assert again.name is LL
    assert_allclose(again.source, view.source)
    assert_allclose(again.patient_from_detector, view.patient_from_detector)


# Every display of one image is a change of its array: what numpy does, the letters undo.
DIHEDRAL = [
    (("L", "F"), lambda a: a),
    (("R", "F"), np.fliplr),
    (("L", "H"), np.flipud),
    (("R", "H"), lambda a: np.rot90(a, 2)),
    (("F", "L"), np.transpose),
    (("F", "R"), lambda a: np.rot90(a, 1)),
    (("H", "L"), lambda a: np.rot90(a, -1)),
    (("H", "R"), lambda a: np.rot90(a, 2).T),
]


@pytest.mark.parametrize(("letters", "displayed"), DIHEDRAL)
@pytest.mark.parametrize("name", ViewName)
def test_patient_orientation_undoes_all_eight_flips(
    name: ViewName, letters: tuple[str, str], displayed: object
) -> None:
    lateral = name in (LL, RL)
    to_lateral = str.maketrans({"L": "P", "R": "A"})
    shown = tuple(v.translate(to_lateral) if lateral else v for v in letters)
    first = a_camera(name, rows=9, columns=7, patient_orientation=("P" if lateral else "L", "F"))
    marked = [(1, 5), (7, 2), (4, 0)]
    image = np.zeros((9, 7), int)
    for number, pixel in enumerate(marked, 1):
        image[pixel] = number

    flipped = displayed(image)

    transposed = flipped.shape != image.shape
    view = a_camera(
        name,
        rows=flipped.shape[0],
        columns=flipped.shape[1],
        row_spacing=0.3 if transposed else 0.2,
        column_spacing=0.2 if transposed else 0.3,
        patient_orientation=shown,
    )
    for number, pixel in enumerate(marked, 1):
        (found,) = np.argwhere(flipped == number)
        assert_allclose(unproject(view, found, 700), unproject(first, pixel, 700), atol=1e-9)


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        (AP, ("A", "F")),
        (AP, ("L", "P")),
        (PA, ("L", "R")),
        (PA, ("F", "F")),
        (LL, ("L", "F")),
        (RL, ("P", "A")),
        (AP, ("X", "F")),
        (AP, ("", "F")),
    ],
)
def test_an_orientation_that_cannot_belong_to_the_view_contradicts(
    name: ViewName, letters: tuple[str, str]
) -> None:
    with pytest.raises(ContradictoryGeometry):
        a_camera(name, patient_orientation=letters)


def test_of_several_letters_the_principal_one_counts() -> None:
    oblique = a_camera(AP, patient_orientation=("RA", "FP"))

    assert_allclose(
        oblique.patient_from_detector,
        a_camera(AP, patient_orientation=("R", "F")).patient_from_detector,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"source_to_patient": 1000.0},
        {"source_to_patient": 1200.0},
        {"source_to_detector": 0.0},
        {"source_to_detector": math.nan},
        {"source_to_detector": math.inf},
        {"row_spacing": -0.1},
        {"column_spacing": 0.0},
        {"rows": 0},
    ],
)
def test_a_camera_that_cannot_stand_is_refused(changes: Mapping[str, object]) -> None:
    with pytest.raises(ContradictoryGeometry):
        a_camera(AP, **changes)


# C.8.7.5: +90 primary is the detector at the patient's left, +90 secondary at the head.
@pytest.mark.parametrize(
    ("name", "primary", "secondary", "detector"),
    [
        (PA, 30, 0, (100, -173.2050808, 0)),
        (PA, -30, 0, (-100, -173.2050808, 0)),
        (PA, 0, 30, (0, -173.2050808, 100)),
        (PA, 0, -30, (0, -173.2050808, -100)),
        (AP, 30, 0, (-100, 173.2050808, 0)),
        (AP, 0, 30, (0, 173.2050808, 100)),
        (LL, 30, 0, (173.2050808, 100, 0)),
        (RL, 0, 30, (-173.2050808, 0, 100)),
        (PA, 30, 30, (86.6025404, -150, 100)),
    ],
)
def test_angles_turn_the_detector_towards_left_and_head(
    name: ViewName, primary: float, secondary: float, detector: tuple[float, ...]
) -> None:
    view = a_camera(name, primary_deg=primary, secondary_deg=secondary)

    assert_allclose(view.patient_from_detector[:3, 3], detector, atol=1e-6)
    assert_allclose(view.source, np.array(detector) * -4, atol=1e-5)


@given(cameras())
def test_the_detector_stands_perpendicular_to_the_central_ray(view: View) -> None:
    axes = view.patient_from_detector[:3, :3]

    assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert_allclose(axes[:, 2] * source_to_isocentre(view), -view.source, atol=1e-6)


def test_points_behind_the_source_are_seen_nowhere() -> None:
    seen = project(a_camera(AP), [(0.0, -900.0, 5.0), (0.0, -800.0, 0.0), (0.0, 0.0, 0.0)])

    assert np.isnan(seen[:2]).all()
    assert_allclose(seen[2], (50, 40))


def test_a_binned_view_sees_a_point_at_the_mean_of_the_pixels_of_its_block() -> None:
    view = a_camera(AP, rows=103, columns=82)
    block = [(r, c) for r in range(8, 12) for c in range(20, 24)]
    point = unproject(view, np.mean(block, axis=0), 750.0)

    small = binned(view, 4)

    assert_allclose(project(small, point), (2, 5), atol=1e-9)
    assert (small.rows, small.columns) == (25, 20)
    with pytest.raises(ValueError, match="binned"):
        binned(view, 83)


def test_a_cropped_view_sees_a_point_as_far_from_the_new_corner_as_it_was() -> None:
    view = a_camera(LL)
    point = unproject(view, (30, 44), 700.0)

    part = cropped(view, 10, 4, 50, 60)

    assert_allclose(project(part, point), (20, 40), atol=1e-9)
    assert (part.rows, part.columns) == (50, 60)


def test_the_grid_runs_along_the_axes_of_the_patient_and_is_centred() -> None:
    patient_from_index = grid(100.0, 4, centre=(1.0, 2.0, 3.0))

    # four voxels of 25 mm: the first centre stands 37.5 mm before the middle
    assert_allclose(patient_from_index @ [0, 0, 0, 1], [1 - 37.5, 2 - 37.5, 3 - 37.5, 1])
    assert_allclose(patient_from_index @ [2, 1, 3, 1], [1 + 37.5, 2 - 12.5, 3 + 12.5, 1])


@pytest.mark.data
@pytest.mark.skipif(not BIPLANE.is_dir(), reason="the shared data folder is not here")
@pytest.mark.parametrize("file", sorted(p.name for p in BIPLANE.glob("*_cam0?.txt")))
def test_a_real_calibration_projects_as_its_matrices_do(file: str) -> None:
    blocks = (BIPLANE / file).read_text().split("\n\n")
    (size, K, R, t) = (np.loadtxt(b.splitlines()[1:], delimiter=",") for b in blocks[:4])
    around = np.random.default_rng(0).uniform(-100, 100, (50, 3)) - R.T @ t + 1300 * R[2]

    view = view_from_matrices(
        ViewName.AP, K, R, t, rows=int(size[1]), columns=int(size[0]), source_to_detector=1500.0
    )

    homogeneous = (around @ R.T + t) @ K.T
    expected = homogeneous[:, 1::-1] / homogeneous[:, 2:]
    assert_allclose(project(view, around), expected, atol=1e-6)
    assert_allclose(unproject(view, expected, (around @ R.T + t)[:, 2]), around, atol=1e-4)


def test_a_calibration_that_is_none_is_refused() -> None:
    K = np.diag([5000.0, 5000.0, 1.0])
    skewed = np.array([[5000.0, 9.0, 0.0], [0.0, 5000.0, 0.0], [0.0, 0.0, 1.0]])
    size = {"rows": 9, "columns": 9, "source_to_detector": 1000.0}

    with pytest.raises(ContradictoryGeometry, match="orthogonal"):
        view_from_matrices(AP, K, np.ones((3, 3)), np.zeros(3), **size)
    with pytest.raises(ContradictoryGeometry, match="skew"):
        view_from_matrices(AP, skewed, np.eye(3), np.zeros(3), **size)


# Tags to camera


def test_a_complete_header_needs_no_assumption() -> None:
    placed = view_from_tags(a_header(), AP, Assume())

    assert placed.assumptions == ()
    assert_allclose(placed.view.source, (0, -800, 0), atol=1e-9)
    assert spacing_of(placed.view) == pytest.approx((0.2, 0.3))
    assert source_to_detector(placed.view) == pytest.approx(1000)


def test_everything_that_is_missing_is_reported_at_once() -> None:
    bare = a_header(
        DistanceSourceToDetector=None,
        DistanceSourceToPatient=None,
        ImagerPixelSpacing=None,
        PatientOrientation=None,
    )

    with pytest.raises(MissingGeometry) as refusal:
        view_from_tags(bare, AP, Assume())

    for keyword, setting in [
        ("DistanceSourceToDetector", "source_to_detector"),
        ("DistanceSourceToPatient", "source_to_patient"),
        ("ImagerPixelSpacing", "pixel_spacing"),
        ("PatientOrientation", "patient_orientation"),
    ]:
        assert f"{keyword} is absent; the setting {setting} could stand in" in str(refusal.value)


def test_what_is_assumed_is_recorded_with_the_instance_it_belongs_to() -> None:
    bare = a_header(
        DistanceSourceToDetector=None,
        DistanceSourceToPatient=None,
        ImagerPixelSpacing=None,
        PatientOrientation=None,
    )

    placed = view_from_tags(bare, LL, Assume(1150.0, 1000.0, 0.15, patient_orientation=True))

    recorded = {a.name: (a.value, a.unit, a.sop_instance_uid) for a in placed.assumptions}
    assert recorded == {
        "DistanceSourceToDetector": (1150.0, "mm", "1.2.3"),
        "DistanceSourceToPatient": (1000.0, "mm", "1.2.3"),
        "ImagerPixelSpacing": (0.15, "mm", "1.2.3"),
        "PatientOrientation": ("P\\F", "", "1.2.3"),
    }
    assert magnification(placed.view) == pytest.approx(1.15)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("DistanceSourceToDetector", "0"),
        ("DistanceSourceToDetector", "-1000"),
        ("DistanceSourceToDetector", "115"),
        ("DistanceSourceToDetector", "1E9"),
        ("DistanceSourceToPatient", "0.000"),
        ("DistanceSourceToPatient", "1000"),
        ("DistanceSourceToPatient", "1300"),
        ("ImagerPixelSpacing", ["0.000", "0.000"]),
        ("ImagerPixelSpacing", ["0.2", "-0.2"]),
        ("ImagerPixelSpacing", "0.2"),
        ("PatientOrientation", ["LE", "QQ"]),
        ("PatientOrientation", "L"),
    ],
)
def test_a_value_that_cannot_be_true_counts_as_missing(keyword: str, value: object) -> None:
    with pytest.raises(MissingGeometry, match=keyword):
        view_from_tags(a_header(**{keyword: value}), AP, Assume())


def test_a_value_that_cannot_be_true_is_said_in_the_assumption() -> None:
    placed = view_from_tags(
        a_header(ImagerPixelSpacing=["0.000", "0.000"]), AP, Assume(pixel_spacing=0.2)
    )

    (assumption,) = placed.assumptions
    assert "0.0\\0.0" in assumption.reason
    assert spacing_of(placed.view) == pytest.approx((0.2, 0.2))


def test_the_magnification_factor_stands_in_for_the_distance_to_the_patient() -> None:
    ds = a_header(DistanceSourceToPatient=None, EstimatedRadiographicMagnificationFactor="1.25")

    placed = view_from_tags(ds, AP, Assume())

    assert placed.assumptions == ()
    assert source_to_isocentre(placed.view) == pytest.approx(800)


@pytest.mark.parametrize("calibration", ["GEOMETRY", "FIDUCIAL"])
def test_a_calibrated_spacing_holds_in_the_patient_and_grows_towards_the_detector(
    calibration: str,
) -> None:
    ds = a_header(ImagerPixelSpacing=None)
    ds.PixelSpacing = ["0.16", "0.24"]
    ds.PixelSpacingCalibrationType = calibration

    placed = view_from_tags(ds, AP, Assume())

    assert placed.assumptions == ()
    assert spacing_of(placed.view) == pytest.approx((0.2, 0.3))


@pytest.mark.parametrize("keyword", ["PixelSpacing", "NominalScannedPixelSpacing"])
def test_a_spacing_of_unknown_depth_is_taken_at_the_detector_and_recorded(keyword: str) -> None:
    ds = a_header(ImagerPixelSpacing=None, **{keyword: ["0.2", "0.3"]})

    placed = view_from_tags(ds, AP, Assume())

    (assumption,) = placed.assumptions
    assert (assumption.name, assumption.value) == ("ImagerPixelSpacing", "0.2\\0.3")
    assert keyword in assumption.reason
    assert spacing_of(placed.view) == pytest.approx((0.2, 0.3))


def test_the_spacing_at_the_detector_goes_before_a_calibrated_one() -> None:
    ds = a_header(PixelSpacing=["0.1", "0.1"], PixelSpacingCalibrationType="FIDUCIAL")

    assert spacing_of(view_from_tags(ds, AP, Assume()).view) == pytest.approx((0.2, 0.3))


@pytest.mark.parametrize(
    ("modality", "name", "primary"),
    [("XA", PA, 10), ("XA", AP, -170), ("RF", LL, 100), ("XA", RL, -80), ("DX", AP, 10)],
)
def test_c_arms_count_from_the_chest_and_columns_from_the_nominal_view(
    modality: str, name: ViewName, primary: float
) -> None:
    letters = ["P", "F"] if name in (LL, RL) else ["L", "F"]
    ds = a_header(
        Modality=modality, PositionerPrimaryAngle=str(primary), PatientOrientation=letters
    )

    placed = view_from_tags(ds, name, Assume())

    assert_allclose(placed.view.source, a_camera(name, primary_deg=10).source, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"Modality": "XA", "PositionerPrimaryAngle": "0"},
        {"Modality": "DX", "PositionerPrimaryAngle": "46"},
        {"Modality": "DX", "PositionerSecondaryAngle": "-50"},
        {"Modality": "DX", "PositionerType": "CARM", "PositionerPrimaryAngle": "0"},
        {"PatientOrientation": ["P", "F"]},
    ],
)
def test_angles_and_letters_of_another_view_contradict(changes: Mapping[str, object]) -> None:
    with pytest.raises(ContradictoryGeometry):
        view_from_tags(a_header(**changes), AP, Assume(patient_orientation=True))


def test_stored_attributes_miss_what_the_camera_would_miss() -> None:
    stored = {
        "Rows": 10,
        "Columns": 10,
        "PatientOrientation": ["L", "F"],
        "ImagerPixelSpacing": [0, 0],
    }

    sentences = missing_geometry(stored, Assume(source_to_patient=900.0))

    assert [s.split()[0] for s in sentences] == ["DistanceSourceToDetector", "ImagerPixelSpacing"]
    assert missing_geometry(stored, Assume(1000.0, 900.0, 0.2)) == ()
