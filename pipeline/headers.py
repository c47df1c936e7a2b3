"""What a header says about distances, spacings, directions and angles, and what it lacks.

Real headers are poor: a spacing of "0.000", a source distance of 0, centimetres where the
standard asks for millimetres. What cannot be true counts as missing, and the sentence says so.
Nothing is raised here: every lack becomes a sentence, so that all are reported at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.attributes import Json, text
from pipeline.types import Assume, Assumption

SOURCE_TO_DETECTOR_MM = (250.0, 5000.0)
"""From a small C-arm to a long-leg stand; 115 or 180 are centimetres, 1.8 is metres."""
SOURCE_TO_PATIENT_MM = (100.0, 5000.0)
SPACING_MM = (0.01, 5.0)
MAGNIFICATION = (1.0, 5.0)
ANGLES = ("PositionerPrimaryAngle", "PositionerSecondaryAngle")
LETTERS = frozenset("LRAPHF")


@dataclass(frozen=True, slots=True)
class Spacing:
    """Distances of pixel centres at the detector."""

    row: float
    column: float


@dataclass(slots=True)
class Findings:
    """What was read, what was assumed, and what is missing; filled while reading one header."""

    assumptions: list[Assumption] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def assume(self, name: str, value: float | str, unit: str, reason: str) -> None:
        """Record one assumption."""
        self.assumptions.append(Assumption(name, value, unit, reason))


@dataclass(frozen=True, slots=True)
class Header:
    """The geometry of one header, complete."""

    source_to_detector: float
    source_to_patient: float
    spacing: Spacing
    orientation: tuple[str, str] | None
    """None: the customary display, recorded as an assumption by who knows the view."""
    angles: tuple[float | None, float | None]
    """Primary and secondary angle as the header has them, degrees; None where absent."""
    rows: int
    columns: int


def read_header(attributes: Mapping[str, Json], assume: Assume, found: Findings) -> Header | None:
    """The geometry of `attributes`, or None after writing every lack into `found.missing`."""
    sid = _source_to_detector(attributes, assume, found)
    sod = _source_to_patient(attributes, assume, found, sid)
    spacing = _spacing(attributes, assume, found, sid, sod)
    orientation = _orientation(attributes, assume, found)
    angles = tuple(_angle(attributes, keyword, found) for keyword in ANGLES)
    rows, columns = (_count(attributes, keyword, found) for keyword in ("Rows", "Columns"))
    if found.missing or sid is None or sod is None or spacing is None:
        return None
    return Header(sid, sod, spacing, orientation, (angles[0], angles[1]), rows, columns)


def _source_to_detector(
    attributes: Mapping[str, Json], assume: Assume, found: Findings
) -> float | None:
    keyword = "DistanceSourceToDetector"
    sid = _number(attributes, keyword, SOURCE_TO_DETECTOR_MM)
    if sid is not None:
        return sid
    why = _why(attributes, keyword, SOURCE_TO_DETECTOR_MM)
    if assume.source_to_detector is None:
        found.missing.append(f"{keyword} {why}; the setting source_to_detector could stand in")
        return None
    found.assume(keyword, assume.source_to_detector, "mm", f"{keyword} {why}")
    return assume.source_to_detector


def _source_to_patient(
    attributes: Mapping[str, Json], assume: Assume, found: Findings, sid: float | None
) -> float | None:
    """Source to isocentre; a patient behind the detector is no patient (PS3.3 C.8.7.5)."""
    keyword, factor_keyword = "DistanceSourceToPatient", "EstimatedRadiographicMagnificationFactor"
    limits = (SOURCE_TO_PATIENT_MM[0], SOURCE_TO_PATIENT_MM[1] if sid is None else sid)
    sod = _number(attributes, keyword, limits)
    if sod is not None:
        return sod
    factor = _number(attributes, factor_keyword, MAGNIFICATION)
    if factor is not None:
        return None if sid is None else sid / factor
    why = _why(attributes, keyword, limits)
    if factor_keyword in attributes:
        why += f", {factor_keyword} {_why(attributes, factor_keyword, MAGNIFICATION)}"
    if assume.source_to_patient is None:
        found.missing.append(f"{keyword} {why}; the setting source_to_patient could stand in")
        return None
    if sid is not None and assume.source_to_patient >= sid:
        found.missing.append(
            f"{keyword} {why}, and the setting source_to_patient ({assume.source_to_patient:g} mm)"
            f" does not lie before the detector ({sid:g} mm)"
        )
        return None
    found.assume(keyword, assume.source_to_patient, "mm", f"{keyword} {why}")
    return assume.source_to_patient


def _spacing(
    attributes: Mapping[str, Json],
    assume: Assume,
    found: Findings,
    sid: float | None,
    sod: float | None,
) -> Spacing | None:
    """Spacing at the detector, from the attribute that says so most directly.

    ImagerPixelSpacing is never corrected for magnification. A PixelSpacing that was calibrated
    (GEOMETRY, FIDUCIAL), or that differs from the uncalibrated one, holds at a depth within the
    patient: here, the isocentre. Source: PS3.3 10.7.1.1 and 10.7.1.2.
    """
    keyword = "ImagerPixelSpacing"
    imager = _pair(attributes, keyword)
    if imager is not None:
        return imager
    pixel, film = _pair(attributes, "PixelSpacing"), _pair(attributes, "NominalScannedPixelSpacing")
    calibration = text(attributes, "PixelSpacingCalibrationType")
    if pixel is not None and calibration in ("GEOMETRY", "FIDUCIAL"):
        if sid is None or sod is None:
            return None
        return Spacing(pixel.row * sid / sod, pixel.column * sid / sod)
    for name, spacing, reason in (
        ("NominalScannedPixelSpacing", film, "the film is taken as the plane of the detector"),
        ("PixelSpacing", pixel, "its calibration is not stated; taken as at the detector"),
    ):
        if spacing is not None:
            value = f"{spacing.row:g}\\{spacing.column:g}"
            found.assume(keyword, value, "mm", f"{keyword} is absent; from {name}: {reason}")
            return spacing
    why = _why(attributes, keyword, SPACING_MM)
    for name in ("PixelSpacing", "NominalScannedPixelSpacing"):
        if name in attributes:
            why += f", {name} {_why(attributes, name, SPACING_MM)}"
    if assume.pixel_spacing is None:
        found.missing.append(f"{keyword} {why}; the setting pixel_spacing could stand in")
        return None
    found.assume(keyword, assume.pixel_spacing, "mm", f"{keyword} {why}")
    return Spacing(assume.pixel_spacing, assume.pixel_spacing)


def orientation_letters(attributes: Mapping[str, Json]) -> tuple[str, str] | None:
    """Both values of PatientOrientation if they are made of L, R, A, P, H and F, else None."""
    value = attributes.get("PatientOrientation")
    if not isinstance(value, list) or len(value) != 2:
        return None
    row, column = (str(v).strip().upper() for v in value)
    if not row or not column or not LETTERS.issuperset(row + column):
        return None
    return row, column


def _orientation(
    attributes: Mapping[str, Json], assume: Assume, found: Findings
) -> tuple[str, str] | None:
    letters = orientation_letters(attributes)
    if letters is None and not assume.patient_orientation:
        why = (
            "is not made of the letters L, R, A, P, H, F"
            if "PatientOrientation" in attributes
            else "is absent"
        )
        found.missing.append(
            f"PatientOrientation {why}; the setting patient_orientation could stand in"
        )
    return letters


def _angle(attributes: Mapping[str, Json], keyword: str, found: Findings) -> float | None:
    value = attributes.get(keyword)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 360:
        found.missing.append(f"{keyword} is not an angle in degrees; correct it at the modality")
        return None
    return float(value)


def _count(attributes: Mapping[str, Json], keyword: str, found: Findings) -> int:
    value = attributes.get(keyword)
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found.missing.append(f"{keyword} is absent or not a positive number; the image is not usable")
    return 0


def _number(
    attributes: Mapping[str, Json], keyword: str, limits: tuple[float, float]
) -> float | None:
    """The value if it lies strictly between the limits."""
    value = attributes.get(keyword)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if limits[0] < value < limits[1] else None


def _pair(attributes: Mapping[str, Json], keyword: str) -> Spacing | None:
    value = attributes.get(keyword)
    if not isinstance(value, list) or len(value) != 2:
        return None
    row, column = (_number({keyword: v}, keyword, SPACING_MM) for v in value)
    return None if row is None or column is None else Spacing(row, column)


def _why(attributes: Mapping[str, Json], keyword: str, limits: tuple[float, float]) -> str:
    """Why a value does not count, for a technician."""
    value = attributes.get(keyword)
    if value is None:
        return "is absent"
    several = value if isinstance(value, list) else [value]
    if not all(isinstance(v, int | float) for v in several):
        return "is not a number"
    said = "\\".join(str(v) for v in several)
    return f"says {said}, which does not lie between {limits[0]:g} and {limits[1]:g}"
