"""Maps of labels as files: NIfTI and other images by SimpleITK, and DICOM segmentations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import highdicom as hd
import numpy as np
import SimpleITK
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from pipeline.errors import StudyError
from pipeline.structures import LabelMap

MOST = 0xFFFF
"""The largest label."""


class NoLabelMap(StudyError):
    """The file is no map of labels on a regular grid in three dimensions."""


@dataclass(frozen=True, slots=True)
class SegmentationFile:
    """What a DICOM segmentation holds."""

    dataset: hd.seg.Segmentation
    map: LabelMap
    """Segment numbers."""


def is_dicom(path: Path) -> bool:
    """True of a DICOM file."""
    try:
        dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
    except (InvalidDicomError, EOFError):
        return False
    return True


def read_image(path: Path) -> LabelMap:
    """The labels of an image file; SimpleITK turns the axes of NIfTI, RAS, into LPS.

    Raises:
        NoLabelMap: it cannot be read, has no three dimensions, or its values are no labels.
    """
    try:
        image = SimpleITK.ReadImage(str(path))
    except RuntimeError as fault:
        raise NoLabelMap(f"{path.name} cannot be read as an image") from fault
    array = np.asarray(SimpleITK.GetArrayFromImage(image))
    if array.ndim != 3 or image.GetDimension() != 3:
        raise NoLabelMap(f"{path.name} has no three dimensions with one value for each voxel")
    is_whole = bool(np.isfinite(array).all()) and bool((array == np.round(array)).all())
    if not is_whole or array.min() < 0 or array.max() > MOST:
        raise NoLabelMap(f"{path.name} has values that are no labels: whole numbers to {MOST}")
    axes = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine = np.eye(4)
    affine[:3, :3] = axes[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return LabelMap(array.astype(np.uint16), affine)


def write_image(path: Path, labels: LabelMap) -> None:
    """`path` holds the map, in the format that its name ends in.

    Raises:
        NoLabelMap: there is no such format, or it cannot be written there.
    """
    image = SimpleITK.GetImageFromArray(labels.array)
    axes = labels.patient_from_index[:3, :3][:, ::-1]
    spacing = np.linalg.norm(axes, axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((axes / spacing).ravel().tolist())
    image.SetOrigin(labels.patient_from_index[:3, 3].tolist())
    try:
        SimpleITK.WriteImage(image, str(path), True)
    except RuntimeError as fault:
        raise NoLabelMap(f"{path.name} cannot be written as an image") from fault


def read_segmentation(path: Path) -> SegmentationFile:
    """The segments of a DICOM segmentation as one map.

    Raises:
        NoLabelMap: it is none, its frames are on no regular grid, it has probabilities instead of
            labels, or its segments overlap.
    """
    try:
        found = hd.seg.segread(path)
        if found.segmentation_type is hd.seg.SegmentationTypeValues.FRACTIONAL:
            raise NoLabelMap(f"{path.name} holds probabilities (FRACTIONAL), no labels")
        volume = found.get_volume(combine_segments=True, dtype=np.uint16)
    except (ValueError, TypeError, AttributeError, KeyError, RuntimeError) as fault:
        raise NoLabelMap(f"{path.name} cannot be read as one map of labels: {fault}") from fault
    return SegmentationFile(found, LabelMap(np.asarray(volume.array), np.array(volume.affine)))
