"""Anatomies that are nobody's, drawn from a shape model: test objects whose truth is known.

A model is one anatomy as signed distances and the displacements of space by which people differ
from it; `weights/shapes` holds those that are shipped, learned by `pipeline.training.shapes`. What
is drawn has the bones of a region, their neighbours and a body of soft tissue around them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from scipy import ndimage

from pipeline.phantom import CORTICAL, SOFT_TISSUE, SPONGY
from pipeline.types import Float, Side, Volume

Array = NDArray[np.float32]

FOLDER: Final = Path(__file__).with_name("weights") / "shapes"
WIDEST: Final = 1.5
"""Standard deviations of a mode that are drawn at most."""
CORTEX_MM: Final = 2.0
EXTENT: Final = (300.0, 220.0, 260.0)
"""Size of what is exposed along (z, y, x), mm: the other leg is out of the way."""
BODY: Final = ((75.0, 15.0), (175.0, 112.0))
"""Of a right hip in its frame: middle of the soft tissue, and half its axes along x and y, mm."""
FINE: Final = 4
"""Knots of a displacement are refined by so much, without the kinks that straight lines have."""


@dataclass(frozen=True, slots=True)
class Model:
    """A shape model as it is shipped."""

    bones: tuple[str, ...]
    near: Array
    """(T + 1, N, N, N) mm, negative inside; the last are neighbours."""
    cube_mm: float
    far: Array
    """(M, M, M) mm: all bones."""
    far_mm: float
    mean: Array
    """(3, G, G, G) mm, x y z, over the wide cube."""
    modes: Array
    """(K, 3, G, G, G) mm, a standard deviation each."""


@dataclass(frozen=True, slots=True)
class Anatomy:
    """One draw, on one side of the body, about the isocentre."""

    model: Model
    displacement: Array
    """(3, G, G, G) mm, refined."""
    side: Side

    def distances(self, points: Array) -> Array:
        """(T + 1, ...) mm at points (..., 3), LPS mm: of each bone, and of all others."""
        here = self._right(points)
        moved = here + _looked_up(self.displacement, here, self.model.far_mm, at_corners=True)
        near = np.moveaxis(_looked_up(self.model.near, moved, self.model.cube_mm), -1, 0)
        far = _looked_up(self.model.far[None], moved, self.model.far_mm)[..., 0]
        is_outside = (np.abs(moved) > self.model.cube_mm / 2).any(axis=-1)
        near[-1] = np.where(is_outside, far, near[-1])
        near[:-1] = np.where(is_outside, np.maximum(near[:-1], far), near[:-1])
        return near

    def occupancy(self, number: int, shape: Sequence[int], patient_from_index: Float) -> Volume:
        """The share of each voxel that lies inside bone `number`, about."""
        distance = self.distances(_points(shape, patient_from_index))[number]
        return Volume(_inside(distance, _voxel(patient_from_index)), patient_from_index)

    def density(self, spacing: float = 1.25) -> Volume:
        """Linear attenuation, 1/mm, over `EXTENT` about the isocentre."""
        shape = tuple(round(extent / spacing) for extent in EXTENT)
        affine = np.zeros((4, 4))
        affine[[0, 1, 2], [2, 1, 0]] = spacing
        affine[:3, 3] = [-0.5 * spacing * (count - 1) for count in shape[::-1]]
        affine[3, 3] = 1.0
        points = _points(shape, affine)
        bone = self.distances(points).min(axis=0)
        (x, y), (wide, deep) = BODY
        here = self._right(points)
        is_body = ((here[..., 0] - x) / wide) ** 2 + ((here[..., 1] - y) / deep) ** 2 < 1
        soft = np.where(is_body, np.float32(SOFT_TISSUE), np.float32(0))
        shell, core = _inside(bone, spacing), _inside(bone + CORTEX_MM, spacing)
        made = soft * (1 - shell) + CORTICAL * (shell - core) + SPONGY * core
        return Volume(made.astype(np.float32), affine)

    def _right(self, points: Array) -> Array:
        """In the frame of the model, which is of the right side."""
        flip = -1.0 if self.side is Side.LEFT else 1.0
        return points * np.array([flip, 1, 1], np.float32)


@cache
def model(region: str) -> Model:
    """The shape model of a region that is shipped.

    Raises:
        FileNotFoundError: there is none.
    """
    with safe_open(FOLDER / f"{region}.safetensors", "numpy") as file:
        told = file.metadata()
        step = np.float32(told["step_mm"])
        return Model(
            tuple(told["bones"].split(",")),
            file.get_tensor("near") * step,
            float(told["cube_mm"]),
            file.get_tensor("far")[0] * step,
            float(told["far_mm"]),
            file.get_tensor("mean").astype(np.float32),
            file.get_tensor("modes").astype(np.float32),
        )


def drawn(of: Model, side: Side, seed: int) -> Anatomy:
    """An anatomy; the same seed gives the same one.

    Raises:
        ValueError: the side is neither left nor right.
    """
    if side is Side.UNPAIRED:
        raise ValueError("a limb has a side")
    chance = np.random.default_rng(seed).normal(size=len(of.modes))
    weights = np.clip(chance, -WIDEST, WIDEST).astype(np.float32)
    knots = of.mean + np.tensordot(weights, of.modes, axes=1)
    return Anatomy(of, np.stack([ndimage.zoom(k, FINE, order=3) for k in knots]), side)


def _looked_up(field: Array, points: Array, edge: float, *, at_corners: bool = False) -> Array:
    """(..., C) of a field (C, N, N, N) over a cube of `edge` mm, linear; beyond it as at its face.

    With `at_corners` the outermost values stand at the faces, else half a voxel inside.
    """
    size = field.shape[-1]
    share = points[..., ::-1] / edge + 0.5
    index = share * (size - 1) if at_corners else share * size - 0.5
    at = np.moveaxis(index, -1, 0)
    found = [ndimage.map_coordinates(one, at, order=1, mode="nearest") for one in field]
    return np.stack(found, axis=-1).astype(np.float32)


def _points(shape: Sequence[int], patient_from_index: Float) -> Array:
    axes = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")
    affine = patient_from_index.astype(np.float32)
    found: Array = np.stack(axes, axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    return found


def _inside(distance: Array, voxel: float) -> Array:
    share: Array = np.clip(0.5 - distance / np.float32(voxel), 0, 1).astype(np.float32)
    return share


def _voxel(patient_from_index: Float) -> float:
    return float(np.linalg.norm(patient_from_index[:3, 0]))
