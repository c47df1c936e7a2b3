"""The header of a received instance, read without its pixels.

The bytes come from a peer and may be anything. What is inflated is bounded, so that a deflated
bomb costs no memory; so is what the parser may read (`node.ration`) and what it may convert; and
whatever it raises becomes one named error. Elements that the node does not need are passed over.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

from node.elements import CHARACTER_SET, elements
from node.errors import NodeError
from node.ration import MOST_BYTES, Ration
from node.remembering import remembered
from pipeline.attributes import KEYWORDS, Json, attributes

LONGEST_VALUE_BYTES: Final = 65_534
"""Of one element that is read here: the most that a short length can say (PS3.5 7.1.2)."""
PREAMBLE_BYTES: Final = 132
FIRST_PIXEL_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
HEAD_BYTES: Final = 64 * 1024
"""Of a file, where its header ends, unless an icon or the like comes before the pixels."""
SYNTAX: Final = 0x00020010
GROUP_LENGTH: Final = b"\x02\0\0\0UL\x04\0"
GROUP_LENGTH_BYTES: Final = 12
"""Of FileMetaInformationGroupLength, which begins with the eight above. Source: PS3.10 7.1."""
TAGS: Final = frozenset(int(Tag(keyword)) for keyword in KEYWORDS)
"""Of `KEYWORDS`, looked up once and not for each instance anew."""
NEEDED: Final = TAGS | {CHARACTER_SET}
REQUIRED: Final = {
    keyword: int(Tag(keyword))
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
}

Element = DataElement | RawDataElement


class UnreadableHeaderError(NodeError):
    """The header of the instance cannot be read."""

    status = 0xC000


class MismatchedHeaderError(UnreadableHeaderError):
    """The header names another object than the request that brought it."""

    status = 0xA900


@dataclass(frozen=True, slots=True)
class Header:
    """What the node keeps of a header."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    attributes: Mapping[str, Json]


class _Raw(NamedTuple):
    """A header of which nothing was converted yet."""

    transfer_syntax_uid: str
    elements: Mapping[int, Element]
    """By tag."""
    attributes: Callable[[], Mapping[str, Json]]


def read_header(path: Path, handle: int | None = None) -> Header:
    """The header of the DICOM file at `path`, which may be open for reading already.

    Raises:
        UnreadableHeaderError: it cannot be parsed, or a UID is absent or malformed.
    """
    try:
        raw = _plain(_head(path, handle)) or _any(path)
        _require_short(raw.elements)
        uids = {keyword: _uid(raw.elements.get(tag)) for keyword, tag in REQUIRED.items()}
        known = raw.attributes()
    except UnreadableHeaderError:
        raise
    except Exception as fault:  # hostile bytes make parsers raise anything
        why = f"The header cannot be parsed: {type(fault).__name__}"
        raise UnreadableHeaderError(why) from fault
    for keyword, uid in uids.items():
        if not is_uid(uid):
            what = "is malformed" if uid else "is missing"
            raise UnreadableHeaderError(f"{keyword} {what}")
    return Header(
        sop_class_uid=uids["SOPClassUID"],
        sop_instance_uid=uids["SOPInstanceUID"],
        study_instance_uid=uids["StudyInstanceUID"],
        series_instance_uid=uids["SeriesInstanceUID"],
        transfer_syntax_uid=raw.transfer_syntax_uid,
        attributes=known,
    )


def require_match(header: Header, sop_class_uid: str, sop_instance_uid: str) -> None:
    """Nothing, if the header names the object that the request announced.

    Raises:
        MismatchedHeaderError: it names another one. Source: PS3.4 B.2.3, status A9xx.
    """
    if header.sop_instance_uid != sop_instance_uid:
        raise MismatchedHeaderError("SOPInstanceUID differs from the one of the request")
    if header.sop_class_uid != sop_class_uid:
        raise MismatchedHeaderError("SOPClassUID differs from the one of the request")


def data_set_digest(path: Path) -> str:
    """SHA-256, hex, of what follows the file meta information: the bytes that the peer sent."""
    with path.open("rb") as stream:
        stream.seek(_data_set_offset(read_file_meta_info(path)))
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_uid(text: str) -> bool:
    """True for a UID by PS3.5 9.1; leading zeros are let pass, because devices make them."""
    return len(text) <= 64 and UID.fullmatch(text) is not None


def _head(path: Path, handle: int | None) -> bytes:
    if handle is not None:
        return os.pread(handle, HEAD_BYTES, 0)
    with path.open("rb", buffering=0) as stream:
        return stream.read(HEAD_BYTES)


def _plain(head: bytes) -> _Raw | None:
    """Of a file whose header is as most are; None for others."""
    begin = PREAMBLE_BYTES + GROUP_LENGTH_BYTES
    end = begin + int.from_bytes(head[begin - 4 : begin], "little")
    meta = elements(head[begin:end], is_implicit=False, is_whole=True, tags={SYNTAX}, until=())
    if not head[PREAMBLE_BYTES:].startswith(GROUP_LENGTH) or meta is None or SYNTAX not in meta:
        return None
    syntax = (meta[SYNTAX].value or b"").decode("ascii").rstrip("\0 ")
    if syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian):
        return None
    is_whole, is_implicit = len(head) < HEAD_BYTES, syntax == ImplicitVRLittleEndian
    found = elements(
        head, end, is_implicit=is_implicit, is_whole=is_whole, tags=NEEDED, until=FIRST_PIXEL_TAGS
    )
    if found is None:
        return None
    return _Raw(syntax, found, partial(remembered, found, is_implicit=is_implicit))


def _any(path: Path) -> _Raw:
    """Of any file that pydicom can read."""
    meta = read_file_meta_info(path)
    with path.open("rb") as stream:
        ds = _data_set(stream, meta)
    found = {int(tag): element for tag, element in ds.items()}
    return _Raw(str(meta.TransferSyntaxUID), found, partial(attributes, ds))


def _data_set(stream: BinaryIO, meta: FileMetaDataset) -> Dataset:
    """As `dcmread` reads it, which would parse the file meta information once more."""
    syntax = meta.TransferSyntaxUID
    stream.seek(_data_set_offset(meta))
    if syntax == DeflatedExplicitVRLittleEndian:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        stream = BytesIO(inflater.decompress(stream.read(MOST_BYTES), MOST_BYTES))
    return read_dataset(
        Ration(stream),  # type: ignore[arg-type] # it has all that is used of a stream
        is_implicit_VR=syntax == ImplicitVRLittleEndian,
        is_little_endian=syntax != ExplicitVRBigEndian,
        stop_when=_is_pixel_data,
        specific_tags=list(TAGS),
    )


def _require_short(found: Mapping[int, Element]) -> None:
    """A value is only converted if it is short: each of a million numbers becomes an object."""
    for tag, raw in found.items():
        if isinstance(raw, RawDataElement) and len(raw.value or b"") > LONGEST_VALUE_BYTES:
            name = keyword_for_tag(tag)
            raise UnreadableHeaderError(f"{name} is longer than {LONGEST_VALUE_BYTES} bytes")


def _uid(element: Element | None) -> str:
    """As it was sent, without its padding; empty where there is none."""
    value = None if element is None else element.value
    return value.decode("ascii", "replace").strip("\0 ") if isinstance(value, bytes) else ""


def _data_set_offset(meta: FileMetaDataset) -> int:
    """Where the data set begins: after the group length and its group."""
    return PREAMBLE_BYTES + GROUP_LENGTH_BYTES + int(meta.FileMetaInformationGroupLength)


def _is_pixel_data(tag: BaseTag, vr: str | None, length: int) -> bool:
    return tag in FIRST_PIXEL_TAGS
