"""A complete result set of a patient that does not exist, to try a destination with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pydicom import Dataset, dcmwrite

from pipeline.encode.write import write
from pipeline.geometry import grid
from pipeline.phantom import occupancy, phantom
from pipeline.radiograph import read_all
from pipeline.run import run
from pipeline.specimen import expose
from pipeline.surface import surface
from pipeline.types import (
    DEFAULT_KINDS,
    Algorithm,
    Bone,
    Code,
    ObjectKind,
    Outcome,
    Reconstruction,
    Request,
    Side,
    Source,
    ViewName,
)

PATIENT_NAME: Final = "Phantom^Osteon"
PATIENT_ID: Final = "OSTEON-TEST"
SIDE: Final = Side.LEFT
VIEWS: Final = (ViewName.AP, ViewName.LL)
SPACING: Final = 2.0
"""mm. Of the phantom; a coarse one is as good an object and sooner made."""
COARSE: Final = 8.0
BINNING: Final = 8
SMALL: Final = 24
EDGE: Final = 180.0
"""Of a set that nobody looks at: phantom in mm, binning of the images, voxels and mm of a cube."""
WARM_KINDS: Final = tuple(kind for kind in DEFAULT_KINDS if kind is not ObjectKind.TURNTABLE)
"""The turntable is drawn with what draws the key image."""
BONE: Final = Code("272673000", "SCT", "Bone")


def rehearse(folder: Path, at: datetime, kinds: Sequence[ObjectKind]) -> Outcome:
    """The objects of `kinds` lie in `folder`: the bones of a phantom hip, from two radiographs.

    Every time `at` gives a study of its own, so that what a PACS says of it is said of this set.
    """
    return run(_request(folder, at, kinds, spacing=SPACING, binning=1))


def warm_up() -> None:
    """Whatever is loaded on first use is here: code tables, dictionaries, letters, decoders.

    Small radiographs are read, and a result set of the truth behind them is written and thrown
    away: no engine runs, because engines differ and are the longer part of a job anyhow.
    """
    with TemporaryDirectory(prefix="osteon-warm-up-") as folder:
        at = datetime(2000, 1, 1, tzinfo=UTC)
        request = _request(Path(folder) / "set", at, WARM_KINDS, spacing=COARSE, binning=BINNING)
        truth = occupancy(SIDE, (SMALL, SMALL, SMALL), grid(EDGE, SMALL))
        bone = Bone("Phantom", BONE, SIDE, truth, surface(truth))
        made = Reconstruction((bone,), Algorithm("Phantom", "1"))
        write(made, read_all(request), request)


def _request(
    folder: Path, at: datetime, kinds: Sequence[ObjectKind], *, spacing: float, binning: int
) -> Request:
    """What is to be made of two radiographs of a phantom that has voxels of `spacing` mm."""
    incoming, outgoing = folder / "radiographs", folder / "results"
    for each in (incoming, outgoing):
        each.mkdir(parents=True)
    made = phantom(SIDE, spacing=spacing)
    images = [
        _disguised(expose(made.density, view, SIDE, at, binning=binning).ds) for view in VIEWS
    ]
    return Request(
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
