"""The pictures of a result as Secondary Captures: what a radiologist looks at first.

The key image is a single frame of the plain Secondary Capture class, which is the one that every
archive takes and every viewer shows; the turntable is a Multi-frame True Color Secondary Capture,
which viewers play as a cine loop. Both are RGB in Explicit VR Little Endian, uncompressed. Neither
has a pixel spacing: the panels of one page have several scales, and a scale bar each.

Burned In Annotation says whether the pixels name the patient (PS3.3 C.7.6.1: "sufficient burned in
annotation to identify the patient and date the image was acquired"). Our own words never do. The
key image shows the radiographs, so it says what they say: YES if one does, NO if all say NO, and
nothing where one does not know.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.uid import (
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    SecondaryCaptureImageStorage,
)

from pipeline.encode.codes import region_item
from pipeline.encode.common import (
    MANUFACTURER,
    Result,
    assumptions,
    file_meta,
    ordered,
    printable,
    provenance,
    put_general_modules,
    software_version,
    source_images,
)
from pipeline.encode.volume import image_laterality
from pipeline.keyimage import Page, key_image
from pipeline.turntable import FRAMES, STEP_DEG, turntable
from pipeline.types import ObjectKind, Radiograph, ViewName
from pipeline.wording import made_by

FRAME_TIME_MS = 100
"""A turn in 3.6 s: slow enough to follow a contour, fast enough to see the shape by its motion."""


def key_image_object(result: Result) -> Dataset:
    """The key image as a Secondary Capture. Source: PS3.3 A.8.1."""
    made = replace(result.reconstruction, assumptions=assumptions(result))
    page = Page(result.request.region, result.request.side, footer(result))
    pixels = key_image(made, ordered_by_view(result), page)
    ds = _capture(result, ObjectKind.KEY_IMAGE, SecondaryCaptureImageStorage)
    put_pixels(ds, pixels)
    if result.heading.burned_in_annotation:
        ds.BurnedInAnnotation = result.heading.burned_in_annotation
    ds.update(result.heading.lossy)
    return ds


def turntable_object(result: Result) -> Dataset:
    """The turntable as a Multi-frame True Color Secondary Capture. Source: PS3.3 A.8.5."""
    request = result.request
    frames = turntable(
        result.reconstruction.bones, request.region, request.side, assumptions(result)
    )
    ds = _capture(result, ObjectKind.TURNTABLE, MultiFrameTrueColorSecondaryCaptureImageStorage)
    put_pixels(ds, frames)
    _put_cine(ds)
    # none of the pixels is one of a radiograph
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    return ds


def footer(result: Result) -> str:
    """Which program made the page, which engine the bones, on which node and when."""
    parts = (
        f"{MANUFACTURER} {software_version()}",
        made_by(result.reconstruction),
        f"node {result.request.node}",
        f"{result.at:%Y-%m-%d %H:%M %Z}",
    )
    return "  -  ".join(part for part in parts if part.strip())


def ordered_by_view(result: Result) -> list[Radiograph]:
    """Frontal views first, as one reads them."""
    order = list(ViewName)
    return sorted(ordered(result.radiographs), key=lambda one: order.index(one.view.name))


def put_secondary_capture(
    ds: Dataset, result: Result, kind: ObjectKind, sop_class: str, name: str = ""
) -> None:
    """`ds` is a synthetic image without a place in space, its UID of `name` or of its kind.

    Source: PS3.3 C.8.6.1, C.8.6.2, C.12.1; SYN is "Synthetic Image".
    """
    uid = result.uid(name or kind)
    put_general_modules(ds, result, kind)
    # a picture is no image of the frame of reference: nothing may be laid over it
    del ds.FrameOfReferenceUID
    del ds.PositionReferenceIndicator
    ds.file_meta = file_meta(sop_class, uid)
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = uid
    ds.Modality = "OT"
    ds.InstanceNumber = 1
    ds.ConversionType = "SYN"
    ds.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    ds.SecondaryCaptureDeviceSoftwareVersions = software_version()
    ds.DateOfSecondaryCapture = f"{result.at:%Y%m%d}"
    ds.TimeOfSecondaryCapture = f"{result.at:%H%M%S}"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.PatientOrientation = ""


def _capture(result: Result, kind: ObjectKind, sop_class: str) -> Dataset:
    """A capture of bones: with their derivation and the radiographs. Source: PS3.3 C.12.4."""
    ds = Dataset()
    put_secondary_capture(ds, result, kind, sop_class)
    ds.DerivationDescription = provenance(result, 1024)
    ds.ImageComments = printable(provenance(result, 10240), 10240)
    ds.SourceImageSequence = source_images(result)
    ds.AnatomicRegionSequence = [
        region_item(result.request.region, result.reconstruction.bones[0].code, result.request.side)
    ]
    ds.ImageLaterality = image_laterality(result)
    return ds


def put_pixels(ds: Dataset, pixels: NDArray[np.uint8]) -> None:
    """`ds` has the RGB pixels of one frame, (rows, columns, 3), or of several, first axis.

    Source: PS3.3 C.7.6.3; colour by pixel, which is what viewers read without a copy.
    """
    ds.SamplesPerPixel = 3
    ds.PhotometricInterpretation = "RGB"
    ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = pixels.shape[-3:-1]
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelRepresentation = 0
    content = np.ascontiguousarray(pixels).tobytes()
    ds.add_new("PixelData", "OB", content + b"\0" * (len(content) % 2))


def _put_cine(ds: Dataset) -> None:
    """The frames are shown one after the other, round and round.

    Source: PS3.3 C.7.6.5, C.7.6.6, C.8.6.3.
    """
    ds.NumberOfFrames = FRAMES
    ds.FrameIncrementPointer = tag_for_keyword("FrameTime")
    ds.FrameTime = FRAME_TIME_MS
    ds.PreferredPlaybackSequencing = 0
    ds.RecommendedDisplayFrameRate = 1000 // FRAME_TIME_MS
    ds.CineRate = 1000 // FRAME_TIME_MS
    ds.StartTrim, ds.StopTrim = 1, FRAMES
    ds.ImageComments = printable(
        f"Turned by {STEP_DEG:g} degrees a frame about the head-foot axis; frame 1 from the front,"
        f" frame {1 + FRAMES // 4} from the patient's left. {ds.ImageComments}",
        10240,
    )
