"""The short data sets that name objects, as N-ACTION and N-EVENT-REPORT carry them.

They come from a peer and may be anything. What the parser may read is bounded, and so are the
items, before the first is made: an empty item has eight bytes on the wire and some thousand here.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final

from pydicom import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.errors import NodeError
from node.ration import Ration

MOST_OBJECTS: Final = 1000
"""That one data set may name: many times what a study of radiographs has."""
MOST_READS: Final = 20 * MOST_OBJECTS
"""Some six an item."""
TRANSFER_SYNTAXES: Final = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
"""Deflated is not among them, and so a few bytes stay a few bytes."""
ITEM: Final = b"\xfe\xff\x00\xe0"
"""The tag that each item of a sequence begins with (PS3.5 7.5.2), little endian."""


class TooManyReferencesError(NodeError):
    """The data set names more objects than are taken at once."""


def read_references(encoded: bytes, transfer_syntax: str) -> Dataset:
    """The data set, of which no value was converted yet.

    Raises:
        TooManyReferencesError: before anything is made of it.
        Exception: hostile bytes make parsers raise anything, here or where a value is looked at.
    """
    if encoded.count(ITEM) > MOST_OBJECTS:
        raise TooManyReferencesError(f"more than {MOST_OBJECTS} objects are named")
    ration = Ration(BytesIO(encoded), most_reads=MOST_READS)
    return read_dataset(
        ration,  # type: ignore[arg-type] # it has all that is used of a stream
        is_implicit_VR=transfer_syntax == ImplicitVRLittleEndian,
        is_little_endian=True,
    )
