"""The seal of an audit entry: pure, and the same for who appends and for who verifies.

The hash is over the canonical JSON (keys sorted, no spaces, ASCII) of node, sequence, at, kind,
study_instance_uid, job_id, details and previous_sha256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from storage.records import Json

GENESIS = "0" * 64
"""What the first entry of a chain follows on."""


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
"""Made once: `json.dumps` makes one for each text."""


def canonical(value: Json | Mapping[str, Json]) -> str:
    """The one JSON text of `value`.

    Raises:
        ValueError: NaN or an infinity, which JSON cannot say.
    """
    return _CANONICAL.encode(value)


def seal(
    *,
    node: str,
    sequence: int,
    at: str,
    kind: str,
    study_instance_uid: str,
    job_id: int | None,
    details: Any,
    previous_sha256: str,
) -> str:
    """The SHA-256 of one entry, lower-case hex; `at` is ISO 8601 in UTC with microseconds."""
    sealed = {
        "node": node,
        "sequence": sequence,
        "at": at,
        "kind": kind,
        "study_instance_uid": study_instance_uid,
        "job_id": job_id,
        "details": details,
        "previous_sha256": previous_sha256,
    }
    return hashlib.sha256(canonical(sealed).encode("ascii")).hexdigest()
