"""Voxel grids as the program `binvox` writes them: a header of text, then runs of equal voxels.

A run is two bytes: the value, 0 or 1, and how often it follows, 1 to 255. Of the axes of the
header's `dim`, x changes slowest, then z, and y changes fastest: the stored array is (x, z, y).
Readers of ShapeNetVox32 usually swap the last two and work on (x, y, z); here the axes are
(z, y, x), as of every volume of this project. Overlaps do not depend on it.

Source: P. Min, "binvox: 3D mesh voxelizer", description of the .binvox format.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.training.settings import RunFault

LARGEST = 1024
"""Voxels along an edge; a header that claims more is damaged."""
HEADER_BYTES = 1024


def read(path: Path) -> NDArray[np.bool_]:
    """Which voxels are occupied, axes (z, y, x).

    Raises:
        RunFault: the file is no binvox, or ends early.
    """
    content = path.read_bytes()
    head, is_there, body = content.partition(b"\ndata\n")
    if not (head.startswith(b"#binvox 1") and is_there and len(head) < HEADER_BYTES):
        raise RunFault(f"{path} is no binvox of version 1")
    size = _size(head, path)
    if len(body) % 2:
        raise RunFault(f"{path} ends within a run")
    values, counts = np.frombuffer(body, np.uint8).reshape(-1, 2).T
    if counts.sum(dtype=np.int64) != np.prod(size) or (values > 1).any():
        raise RunFault(f"{path} does not hold {' x '.join(map(str, size))} voxels of 0 and 1")
    along_x, along_y, along_z = size
    stored = np.repeat(values.astype(np.bool_), counts).reshape(along_x, along_z, along_y)
    return np.ascontiguousarray(stored.transpose(1, 2, 0))


def _size(head: bytes, path: Path) -> tuple[int, int, int]:
    """Voxels along x, y and z."""
    lines = [line.split() for line in head.split(b"\n")]
    told = [words[1:] for words in lines if words and words[0] == b"dim"]
    if len(told) != 1 or len(told[0]) != 3 or not all(word.isdigit() for word in told[0]):
        raise RunFault(f"{path} does not say its dim")
    # the three numbers stand in the order of the stored axes: x, z, y
    along_x, along_z, along_y = (int(word) for word in told[0])
    if not all(0 < count <= LARGEST for count in (along_x, along_y, along_z)):
        raise RunFault(f"{path} claims to be {along_x} x {along_y} x {along_z} voxels")
    return along_x, along_y, along_z
