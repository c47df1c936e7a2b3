"""Where an instance was taken from, and what its camera sees: header to camera, points to pixels.

`camera` says in which frame all of this is; what a header may say, and what it lacks, stands in
`headers`. A missing value is either refused by name or assumed by name, never filled in silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from pydicom.dataset import Dataset

from pipeline.attributes import Json, attributes, text
from pipeline.camera import CUSTOMARY, NOMINAL_PRIMARY_DEG, camera, view_from_matrices
from pipeline.errors import ContradictoryGeometry, MissingGeometry
from pipeline.headers import ANGLES, Findings, Header, read_header
from pipeline.types import Assume, Assumption, Float, View, ViewName

__all__ = [
    "MAX_DEVIATION_DEG",
    "Placed",
    "binned",
    "camera",
    "cropped",
    "grid",
    "magnification",
    "mirror",
    "missing_geometry",
    "patient_from_pixel",
    "pixel_from_patient",
    "place",
    "project",
    "rays",
    "source_to_detector",
    "source_to_isocentre",
    "unproject",
    "uses_c_arm_angles",
    "view_from_matrices",
    "view_from_tags",
]

MAX_DEVIATION_DEG = 45.0
"""Beyond, another nominal view would be nearer."""
_MIRRORED = {ViewName.LL: ViewName.RL, ViewName.RL: ViewName.LL}


@dataclass(frozen=True, slots=True)
class Placed:
    """A camera, and what had to be assumed for it."""

    view: View
    assumptions: tuple[Assumption, ...]


def view_from_tags(ds: Dataset, name: ViewName, assume: Assume) -> Placed:
    """The camera of an instance, with every value that `assume` had to supply.

    Raises:
        MissingGeometry: naming everything that is missing and may not be assumed.
        ContradictoryGeometry: naming the values that exclude one another.
    """
    return place(attributes(ds), name, assume)


def place(header: Mapping[str, Json], name: ViewName, assume: Assume) -> Placed:
    """`view_from_tags` of stored attributes."""
    found = Findings()
    geometry = read_header(header, assume, found)
    if geometry is None:
        raise MissingGeometry("; ".join(found.missing))
    if geometry.orientation is None:
        row, column = CUSTOMARY[name]
        reason = "PatientOrientation is absent or unreadable; taken as customarily displayed"
        found.assume("PatientOrientation", f"{row}\\{column}", "", reason)
    primary, secondary = _deviation(header, geometry, name)
    view = camera(
        name,
        source_to_detector=geometry.source_to_detector,
        source_to_patient=geometry.source_to_patient,
        row_spacing=geometry.spacing.row,
        column_spacing=geometry.spacing.column,
        rows=geometry.rows,
        columns=geometry.columns,
        patient_orientation=geometry.orientation,
        primary_deg=primary,
        secondary_deg=secondary,
    )
    uid = str(header.get("SOPInstanceUID", ""))
    return Placed(view, tuple(replace(a, sop_instance_uid=uid) for a in found.assumptions))


def missing_geometry(attributes: Mapping[str, Json], assume: Assume) -> tuple[str, ...]:
    """What `view_from_tags` would miss in stored attributes, a sentence each; empty if nothing."""
    found = Findings()
    read_header(attributes, assume, found)
    return tuple(found.missing)


def uses_c_arm_angles(header: Mapping[str, Json]) -> bool:
    """True where 0/0 means a detector before the chest rather than the nominal view.

    XA and RF define it so (PS3.3 C.8.7.5). A DX or CR with a column reports how far the tube is
    tilted, unless its PositionerType is CARM (C.8.11.5).
    """
    return (
        text(header, "Modality") in ("XA", "RF", "XRF") or text(header, "PositionerType") == "CARM"
    )


def source_to_detector(view: View) -> float:
    """SID, mm, along the central axis."""
    return float(_ray_of(view) @ (view.patient_from_detector[:3, 3] - view.source))


def source_to_isocentre(view: View) -> float:
    """SOD, mm, along the central axis."""
    return float(-(_ray_of(view) @ view.source))


def magnification(view: View) -> float:
    """Size at the detector over size at the isocentre."""
    return source_to_detector(view) / source_to_isocentre(view)


def patient_from_pixel(view: View) -> Float:
    """(4, 4) pixel centre (row, column, 0, 1) to its place on the detector, LPS mm."""
    product: Float = view.patient_from_detector @ view.detector_from_index
    return product


def pixel_from_patient(view: View) -> Float:
    """(3, 4) LPS mm to (row * w, column * w, w), w being the depth from the source, mm."""
    sid = source_to_detector(view)
    plane_from_detector = np.array(
        [[sid, 0.0, 0.0, 0.0], [0.0, sid, 0.0, 0.0], [0.0, 0.0, 1.0, sid]]
    )
    plane_from_index = view.detector_from_index[np.ix_([0, 1, 3], [0, 1, 3])]
    detector_from_patient = np.linalg.inv(view.patient_from_detector)
    matrix: Float = np.linalg.inv(plane_from_index) @ plane_from_detector @ detector_from_patient
    return matrix


def project(view: View, points: ArrayLike) -> Float:
    """Where points (..., 3) are seen: (..., 2) row and column, pixel centres at whole numbers.

    A point that is not before the source is seen nowhere: nan.
    """
    p = np.asarray(points, np.float64)
    matrix = pixel_from_patient(view)
    w = p @ matrix[2, :3] + matrix[2, 3]
    seen = np.where(w > 0, w, np.nan)
    pixels: Float = (p @ matrix[:2, :3].T + matrix[:2, 3]) / seen[..., None]
    return pixels


def unproject(view: View, pixels: ArrayLike, depth: ArrayLike) -> Float:
    """The points (..., 3) that are seen at `pixels` (..., 2), `depth` mm from the source.

    Depth is measured along the central axis: the isocentre has SOD, the whole detector SID.
    """
    reach = np.asarray(depth, np.float64)[..., None] / source_to_detector(view)
    points: Float = view.source + (_on_detector(view, pixels) - view.source) * reach
    return points


def rays(view: View, pixels: ArrayLike) -> Float:
    """Unit directions (..., 3) from the source to `pixels` (..., 2)."""
    towards = _on_detector(view, pixels) - view.source
    unit: Float = towards / np.linalg.norm(towards, axis=-1, keepdims=True)
    return unit


def binned(view: View, factor: int) -> View:
    """The camera of the image averaged over blocks of `factor` x `factor` pixels.

    Blocks start at the first pixel; rows and columns that fill no block are dropped.
    """
    if factor < 1 or factor > min(view.rows, view.columns):
        raise ValueError(f"{view.rows} x {view.columns} pixels cannot be binned by {factor}")
    return _resampled(view, factor, (factor - 1) / 2, view.rows // factor, view.columns // factor)


def cropped(view: View, row: int, column: int, rows: int, columns: int) -> View:
    """The camera of `image[row:row + rows, column:column + columns]`."""
    shift = np.eye(4)
    shift[:2, 3] = row, column
    return replace(
        view, detector_from_index=view.detector_from_index @ shift, rows=rows, columns=columns
    )


def mirror(view: View) -> View:
    """The camera that sees the mirrored patient (x to -x) in the same image: LL becomes RL."""
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    return replace(
        view,
        name=_MIRRORED.get(view.name, view.name),
        source=flip[:3, :3] @ view.source,
        patient_from_detector=flip @ view.patient_from_detector,
    )


def grid(extent_mm: float, size: int, centre: ArrayLike = (0.0, 0.0, 0.0)) -> Float:
    """(4, 4) voxel centre (k, j, i, 1) to LPS mm, of a cube of `size`^3 voxels about `centre`.

    `extent_mm` runs from the outer face of the first voxel to that of the last; i runs along
    +x, j along +y, k along +z.
    """
    spacing = extent_mm / size
    patient_from_index = np.eye(4)
    patient_from_index[:3, :3] = np.fliplr(np.eye(3)) * spacing
    patient_from_index[:3, 3] = np.asarray(centre, np.float64) - spacing * (size - 1) / 2
    return patient_from_index


def _deviation(header: Mapping[str, Json], read: Header, name: ViewName) -> tuple[float, float]:
    """How far the angles turn the nominal view; an angle that is absent does not turn it."""
    primary, secondary = read.angles
    zero = NOMINAL_PRIMARY_DEG[name] if uses_c_arm_angles(header) else 0.0
    turned = 0.0 if primary is None else _wrapped(primary - zero)
    tilted = 0.0 if secondary is None else _wrapped(secondary)
    for keyword, deviation in zip(ANGLES, (turned, tilted), strict=True):
        if abs(deviation) > MAX_DEVIATION_DEG:
            raise ContradictoryGeometry(
                f"{keyword} is {abs(deviation):g} degrees away from the view {name}"
            )
    return turned, tilted


def _wrapped(deg: float) -> float:
    """The same angle between -180 and 180."""
    return (deg + 180.0) % 360.0 - 180.0


def _ray_of(view: View) -> Float:
    return view.patient_from_detector[:3, 2]


def _on_detector(view: View, pixels: ArrayLike) -> Float:
    matrix = patient_from_pixel(view)
    points: Float = np.asarray(pixels, np.float64) @ matrix[:3, :2].T + matrix[:3, 3]
    return points


def _resampled(view: View, step: float, first: float, rows: int, columns: int) -> View:
    """The camera of an image whose pixel (i, j) lies at `first + step * (i, j)` of the old one."""
    old_from_new = np.diag([step, step, 1.0, 1.0])
    old_from_new[:2, 3] = first
    return replace(
        view,
        detector_from_index=view.detector_from_index @ old_from_new,
        rows=rows,
        columns=columns,
    )
