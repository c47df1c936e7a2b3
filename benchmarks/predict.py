"""From two DICOM files to bones on a grid of 128 voxels, without a node.

    python -m benchmarks.predict

The radiographs are those of the demo. Prints the seconds of the first call, which loads the
network, of the later ones, and the largest memory of the process.
"""

from __future__ import annotations

import resource
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.table import show
from pipeline.demonstration import REGION, specimen
from pipeline.predict import reconstruct

CALLS = 7


def main() -> None:
    """Reconstruct the same study again and again."""
    with TemporaryDirectory() as folder:
        made = specimen(Path(folder), datetime.now(UTC).replace(microsecond=0))
        seconds = []
        for _ in range(CALLS):
            began = time.perf_counter()
            found = reconstruct(made.paths, region=REGION)
            seconds.append(time.perf_counter() - began)
    print(f"{found.algorithm.name}: {', '.join(bone.name for bone in found.bones)}")
    show("Two radiographs to bones", "s", {"first": seconds[:1], "later": seconds[1:]})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"Largest memory, with the radiographs' simulation: {peak:.0f} MB")


if __name__ == "__main__":
    main()
