"""Bones of the data folder to the archive of a region: `python -m pipeline.training.prepare`.

Every leg of every person becomes a case in the region's right-sided frame; what is missing and
can be borrowed plausibly is borrowed, and is marked so that nobody is judged on it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.training import archive
from pipeline.training.folds import fold_of, read_folds
from pipeline.training.hips import hip_legs
from pipeline.training.knees import knee_legs
from pipeline.training.leg import Leg
from pipeline.training.regions import REGIONS, WITHIN, Region, region_named
from pipeline.training.signed_distance import Cube, signed_distance

LEGS = {"hip": hip_legs, "knee": knee_legs}
"""How the legs of a region, and of those within it, are found in the data folder and brought into
its frame."""
FAR_SPACING = 2.0
"""Pieces of triangles for the wide cube, whose steps are 4 mm."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One case and its arrays by their names within the case."""

    case: archive.Case
    arrays: dict[str, NDArray[np.generic]]


def prepare(
    region: Region, data: Path, out: Path, *, synthetic: int | None = None, processes: int = 2
) -> None:
    """`out` holds the archive of `region`, made of the bones in `data`.

    `synthetic` says how many knees of nobody are in it, None that as many as is customary.
    """
    began = time.monotonic()
    whole = WITHIN[region.name].region if region.name in WITHIN else region.name
    legs = LEGS[whole](region, data, synthetic)
    names = tuple(sorted({name for leg in legs for name in leg.landmarks}))
    cases: list[archive.Case] = []
    entries: dict[str, NDArray[np.generic]] = {}
    with ProcessPoolExecutor(processes) as pool:
        jobs = [pool.submit(prepared, region, leg, names) for leg in legs]
        for count, job in enumerate(jobs, start=1):
            done = job.result()
            cases.append(done.case)
            entries |= {f"{done.case.name}/{key}": array for key, array in done.arrays.items()}
            seconds = time.monotonic() - began
            _say(f"{count}/{len(legs)} {done.case.name} {seconds:.0f} s")
    out.parent.mkdir(parents=True, exist_ok=True)
    archive.write(out, region, names, tuple(cases), entries)
    _say(f"{out}: {len(cases)} cases, {out.stat().st_size / 2**20:.1f} MiB")


def prepared(region: Region, leg: Leg, landmark_names: Sequence[str]) -> Prepared:
    """The case of one leg: distances, landmarks and true surfaces."""
    near, far = Cube(region.cube_mm, region.voxels), Cube(region.far_mm, region.voxels)
    groups = [[leg.bones[name]] if name in leg.bones else [] for name in region.targets]
    groups.append([leg.bones[name] for name in region.neighbours if name in leg.bones])
    distances = [signed_distance(group, near, archive.NEAR_LIMIT) for group in groups]
    everything = list(leg.bones.values())
    wide = signed_distance(everything, far, archive.FAR_LIMIT, spacing=FAR_SPACING)
    unknown = np.full(3, np.nan)
    points = np.array([leg.landmarks.get(name, unknown) for name in landmark_names])
    has = tuple(name in leg.bones and name not in leg.borrowed for name in region.targets)
    arrays: dict[str, NDArray[np.generic]] = {
        "near": np.stack([archive.quantised(d, archive.NEAR_STEP) for d in distances]),
        "far": archive.quantised(wide, archive.FAR_STEP),
        "landmarks": points.reshape(-1, 3).astype(np.float32),
        "has": np.array(has),
        "borrowed": np.array([name in leg.borrowed for name in region.targets]),
    }
    if not leg.is_synthetic:
        for name, own in zip(region.targets, has, strict=True):
            if own:
                arrays |= _mesh(leg, name)
    return Prepared(_case(region, leg, has), arrays)


def _mesh(leg: Leg, name: str) -> dict[str, NDArray[np.generic]]:
    mesh = leg.bones[name]
    steps = np.round(mesh.vertices / archive.VERTEX_STEP)
    if np.abs(steps).max() > np.iinfo(np.int16).max:
        raise ValueError(f"the {name} of {leg.name} reaches beyond what its vertices can hold")
    return {f"mesh/{name}/v": steps.astype(np.int16), f"mesh/{name}/f": mesh.faces.astype(np.int32)}


def _case(region: Region, leg: Leg, has: tuple[bool, ...]) -> archive.Case:
    patient_from_region = np.linalg.inv(leg.region_from_patient)
    return archive.Case(
        name=leg.name,
        person=leg.person,
        side=leg.side,
        source=leg.source,
        licence=leg.licence,
        fold=fold_of(leg.person, read_folds()),
        patient_from_region=tuple(tuple(float(x) for x in row) for row in patient_from_region),
        has=has,
        borrowed=tuple(name in leg.borrowed for name in region.targets),
        scenery=tuple(sorted(f"{name}: {origin}" for name, origin in leg.borrowed.items())),
    )


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    """The archive that the command line asks for is written."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--region", choices=[region.name for region in REGIONS], required=True)
    parser.add_argument("--data", type=Path, required=True, help="the folder that holds bones/")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--synthetic", type=int, help="how many synthetic knees")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args(arguments)
    prepare(
        region_named(given.region),
        given.data,
        given.out,
        synthetic=given.synthetic,
        processes=given.processes,
    )


if __name__ == "__main__":
    main()
