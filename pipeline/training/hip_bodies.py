"""The bodies of real people about each of their hips, of `labels/pelvic_annotation`.

No landmark of these people was clicked. The anterior pelvic plane is the table on which a pelvis
lies that is laid on its front: it touches both anterior superior iliac spines and the pubic
tubercles, and is found as such. A hip is seen in the axes of the regions (`leg`), about the centre
of its femoral head: right-sided, so that the left hip is a mirror image. Beyond the first and the
last slice of a CT a body goes on as it ends.

What lies within the wall of the trunk and is no muscle or bone are organs, the fat between them
and gas: no label tells these apart. Nor is there one of the skin. What lies around muscles, bones
and organs is kept by its distance from them, so that a body can be given as much fat as is wanted.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import numpy as np
import SimpleITK
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt
from skimage.morphology import convex_hull_image

from pipeline.training.label_maps import LabelledPerson, Labels, Triple
from pipeline.training.leg import right_sided
from pipeline.training.pose import femoral_head, moved, pelvic_frame, shifted
from pipeline.training.real_bodies import BONE, LAYER_MM, LAYERS, MUSCLE, ORGANS
from pipeline.training.signed_distance import Float, Surface

VOXELS = 128
BOX: Final[Triple] = (512.0, 512.0, 512.0)
"""As wide as what surrounds a region."""
LICENCE = "MIT (pelvic_annotation)"
WALL: Final = (
    "sacrum", "spine", "iliacus_muscle", "obturator_internus_muscle", "psoas_major_muscle",
    "erector_spinae_muscle", "quadratus_lumborum_muscle", "rectus_abdominis_muscle",
    "latissimus_dorsi_muscle", "oblique_muscle",
)  # fmt: skip
"""Of the trunk, around its organs."""
TURNS = 20
"""In which a pelvis comes to rest on its front; it does within five."""
BESIDE_SYMPHYSIS_MM = 40.0


def label_files(data: Path) -> list[Path]:
    """The label volumes, one of each person; person n is judged in fold n."""
    return sorted((data / "labels" / "pelvic_annotation").glob("*_label.nii.gz"))


def label_names(data: Path) -> tuple[str, ...]:
    """What the numbers of the volumes stand for, from 1."""
    told = (data / "labels" / "pelvic_annotation" / "muscle.json").read_text(encoding="utf-8")
    return tuple(str(row[1]) for row in json.loads(told)["color"])


def hips(data: Path) -> dict[LabelledPerson, Labels]:
    """Both hips of each person, each of (VOXELS, VOXELS, VOXELS) numbers of `real_bodies.NAMES`."""
    names = label_names(data)
    cases = {}
    for fold, path in enumerate(label_files(data)):
        person = path.name.removesuffix("_label.nii.gz")
        image = SimpleITK.ReadImage(str(path))
        labels = np.asarray(SimpleITK.GetArrayFromImage(image))
        tissue = grouped(labels, names)
        patient_from_index = _affine(image)
        bones = {
            name: _outer_points(labels == 1 + names.index(name), patient_from_index)
            for name in ("pelvis", "femur")
        }
        for side in ("R", "L"):
            case = LabelledPerson(
                f"{person}-{side}", person, f"pelvic_annotation/{person}", LICENCE, fold
            )
            hip_from_patient = about_head(bones["pelvis"], bones["femur"], side)
            cases[case] = covered(sampled(tissue, patient_from_index, hip_from_patient))
    return cases


def grouped(labels: Labels, names: tuple[str, ...]) -> Labels:
    """(Z, Y, X) numbers of `real_bodies.NAMES`, from 1, without fat.

    Args:
        labels: (Z, Y, X) numbers of `names`, from 1, along the axes of the patient.
        names: Muscles are those that are called so.
    """
    muscles = [number for number, name in enumerate(names, 1) if "muscle" in name]
    made = np.where(labels > 0, BONE, 0).astype(np.uint8)
    made[np.isin(labels, muscles)] = MUSCLE
    wall = np.isin(labels, [1 + names.index(name) for name in WALL if name in names])
    for level in np.flatnonzero(wall.any(axis=(1, 2))):
        within = convex_hull_image(wall[level])
        made[level][within & (labels[level] == 0)] = ORGANS
    return made


def covered(tissue: Labels) -> Labels:
    """The same in layers of fat, at the voxels of `BOX`."""
    away = distance_transform_edt(tissue == 0, sampling=np.array(BOX) / VOXELS)
    layer = np.ceil(away / LAYER_MM).astype(np.intp)
    is_fat = (tissue == 0) & (layer <= LAYERS)
    return np.where(is_fat, BONE + layer, tissue).astype(np.uint8)


def about_head(pelvis: Float, femora: Float, side: str) -> Float:
    """(4, 4) from the patient to the axes of regions, about the head of the femur of `side`.

    Args:
        pelvis: (N, 3) points of both hip bones, LPS mm, of a person who lay on the back.
        femora: (M, 3) of both femora.
        side: R or L.
    """
    frame = pelvic_frame(resting_on(pelvis))
    upright = right_sided(side, frame)
    across = pelvis @ frame[0, :3]
    is_left = femora @ frame[0, :3] > (across.min() + across.max()) / 2
    own = femora[is_left == (side == "L")]
    standing = moved(Surface(own, np.zeros((0, 3), np.int64)), upright).vertices
    return np.asarray(shifted(-femoral_head(standing).centre) @ upright)


def resting_on(pelvis: Float) -> dict[str, Float]:
    """The landmarks of the anterior pelvic plane, (3,) each, of the points of both hip bones."""
    frame = np.eye(4)
    marks: dict[str, Float] = {}
    for _ in range(TURNS):
        x, y, z = (pelvis @ frame[:3, :3].T).T
        aside = x - (x.min() + x.max()) / 2
        height = (z - z.min()) / np.ptp(z)
        is_pubic = (height < 0.5) & (np.abs(aside) < BESIDE_SYMPHYSIS_MM)
        for side, sign in (("R", -1), ("L", 1)):
            for name, part in (("ASIS", height > 0.55), ("Pubic Tubercle", is_pubic)):
                here = np.flatnonzero(part & (sign * aside > 0))
                marks[f"{name}_{side}"] = pelvis[here[y[here].argmin()]]
        frame = pelvic_frame(marks)
    return marks


def sampled(labels: Labels, patient_from_index: Float, hip_from_patient: Float) -> Labels:
    """`labels` at the voxel centres of `BOX`; beyond the first and last slice they go on.

    Args:
        labels: (Z, Y, X).
        patient_from_index: (4, 4) of voxel centres (i, j, k).
        hip_from_patient: (4, 4).
    """
    index_from_hip = np.linalg.inv(hip_from_patient @ patient_from_index)
    z, y, x = (((np.arange(VOXELS) + 0.5) / VOXELS - 0.5) * edge for edge in BOX)
    made = np.zeros((VOXELS,) * 3, np.uint8)
    size = np.array(labels.shape[::-1])
    for level, height in enumerate(z):
        place = np.stack([*np.meshgrid(x, y), np.full((VOXELS, VOXELS), height)], axis=-1)
        at = np.round(place @ index_from_hip[:3, :3].T + index_from_hip[:3, 3]).astype(np.intp)
        at[..., 2] = at[..., 2].clip(0, size[2] - 1)
        is_in = ((at >= 0) & (at < size)).all(axis=-1)
        i, j, k = at[is_in].T
        made[level][is_in] = labels[k, j, i]
    return made


def _affine(image: SimpleITK.Image) -> Float:
    """(4, 4) from indices (i, j, k) to LPS mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return affine


def _outer_points(mask: NDArray[np.bool_], patient_from_index: Float) -> Float:
    """(N, 3) LPS mm of the voxels at the surface."""
    index = np.argwhere(mask & ~binary_erosion(mask))[:, ::-1]
    return np.asarray(index @ patient_from_index[:3, :3].T + patient_from_index[:3, 3])
