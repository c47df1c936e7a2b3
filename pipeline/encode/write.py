"""The result objects on disk: all of them, or an error."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Final

from pydicom import Dataset, dcmwrite

from pipeline.encode.capture import key_image_object, turntable_object
from pipeline.encode.common import Result, processing_equipment
from pipeline.encode.grid import common_grid, require_on, standing
from pipeline.encode.report import report
from pipeline.encode.segmentation import TYPES, segmentation
from pipeline.encode.sources import read_heading
from pipeline.encode.stl import stl_objects
from pipeline.encode.surface_segmentation import surface_segmentation
from pipeline.encode.volume import slices
from pipeline.errors import PipelineError
from pipeline.types import ObjectKind, Radiograph, Reconstruction, Request, ResultObject

SEVERAL = frozenset({ObjectKind.MODEL_VOLUME, ObjectKind.STL})
"""Kinds of which a result has more than one object."""
PICTURES: Final = {
    ObjectKind.KEY_IMAGE: key_image_object,
    ObjectKind.TURNTABLE: turntable_object,
}


def write(
    reconstruction: Reconstruction, radiographs: tuple[Radiograph, ...], request: Request
) -> tuple[ResultObject, ...]:
    """Every object of `request.kinds` lies in `request.folder`, durably, under its final name.

    The same request gives the same bytes. Order: the slices of the volume, the segmentations,
    the surfaces, the STL documents, the pictures, the report. `request.at` is written as wall
    time: give it in the time zone of the hospital; sources with a TimezoneOffsetFromUTC have it
    converted to theirs.

    Raises:
        StudyError: the sources cannot be read, or contradict each other.
        PipelineError: the reconstruction cannot be said in DICOM.
    """
    sources = {source.sop_instance_uid for source in request.sources}
    for radiograph in radiographs:
        if radiograph.sop_instance_uid not in sources:
            raise PipelineError(f"{radiograph.sop_instance_uid} is not a source of the request")
    heading = read_heading(request.sources)
    by = (reconstruction.algorithm, reconstruction.completed_by)
    devices = tuple(processing_equipment(one) for one in by if one)
    heading = replace(heading, equipment=(*heading.equipment, *devices))
    result = Result(reconstruction, radiographs, request, heading)
    return written(_objects(result), request.folder)


def _objects(result: Result) -> list[tuple[ObjectKind, Dataset]]:
    kinds = result.request.kinds
    with ThreadPoolExecutor(1) as beside:
        # Drawing is numpy, encoding is Python: a second core can do the one during the other.
        drawn = [(k, beside.submit(draw, result)) for k, draw in PICTURES.items() if k in kinds]
        made = _shapes(result)
        made += [(kind, picture.result()) for kind, picture in drawn]
    if ObjectKind.REPORT in kinds:
        made.append((ObjectKind.REPORT, report(result, made)))
    return made


def _shapes(result: Result) -> list[tuple[ObjectKind, Dataset]]:
    kinds = result.request.kinds
    made = _on_the_grid(result)
    if ObjectKind.SURFACE_SEGMENTATION in kinds:
        made.append((ObjectKind.SURFACE_SEGMENTATION, surface_segmentation(result)))
    if ObjectKind.STL in kinds:
        made += [(ObjectKind.STL, ds) for ds in stl_objects(result)]
    return made


def _on_the_grid(result: Result) -> list[tuple[ObjectKind, Dataset]]:
    """The volume and the segmentations, which are made over its slices even if it is not sent."""
    kinds = result.request.kinds
    if not {ObjectKind.MODEL_VOLUME, *TYPES} & set(kinds):
        return []
    given = common_grid(result.reconstruction.bones)
    if (density := result.reconstruction.density) is not None:
        require_on(given, density)
    result = _standing(result)
    grid = common_grid(result.reconstruction.bones)
    volume = slices(result, grid)
    shown = ObjectKind.MODEL_VOLUME in kinds
    made = [(ObjectKind.MODEL_VOLUME, ds) for ds in volume] if shown else []
    for kind in TYPES:
        if kind in kinds:
            made.append((kind, segmentation(result, grid, volume, refer=shown, kind=kind)))
    return made


def _standing(result: Result) -> Result:
    """The result on a grid that runs as viewers expect it."""
    made = result.reconstruction
    bones = tuple(replace(bone, probability=standing(bone.probability)) for bone in made.bones)
    density = None if made.density is None else standing(made.density)
    return replace(result, reconstruction=replace(made, bones=bones, density=density))


def written(made: list[tuple[ObjectKind, Dataset]], folder: Path) -> tuple[ResultObject, ...]:
    """The objects survive a power cut once this returns.

    All files are written before the first is synced: one commit of the file system's journal
    then serves them all, and the syncs that follow cost next to nothing.
    """
    files = tuple(_written(kind, ds, folder) for kind, ds in made)
    for one in files:
        _sync(_temporary(one.path))
    for one in files:
        _temporary(one.path).rename(one.path)
    _sync(folder)
    return files


def _written(kind: ObjectKind, ds: Dataset, folder: Path) -> ResultObject:
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    content = buffer.getvalue()
    number = f"-{int(ds.InstanceNumber):04d}" if kind in SEVERAL else ""
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
