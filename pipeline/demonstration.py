"""The pixels of the demo: radiographs of nobody's hip, and the results held against the truth.

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

from pipeline.anatomy import Anatomy, drawn, model
from pipeline.metrics import dice, surface_distance
from pipeline.picture import Nearness, compose
from pipeline.radiograph import read
from pipeline.specimen import expose
from pipeline.surface import surface
from pipeline.types import Assume, Mesh, Radiograph, Side, Source, ViewName, Volume

REGION, SIDE = "hip", Side.LEFT
SEED = 7
"""Of the anatomy: a hip that no person has, the same in every demo."""


@dataclass(frozen=True, slots=True)
class Specimen:
    """Two radiographs on disk."""

    paths: tuple[Path, ...]
    views: tuple[ViewName, ...]
    study_instance_uid: str


def anatomy() -> Anatomy:
    """The hip of the demo."""
    return drawn(model(REGION), SIDE, SEED)


def specimen(folder: Path, at: datetime) -> Specimen:
    """The AP and the LL radiograph of the anatomy lie in `folder` as DICOM files."""
    folder.mkdir(parents=True, exist_ok=True)
    density = anatomy().density()
    paths, views, uid = [], (ViewName.AP, ViewName.LL), ""
    for name in views:
        ds = expose(density, name, SIDE, at).ds
        path = folder / f"{name.lower()}.dcm"
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
        uid = str(ds.StudyInstanceUID)
    return Specimen(tuple(paths), views, uid)


def compare(made: Specimen, received: Sequence[Path], picture: Path) -> list[Nearness]:
    """Each received bone is measured against the truth, and `picture` shows them as PNG."""
    objects = [dcmread(path) for path in received]
    volumes = next(ds for ds in objects if ds.SOPClassUID == SegmentationStorage)
    surfaces = next(ds for ds in objects if ds.SOPClassUID == SurfaceSegmentationStorage)
    truth, found, meshes = anatomy(), [], []
    for number, segment in enumerate(volumes.SegmentSequence):
        volume, mesh = segmented(volumes, number + 1), meshed(surfaces, number)
        true = truth.occupancy(number, volume.array.shape, volume.patient_from_index)
        overlap = dice(volume.array > 0.5, true.array > 0.5)
        apart = surface_distance(mesh, surface(true)).assd
        found.append(Nearness(str(segment.SegmentLabel), overlap, apart))
        meshes.append(mesh)
    images = [_radiograph(path, view) for path, view in zip(made.paths, made.views, strict=True)]
    picture.write_bytes(compose(images, meshes, found))
    return found


def segmented(ds: Dataset, number: int) -> Volume:
    """A segment of a Segmentation object, counted from 1, as a volume of 0 and 1."""
    seg = hd.seg.Segmentation.from_dataset(ds, copy=False)
    volume = seg.get_volume(segment_numbers=[number], combine_segments=False)
    return Volume(volume.array[..., 0].astype(np.float32), np.asarray(volume.affine, np.float64))


def meshed(ds: Dataset, number: int) -> Mesh:
    """A surface of a Surface Segmentation object, counted from 0. Source: PS3.3 C.27.1."""
    item = ds.SurfaceSequence[number]
    points = np.frombuffer(item.SurfacePointsSequence[0].PointCoordinatesData, "<f4")
    primitives = item.SurfaceMeshPrimitivesSequence[0]
    faces = np.frombuffer(primitives.LongTrianglePointIndexList, "<u4").astype(np.int64) - 1
    return Mesh(points.reshape(-1, 3).astype(np.float64), faces.reshape(-1, 3))


def _radiograph(path: Path, view: ViewName) -> Radiograph:
    uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
    return read(Source(path, uid, "", view), view, Assume())
