"""Build a cone-beam camera from distances, spacings and directions, or from a calibration.

Patient coordinates are LPS, mm, with the isocentre at the origin. A nominal view has its source
on an axis of the patient: in AP at -y, so that the ray runs towards +y; LL ends at the left side
(+x), RL at the right. The detector stands perpendicular to the central ray, and the principal
point is the centre of the image ((rows - 1) / 2, (columns - 1) / 2).

Angles turn source and detector together about the isocentre, in the sense of PS3.3 C.8.7.5: the
primary angle in the transaxial plane, from anterior towards the patient's left (RAO to LAO is
positive), the secondary towards the head (CAU to CRA is positive). In a C-arm object 0/0 is a
detector before the patient's chest, the PA view; by the same turn LL is +90, AP 180, RL -90.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from pipeline.errors import ContradictoryGeometry
from pipeline.types import Float, View, ViewName

NOMINAL_PRIMARY_DEG = {ViewName.PA: 0.0, ViewName.LL: 90.0, ViewName.AP: 180.0, ViewName.RL: -90.0}
"""The C-arm angle at which a nominal view is taken."""
CUSTOMARY = {
    ViewName.AP: ("L", "F"),
    ViewName.PA: ("L", "F"),
    ViewName.LL: ("P", "F"),
    ViewName.RL: ("P", "F"),
}
"""How a view is displayed: the patient's right, or front, at the left of the image; head up."""
_AXES = {
    "L": (1.0, 0.0, 0.0),
    "R": (-1.0, 0.0, 0.0),
    "P": (0.0, 1.0, 0.0),
    "A": (0.0, -1.0, 0.0),
    "H": (0.0, 0.0, 1.0),
    "F": (0.0, 0.0, -1.0),
}


def camera(
    name: ViewName,
    *,
    source_to_detector: float,
    source_to_patient: float,
    row_spacing: float,
    column_spacing: float,
    rows: int,
    columns: int,
    patient_orientation: tuple[str, str] | None = None,
    primary_deg: float = 0.0,
    secondary_deg: float = 0.0,
) -> View:
    """The camera of a view whose central ray meets the isocentre.

    Args:
        name: Nominal direction.
        source_to_detector: SID, mm.
        source_to_patient: SOD, source to isocentre, mm.
        row_spacing: Distance of adjacent rows at the detector, mm.
        column_spacing: Distance of adjacent columns at the detector, mm.
        rows: Height of the image, pixels.
        columns: Width of the image, pixels.
        patient_orientation: Direction of the rows, then of the columns (PS3.3 C.7.6.1.1.1). Of
            several letters the first counts: it is the principal one, the others say how far
            an oblique ray leans. None is the customary display.
        primary_deg: Deviation from the nominal direction, towards LAO.
        secondary_deg: Deviation from the nominal direction, towards the head.

    Raises:
        ContradictoryGeometry: a length is not positive, the patient is not between source and
            detector, or the orientation cannot belong to the view.
    """
    lengths = (source_to_detector, source_to_patient, row_spacing, column_spacing, rows, columns)
    if not all(math.isfinite(v) and v > 0 for v in lengths):
        raise ContradictoryGeometry("A distance, spacing or size is not a positive number")
    if source_to_patient >= source_to_detector:
        raise ContradictoryGeometry(
            f"The source is {source_to_patient:g} mm from the patient and {source_to_detector:g} mm"
            " from the detector: the patient must lie between them"
        )
    turn = _turn(name, primary_deg, secondary_deg)
    ray = turn @ _nominal_ray(name)
    axes = turn @ orientation_axes(name, patient_orientation).T
    patient_from_detector = np.eye(4)
    patient_from_detector[:3, :2] = axes
    patient_from_detector[:3, 2] = ray
    patient_from_detector[:3, 3] = ray * (source_to_detector - source_to_patient)
    return View(
        name=name,
        source=-ray * source_to_patient,
        patient_from_detector=patient_from_detector,
        detector_from_index=_detector_from_index(
            row_spacing, column_spacing, (rows - 1) / 2, (columns - 1) / 2
        ),
        rows=rows,
        columns=columns,
    )


def view_from_matrices(
    name: ViewName,
    K: ArrayLike,
    R: ArrayLike,
    t: ArrayLike,
    *,
    rows: int,
    columns: int,
    source_to_detector: float,
) -> View:
    """The camera of a calibration x ~ K (R p + t), x in (column, row, 1), without skew.

    A calibration knows directions, not where the detector stands: `source_to_detector` sets
    that plane, and with it the spacing of pixels, without changing any projection.

    Raises:
        ContradictoryGeometry: R is no rotation, or K has skew.

    Source: Hartley and Zisserman, Multiple View Geometry, 2nd ed., 6.1.
    """
    intrinsic, rotation = np.asarray(K, np.float64), np.asarray(R, np.float64)
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6):
        raise ContradictoryGeometry("The rotation of the calibration is not orthogonal")
    if abs(intrinsic[0, 1]) > 1e-9 * abs(intrinsic[0, 0]):
        raise ContradictoryGeometry("The camera matrix of the calibration has skew")
    source = -rotation.T @ np.asarray(t, np.float64).reshape(3)
    patient_from_detector = np.eye(4)
    patient_from_detector[:3, :3] = rotation.T
    patient_from_detector[:3, 3] = source + rotation[2] * source_to_detector
    detector_from_index = _detector_from_index(
        source_to_detector / intrinsic[1, 1],
        source_to_detector / intrinsic[0, 0],
        intrinsic[1, 2],
        intrinsic[0, 2],
    )
    return View(name, source, patient_from_detector, detector_from_index, rows, columns)


def orientation_axes(name: ViewName, letters: tuple[str, str] | None) -> Float:
    """(2, 3) directions of the rows and of the columns of the image, in the nominal view.

    Raises:
        ContradictoryGeometry: a direction runs along the ray, both run along one axis, or a
            letter is none of L, R, A, P, H and F.
    """
    row, column = letters or CUSTOMARY[name]
    try:
        axes = np.array([_AXES[row[:1]], _AXES[column[:1]]])
    except KeyError:
        raise ContradictoryGeometry("PatientOrientation has an unknown direction") from None
    if axes[0] @ axes[1] != 0 or np.any(np.abs(axes @ _nominal_ray(name)) > 0.5):
        raise ContradictoryGeometry(
            f"PatientOrientation {row}\\{column} cannot belong to the view {name}"
        )
    return axes


def _nominal_ray(name: ViewName) -> Float:
    ray: Float = _about_z(NOMINAL_PRIMARY_DEG[name]) @ np.array([0.0, -1.0, 0.0]) + 0.0
    return ray


def _turn(name: ViewName, primary_deg: float, secondary_deg: float) -> Float:
    """The rotation from the nominal view: first about the long axis, then towards the head."""
    primary, secondary = _about_z(primary_deg), math.radians(secondary_deg)
    ray = primary @ _nominal_ray(name)
    tilt_axis = np.cross(ray, (0.0, 0.0, 1.0))
    x, y, z = tilt_axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    tilt = np.eye(3) + math.sin(secondary) * cross + (1 - math.cos(secondary)) * cross @ cross
    turn: Float = tilt @ primary
    return turn


def _about_z(deg: float) -> Float:
    """Quarter turns are exact, so that a nominal view has no 1e-17 in it."""
    quarters = deg / 90.0
    c, s = math.cos(math.radians(deg)), math.sin(math.radians(deg))
    if quarters == round(quarters):
        c, s = float(round(c)), float(round(s))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _detector_from_index(
    row_spacing: float, column_spacing: float, row: float, column: float
) -> Float:
    """(4, 4) with the principal point at pixel (row, column)."""
    matrix = np.zeros((4, 4))
    matrix[0, 1], matrix[0, 3] = column_spacing, -column * column_spacing
    matrix[1, 0], matrix[1, 3] = row_spacing, -row * row_spacing
    matrix[2, 2] = matrix[3, 3] = 1.0
    return matrix
