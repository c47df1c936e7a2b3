"""How long a worker takes to write a result set beyond the reconstruction, and how large it is.

Each round is a worker of its own, warmed as the node warms it: the first set is that of its first
job. The bones are the visual hull's of the demo's radiographs, at 128 voxels along each edge.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.table import show
from node.worker import prepare
from pipeline.types import DEFAULT_KINDS, ObjectKind, Request, Side, Source, ViewName

SETS = 3
ALL = tuple(kind for kind in ObjectKind if kind is not ObjectKind.NOTICE)
AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


def main() -> None:
    """Prints seconds and MB."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        sys.stdout.write(json.dumps(_worker(given.worker)))
        return
    rounds = []
    for _ in range(given.rounds):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "benchmarks.result_set", "--worker", folder]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            rounds.append(json.loads(done.stdout))
    first = [one["seconds"][0] for one in rounds]
    later = [seconds for one in rounds for seconds in one["seconds"][1:]]
    show("Writing the default result set", "s", {"first of a worker": first, "later": later})
    sizes = {name: [one[name] for one in rounds] for name in ("default kinds", "all kinds")}
    show("Size of a result set", "MB", sizes)


def _worker(folder: Path) -> dict[str, object]:
    prepare(2)
    from pipeline.demonstration import specimen  # noqa: PLC0415 - after the worker is warm
    from pipeline.encode.write import write  # noqa: PLC0415
    from pipeline.radiograph import read_all  # noqa: PLC0415
    from pipeline.reconstruct import reconstruct  # noqa: PLC0415

    made = specimen(folder / "radiographs", AT)
    sources = tuple(
        Source(path, _uid(path), "", view)
        for path, view in zip(made.paths, made.views, strict=True)
    )
    request = Request(
        sources=sources,
        region="hip",
        views=(ViewName.AP, ViewName.LL),
        side=Side.LEFT,
        model="visual-hull",
        rule="benchmark",
        configuration_digest="",
        node="BENCHMARK",
        at=AT,
        folder=folder,
    )
    images = read_all(request)
    bones = reconstruct(images, region="hip", side=Side.LEFT, model="visual-hull")
    seconds = []
    for number, kinds in enumerate([DEFAULT_KINDS] * SETS + [ALL]):
        out = folder / str(number)
        out.mkdir()
        began = time.perf_counter()
        objects = write(bones, images, replace(request, folder=out, kinds=kinds))
        seconds.append(time.perf_counter() - began)
        size = sum(one.size_bytes for one in objects) / 1e6
        if number == 0:
            default = size
    return {"seconds": seconds[:SETS], "default kinds": default, "all kinds": size}


def _uid(path: Path) -> str:
    from pydicom import dcmread  # noqa: PLC0415 - after the worker is warm

    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


if __name__ == "__main__":
    main()
