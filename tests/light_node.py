"""The node as a process of its own, but for its engine, which writes small objects at once.

Its clock can be stepped, by the seconds that a test writes into `clock-step-s` in its data folder.

`python -m tests.light_node serve --config node.toml`. Everything that keeps the promise is the
real thing; what a reconstruction costs would only make the kills fewer.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydicom import dcmread

from node import app, logs
from node.settings import Reconstruction, load
from pipeline.types import Algorithm, ObjectKind, Reconstructed, Request, ResultObject
from tests.factories import Kind, file_bytes, radiograph, uid

OBJECTS: Final = 20
"""More than are committed at a time."""


class LightEngine(ThreadPoolExecutor):
    """Makes objects of whatever it is asked for."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return super().submit(made, *args) if args else super().submit(fn, **kwargs)


def made(request: Request) -> Reconstructed:
    """The same objects for the same study, in the folder of the attempt."""
    study = str(dcmread(request.sources[0].path, stop_before_pixels=True).StudyInstanceUID)
    objects = tuple(_object(request.folder, study, number) for number in range(OBJECTS))
    return Reconstructed(objects, Algorithm("light", "1"), (), ())


def _object(folder: Path, study: str, number: int) -> ResultObject:
    ds = radiograph(pixels=np.full((8, 8), number, np.uint16), StudyInstanceUID=study)
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid("result", study, number)
    content = file_bytes(ds)
    path = folder / f"{number}.dcm"
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return ResultObject(
        ObjectKind.MODEL_VOLUME, Kind.DX, ds.SOPInstanceUID, path, sha256, len(content)
    )


def engine(_settings: Reconstruction) -> Executor:
    """One thread."""
    return LightEngine(1)


def stepped(file: Path) -> Callable[[], datetime]:
    """A clock that is off by as many seconds as stand in the file, where there is one."""

    def now() -> datetime:
        step_s = float(file.read_text()) if file.exists() else 0.0
        return app.now() + timedelta(seconds=step_s)

    return now


if __name__ == "__main__":
    station = app.compose(load(Path(sys.argv[sys.argv.index("--config") + 1]), os.environ))
    station = replace(station, clock=stepped(station.settings.node.folder / "clock-step-s"))
    logs.configure(station.settings.log)
    app.serve_until_signal(station, engine)
