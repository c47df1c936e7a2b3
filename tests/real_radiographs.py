"""The real radiographs of the shared data folder, each made a study of its own.

Only the header is written anew; the pixel stream stays byte for byte, broken ones included.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ImplicitVRLittleEndian

from tests.factories import uid
from tests.peer_programs import SEND_OPTIONS

HIP_FILES = {
    "1.2.840.10008.1.2.4.51": "pydicom__ljdata_ds_JPEGExtended_RG2_JPLY_fixed.dcm",
    "1.2.840.10008.1.2.4.70": "pydicom__ljdata_ds_JPEGLosslessSV1_RG2_JPLL.dcm",
    "1.2.840.10008.1.2.4.80": "pydicom__ljdata_ds_JPEGLSLossless_RG2_JLSL.dcm",
    "1.2.840.10008.1.2.4.81": "pydicom__ljdata_ds_JPEGLS_RG2_JLSN.dcm",
    "1.2.840.10008.1.2.4.90": "robyoung__data_WG04_J2KR_RG2_J2KR.dcm",
    "1.2.840.10008.1.2.4.91": "robyoung__data_WG04_J2KI_RG2_J2KI.dcm",
    "1.2.840.10008.1.2.5": "robyoung__data_WG04_RLE_RG2_RLE.dcm",
}
"""One exposure of a hip in seven transfer syntaxes."""

BROKEN_HIP = "pydicom__ljdata_ds_JPEGExtended_RG2_JPLY.dcm"
"""The same hip with a JPEG stream that no decoder accepts."""


def own_study(source: Path, target: Path, study: str, **keywords: Any) -> pydicom.Dataset:
    """`target` is `source` in the study `study`, with `keywords`; the dataset as it was written.

    A keyword that is None is removed.
    """
    ds = pydicom.dcmread(source, force=True)
    if "TransferSyntaxUID" not in getattr(ds, "file_meta", {}):
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    own = {
        "StudyInstanceUID": uid("study", study),
        "SeriesInstanceUID": uid("series", study, source.name),
        "SOPInstanceUID": uid("instance", study, source.name),
        "PatientID": "TEST-REAL",
    }
    for keyword, value in (own | keywords).items():
        if value is None:
            ds.pop(keyword, None)
        else:
            setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(target)
    return ds


def send_options(ds: pydicom.Dataset) -> list[str]:
    """What storescu must be told to send `ds` as it is."""
    return [SEND_OPTIONS[ds.file_meta.TransferSyntaxUID]]
