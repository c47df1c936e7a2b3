"""The samples that all engines are judged on: simulated once, kept as files, and read by each.

A sample is one leg of a person who was left out, in a drawn pose, with neighbours, soft tissue,
noise and collimation. Its views are of one anatomy: frontal, lateral, two obliques and a turned
lateral one, so that an engine that takes fewer is given the first ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.models.framing import cut_out, seen_in
from pipeline.projection import binned
from pipeline.training.archive import Archive, Case
from pipeline.training.exposure import Exposure
from pipeline.training.given import FINER, Given, given_of
from pipeline.training.judging import standard
from pipeline.training.outlines import true_outlines
from pipeline.training.pool import simulate
from pipeline.training.posing import RIGID, Pose, PoseRange, Scene
from pipeline.training.regions import WITHIN, region_named
from pipeline.training.surfaces import in_scene, isosurface
from pipeline.types import Mesh, Radiograph, View, ViewName

VIEWS = (("F", 0.0), ("L", 0.0), ("F", 40.0), ("F", -40.0), ("L", 25.0))
"""Frontal or lateral, and the degrees by which it is turned about the long axis."""
ALL_BONES = "all bones"
"""What an engine is judged on that does not tell bones apart."""
FARTHEST = 2.5
"""Deviations, as of a pose."""


class Sample(NamedTuple):
    """One leg, seen from all of `VIEWS`, and the truth."""

    person: str
    case: str
    given: Given
    inside: Mapping[str, Tensor]
    """(N, N, N) bool, by bone: those that are the person's own, and all bones together."""
    surfaces: Mapping[str, Mesh]
    """mm; of a bone whole, of all bones together open at the faces of the cube."""


def chosen(cases: Sequence[Case], legs: int) -> tuple[Case, ...]:
    """At most so many legs of each person."""
    people = dict.fromkeys(case.person for case in cases)
    return tuple(
        case for who in people for case in [one for one in cases if one.person == who][:legs]
    )


def kept(
    folder: Path, archive: Archive, cases: Sequence[Case], *, image_size: int, seed: int
) -> list[Path]:
    """The files of the samples, those that were missing made; a sample depends on no other one.

    Args:
        folder: Holds a folder of samples for each way to make them.
        archive: Of the region.
        cases: Who is shown.
        image_size: Of what a network of the region sees.
        seed: Of all that is drawn.
    """
    of = json.dumps(
        [archive.path.name, archive.path.stat().st_size, asdict(archive.region), image_size, seed]
    )
    home = folder / f"samples-{hashlib.sha256(of.encode()).hexdigest()[:12]}"
    home.mkdir(parents=True, exist_ok=True)
    files = []
    for case in cases:
        path = home / f"{case.name}.npz"
        if not path.exists():
            _write(made(archive, case, image_size=image_size, seed=seed), path)
        files.append(path)
    return files


def made(archive: Archive, case: Case, *, image_size: int, seed: int) -> Sample:
    """The sample of a leg; the same seed, the same sample."""
    # a number of its own for each leg, whoever else is judged
    own = int.from_bytes(hashlib.sha256(f"{seed} {case.name}".encode()).digest()[:6], "big")
    generator = torch.Generator().manual_seed(own)
    edge, fine = archive.region.cube_mm, image_size * FINER
    shots = [
        standard(name, edge, fine, is_alone=False, generator=generator, turned_deg=turned)
        for name, turned in VIEWS
    ]
    simulated, scene, pose = simulate(
        case, archive, image_size=fine, pose=RIGID, shots=shots, generator=generator
    )
    outlines = true_outlines(scene, [binned(shot.camera(fine), FINER) for shot in shots])
    given = given_of(
        simulated,
        range(len(VIEWS)),
        Exposure(),
        is_told_wrongly=False,
        outlines=outlines,
        cube_mm=edge,
        generator=generator,
    )
    given = given._replace(cubes=_cubes(archive, pose, generator))
    inside, surfaces = _truth(archive, case, scene, pose)
    return Sample(case.person, case.name, given, inside, surfaces)


def read(path: Path, cube_mm: float) -> Sample:
    """A sample that `kept` wrote, of a region whose cube has this edge."""
    with np.load(path, allow_pickle=False) as stored:
        meta = json.loads(str(stored["meta"]))
        radiographs = tuple(_radiographs(stored, meta["views"]))
        size, bones = meta["size"], meta["bones"]
        shape = (len(bones), size, size, size)
        inside = _unpacked(stored["inside"], shape)
        given = Given(
            seen_in(cut_out(radiographs, cube_mm=cube_mm, size=meta["image_size"])),
            radiographs,
            _unpacked(stored["outlines"], tuple(meta["outlines"])),
            {name: torch.tensor(centre) for name, centre in meta["cubes"].items()},
        )
        surfaces = {bone: Mesh(stored[f"{bone}/v"], stored[f"{bone}/f"]) for bone in bones}
    return Sample(
        meta["person"], meta["case"], given, dict(zip(bones, inside, strict=True)), surfaces
    )


def _cubes(archive: Archive, pose: Pose, generator: torch.Generator) -> dict[str, Tensor]:
    """The cube of this region, and those of smaller ones where this pose took them, or nearly."""
    region = archive.region
    scene_from_region = torch.linalg.inv(pose.region_from_scene.double())
    cubes = {region.name: torch.zeros(3)}
    for name, within in WITHIN.items():
        if within.region == region.name:
            centre = np.subtract(region.pivot, region_named(name).pivot)
            placed = (scene_from_region @ torch.from_numpy(np.append(centre, 1.0)))[:3].float()
            beside = torch.randn(3, generator=generator).clamp(-FARTHEST, FARTHEST)
            cubes[name] = placed + beside * PoseRange().shift_mm
    return cubes


def _truth(
    archive: Archive, case: Case, scene: Scene, pose: Pose
) -> tuple[dict[str, Tensor], dict[str, Mesh]]:
    inside, surfaces = {}, {}
    for channel, bone in enumerate(archive.region.targets):
        true = archive.mesh(case, bone)
        if true is not None and case.has[channel]:
            inside[bone] = scene.near[channel] < 0
            surfaces[bone] = Mesh(in_scene(true.vertices, pose, channel), true.faces.numpy())
    nearest = scene.near.amin(dim=0)
    whole = isosurface(nearest.numpy(), archive.region.cube_mm)
    if whole is not None:
        inside[ALL_BONES], surfaces[ALL_BONES] = nearest < 0, whole
    return inside, surfaces


def _write(sample: Sample, path: Path) -> None:
    """Whole or not at all."""
    given, bones = sample.given, list(sample.inside)
    meta = {
        "person": sample.person,
        "case": sample.case,
        "bones": bones,
        "size": len(sample.inside[bones[0]]),
        "image_size": given.seen.images.shape[-1],
        "outlines": list(given.outlines.shape),
        "cubes": {name: centre.tolist() for name, centre in given.cubes.items()},
        "views": [one.view.name.value for one in given.radiographs],
    }
    arrays = {
        "meta": np.array(json.dumps(meta)),
        "inside": np.packbits(torch.stack(list(sample.inside.values())).numpy()),
        "outlines": np.packbits(given.outlines.numpy()),
        "images": np.stack([one.attenuation for one in given.radiographs]),
        "is_valid": np.stack([one.is_valid for one in given.radiographs]),
        "sources": np.stack([one.view.source for one in given.radiographs]),
        "patient": np.stack([one.view.patient_from_detector for one in given.radiographs]),
        "detector": np.stack([one.view.detector_from_index for one in given.radiographs]),
    }
    for bone, mesh in sample.surfaces.items():
        arrays |= {f"{bone}/v": mesh.vertices, f"{bone}/f": mesh.faces}
    partial = path.with_suffix(".part")
    with partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes a bool for all
    partial.replace(path)


def _radiographs(stored: Mapping[str, np.ndarray], names: Sequence[str]) -> Iterator[Radiograph]:
    arrays = [stored[key] for key in ("images", "is_valid", "sources", "patient", "detector")]
    for number, (name, *parts) in enumerate(zip(names, *arrays, strict=True)):
        image, is_valid, source, patient, detector = parts
        view = View(ViewName(name), source, patient, detector, *image.shape)
        yield Radiograph(image, is_valid, view, "", str(number), "")


def _unpacked(bits: np.ndarray, shape: tuple[int, ...]) -> Tensor:
    flags = np.unpackbits(bits, count=int(np.prod(shape)))
    return torch.from_numpy(flags.astype(np.bool_).reshape(shape))
