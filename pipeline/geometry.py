"""Where an instance was taken from: header to camera.

`camera` says in which frame all of this is; `projection`, whose names are here as well, what the
camera sees; `headers` what a header may say, and what it lacks. A missing value is either refused
by name or assumed by name, never filled in silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset

from pipeline.attributes import Json, attributes, text
from pipeline.camera import CUSTOMARY, NOMINAL_PRIMARY_DEG, camera, view_from_matrices
from pipeline.errors import ContradictoryGeometry, MissingGeometry
from pipeline.headers import ANGLES, Findings, Header, read_header
from pipeline.projection import (
    binned,
    cropped,
    grid,
    magnification,
    mirror,
    patient_from_pixel,
    pixel_from_patient,
    project,
    rays,
    shifted,
    source_to_detector,
    source_to_isocentre,
    unproject,
)
from pipeline.types import Assume, Assumption, View, ViewName

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
    "shifted",
    "source_to_detector",
    "source_to_isocentre",
    "unproject",
    "uses_c_arm_angles",
    "view_from_matrices",
    "view_from_tags",
]

MAX_DEVIATION_DEG = 45.0
"""Beyond, another nominal view would be nearer."""


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
