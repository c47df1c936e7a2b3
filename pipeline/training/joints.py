"""Which bones of a region move against each other, and how: one row a joint, no code.

A joint has bodies of bones; the last one is the base, on which the others glide. Lengths are mm
from the pivot of the region, right-sided as its frame: x inwards, y backwards, z upwards.

The row of the knee was measured on the 68 legs of the archive, which all lie by their distal femur
on one reference: circles fitted to the posterior condyles have their centres 1.2 to 1.9 mm (SD)
from the axis below, and the planes, used as `parting` does, put 1 in 10,000 voxels of femora and
patellae on the wrong side.

Source: for the one axis of the flexed knee, through the centres of the posterior condyles, Eckhoff
et al. 2005, J. Bone Joint Surg. Am. 87 (suppl. 2):71; that the patella flexes by 30 to 40 % less
than the tibia, J. Healthc. Eng. 2019:9159267 (review).

The row of the hip was measured on 27 legs of 15 people who lie by their pelvis: shafts of femora
point up to 26 degrees forwards of straight down and 19 to either side, one 29. Its planes leave 1
in 1,000 points of femora and of hip bones on the wrong side, and the shaft of that leg.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipeline.training.regions import Triple


@dataclass(frozen=True, slots=True)
class HalfSpace:
    """All points whose product with the unit vector `normal` is below `below` mm."""

    normal: Triple
    below: float


@dataclass(frozen=True, slots=True)
class Tether:
    """A ligament, which keeps its length while the joint bends."""

    start: Triple
    """On the body itself, the joint being straight."""
    end: Triple
    """On the other body."""
    bone: str
    """That the other body has."""
    slack_mm: float
    """Standard deviation of its length about that of the straight joint: others have others."""


@dataclass(frozen=True, slots=True)
class Body:
    """Bones that move as one."""

    bones: tuple[str, ...]
    within: tuple[HalfSpace, ...] = ()
    """What holds it, of what the bodies before it leave; the last one has all the rest."""
    ball_mm: float = 0.0
    """It has what is so near to the pivot, too."""
    share: float = 0.0
    """Of the flexion; 0 is the base."""
    towards: Triple = (0.0, 0.0, 0.0)
    """The way to the base: on it the body is moved until the least gap is that of before. What
    turns as a ball in a socket has none."""
    tilt_deg: Triple = (0.0, 0.0, 0.0)
    """Standard deviation of what it turns beside, about x, y and z."""
    slide_mm: Triple = (0.0, 0.0, 0.0)
    """Standard deviation."""
    tether: Tether | None = None


@dataclass(frozen=True, slots=True)
class Joint:
    """A hinge, and what hangs on it."""

    axis: tuple[Triple, Triple]
    """Two points; a turn about the way from the first to the second flexes."""
    most_deg: float
    """Flexion is drawn evenly up to here."""
    in_words: str
    """What is done to it, for a table of results; `{:.0f}` stands for `most_deg`."""
    own: HalfSpace
    """The leg of this joint; what lies beyond stays where it is."""
    bodies: tuple[Body, ...]


KNEE: Final = Joint(
    axis=((-25.8, 11.4, 24.2), (23.4, 13.4, 24.9)),
    most_deg=60.0,
    in_words="bent by up to {:.0f} degrees",
    own=HalfSpace((1.0, 0.0, 0.0), 49.0),
    bodies=(
        Body(
            ("patella",),
            within=(
                HalfSpace((0.0, 0.819, -0.574), -19.0),
                HalfSpace((0.0, 0.9945, -0.1045), -33.5),
            ),
            share=0.65,
            towards=(0.0, 1.0, 0.0),
            tilt_deg=(3.0, 3.0, 3.0),
            slide_mm=(1.5, 0.0, 0.0),
            tether=Tether((-2.0, -42.0, 8.0), (-3.0, -37.0, -35.0), "tibia", 4.0),
        ),
        Body(
            ("tibia", "fibula"),
            within=(HalfSpace((0.0, 0.0, 1.0), 3.0),),
            share=1.0,
            towards=(0.0, 0.0, 1.0),
            tilt_deg=(0.0, 2.0, 5.0),
            slide_mm=(1.0, 2.0, 0.0),
        ),
        Body(("femur",)),
    ),
)
HIP: Final = Joint(
    axis=((10.0, 0.0, 0.0), (-10.0, 0.0, 0.0)),
    most_deg=25.0,
    in_words="thigh flexed by up to {:.0f} degrees and turned",
    own=HalfSpace((1.0, 0.0, 0.0), 1000.0),
    bodies=(
        Body(
            ("femur",),
            within=(
                HalfSpace((0.510, -0.199, 0.837), 11.1),
                HalfSpace((0.922, -0.007, 0.388), -14.0),
            ),
            ball_mm=24.0,
            share=1.0,
            tilt_deg=(4.0, 10.0, 12.0),
        ),
        Body(("hip_bone", "sacrum", "other_hip_bone", "other_femur")),
    ),
)
JOINTS: Final = {
    "hip": HIP,
    "proximal_femur": HIP,
    "acetabulum": HIP,
    "knee": KNEE,
    "distal_femur": KNEE,
    "proximal_tibia": KNEE,
}
"""By the name of the region."""
