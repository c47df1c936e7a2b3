"""A small data set in the layout of ShapeNetRendering and ShapeNetVox32, of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def as_binvox(occupied: NDArray[np.bool_]) -> bytes:
    """A grid (x, y, z) as the description of the format says, voxel by voxel.

    index = x * width * height + z * width + y; runs of at most 255.
    """
    along_x, along_y, along_z = occupied.shape
    order = [
        occupied[x, y, z] for x in range(along_x) for z in range(along_z) for y in range(along_y)
    ]
    body = bytearray()
    while order:
        run = next((n for n, one in enumerate(order) if one != order[0]), len(order))
        run = min(run, 255)
        body += bytes([int(order[0]), run])
        order = order[run:]
    head = f"#binvox 1\ndim {along_x} {along_z} {along_y}\ntranslate 0 0 0\nscale 1\ndata\n"
    return head.encode() + bytes(body)


def box(size: int, width: int) -> NDArray[np.bool_]:
    """(x, y, z): a box of `width` voxels along x, half the grid along y, a quarter along z."""
    made = np.zeros((size,) * 3, np.bool_)
    made[:width, : size // 2, : size // 4] = True
    return made


def write_model(root: Path, category: str, name: str, *, images: int = 3, size: int = 8) -> None:
    """One box, whose width its images show: a grey square on nothing, 12 pixels wide and high."""
    width = 1 + sum(map(ord, name)) % (size - 1)
    voxels = root / "ShapeNetVox32" / category / name
    voxels.mkdir(parents=True)
    (voxels / "model.binvox").write_bytes(as_binvox(box(size, width)))
    renderings = root / "ShapeNetRendering" / category / name / "rendering"
    renderings.mkdir(parents=True)
    for number in range(images):
        rgba = np.zeros((12, 12, 4), np.uint8)
        rgba[2 : 2 + width, 2:10] = (10 * number, 100, 200, 255)
        Image.fromarray(rgba).save(renderings / f"{number:02d}.png")
    lines = ["0 30 0 0.8 25"] * images
    (renderings / "rendering_metadata.txt").write_text("\n".join(lines))


def write_models(root: Path, names: Sequence[str], category: str = "02691156") -> None:
    """A box of each name."""
    for name in names:
        write_model(root, category, name)
