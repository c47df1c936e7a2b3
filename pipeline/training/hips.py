"""The legs of the hip: people with a whole pelvis, in the pelvic frame, a missing femur mirrored.

All stand in the anterior pelvic plane; each femur keeps the direction in which it lay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.training import lone_femora
from pipeline.training.bones import Person, read_vsd
from pipeline.training.leg import OTHER, Leg, leg_of, right_sided
from pipeline.training.pose import MIRROR, femoral_head, moved, pelvic_frame, rigid_fit, shifted
from pipeline.training.regions import Region

HEAD = "Femoral Head Centre"
"""Not clicked but fitted: a sphere on the articular surface."""
THINNED = 7
"""Every so many vertices are used to lay one hip bone on the other."""


@dataclass(frozen=True, slots=True)
class _Completed:
    person: Person
    borrowed: dict[str, str]


def hip_legs(region: Region, data: Path, synthetic: int | None = None) -> list[Leg]:
    """Two legs for each person of `bones/vsd`, then femora that stand in the hips of these."""
    del synthetic
    people = [completed(person) for person in read_vsd(data / "bones" / "vsd")]
    legs = [hip_leg(region, done, side) for done in people for side in ("R", "L")]
    lone = lone_femora.among(lone_femora.read_femora(data), legs, region.pivot)
    return legs + [_headed(leg, region) for leg in lone]


def completed(person: Person) -> _Completed:
    """The person with two femora: a missing one is the mirror image of the other.

    It goes where the mirror image of the other hip bone lies on the hip bone of that side, so
    that it stands in its socket.
    """
    bones, borrowed = dict(person.bones), {}
    for side in ("R", "L"):
        if f"femur_{side}" not in bones:
            from_other = _across(person, OTHER[side])
            bones[f"femur_{side}"] = moved(bones[f"femur_{OTHER[side]}"], from_other)
            borrowed[f"femur_{side}"] = f"mirror image of femur_{OTHER[side]}"
    return _Completed(replace(person, bones=bones), borrowed)


def _across(person: Person, side: str) -> np.ndarray:
    """(4, 4) that lays the hip bone of `side`, mirrored, on that of the other side."""
    frame = pelvic_frame(person.landmarks)
    middle = (person.landmarks["ASIS_R"] + person.landmarks["ASIS_L"]) / 2
    upright = shifted(-frame[:3, :3] @ middle) @ frame
    start = np.linalg.inv(upright) @ MIRROR @ upright
    here = person.bones[f"hip_bone_{side}"].vertices[::THINNED]
    there = person.bones[f"hip_bone_{OTHER[side]}"].vertices
    return rigid_fit(here, there, start=start)


def hip_leg(region: Region, done: _Completed, side: str) -> Leg:
    """One leg in the region frame, with the centre of its femoral head at the pivot."""
    person = done.person
    upright = right_sided(side, pelvic_frame(person.landmarks))
    head = femoral_head(moved(person.bones[f"femur_{side}"], upright).vertices).centre
    place = shifted(np.array(region.pivot) - head) @ upright
    leg = leg_of(person, side, place, done.borrowed)
    return leg if "femur" in leg.borrowed else _headed(leg, region)


def _headed(leg: Leg, region: Region) -> Leg:
    """The leg with the centre of its own head as a landmark."""
    return replace(leg, landmarks={**leg.landmarks, HEAD: np.array(region.pivot)})
