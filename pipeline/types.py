"""The values that pass between the stages of the pipeline.

Coordinates are LPS, mm (PS3.3 C.7.6.2), with the isocentre as origin. Volumes are indexed
(Z, Y, X), images (row, column); an affine maps *centres* of voxels and pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Image = NDArray[np.float32]
Mask = NDArray[np.bool_]


class ViewName(StrEnum):
    """Nominal direction of a projection (PS3.3 C.8.7.1.1.2 View Position)."""

    AP = "AP"
    PA = "PA"
    LL = "LL"
    RL = "RL"


class Side(StrEnum):
    """Laterality of the imaged part (PS3.3 C.7.3.1.1.2); UNPAIRED for the midline and for pairs."""

    RIGHT = "R"
    LEFT = "L"
    UNPAIRED = "U"


@dataclass(frozen=True, slots=True)
class View:
    """A cone-beam camera: a point source and a flat detector.

    The detector frame has x along a row of pixels (towards higher columns), y down a column
    (towards higher rows), z away from the source, its origin at the principal point, in mm.
    """

    name: ViewName
    source: Float
    """(3,) position of the focal spot, LPS mm."""
    patient_from_detector: Float
    """(4, 4) detector mm (x, y, z, 1) to LPS mm."""
    detector_from_index: Float
    """(4, 4) pixel centre (row, column, 0, 1) to detector mm."""
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Assumption:
    """One value that was not in the images and was taken from the rule instead."""

    name: str
    value: float | str
    unit: str
    reason: str
    sop_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class Assume:
    """What a rule lets the pipeline assume where the geometry is missing; None means refuse."""

    source_to_detector: float | None = None
    source_to_patient: float | None = None
    pixel_spacing: float | None = None
    patient_orientation: bool = False
    """Take the orientation in which the view is customarily displayed."""
    view_of_series: tuple[tuple[str, ViewName], ...] = ()
    """Words of a series description and the view they mean, first match wins."""


@dataclass(frozen=True, slots=True)
class Radiograph:
    """One radiograph as attenuation, with what is needed to place it in space."""

    attenuation: Image
    """(rows, columns) float32, rising with the attenuation along the ray, arbitrary scale."""
    is_valid: Mask
    """(rows, columns); False in padding, behind shutters and outside the collimation."""
    view: View
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    frame_number: int | None = None
    """1-based, for multi-frame objects."""
    side: Side = Side.UNPAIRED
    assumptions: tuple[Assumption, ...] = ()


@dataclass(frozen=True, slots=True)
class Volume:
    """Values on a regular grid in patient space."""

    array: NDArray[np.float32]
    """(Z, Y, X)."""
    patient_from_index: Float
    """(4, 4) voxel centre (k, j, i, 1) to LPS mm."""


@dataclass(frozen=True, slots=True)
class SurfaceProcessing:
    """What was done to a surface after it had been cut out of its volume; no steps, nothing."""

    steps: tuple[str, ...]
    ratio: float
    """Points that remain, as a share of those that were cut."""


@dataclass(frozen=True, slots=True)
class Mesh:
    """A closed surface, oriented outwards."""

    vertices: Float
    """(N, 3) LPS mm."""
    faces: NDArray[np.int64]
    """(M, 3) 0-based, counter-clockwise seen from outside."""
    processing: SurfaceProcessing | None = None
    """None where whoever made the mesh does not say."""


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept (PS3.3 8.8)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Bone:
    """One reconstructed structure."""

    name: str
    code: Code
    side: Side
    probability: Volume
    """Occupancy, 0 to 1; the surface is at 0.5."""
    mesh: Mesh
    rgb: tuple[int, int, int] = (233, 217, 186)
    is_predicted: bool = False
    """From no radiograph: a completion added it, and everything that names it says so."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A quality figure: what was measured, and the limits that it was held against."""

    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None

    @property
    def is_within(self) -> bool:
        """True if the figure keeps its limits."""
        above = self.low is None or self.value >= self.low
        return above and (self.high is None or self.value <= self.high)


@dataclass(frozen=True, slots=True)
class Algorithm:
    """Which engine made a result; `weights_digest` is empty for an engine without weights."""

    name: str
    version: str
    weights_digest: str = ""
    parameters: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """How much of each voxel a network took from one view: its own weight, evidence of nothing."""

    view: ViewName
    label: str
    """As pictures call the view: "AP", or "AP 2" where several are AP."""
    volume: Volume
    """0 to 1, on the grid of the network."""


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """What an engine brings back from the radiographs."""

    bones: tuple[Bone, ...]
    algorithm: Algorithm
    assumptions: tuple[Assumption, ...] = ()
    figures: tuple[Figure, ...] = ()
    completed_by: Algorithm | None = None
    """What looked for bones that are missing; None where nothing did."""
    density: Volume | None = None
    """Share of cortical bone, 0 to 1, on the grid of the bones, of an engine that estimates it."""
    shares: tuple[Share, ...] = ()
    """Of each view on one grid, 1 in all; of an engine that weighs the views, and of several."""

    @property
    def bones_seen(self) -> tuple[Bone, ...]:
        """Those that were reconstructed from the radiographs."""
        return tuple(bone for bone in self.bones if not bone.is_predicted)


class ObjectKind(StrEnum):
    """The kinds of result object that can be written."""

    MODEL_VOLUME = "model-volume"
    SEGMENTATION = "segmentation"
    LABELMAP = "labelmap"
    FRACTIONAL = "fractional"
    SURFACE_SEGMENTATION = "surface-segmentation"
    STL = "stl"
    KEY_IMAGE = "key-image"
    TURNTABLE = "turntable"
    NOTICE = "notice"
    """Why there are no bones; never beside bones, and never asked for by a rule."""
    REPORT = "report"
    """The root of the set, written and delivered last."""


class NoticeOf(StrEnum):
    """What a notice tells of."""

    DECLINED = "declined"
    """The study was not taken: a view is missing, or the rule does not fit."""
    REFUSED = "refused"
    """It was taken, and its radiographs cannot be reconstructed."""
    WITHHELD = "withheld"
    """There are bones, and they are not good enough to be shown."""


DEFAULT_KINDS: Final = (
    ObjectKind.MODEL_VOLUME,
    ObjectKind.SEGMENTATION,
    ObjectKind.SURFACE_SEGMENTATION,
    ObjectKind.STL,
    ObjectKind.KEY_IMAGE,
    ObjectKind.TURNTABLE,
    ObjectKind.REPORT,
)
"""What is written where a rule does not say otherwise, in the order of delivery."""


@dataclass(frozen=True, slots=True)
class Source:
    """One input instance on disk, as a DICOM file."""

    path: Path
    sop_instance_uid: str
    sha256: str
    view: ViewName | None = None
    """None: to be told from its header."""


@dataclass(frozen=True, slots=True)
class Request:
    """Everything that a reconstruction depends on; the same request gives the same bytes."""

    sources: tuple[Source, ...]
    region: str
    views: tuple[str, ...]
    """The views that the rule expects: "AP", "PA", "LL", "RL", "frontal" or "lateral"."""
    side: Side
    model: str
    rule: str
    configuration_digest: str
    node: str
    at: datetime
    """Aware; the date and time that the objects carry."""
    folder: Path
    """Existing and empty; the objects are written here."""
    assume: Assume = field(default_factory=Assume)
    frame_number: int = 1
    """Which frame of a multi-frame object is used, 1-based."""
    kinds: tuple[ObjectKind, ...] = DEFAULT_KINDS
    assumptions: tuple[Assumption, ...] = ()
    """What was assumed before the images were read, as the side."""
    reasons: tuple[str, ...] = ()
    """Of a request for a notice (`model` is "notice"): why there is no reconstruction."""
    notice_of: NoticeOf = NoticeOf.DECLINED
    """Of a request for a notice: what it tells of."""
    complete: bool = False
    """Whether bones that are missing are added, as predicted and not imaged."""


@dataclass(frozen=True, slots=True)
class ResultObject:
    """One DICOM object that was written."""

    kind: ObjectKind
    sop_class_uid: str
    sop_instance_uid: str
    path: Path
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Reconstructed:
    """The bones are written and passed the quality checks."""

    objects: tuple[ResultObject, ...]
    algorithm: Algorithm
    assumptions: tuple[Assumption, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Withheld:
    """Quality said no; the reasons are for a technician."""

    reasons: tuple[str, ...]
    algorithm: Algorithm
    assumptions: tuple[Assumption, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The study cannot be reconstructed, now or later; the reason is for a technician."""

    reasons: tuple[str, ...]


Outcome = Reconstructed | Withheld | Refused
