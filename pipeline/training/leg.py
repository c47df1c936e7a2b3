"""One leg of one person in the right-sided frame of a region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline.training.bones import Person
from pipeline.training.pose import MIRROR, moved, shifted
from pipeline.training.signed_distance import Float, Surface

OTHER = {"R": "L", "L": "R"}


@dataclass(frozen=True, slots=True)
class Leg:
    """The bones that stand around a region, those of the other side as `other_...`."""

    person: str
    side: str
    source: str
    licence: str
    region_from_patient: Float
    """(4, 4); it mirrors where the side is left."""
    bones: Mapping[str, Surface]
    landmarks: Mapping[str, Float] = field(default_factory=dict)
    borrowed: Mapping[str, str] = field(default_factory=dict)
    """Bones that are not truly this leg's own, and where they come from."""
    is_synthetic: bool = False

    @property
    def name(self) -> str:
        """Unique in an archive."""
        return f"{self.source.replace('/', '-')}-{self.side}"


def named_from(side: str, name: str) -> str:
    """`femur_L` seen from the right leg is `other_femur`, from the left leg `femur`."""
    if name.endswith(f"_{side}"):
        return name[:-2]
    return f"other_{name[:-2]}" if name.endswith(f"_{OTHER[side]}") else name


def leg_of(
    person: Person, side: str, region_from_patient: Float, borrowed: Mapping[str, str]
) -> Leg:
    """The leg of `side`, brought into the region frame by a transform that mirrors left ones."""
    bones = {named_from(side, n): moved(s, region_from_patient) for n, s in person.bones.items()}
    rotation, shift = region_from_patient[:3, :3], region_from_patient[:3, 3]
    landmarks = {
        named_from(side, name): rotation @ point + shift for name, point in person.landmarks.items()
    }
    return Leg(
        person=person.name,
        side=side,
        source=person.source,
        licence=person.licence,
        region_from_patient=region_from_patient,
        bones=bones,
        landmarks=landmarks,
        borrowed={named_from(side, name): origin for name, origin in borrowed.items()},
    )


def shifted_leg(leg: Leg, by: Float) -> Leg:
    """The leg in a frame whose origin lies elsewhere: all of it moved by (3,) mm."""
    move = shifted(by)
    return replace(
        leg,
        region_from_patient=move @ leg.region_from_patient,
        bones={name: moved(bone, move) for name, bone in leg.bones.items()},
        landmarks={name: point + by for name, point in leg.landmarks.items()},
    )


def right_sided(side: str, frame: Float) -> Float:
    """`frame` for a right leg, its mirror image for a left one."""
    return MIRROR @ frame if side == "L" else frame
