"""One frame of stored pixel values out of a DICOM file that may be broken or hostile.

Sizes are checked before anything is allocated, deflated files are inflated under a bound, and
whatever a decoder raises becomes one sentence without patient data. Values come back as whole
numbers within BitsStored: unused high bits may hold overlays or garbage (PS3.5 8.1.1).
"""

from __future__ import annotations

import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from pipeline.errors import UnreadablePixels

Stored = NDArray[np.int32]

MAXIMUM_PIXELS = 100_000_000
"""Of one frame; a stitched image of both legs has some 30 million."""
DECODER_BYTES = 12
"""For a pixel, at a time: OpenJPEG has 32 bits for it, its wavelets as many, and the copy ours."""
MAXIMUM_FRAMES = 100_000
MAXIMUM_INFLATED_BYTES = 512 * 1024 * 1024
GREY_TOLERANCE = 4
"""How far the channels of a grey image in colour may differ after lossy compression, of 255."""
RUST_PANIC = "PanicException"
"""What a decoder in Rust, as that of RLE, raises past `Exception`; it cannot be imported."""
_GREY = ("MONOCHROME1", "MONOCHROME2")
_JPEG_FAMILY = "1.2.840.10008.1.2.4."
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_420")


def read_dataset_of(path: Path) -> Dataset:
    """The dataset of a DICOM file, its pixels still encoded.

    Raises:
        UnreadablePixels: it is no DICOM file, is cut off, or inflates beyond the bound.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom quotes the values of a faulty header
            meta = read_file_meta_info(path)
            if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                return _readable(_inflated(path))
            return _readable(dcmread(path))
    except (UnreadablePixels, MemoryError):  # what is short of memory is not the image's fault
        raise
    except Exception as fault:
        raise UnreadablePixels("The file is not a DICOM file, or it is cut off") from fault


def _readable(ds: Dataset) -> Dataset:
    """The dataset without the elements that cannot be what they claim: they count as absent.

    Whoever needs one of them says that it is missing, and to whom; pydicom would raise whatever
    its conversion came upon, wherever the element is looked at first.
    """
    for tag in list(ds.keys()):
        try:
            element = ds[tag]
            if element.VR == "SQ":
                for item in element.value:
                    _readable(item)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - hostile bytes make a parser raise anything
            del ds[tag]
    return ds


def stored_values(ds: Dataset, frame_number: int = 1) -> Stored:
    """The stored values of one frame (1-based), shape (rows, columns), grey.

    Raises:
        UnreadablePixels: there are none, they are too many, in colour, or broken.
    """
    _check(ds, frame_number)
    is_colour = str(ds.get("PhotometricInterpretation", "")).strip() in _COLOUR
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # judged by what comes out
            _check_end(ds, frame_number)
            _require_room(ds)
            decoded = pixel_array(ds, index=frame_number - 1, correct_unused_bits=False)
    except (UnreadablePixels, MemoryError):
        raise
    except BaseException as fault:
        if not isinstance(fault, Exception) and type(fault).__name__ != RUST_PANIC:
            raise
        raise UnreadablePixels(
            f"The pixel stream of the image is broken: no decoder can read it ({_syntax(ds)})"
        ) from fault
    expected = (ds.Rows, ds.Columns, 3) if is_colour else (ds.Rows, ds.Columns)
    if decoded.shape != expected:
        raise UnreadablePixels(
            "The pixel stream of the image is broken: it holds another number of rows or columns"
            " than the header says"
        )
    return _within_bits(_grey_of(decoded) if is_colour else decoded, ds)


def frame_count(ds: Dataset) -> int:
    """NumberOfFrames, 1 where it is absent or empty.

    Raises:
        UnreadablePixels: it is no positive number.
    """
    value = ds.get("NumberOfFrames")
    try:
        count = 1 if value in (None, "") else int(value)
    except (TypeError, ValueError):
        count = 0
    if count < 1:
        raise UnreadablePixels("NumberOfFrames is not a positive number")
    return count


def stored_range(ds: Dataset) -> tuple[int, int]:
    """The smallest and the largest value that BitsStored allows."""
    bits = int(ds.BitsStored)
    if ds.get("PixelRepresentation", 0) == 1:
        return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return 0, (1 << bits) - 1


def _inflated(path: Path) -> Dataset:
    """PS3.5 A.5: all behind the file meta group is one deflate stream."""
    with path.open("rb") as stream:
        stream.seek(132)
        read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag.group != 2)
        engine = zlib.decompressobj(-zlib.MAX_WBITS)
        content = engine.decompress(stream.read(), MAXIMUM_INFLATED_BYTES)
    if not engine.eof:
        raise UnreadablePixels("The deflated file is cut off, or too large when it is inflated")
    plain = read_dataset(BytesIO(content), is_implicit_VR=False, is_little_endian=True)
    return FileDataset(
        path,
        plain,
        file_meta=read_file_meta_info(path),
        is_implicit_VR=False,
        is_little_endian=True,
    )


def _require_room(ds: Dataset) -> None:
    """There is memory for what a decoder needs.

    Decoders swallow the want of it, and the image would be called broken.

    Raises:
        MemoryError: there is not.
    """
    np.empty(ds.Rows * ds.Columns * DECODER_BYTES, np.uint8)


def _check(ds: Dataset, frame_number: int) -> None:
    if "PixelData" not in ds or not ds.PixelData:
        raise UnreadablePixels("The image has no pixel data")
    shape = [ds.get(keyword) for keyword in ("Rows", "Columns")]
    if not all(isinstance(n, int) and n > 0 for n in shape):
        raise UnreadablePixels("Rows or Columns of the image is missing or zero")
    if shape[0] * shape[1] > MAXIMUM_PIXELS:
        raise UnreadablePixels(f"The image has more than {MAXIMUM_PIXELS} pixels")
    frames = frame_count(ds)
    if frames > MAXIMUM_FRAMES:
        raise UnreadablePixels(f"The image has more than {MAXIMUM_FRAMES} frames")
    if not 1 <= frame_number <= frames:
        raise UnreadablePixels(f"The image has {frames} frames, but frame {frame_number} is asked")
    allocated, stored = ds.get("BitsAllocated"), ds.get("BitsStored")
    if allocated not in (8, 16, 32) or not isinstance(stored, int) or not 1 <= stored <= allocated:
        raise UnreadablePixels("BitsAllocated and BitsStored of the image do not fit each other")
    if stored > 24:
        raise UnreadablePixels(f"The image has {stored} bits a pixel; a radiograph has at most 24")
    photometric = str(ds.get("PhotometricInterpretation", "")).strip()
    if photometric not in _GREY + _COLOUR:
        raise UnreadablePixels("The image is not grey: PhotometricInterpretation is not supported")
    if ds.get("SamplesPerPixel", 1) != (1 if photometric in _GREY else 3):
        raise UnreadablePixels("SamplesPerPixel and PhotometricInterpretation do not fit")


def _check_end(ds: Dataset, frame_number: int) -> None:
    """libjpeg fills what a stream lacks with grey and says nothing, so its end is looked for.

    JPEG, JPEG-LS and JPEG 2000 all end with FFD9; a few bytes that fill the fragment may follow.
    """
    uid = _transfer_syntax_uid(ds)
    if uid is None or not uid.startswith(_JPEG_FAMILY):
        return
    stream = get_frame(ds.PixelData, frame_number - 1, number_of_frames=frame_count(ds))
    if b"\xff\xd9" not in stream[-64:]:
        raise UnreadablePixels("The pixel stream of the image is broken: it is cut off")


def _transfer_syntax_uid(ds: Dataset) -> UID | None:
    meta = getattr(ds, "file_meta", None)
    return None if meta is None else meta.get("TransferSyntaxUID")


def _syntax(ds: Dataset) -> str:
    uid = _transfer_syntax_uid(ds)
    return "no transfer syntax" if uid is None else str(uid.name)[:64]


def _grey_of(colour: NDArray[np.integer]) -> NDArray[np.integer]:
    """The one channel of a colour image whose channels are equal."""
    channels = colour.astype(np.int32)
    spread = channels.max(axis=-1) - channels.min(axis=-1)
    scale = max(1, int(np.iinfo(colour.dtype).max) // 255)
    if np.mean(spread > GREY_TOLERANCE * scale) > 0.001:
        raise UnreadablePixels("The image is in colour; a radiograph is grey")
    green: NDArray[np.integer] = colour[..., 1]
    return green


def _within_bits(values: NDArray[np.integer], ds: Dataset) -> Stored:
    """Only BitsStored up to HighBit count.

    A lossy decoder may overshoot the range: there, the nearest value counts and not the low bits.
    """
    bits, signed = int(ds.BitsStored), ds.get("PixelRepresentation", 0) == 1
    uid = _transfer_syntax_uid(ds)
    if uid is not None and uid.startswith(_JPEG_FAMILY):
        nearest: Stored = np.clip(values.astype(np.int32), *stored_range(ds))
        return nearest
    shift = max(0, int(ds.get("HighBit", bits - 1)) - (bits - 1))
    wide = (values.astype(np.int64) >> shift) & ((1 << bits) - 1)
    if signed:
        wide -= (wide & (1 << (bits - 1))) << 1
    return wide.astype(np.int32)
