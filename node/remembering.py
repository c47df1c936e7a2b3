"""What the elements of a header say, remembered: a modality says most of it with each image.

What an element says hangs on its own bytes and on the character set of its header alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from node.elements import CHARACTER_SET, data_set
from pipeline.attributes import KEYWORDS, Json, attributes

REMEMBERED: Final = 4096
"""Past so many, all is forgotten."""
LONGEST_BYTES: Final = 1024
"""Of a value that is remembered."""
KEYWORD_OF: Final = {int(Tag(keyword)): keyword for keyword in KEYWORDS}
OF_ONE_IMAGE: Final = int(Tag("SOPInstanceUID"))
Key = tuple[int, str | None, bytes | None, bytes | None]
"""Tag, VR (None for implicit VR) and value of an element, and the character set."""

_said: dict[Key, Json] = {}


def remembered(found: Mapping[int, RawDataElement], *, is_implicit: bool) -> dict[str, Json]:
    """As `pipeline.attributes.attributes` of these elements; what it returns is not to be changed.

    For any thread: at worst two read the same.
    """
    own = found.get(CHARACTER_SET)
    names = None if own is None else own.value
    known: dict[str, Json] = {}
    new: dict[int, RawDataElement] = {}
    for tag, raw in found.items():
        said = _said.get((tag, raw.VR, raw.value, names), ...)
        if said is ...:
            new[tag] = raw
        elif said is not None:
            known[KEYWORD_OF[tag]] = said
    fresh = attributes(
        data_set(new if own is None else new | {CHARACTER_SET: own}, is_implicit=is_implicit)
    )
    _remember(new, fresh, names)
    known |= fresh
    return {keyword: known[keyword] for keyword in KEYWORDS if keyword in known}


def _remember(
    new: Mapping[int, RawDataElement], said: Mapping[str, Json], names: bytes | None
) -> None:
    if len(_said) > REMEMBERED:
        _said.clear()
    for tag, raw in new.items():
        is_kept = tag in KEYWORD_OF and tag != OF_ONE_IMAGE
        if is_kept and len(raw.value or b"") <= LONGEST_BYTES:
            _said[tag, raw.VR, raw.value, names] = said.get(KEYWORD_OF[tag])
