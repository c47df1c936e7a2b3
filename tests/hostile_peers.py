"""What the tests of hostile peers send, and what must not be left of it."""

from __future__ import annotations

import struct
from pathlib import Path

from pydicom import Dataset

from tests.factories import file_bytes, radiograph
from tests.node_process import Node
from tests.processes import resident_bytes, wait_until

MEBIBYTE = 1024 * 1024
GIBIBYTE = 1024 * MEBIBYTE


def travelling(ds: Dataset) -> bytes:
    """The data set as it travels: without preamble and file meta information."""
    file = file_bytes(ds)
    return file[144 + struct.unpack("<I", file[140:144])[0] :]


def data_set(study: str) -> bytes:
    """A radiograph of this study as it travels."""
    return travelling(radiograph(study=study))


def leaves_nothing(node: Node) -> None:
    """Soon no file is left of what came and was not kept."""
    incoming = node.folder / "data" / "instances"
    wait_until(lambda: not _unfinished(incoming), 10, "what came is removed")


def settled_bytes(node: Node) -> int:
    """Resident memory of a node all of whose processes have started: it stands still for 2 s."""
    looks: list[int] = []

    def stands_still() -> bool:
        looks.append(resident_bytes(node.process.pid))
        last = looks[-4:]
        return len(last) == 4 and max(last) - min(last) < MEBIBYTE

    wait_until(stands_still, 60, "the node's memory stands still", every=0.5)
    return looks[-1]


def _unfinished(store: Path) -> list[Path]:
    """Files of the instance store that hold no whole DICOM data set of their own name."""
    return [path for path in store.rglob("*") if path.is_file() and "incoming" in str(path)]
