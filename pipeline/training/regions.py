"""The regions that a network learns: one row each; a new region is a row and data, no code.

A region frame is right-sided, mm, with the axes of the patient (x to the left, y backwards, z up)
after the person was brought into the common pose; left legs are mirrored into it (x -> -x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Region:
    """One row: the cube that a network sees, the bones it gives and those that are in the way."""

    name: str
    cube_mm: float
    """Edge of the cube, whose centre is the origin of the region frame."""
    targets: tuple[str, ...]
    """Bones that are reconstructed, the channels of the signed distance in this order."""
    neighbours: tuple[str, ...]
    """Bones that the radiographs show as well; their union is the last channel."""
    pivot: Triple
    """Where the anatomical centre lies in the region frame: the centre of the femoral head of a
    hip, the middle of the joint line of a knee."""
    codes: tuple[tuple[str, str], ...]
    """SNOMED CT code and meaning of each target, in its order."""
    voxels: int = 128
    """Of the grid of signed distances, along each edge."""
    far_mm: float = 512.0
    """Edge of the wide cube that holds everything which a ray may meet, same centre."""


_OTHER_KNEE = ("other_femur", "other_tibia", "other_patella", "other_fibula")
REGIONS: Final = (
    # From 152 mm above the head's centre (the crest of 9 of 15 people, less by up to 13 mm in the
    # tallest) to 88 mm below it (15 to 50 mm below the lesser trochanter).
    Region(
        name="hip",
        cube_mm=240.0,
        targets=("femur", "hip_bone"),
        neighbours=("sacrum", "other_hip_bone", "other_femur"),
        pivot=(-15.0, -18.0, -32.0),
        # SNOMED CT in DICOM has no hip bone: the bony pelvis (CID 7304), told apart by its side.
        codes=(("71341001", "Femur"), ("118645006", "Pelvis")),
    ),
    # A closer look at one bone of the hip: from 36 mm above the head's centre to 108 mm below it.
    Region(
        name="proximal_femur",
        cube_mm=144.0,
        targets=("femur",),
        neighbours=("hip_bone", "sacrum", "other_hip_bone", "other_femur"),
        pivot=(20.0, -11.0, 36.0),
        codes=(("71341001", "Femur"),),
    ),
    # A closer look at the other one: acetabulum, ischium and pubis, from 61 mm above the head's
    # centre to 83 mm below it; the wing of the ilium is left to the first look.
    Region(
        name="acetabulum",
        cube_mm=144.0,
        targets=("hip_bone",),
        neighbours=("femur", "sacrum", "other_hip_bone", "other_femur"),
        pivot=(-33.0, -2.0, 11.0),
        codes=(("118645006", "Pelvis"),),
    ),
    Region(
        name="knee",
        cube_mm=160.0,
        targets=("femur", "tibia", "patella", "fibula"),
        neighbours=_OTHER_KNEE,
        pivot=(0.0, 0.0, 0.0),
        codes=(
            ("71341001", "Femur"),
            ("12611008", "Tibia"),
            ("64234005", "Patella"),
            ("87342007", "Fibula"),
        ),
    ),
    # A closer look at two bones of the knee: from 20 mm below the joint line to 100 mm above it,
    # and from 32 mm above it to 88 mm below it.
    Region(
        name="distal_femur",
        cube_mm=120.0,
        targets=("femur",),
        neighbours=("tibia", "patella", "fibula", *_OTHER_KNEE),
        pivot=(0.0, 0.0, -40.0),
        codes=(("71341001", "Femur"),),
    ),
    Region(
        name="proximal_tibia",
        cube_mm=120.0,
        targets=("tibia",),
        neighbours=("femur", "patella", "fibula", *_OTHER_KNEE),
        pivot=(3.0, -1.0, 28.0),
        codes=(("12611008", "Tibia"),),
    ),
)


@dataclass(frozen=True, slots=True)
class Within:
    """That the one bone of a region is a bone of a larger one, and where its cube lies."""

    region: str
    bone: str
    reach_mm: float
    """The larger region's bone is found by the mean of its voxels down to so far below its top."""
    is_from_below: bool
    """Or up to so far above its lowest voxel."""
    offset: Triple
    """mm, from there to the centre of the smaller cube."""


WITHIN: Final = {
    # the mean lies (-21, 11, -27) mm from the centre of the head, by 3, 7 and 2 mm (SD)
    "proximal_femur": Within("hip", "femur", 110.0, False, (1.0, 0.0, -8.6)),
    # (26, 8, -2) mm from there, by 5, 2 and 5 mm (SD): a large hip bone reaches further
    "acetabulum": Within("hip", "hip_bone", 110.0, True, (7.5, -6.2, -8.9)),
    # (-1, -1, 33) and (-3, 1, -25) mm from the middle of the joint line, by 1 mm (SD)
    "distal_femur": Within("knee", "femur", 65.0, True, (1.1, 1.3, 7.2)),
    "proximal_tibia": Within("knee", "tibia", 65.0, False, (0.2, -0.3, -3.3)),
}
"""By the name of the smaller region, whose network takes a closer look."""


def region_named(name: str) -> Region:
    """The row called `name`.

    Raises:
        KeyError: there is no such region.
    """
    return {region.name: region for region in REGIONS}[name]
