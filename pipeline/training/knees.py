"""The legs of the knee, all laid by the distal femur on one reference, with the shaft upright.

People with whole legs (one of `bones/vsd`, four of `bones/staple`) bring their own bones; the
others of `bones/vsd` only their femur, below which a synthetic knee is put, scaled to fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

import numpy as np

from pipeline.training import donors
from pipeline.training.bones import Person, read_staple, read_vsd
from pipeline.training.donors import Knee
from pipeline.training.leg import OTHER, Leg, leg_of, right_sided, shifted_leg
from pipeline.training.pose import (
    MIRROR,
    Reference,
    laid_on,
    moved,
    rigid_fit,
    settled,
    shifted,
)
from pipeline.training.regions import Region
from pipeline.training.signed_distance import Float, Surface

REFERENCE = "z013"
DISTAL = 90.0
"""How much of the femur, from its lowest point, says how the knee stands."""
REACH = 256.0
"""Shafts that are drawn out leave the wide cube."""
APART = 190.0
"""Between the knees of a synthetic pair; people lie with them 150 to 250 mm apart."""
SYNTHETIC = 35
"""Of the 90 knees that belong to nobody: as many as the shipped weights learned from."""
LENT = ("tibia", "patella", "fibula")


@dataclass(frozen=True, slots=True)
class _Placed:
    """A synthetic knee in the frame of the region, complete but for the other leg."""

    name: str
    femur: Surface
    """As it was drawn, its shaft cut off."""
    bones: Mapping[str, Surface]
    patella_height: float
    """Of the width of the condyles."""


def knee_legs(region: Region, data: Path, synthetic: int | None = None) -> list[Leg]:
    """All legs with a knee; `synthetic` (else `SYNTHETIC`) of those that belong to nobody."""
    count = SYNTHETIC if synthetic is None else synthetic
    people = read_vsd(data / "bones" / "vsd")
    reference = reference_of(people)
    knees = donors.read_synthetic(data / "bones" / "knee_ssm" / "knees.npz")
    start = laid_on(knees[0].bones["femur"].vertices, reference, mirrored=False).transform
    placed = [_placed(knee, reference, start, i) for i, knee in enumerate(knees[:count])]
    whole = [*people, *read_staple(data / "bones" / "staple")]
    lenders = cycle(placed)
    legs = [leg for person in whole for leg in _legs_of(person, reference, lenders)]
    legs += [
        _synthetic_leg(knee, placed[(i + 1) % len(placed)], seed=i) for i, knee in enumerate(placed)
    ]
    return [shifted_leg(leg, np.array(region.pivot)) for leg in legs]


def reference_of(people: Sequence[Person]) -> Reference:
    """The distal femur that all others are laid on, in the frame of the region.

    z runs from the notch to the head's centre, x inwards between the epicondyles, y backwards; the
    origin is the middle of the joint line, 2 mm below the condyles.
    """
    person = next(person for person in people if person.name == REFERENCE)
    at = person.landmarks
    head = np.mean([at[f"{way} Femoral Head_L"] for way in ("Superior", "Inferior")], axis=0)
    up = _unit(head - at["Intercondylar Notch_L"])
    inwards = at["Medial Epicondyle_L"] - at["Lateral Epicondyle_L"]
    x = _unit(inwards - (inwards @ up) * up)
    back = np.cross(up, x)
    behind = at["Posterior Lateral Condyle_L"] - at["Lateral Epicondyle_L"]
    frame = np.eye(4)
    frame[:3, :3] = np.stack([x, back * np.sign(back @ behind), up])
    condyles = (at["Distal Lateral Condyle_L"] + at["Distal Medial Condyle_L"]) / 2
    origin = frame[:3, :3] @ condyles - np.array([0.0, 0.0, 2.0])
    femur = moved(person.bones["femur_L"], shifted(-origin) @ frame).vertices
    return Reference(femur[femur[:, 2] < femur[:, 2].min() + DISTAL + 15], DISTAL)


def _legs_of(person: Person, reference: Reference, lenders: Iterator[_Placed]) -> list[Leg]:
    """The legs of a person whose distal femur is known, the other one as a neighbour."""
    sides = [side for side in ("R", "L") if f"femur_{side}" in person.bones]
    frames = {side: _laid(person, side, reference) for side in sides}
    own = {side: _completed(person, side, frames[side], next(lenders)) for side in sides}
    legs = []
    for side in sides:
        here = own[side]
        bones, borrowed = dict(here.bones), dict(here.borrowed)
        if OTHER[side] in own:
            there = own[OTHER[side]]
            across = here.region_from_patient @ np.linalg.inv(there.region_from_patient)
            bones |= {f"other_{name}": moved(bone, across) for name, bone in there.bones.items()}
            borrowed |= {f"other_{name}": origin for name, origin in there.borrowed.items()}
        legs.append(replace(here, bones=bones, borrowed=borrowed))
    return legs


def _laid(person: Person, side: str, reference: Reference) -> Float:
    """(4, 4) region from patient, by the femur of `side`."""
    fitted = laid_on(person.bones[f"femur_{side}"].vertices, reference, mirrored=side == "L")
    return fitted.transform


def _completed(person: Person, side: str, frame: Float, lender: _Placed) -> Leg:
    """The leg without the other one; what it lacks is lent by a knee that belongs to nobody."""
    names = {f"{bone}_{side}" for bone in ("femur", *LENT, "talus", "calcaneus")}
    only = {name: bone for name, bone in person.bones.items() if name in names}
    clicked = {n: p for n, p in person.landmarks.items() if n.endswith(f"_{side}")}
    mine = replace(person, bones=only, landmarks=_femoral(clicked))
    leg = leg_of(mine, side, frame, {})
    missing = [name for name in LENT if name not in leg.bones]
    if not missing and not person.parted:
        return leg
    lent = _lent(leg.bones["femur"], lender).bones
    bones = {**leg.bones, **{name: lent[name] for name in missing}}
    if person.parted:
        bones |= _brought_to(leg.bones, lent["tibia"])
    return replace(leg, bones=bones, borrowed=dict.fromkeys(missing, lender.name))


def _femoral(landmarks: Mapping[str, Float]) -> dict[str, Float]:
    """Those that were clicked on the femur, not on the pelvis."""
    pelvic = ("ASIS", "AIIS", "PSIS", "PIIS", "Ischial Spine", "Pubic Tubercle")
    return {name: p for name, p in landmarks.items() if not name.startswith(pelvic)}


def _brought_to(bones: Mapping[str, Surface], lent: Surface) -> dict[str, Surface]:
    """Tibia and fibula of a person whose thigh and shank are in two poses, laid on a lent tibia."""
    fixed = lent.vertices[lent.vertices[:, 2] > lent.vertices[:, 2].max() - DISTAL]
    place = laid_on(
        bones["tibia"].vertices, Reference(fixed, DISTAL - 15, is_lower=False), mirrored=False
    ).transform
    return {name: moved(bones[name], place) for name in ("tibia", "fibula")}


def _lent(femur: Surface, knee: _Placed) -> _Placed:
    """The knee, scaled and moved so that its femur lies on this one, its patella on the groove."""
    low = knee.femur.vertices[knee.femur.vertices[:, 2] < 60][::3]
    fixed = femur.vertices[femur.vertices[:, 2] < 75]
    fit = rigid_fit(low, fixed, start=np.eye(4), scaled=True)
    bones = {name: moved(bone, fit) for name, bone in knee.bones.items()}
    bones["patella"] = donors.laid_on_groove(bones["patella"], femur, knee.patella_height)
    return replace(knee, bones=bones)


def _placed(knee: Knee, reference: Reference, start: Float, seed: int) -> _Placed:
    """A synthetic knee with long shafts, its patella on the groove and a made-up fibula.

    All of them share one frame, so that the place of one is where the search for another starts.
    """
    turn = settled(knee.bones["femur"].vertices, reference, start).transform
    femur = moved(knee.bones["femur"], turn)
    long_femur = donors.drawn_out(femur, True, REACH)
    tibia = donors.drawn_out(moved(knee.bones["tibia"], turn), False, -REACH)
    height = donors.drawn_height(seed)
    patella = donors.laid_on_groove(moved(knee.bones["patella"], turn), femur, height)
    fibula = donors.made_up_fibula(tibia, -REACH, seed)
    bones = {"femur": long_femur, "tibia": tibia, "patella": patella, "fibula": fibula}
    return _Placed(f"knee_ssm/{knee.name}", femur, bones, height)


def _synthetic_leg(knee: _Placed, neighbour: _Placed, seed: int) -> Leg:
    """A leg of nobody beside another one of nobody."""
    random = np.random.default_rng(seed)
    across = shifted(np.array([APART, 0.0, 0.0]) + random.normal(0, (20, 12, 10))) @ MIRROR
    others = {f"other_{name}": moved(bone, across) for name, bone in neighbour.bones.items()}
    return Leg(
        person=knee.name,
        side="R",
        source=knee.name,
        licence=donors.LICENCE,
        region_from_patient=right_sided("R", np.eye(4)),
        bones={**knee.bones, **others},
        borrowed={"fibula": donors.MADE_UP},
        is_synthetic=True,
    )


def _unit(vector: Float) -> Float:
    return np.asarray(vector / np.linalg.norm(vector))
