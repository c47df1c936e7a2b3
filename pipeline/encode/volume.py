"""The model volume: a series of CT Image Storage slices that viewers can lay a SEG over.

It is not a CT, and says so in its description, its comments and on every slice. The stored value
is 1000 times the probability that the voxel is bone, 0 to 1000; the burnt-in words have the
value 1500, which no probability has, so that a reader can tell them from bone.

An engine that estimates a density has it shown here instead: 1000 times the share of cortical bone,
relative, and no Hounsfield units. It is a series of the same kind, because a viewer lays the bones
over one series, and because the probability would be the same picture without its inside.

Why the CT class: viewers overlay a segmentation only on a series with a frame of reference, and
of the classes that have one this is the one that every viewer opens.
"""

from __future__ import annotations

from io import BytesIO
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.filereader import read_dataset
from pydicom.uid import CTImageStorage
from pydicom.valuerep import DSfloat

from pipeline.encode.codes import is_paired, region_item
from pipeline.encode.common import (
    Result,
    file_meta,
    printable,
    provenance,
    put_general_modules,
    source_images,
)
from pipeline.encode.grid import Grid, any_bone
from pipeline.encode.lettering import burnt_in
from pipeline.types import ObjectKind, Side

CERTAIN = 1000
"""The stored value of probability 1, and of cortical bone."""
LETTERING = 1500
BITS_STORED = 12


class _Shown(NamedTuple):
    """What the stored values are."""

    explanation: str
    words: str
    window: int
    """The stored value that is shown white; black is 0."""


PROBABILITY = _Shown(
    "PROBABILITY OF BONE",
    f"Stored value = {CERTAIN} x probability of bone",
    # certain bone is dark grey: a colour that a viewer lays half transparent over it stays strong
    3 * CERTAIN,
)
DENSITY = _Shown(
    "RELATIVE DENSITY, NOT HOUNSFIELD UNITS",
    "For research use. Relative density, not Hounsfield units: stored value ="
    f" {CERTAIN} x estimated share of cortical bone",
    CERTAIN,
)


def stored_values(result: Result, grid: Grid) -> NDArray[np.uint16]:
    """(Z, Y, X) stored values of the slices, burnt-in words included."""
    made = result.reconstruction
    shown = any_bone(made.bones_seen) if made.density is None else made.density.array.clip(0, 1)
    values = np.rint(shown * CERTAIN).astype("<u2")
    values[:, burnt_in(grid.shape[1], grid.shape[2])] = LETTERING
    return values


def slices(result: Result, grid: Grid) -> list[Dataset]:
    """The slices of the model volume, in the order of k, instance numbers from 1."""
    values = stored_values(result, grid)
    template = _encoded(_template(result, grid))
    positions = [grid.image_position_patient(k) for k in range(grid.shape[0])]
    made = []
    for k, position in enumerate(positions):
        ds = Dataset()
        ds.update(template)
        ds.set_original_encoding(False, True, template.original_character_set)
        uid = result.uid("model volume slice", k)
        ds.file_meta = file_meta(CTImageStorage, uid)
        ds.SOPInstanceUID = uid
        ds.InstanceNumber = k + 1
        ds.ImagePositionPatient = [decimal(value) for value in position]
        ds.add_new("PixelData", "OW", values[k].tobytes())
        made.append(ds)
    return made


def _encoded(ds: Dataset) -> Dataset:
    """`ds` with the bytes of its elements for values: what all slices share is encoded once."""
    buffer = BytesIO()
    dcmwrite(buffer, ds, implicit_vr=False, little_endian=True)
    buffer.seek(0)
    return read_dataset(buffer, is_implicit_VR=False, is_little_endian=True)


def _template(result: Result, grid: Grid) -> Dataset:
    ds = Dataset()
    put_general_modules(ds, result, ObjectKind.MODEL_VOLUME)
    ds.SOPClassUID = CTImageStorage
    ds.Modality = "CT"
    ds.PatientPosition = ""
    _put_image_plane(ds, grid)
    _put_image_pixel(ds, grid)
    _put_meaning(ds, result)
    return ds


def _put_image_plane(ds: Dataset, grid: Grid) -> None:
    """Source: PS3.3 C.7.6.2."""
    between_slices, between_rows, between_columns = grid.spacing
    ds.ImageOrientationPatient = [decimal(value) for value in grid.image_orientation_patient]
    ds.PixelSpacing = [decimal(between_rows), decimal(between_columns)]
    ds.SliceThickness = decimal(between_slices)
    ds.SpacingBetweenSlices = decimal(between_slices)


def _put_image_pixel(ds: Dataset, grid: Grid) -> None:
    """Source: PS3.3 C.7.6.3, C.8.2.1."""
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = grid.shape[1], grid.shape[2]
    ds.BitsAllocated = 16
    ds.BitsStored = BITS_STORED
    ds.HighBit = BITS_STORED - 1
    ds.PixelRepresentation = 0
    ds.RescaleIntercept = 0
    ds.RescaleSlope = 1
    ds.RescaleType = "US"


def _put_meaning(ds: Dataset, result: Result) -> None:
    """Source: PS3.3 C.7.6.1, C.8.2.1, C.12.4."""
    request = result.request
    ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    shown = PROBABILITY if result.reconstruction.density is None else DENSITY
    ds.WindowCenter, ds.WindowWidth = shown.window // 2, shown.window
    ds.WindowCenterWidthExplanation = shown.explanation
    ds.ImageComments = printable(
        f"{provenance(result, 1024)} {shown.words}; {LETTERING} = burnt-in words.", 10240
    )
    ds.DerivationDescription = provenance(result, 1024)
    ds.SourceImageSequence = source_images(result)
    # C.7.6.1: YES would say that the patient and the date can be read in the pixels
    ds.BurnedInAnnotation = "NO"
    ds.update(result.heading.lossy)
    ds.KVP = None
    ds.AcquisitionNumber = None
    ds.AnatomicRegionSequence = [
        region_item(request.region, result.reconstruction.bones[0].code, request.side)
    ]
    ds.ImageLaterality = image_laterality(result)


def image_laterality(result: Result) -> str:
    """R, L, B for both of a pair, U for the midline (PS3.3 C.7.6.1).

    Stated on the image, because Laterality of the series cannot say "both".
    """
    side = result.request.side
    if side is not Side.UNPAIRED:
        return str(side)
    shown = {bone.side for bone in result.reconstruction.bones}
    is_pair = is_paired(result.request.region) or {Side.LEFT, Side.RIGHT} <= shown
    return "B" if is_pair else "U"


def decimal(value: float) -> DSfloat:
    """`value` as a decimal string of at most 16 characters (PS3.5 6.2, DS)."""
    return DSfloat(float(value), auto_format=True)
