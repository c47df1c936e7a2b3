"""The few elements of a header that are needed, found in bytes that are in memory already.

pydicom makes an object of each element before the pixels, of which a radiograph has some 150, and
some thirty are asked for. Here the others are passed over by their lengths. What is not quite as
the standard has it, or does not end within the bytes, is not judged: pydicom reads the file.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from typing import Final

from pydicom.charset import convert_encodings
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

CHARACTER_SET: Final = 0x00080005
ITEM, ITEM_END, SEQUENCE_END = 0xE000FFFE, 0xE00DFFFE, 0xE0DDFFFE
"""As two little endian numbers of 16 bits are one of 32."""
UNDEFINED: Final = 0xFFFFFFFF
DEEPEST: Final = 8
SHORT_VRS: Final = "AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US"
LONG_VRS: Final = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"
"""PS3.5 7.1.2: after two bytes of nothing, their length has four."""
_TAG = struct.Struct("<HH")
_PLAIN = struct.Struct("<HH2sH")
"""Tag, VR and length of most elements."""
_SHORT = struct.Struct("<H")
_LONG = struct.Struct("<I")
_ITEM = struct.Struct("<II")
_PLAIN_VRS = {vr.encode(): vr for vr in SHORT_VRS.split()}
_FORMS = {vr.encode(): (vr, 6, _SHORT) for vr in SHORT_VRS.split()} | {
    vr.encode(): (vr, 8, _LONG) for vr in LONG_VRS.split()
}
"""By the two bytes of a VR: itself, where its length stands after the tag begins, and how."""


class _NotPlainError(Exception):
    """pydicom may understand it."""


class _Reader:
    """A place in bytes of little endian, which moves on."""

    def __init__(self, data: bytes, at: int, *, is_implicit: bool) -> None:
        self.data, self.at, self.is_implicit = data, at, is_implicit

    def begin(self) -> int:
        """The tag of the element that begins here."""
        if len(self.data) - self.at < _ITEM.size:
            raise _NotPlainError
        group, element = _TAG.unpack_from(self.data, self.at)
        return int(group << 16 | element)

    def length(self) -> tuple[str | None, int]:
        """VR, None where it is implicit, and length of the element; its value begins then."""
        form: tuple[str | None, int, struct.Struct] | None = (None, 4, _LONG)
        if not self.is_implicit:
            form = _FORMS.get(self.data[self.at + 4 : self.at + 6])
        if form is None:
            raise _NotPlainError
        vr, offset, number = form
        begin = self.at + offset
        self.at = begin + number.size
        if self.at > len(self.data):
            raise _NotPlainError
        return vr, int(number.unpack_from(self.data, begin)[0])

    def value(self, vr: str | None, length: int, depth: int = 0) -> bytes:
        """Of `length` bytes, or the items of a sequence; what follows begins then."""
        begin = self.at
        if length == UNDEFINED and vr in (None, "SQ"):
            return self._items(depth)
        self.at += length
        if length == UNDEFINED or self.at > len(self.data):
            raise _NotPlainError
        return self.data[begin : self.at]

    def _items(self, depth: int) -> bytes:
        begin = self.at
        while depth < DEEPEST and len(self.data) - self.at >= _ITEM.size:
            tag, length = _ITEM.unpack_from(self.data, self.at)
            self.at += _ITEM.size
            if tag == SEQUENCE_END and length == 0:
                return self.data[begin : self.at - _ITEM.size]
            if tag != ITEM:
                break
            if length == UNDEFINED:
                self._item(depth)
            else:
                self.at += length
        raise _NotPlainError

    def _item(self, depth: int) -> None:
        """The item, of undefined length, is passed over."""
        while len(self.data) - self.at >= _ITEM.size:
            if _ITEM.unpack_from(self.data, self.at) == (ITEM_END, 0):
                self.at += _ITEM.size
                return
            self.value(*self.length(), depth + 1)
        raise _NotPlainError


def elements(
    data: bytes,
    at: int = 0,
    *,
    is_implicit: bool,
    is_whole: bool,
    tags: Collection[int],
    until: Collection[int],
) -> dict[int, RawDataElement] | None:
    """The elements `tags` of a data set of little endian, by tag, not yet converted.

    Args:
        data: The data set, or its beginning.
        at: Where in `data` it begins.
        is_implicit: Its elements have no VR.
        is_whole: Nothing comes after `data`.
        tags: What is needed.
        until: Where the header ends: what begins with one of these is not looked at.

    Returns:
        None where the elements are not in order, or the header does not end in `data`.
    """
    reader = _Reader(data, at, is_implicit=is_implicit)
    found: dict[int, RawDataElement] = {}
    last = -1
    try:
        while not (is_whole and reader.at == len(data)) and (tag := reader.begin()) not in until:
            if tag <= last:
                return None
            last = tag
            vr, length = reader.length()
            begin = reader.at
            if length <= len(data) - begin and tag not in tags:
                reader.at += length
                continue
            value = reader.value(vr, length)
            if tag in tags:
                of = BaseTag(tag)
                found[tag] = RawDataElement(of, vr, len(value), value, begin, is_implicit, True)
    except _NotPlainError:
        return None
    return found


def data_set(found: Mapping[int, RawDataElement], *, is_implicit: bool) -> Dataset:
    """The elements as pydicom has them, which converts each when it is asked for."""
    ds = Dataset({raw.tag: raw for raw in found.values()})
    said = found.get(CHARACTER_SET)
    names = None if said is None else convert_raw_data_element(said).value
    ds.set_original_encoding(is_implicit, True, convert_encodings(names))
    return ds
