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
    Region(
        name="knee",
        cube_mm=160.0,
        targets=("femur", "tibia", "patella", "fibula"),
        neighbours=("other_femur", "other_tibia", "other_patella", "other_fibula"),
        pivot=(0.0, 0.0, 0.0),
        codes=(
            ("71341001", "Femur"),
            ("12611008", "Tibia"),
            ("64234005", "Patella"),
            ("87342007", "Fibula"),
        ),
    ),
)


def region_named(name: str) -> Region:
    """The row called `name`.

    Raises:
        KeyError: there is no such region.
    """
    return {region.name: region for region in REGIONS}[name]
