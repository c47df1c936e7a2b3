"""The result objects on disk: all of them, or an error."""

from __future__ import annotations

import hashlib
import os
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmwrite

from pipeline.encode.common import Result
from pipeline.encode.grid import common_grid
from pipeline.encode.segmentation import segmentation
from pipeline.encode.sources import read_heading
from pipeline.encode.surface_segmentation import surface_segmentation
from pipeline.encode.volume import slices
from pipeline.errors import PipelineError
from pipeline.types import ObjectKind, Radiograph, Reconstruction, Request, ResultObject


def write(
    reconstruction: Reconstruction, radiographs: tuple[Radiograph, ...], request: Request
) -> tuple[ResultObject, ...]:
    """Every object of `request.kinds` lies in `request.folder`, durably, under its final name.

    The same request gives the same bytes. Order: the slices of the volume, the segmentation,
    the surface segmentation. `request.at` is written as wall time: give it in the time zone of
    the hospital; sources with a TimezoneOffsetFromUTC have it converted to theirs.

    Raises:
        StudyError: the sources cannot be read, or contradict each other.
        PipelineError: the reconstruction cannot be said in DICOM.
    """
    sources = {source.sop_instance_uid for source in request.sources}
    for radiograph in radiographs:
        if radiograph.sop_instance_uid not in sources:
            raise PipelineError(f"{radiograph.sop_instance_uid} is not a source of the request")
    result = Result(reconstruction, radiographs, request, read_heading(request.sources))
    return _durable(_objects(result), request.folder)


def _objects(result: Result) -> list[tuple[ObjectKind, Dataset]]:
    kinds = result.request.kinds
    made: list[tuple[ObjectKind, Dataset]] = []
    if ObjectKind.MODEL_VOLUME in kinds or ObjectKind.SEGMENTATION in kinds:
        grid = common_grid(result.reconstruction.bones)
        volume = slices(result, grid)
        shown = ObjectKind.MODEL_VOLUME in kinds
        if shown:
            made += [(ObjectKind.MODEL_VOLUME, ds) for ds in volume]
        if ObjectKind.SEGMENTATION in kinds:
            ds = segmentation(result, grid, volume, refer=shown)
            made.append((ObjectKind.SEGMENTATION, ds))
    if ObjectKind.SURFACE_SEGMENTATION in kinds:
        made.append((ObjectKind.SURFACE_SEGMENTATION, surface_segmentation(result)))
    return made


def _durable(made: list[tuple[ObjectKind, Dataset]], folder: Path) -> tuple[ResultObject, ...]:
    """The objects survive a power cut once this returns.

    All files are written before the first is synced: one commit of the file system's journal
    then serves them all, and the syncs that follow cost next to nothing.
    """
    written = [_written(kind, ds, folder) for kind, ds in made]
    for one in written:
        _sync(_temporary(one.path))
    for one in written:
        _temporary(one.path).rename(one.path)
    _sync(folder)
    return tuple(written)


def _written(kind: ObjectKind, ds: Dataset, folder: Path) -> ResultObject:
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    content = buffer.getvalue()
    number = f"-{int(ds.InstanceNumber):04d}" if kind is ObjectKind.MODEL_VOLUME else ""
    path = folder / f"{kind}{number}.dcm"
    _temporary(path).write_bytes(content)
    return ResultObject(
        kind=kind,
        sop_class_uid=str(ds.SOPClassUID),
        sop_instance_uid=str(ds.SOPInstanceUID),
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
    )


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
