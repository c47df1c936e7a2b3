"""Bones and label volumes of the data folder to archives of label maps.

    python -m pipeline.training.label_sets --set pelvis --data ../shared/data --out runs/pelvis.npz

`pelvis`: sacrum, hip bones and whole femora of the 15 people of `bones/vsd`, upright in the
anterior pelvic plane. `hips`: the same in a box that ends in the shafts, for what a radiograph of a
hip leaves out: every femur goes on to a face of it. `muscles`: 54 bones and muscles of the three
people of `labels/pelvic_annotation`, as they lay, about the middle of the sacrum. What their maps
name once for both sides is told apart by the median plane of the sacrum. `hip_bodies`: the same
people's muscles, organs and fat about each of their hips, for scenes of training (`real_bodies`).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from pipeline.training import hip_bodies, real_bodies
from pipeline.training.bones import Person, read_vsd
from pipeline.training.folds import fold_of, read_folds
from pipeline.training.hips import completed
from pipeline.training.label_maps import LabelledPerson, Labels, Triple, write
from pipeline.training.pose import moved, pelvic_frame, shifted
from pipeline.training.signed_distance import Cube, Float, Surface, is_inside

VOXELS = 128
"""Along each edge of a box."""
PELVIS: Final = ("sacrum", "hip_bone_R", "hip_bone_L", "femur_R", "femur_L")
PELVIS_BOX: Final = (672.0, 264.0, 352.0)
"""Holds every hip bone and sacrum, and the femora of those who lie straight: three people spread
their legs out of it."""
PELVIS_MIDDLE: Final = (0.0, 58.0, -228.0)
"""x, y, z of the middle of the box, from the middle between the anterior superior iliac spines."""
HIPS_BOX: Final = (416.0, 264.0, 352.0)
"""As high as that of the pelvis, and down to the middle of the shafts."""
HIPS_MIDDLE: Final = (0.0, 58.0, -100.0)
MUSCLES_BOX: Final = (448.0, 288.0, 384.0)
MUSCLES_MIDDLE: Final = (0.0, -90.0, 0.0)
"""x, y, z of the middle of the box, from the middle of the sacrum."""
UNPAIRED: Final = ("sacrum", "spine")


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Label maps of several people in one frame."""

    names: tuple[str, ...]
    box_mm: Triple
    cases: dict[LabelledPerson, Labels]


def pelvis(data: Path) -> LabelSet:
    """The whole pelves and femora of `bones/vsd`; a missing femur is the other one, mirrored."""
    return _pelves(data, PELVIS_BOX, PELVIS_MIDDLE)


def hips(data: Path) -> LabelSet:
    """The same without the lower halves of the femora."""
    return _pelves(data, HIPS_BOX, HIPS_MIDDLE)


def _pelves(data: Path, box_mm: Triple, middle: Triple) -> LabelSet:
    folds = read_folds()
    cases = {}
    for person in read_vsd(data / "bones" / "vsd"):
        done = completed(person)
        case = LabelledPerson(
            name=person.name,
            person=person.name,
            source=person.source,
            licence=person.licence,
            fold=fold_of(person.name, folds),
            borrowed=tuple(sorted(done.borrowed)),
        )
        cases[case] = filled(_standing(done.person, middle), PELVIS, box_mm)
    return LabelSet(PELVIS, box_mm, cases)


def _standing(person: Person, middle: Triple) -> dict[str, Surface]:
    """The bones in the frame of the box about `middle`."""
    marks = person.landmarks
    upright = pelvic_frame(marks)
    between = upright[:3, :3] @ ((marks["ASIS_R"] + marks["ASIS_L"]) / 2)
    place = shifted(-between - np.array(middle)) @ upright
    return {name: moved(person.bones[name], place) for name in PELVIS}


def filled(
    bones: dict[str, Surface], names: Sequence[str], box_mm: Triple, voxels: int = VOXELS
) -> Labels:
    """(voxels, voxels, voxels) numbers of the bones that hold the centres; the last one wins.

    Args:
        bones: By name, about the middle of the box.
        names: In the order of their numbers, from 1.
        box_mm: Edges of the box along z, y, x.
        voxels: Along each edge.
    """
    made = np.zeros((voxels,) * 3, np.uint8)
    scale = 1 / np.array(box_mm[::-1])
    for number, name in enumerate(names, start=1):
        bone = bones[name]
        inside = is_inside(Surface(bone.vertices * scale, bone.faces), Cube(1.0, voxels))
        made[inside] = number
    return made


def muscles(data: Path) -> LabelSet:
    """The three people of `labels/pelvic_annotation`, each judged in a fold of its own."""
    once = hip_bodies.label_names(data)
    names = [name for name in once if name in UNPAIRED]
    names += [f"{name}_{side}" for name in once if name not in UNPAIRED for side in ("R", "L")]
    cases = {}
    for fold, path in enumerate(hip_bodies.label_files(data)):
        name = path.name.removesuffix("_label.nii.gz")
        case = LabelledPerson(name, name, f"pelvic_annotation/{name}", hip_bodies.LICENCE, fold)
        cases[case] = _in_sides(SimpleITK.ReadImage(str(path)), once, names)
    return LabelSet(tuple(names), MUSCLES_BOX, cases)


def _in_sides(image: SimpleITK.Image, once: Sequence[str], names: Sequence[str]) -> Labels:
    """The map in its box, with a number for each side of what is paired."""
    array = np.asarray(SimpleITK.GetArrayFromImage(image))
    sacrum = np.argwhere(array == 1 + once.index("sacrum"))
    middle = image.TransformContinuousIndexToPhysicalPoint(sacrum.mean(axis=0)[::-1].tolist())
    found = sampled(image, np.array(middle) + np.array(MUSCLES_MIDDLE), MUSCLES_BOX)
    x = (np.arange(VOXELS) + 0.5) / VOXELS - 0.5
    # x runs to the patient's left
    is_left = x * MUSCLES_BOX[2] + MUSCLES_MIDDLE[0] > 0
    number = np.zeros((2, 1 + len(once)), np.uint8)
    for old, name in enumerate(once, start=1):
        for side, letter in enumerate("RL"):
            both = name if name in UNPAIRED else f"{name}_{letter}"
            number[side, old] = 1 + names.index(both)
    return number[is_left.astype(np.intp), found]


def sampled(
    image: SimpleITK.Image, middle: Float, box_mm: Triple, voxels: int = VOXELS
) -> NDArray[np.uint8]:
    """(voxels, voxels, voxels) of a label image in a box about `middle`, x y z, LPS mm."""
    spacing = np.array(box_mm[::-1]) / voxels
    grid = SimpleITK.Image([voxels] * 3, SimpleITK.sitkUInt8)
    grid.SetSpacing(spacing.tolist())
    grid.SetOrigin((middle - spacing * (voxels - 1) / 2).tolist())
    made = SimpleITK.Resample(image, grid, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor)
    return np.asarray(SimpleITK.GetArrayFromImage(made), np.uint8)


def bodies(data: Path) -> LabelSet:
    """The bodies of the same people about each hip, in the same folds."""
    return LabelSet(real_bodies.NAMES, hip_bodies.BOX, hip_bodies.hips(data))


SETS: Final = {"pelvis": pelvis, "hips": hips, "muscles": muscles, "hip_bodies": bodies}


def main(arguments: Sequence[str] | None = None) -> None:
    """The archive that the command line asks for is written."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--set", choices=list(SETS), required=True, dest="chosen")
    parser.add_argument("--data", type=Path, required=True, help="the folder of bones/ and labels/")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    made = SETS[given.chosen](given.data)
    write(given.out, made.names, made.box_mm, made.cases)
    size = given.out.stat().st_size / 2**20
    sys.stdout.write(
        f"{given.out}: {len(made.cases)} cases, {len(made.names)} labels, {size:.1f} MiB\n"
    )


if __name__ == "__main__":
    main()
