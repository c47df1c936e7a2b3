"""Where a fuzzer begins: tiny radiographs of nobody in each way of writing them, and texts."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from node.sop_classes import RECEIVED_TRANSFER_SYNTAXES
from tests.factories import Kind, file_bytes, uid
from tests.factories import radiograph as a_radiograph

SYNTAXES: Final = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
)
TEXTS: Final = (
    "Modality",
    "BodyPartExamined",
    "ViewPosition",
    "ImageLaterality",
    "StudyDescription",
    "SeriesDescription",
    "StationName",
    "PatientOrientation",
    "ImagerPixelSpacing",
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "PatientID",
    "AcquisitionTime",
    "NumberOfFrames",
)
"""What `header_of` sets, in this order; lines of a text, so that a fuzzer can turn each."""


def files() -> Iterator[bytes]:
    """For the targets that take files: the number of the transfer syntax, then the data set."""
    pixels = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    for syntax in SYNTAXES:
        for kind, view in ((Kind.DX, "AP"), (Kind.CR, "LL"), (Kind.XA, "PA")):
            ds = a_radiograph(kind, study="fuzz", view=view, pixels=pixels)
            ds.SOPInstanceUID = uid("fuzz")
            whole = file_bytes(ds, syntax)
            at = 144 + struct.unpack("<I", whole[140:144])[0]
            yield bytes([RECEIVED_TRANSFER_SYNTAXES.index(syntax)]) + whole[at:]


def texts() -> Iterator[bytes]:
    """For the target of the rules: two headers of equal length, as `header_of` reads them."""
    for ap, ll in (("AP", "LL"), ("PA", "RL"), ("", "?")):
        two = [
            f"DX\nHIP\n{view}\nR\nhip 1 ap\nHip {view}\nROOM1\nL\\F\n0.2\\0.2\n1150\n1000\nTEST"
            for view in (ap, ll)
        ]
        longest = max(map(len, two))
        yield "".join(each.ljust(longest) for each in two).encode()


def header_of(data: bytes) -> Dataset:
    """A header whose values are the lines of `data`; what is no value of its kind is left out."""
    ds = Dataset()
    ds.SOPInstanceUID, ds.SeriesInstanceUID = uid("fuzz", data), uid("fuzz", "series")
    for keyword, line in zip(TEXTS, data.decode("latin-1").split("\n"), strict=False):
        try:
            setattr(ds, keyword, line.split("\\") if "\\" in line else line)
        except (ValueError, TypeError, OverflowError):
            continue
    return ds
