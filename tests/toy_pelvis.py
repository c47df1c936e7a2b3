"""A pelvis of blocks whose truth is known by hand, what an engine makes of it, and a completer.

The box of the completer has 16 voxels of 10 mm along each edge; the engine's cube shows the right
hip bone and the upper part of the right femur, in voxels of a third of that.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.completing import Completer
from pipeline.structures import CODES, Structure
from pipeline.surface import surface
from pipeline.types import Algorithm, Bone, Figure, Reconstruction, Side, Volume

Labels = NDArray[np.uint8]
SIZE, EDGE = 16, 160.0
VOXEL = 10 / 3
NAMES = ("hip_bone_R", "hip_bone_L", "sacrum", "femur_R", "femur_L")
BLOCKS = (
    (slice(10, 14), slice(6, 10), slice(3, 7)),
    (slice(10, 14), slice(6, 10), slice(9, 13)),
    (slice(10, 14), slice(6, 10), slice(7, 9)),
    (slice(3, 9), slice(6, 10), slice(3, 6)),
    (slice(3, 9), slice(6, 10), slice(10, 13)),
)
"""z y x in voxels of the box; x runs to the patient's left."""
FIELD = (slice(6, 15), slice(5, 11), slice(2, 8))
"""Of the box: what the engine reconstructs. It cuts the femur in half."""
ORIGIN = np.array([40.0, 5.0, -12.0])
"""x y z, mm: where the first voxel of the box has its centre, in the patient."""
ENGINE = Algorithm("Osteon test engine", "1.0", "e" * 64)
COMPLETION = Algorithm("Anatomy completion", "1.0.0", "c" * 64)


def truth() -> Labels:
    """(16, 16, 16) number of the structure, from 1 in the order of `NAMES`."""
    made = np.zeros((SIZE,) * 3, np.uint8)
    for number, block in enumerate(BLOCKS, start=1):
        made[block] = number
    return made


def structures() -> tuple[Structure, ...]:
    """The true middles and volumes."""
    made = []
    for name, block in zip(NAMES, BLOCKS, strict=True):
        z, y, x = (10 * (one.start + one.stop - SIZE) / 2 for one in block)
        volume = np.prod([10.0 * (one.stop - one.start) for one in block])
        made.append(Structure(name, (x, y, z), float(volume)))
    return tuple(made)


def completer(answer: Labels | None = None, *, femora_end: bool = True) -> Completer:
    """It is sure of `answer`, by default the truth, whatever it is asked."""
    told = truth() if answer is None else answer
    chances = np.stack([told == n for n in range(len(NAMES) + 1)]).astype(np.float32)
    known = tuple(
        replace(one, ends_in_box=femora_end or not one.name.startswith("femur"))
        for one in structures()
    )
    return Completer(known, (EDGE,) * 3, SIZE, lambda _: chances.copy())


def seen(
    names: tuple[str, ...] = ("femur_R", "hip_bone_R"),
    field: tuple[slice, slice, slice] = FIELD,
    seed: int = 1,
) -> Reconstruction:
    """What an engine brings back of the bones `names` in `field`; probabilities are drawn."""
    random = np.random.default_rng(seed)
    fine = truth().repeat(3, 0).repeat(3, 1).repeat(3, 2)
    cut = fine[tuple(slice(3 * one.start, 3 * one.stop) for one in field)]
    begin = np.array([10.0 * one.start - VOXEL for one in reversed(field)])
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = VOXEL
    affine[:3, 3], affine[3, 3] = ORIGIN + begin, 1.0
    bones = []
    for name in names:
        chance = random.random(cut.shape, np.float32) / 2
        array = np.where(cut == 1 + NAMES.index(name), np.maximum(1 - chance, 0.5), chance * 0.99)
        volume = Volume(array.astype(np.float32), affine)
        words = name[:-2] if name != "sacrum" else name
        side = {"_R": Side.RIGHT, "_L": Side.LEFT}.get(name[-2:], Side.UNPAIRED)
        mesh = surface(replace(volume, array=(array >= 0.5).astype(np.float32)), smoothing=0)
        bones.append(Bone(words.replace("_", " ").capitalize(), CODES[words], side, volume, mesh))
    figures = (Figure("outline on an edge of the view AP", 0.8, "", 0.5, None),)
    return Reconstruction(tuple(bones), ENGINE, figures=figures)


def mirrored(made: Reconstruction) -> Reconstruction:
    """The same of the other side: what lay at x lies at -x, on a grid whose axes run as before."""
    other = {Side.RIGHT: Side.LEFT, Side.LEFT: Side.RIGHT}
    bones = []
    for bone in made.bones:
        affine = bone.probability.patient_from_index.copy()
        last = affine @ [0, 0, bone.probability.array.shape[2] - 1, 1]
        affine[0, 3] = -last[0]
        volume = Volume(bone.probability.array[..., ::-1].copy(), affine)
        mesh = replace(
            bone.mesh, vertices=bone.mesh.vertices * [-1, 1, 1], faces=bone.mesh.faces[:, ::-1]
        )
        side = other.get(bone.side, bone.side)
        bones.append(replace(bone, side=side, probability=volume, mesh=mesh))
    return replace(made, bones=tuple(bones))
