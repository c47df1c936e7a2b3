"""Femora that came without a pelvis: each stands in the hip of somebody else.

Four people of `bones/staple` and three of `bones/misc` show how femora differ, but not what stands
around them. Each femur takes the place of the femur of a host, whose other bones are scaled until
the socket fits the head. Only the femur is ever judged; and as host and femur are people of one
fold, nobody who is judged was learned from as scenery.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.training.bones import Person, read_libhip, read_staple
from pipeline.training.donors import drawn_out
from pipeline.training.folds import fold_of, read_folds
from pipeline.training.leg import Leg
from pipeline.training.pose import Reference, femoral_head, laid_on, moved, shifted
from pipeline.training.regions import Triple

PROXIMAL = 100.0
"""How much of a femur, from its top, says how it stands."""
DOWN = -256.0
"""To this height at least reaches a shaft: out of the wide cube."""
POINTS = 6000
"""Of a host's femur, about, that another one is laid on."""


def read_femora(data: Path) -> list[Person]:
    """People with a femur whose hip is not known, of the sets that the data folder holds."""
    sets = {"staple": read_staple, "misc": read_libhip}
    folders = {data / "bones" / name: read for name, read in sets.items()}
    return [
        person for folder, read in folders.items() if folder.is_dir() for person in read(folder)
    ]


def among(femora: Sequence[Person], legs: Sequence[Leg], pivot: Triple) -> list[Leg]:
    """The legs of these femora, each in a hip of its own fold, hosts in turn.

    Args:
        femora: Whom they belong to.
        legs: The hips that there are; those with a femur of their own are hosts.
        pivot: Where the centre of the head stands.
    """
    folds = read_folds()
    hosts: defaultdict[int, list[Leg]] = defaultdict(list)
    for leg in legs:
        if "femur" not in leg.borrowed:
            hosts[fold_of(leg.person, folds)].append(leg)
    made: list[Leg] = []
    for person in femora:
        there = hosts[fold_of(person.name, folds)]
        for side in ("R", "L"):
            if f"femur_{side}" in person.bones:
                made.append(standing(person, side, there[len(made) % len(there)], pivot))
    return made


def standing(person: Person, side: str, host: Leg, pivot: Triple) -> Leg:
    """The leg of a femur in the place of the host's; all other bones are the host's."""
    bone, centre = person.bones[f"femur_{side}"], np.array(pivot)
    reference = _top_of(host, pivot)
    place = laid_on(bone.vertices, reference, mirrored=side == "L").transform
    head = femoral_head(moved(bone, place).vertices)
    place = shifted(centre - head.centre) @ place
    femur = moved(bone, place)
    if femur.vertices[:, 2].min() > DOWN:
        femur = drawn_out(femur, upwards=False, until=DOWN)
    share = head.radius / femoral_head(host.bones["femur"].vertices).radius
    grown = shifted(centre) @ np.diag([share, share, share, 1.0]) @ shifted(-centre)
    others = {name: moved(one, grown) for name, one in host.bones.items() if name != "femur"}
    return Leg(
        person=person.name,
        side=side,
        source=person.source,
        licence=f"{person.licence}; all other bones {host.licence}",
        region_from_patient=place,
        bones={"femur": femur, **others},
        borrowed=dict.fromkeys(others, f"{host.name}, {share:.2f} times as large"),
    )


def _top_of(host: Leg, pivot: Triple) -> Reference:
    """The upper end of the host's femur about the centre of its head."""
    points = host.bones["femur"].vertices - np.array(pivot)
    upper = points[points[:, 2] > points[:, 2].max() - PROXIMAL - 15]
    return Reference(upper[:: max(len(upper) // POINTS, 1)], PROXIMAL, is_lower=False)
