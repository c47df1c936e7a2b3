"""The pixels of the demo: radiographs of the phantom, and the results held against the truth.

The results are read back from the files that the archive received, not from the pipeline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import SegmentationStorage, SurfaceSegmentationStorage

from pipeline.metrics import dice, surface_distance
from pipeline.phantom import occupancy, phantom
from pipeline.picture import compose
from pipeline.radiograph import read
from pipeline.specimen import expose
from pipeline.surface import surface
from pipeline.types import Assume, Mesh, Radiograph, Side, Source, ViewName, Volume

SIDE = Side.LEFT


@dataclass(frozen=True, slots=True)
class Specimen:
    """Two radiographs on disk."""

    paths: tuple[Path, ...]
    views: tuple[ViewName, ...]
    study_instance_uid: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """How near the result is to the phantom, in the field that both views see."""

    dice: float
    assd: float
    """Symmetric mean distance of the surfaces, mm."""


def specimen(folder: Path, at: datetime) -> Specimen:
    """The AP and the LL radiograph of the phantom lie in `folder` as DICOM files."""
    folder.mkdir(parents=True, exist_ok=True)
    made = phantom(SIDE)
    paths, views, uid = [], (ViewName.AP, ViewName.LL), ""
    for name in views:
        ds = expose(made, name, SIDE, at).ds
        path = folder / f"{name.lower()}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
        uid = str(ds.StudyInstanceUID)
    return Specimen(tuple(paths), views, uid)


def compare(made: Specimen, received: Sequence[Path], picture: Path) -> Comparison:
    """The received bones are measured against the phantom, and `picture` shows them as PNG."""
    objects = [dcmread(path) for path in received]
    found = segmented(next(ds for ds in objects if ds.SOPClassUID == SegmentationStorage))
    mesh = meshed(next(ds for ds in objects if ds.SOPClassUID == SurfaceSegmentationStorage))
    truth = occupancy(SIDE, found.array.shape, found.patient_from_index)
    compared = Comparison(
        dice=dice(found.array > 0.5, truth.array > 0.5),
        assd=surface_distance(mesh, surface(truth)).assd,
    )
    images = [_radiograph(path, view) for path, view in zip(made.paths, made.views, strict=True)]
    picture.write_bytes(compose(images, mesh, dice=compared.dice, assd=compared.assd))
    return compared


def segmented(ds: Dataset) -> Volume:
    """The first segment of a Segmentation object as a volume of 0 and 1."""
    seg = hd.seg.Segmentation.from_dataset(ds, copy=False)
    volume = seg.get_volume(segment_numbers=[1], combine_segments=True)
    return Volume(volume.array.astype(np.float32), np.asarray(volume.affine, np.float64))


def meshed(ds: Dataset) -> Mesh:
    """The first surface of a Surface Segmentation object. Source: PS3.3 C.27.1."""
    item = ds.SurfaceSequence[0]
    points = np.frombuffer(item.SurfacePointsSequence[0].PointCoordinatesData, "<f4")
    primitives = item.SurfaceMeshPrimitivesSequence[0]
    faces = np.frombuffer(primitives.LongTrianglePointIndexList, "<u4").astype(np.int64) - 1
    return Mesh(points.reshape(-1, 3).astype(np.float64), faces.reshape(-1, 3))


def _radiograph(path: Path, view: ViewName) -> Radiograph:
    uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
    return read(Source(path, uid, "", view), view, Assume())
