"""UIDs that follow from what an object is made of, so that the same work has the same names.

A PACS keeps the bytes that it has under a UID and answers success to whoever sends others
(measured on Orthanc): a result that is made again from the same inputs must have its old UID,
and a result of other inputs must have a new one. Hence nothing here is random, and neither the
clock nor the node takes part.
"""

from __future__ import annotations

import hashlib

VERSION_8 = 8 << 76
VARIANT_RFC = 2 << 62


def derived_uid(*parts: str) -> str:
    """A UID under 2.25 that is the same for the same parts in the same order, and no others.

    The parts are joined with their lengths, so that ("ab", "c") and ("a", "bc") differ. The
    first 128 bits of their SHA-256 are marked as a UUID of version 8, which PS3.5 B.2 asks for:
    a UID under 2.25 is the integer of a UUID.

    Source: PS3.5 B.2; RFC 9562 5.8 and B.2 (name-based UUID by SHA-256).
    """
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    number = int.from_bytes(digest.digest()[:16], "big")
    number = number & ~(0xF << 76) | VERSION_8
    number = number & ~(0x3 << 62) | VARIANT_RFC
    return f"2.25.{number}"
