"""A complete result set of a patient that does not exist, to try a destination with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Final

from pydicom import Dataset, dcmwrite

from pipeline.phantom import phantom
from pipeline.run import run
from pipeline.specimen import expose
from pipeline.types import ObjectKind, Outcome, Request, Side, Source, ViewName

PATIENT_NAME: Final = "Phantom^Osteon"
PATIENT_ID: Final = "OSTEON-TEST"
SIDE: Final = Side.LEFT
VIEWS: Final = (ViewName.AP, ViewName.LL)
SPACING: Final = 2.0
"""mm. Of the phantom; a coarse one is as good an object and sooner made."""


def rehearse(folder: Path, at: datetime, kinds: Sequence[ObjectKind]) -> Outcome:
    """The objects of `kinds` lie in `folder`: the bones of a phantom hip, from two radiographs.

    Every time `at` gives a study of its own, so that what a PACS says of it is said of this set.
    """
    incoming, outgoing = folder / "radiographs", folder / "results"
    for each in (incoming, outgoing):
        each.mkdir(parents=True)
    made = phantom(SIDE, spacing=SPACING)
    images = [_disguised(expose(made, view, SIDE, at).ds) for view in VIEWS]
    request = Request(
        sources=tuple(_source(ds, incoming) for ds in images),
        region="hip",
        views=tuple(VIEWS),
        side=SIDE,
        model="visual-hull",
        rule="osteon-test-set",
        configuration_digest="0" * 64,
        node="osteon-doctor",
        at=at,
        folder=outgoing,
        kinds=tuple(kinds),
    )
    return run(request)


def _disguised(ds: Dataset) -> Dataset:
    """`ds` under a name that nobody takes for a patient's."""
    ds.PatientName, ds.PatientID = PATIENT_NAME, PATIENT_ID
    ds.StudyDescription = "Osteon test set, not a patient"
    ds.AccessionNumber = ""
    return ds


def _source(ds: Dataset, folder: Path) -> Source:
    buffer = BytesIO()
    dcmwrite(buffer, ds, enforce_file_format=True)
    path = folder / f"{str(ds.ViewPosition).lower()}.dcm"
    path.write_bytes(buffer.getvalue())
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    return Source(path, str(ds.SOPInstanceUID), digest, ViewName(ds.ViewPosition))
