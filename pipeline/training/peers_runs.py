"""Engines of run files of their own: the volumetric families and single-image tomography.

They know no camera: each is given squares of the radiographs about the place where its cube stands
(`Given.cubes`), as in its training, and its voxels are brought into the cube that all are judged
in. Where its probabilities are cut is found on people that it learned from.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample

from pipeline.frustum import Frustum, in_frustum
from pipeline.models.framing import cut_out
from pipeline.models.pictures import pictures
from pipeline.models.poses import poses
from pipeline.models.recurrent import overlap
from pipeline.models.tomography import rescaled
from pipeline.projection import binned
from pipeline.training import densities, density_judging, volumes_scenes, volumes_settings
from pipeline.training.archive import Archive
from pipeline.training.density_pairs import ATTENUATION
from pipeline.training.given import Engine, Given
from pipeline.training.peers_samples import ALL_BONES, VIEWS
from pipeline.training.posing import centres
from pipeline.training.settings import RunFault
from pipeline.training.taken import Taken
from pipeline.training.volumes_data import Source
from pipeline.training.volumes_export import LEVELS
from pipeline.training.volumes_families import Family, family
from pipeline.training.volumes_loop import trained
from pipeline.training.volumes_settings import Regional

TRIED = 12
"""Scenes that `LEVELS` are tried on."""
TRIED_VIEWS = 2
ONE_RADIOGRAPH = "it takes one radiograph"


def of_run(path: Path, archive: Archive) -> Engine:
    """The engine that a run file of its own trains, as far as it is trained.

    Raises:
        RunFault: it has no checkpoint, or is of another region.
    """
    if volumes_settings.is_volume_run(path):
        return volumetric(path, archive)
    return tomographic(path, archive)


def volumetric(path: Path, archive: Archive) -> Engine:
    """A volumetric family that a run file trains.

    Raises:
        RunFault: it has no checkpoint, or is of another region.
    """
    run = volumes_settings.read(path)
    data, plan = run.data, run.plan
    if not isinstance(data, Regional):
        raise RunFault(f"{path.name} is of no region")
    region = volumes_scenes.archive_of(data).region
    made = family(plan, run.network)
    taken = trained(made, plan.folder / "checkpoint.pt")
    volumes_scenes.require_learned(data, plan.threads, TRIED)
    level = level_of(made, volumes_scenes.learned(data, made.size).source)

    @torch.no_grad()
    def reconstruct(given: Given) -> Tensor:
        about = _cube_of(given, region.name, path)
        frames = cut_out(
            given.radiographs, cube_mm=region.cube_mm, size=data.image_size, about=about.numpy()
        )
        images = pictures(
            torch.stack([one.image for one in frames]),
            torch.stack([one.is_valid for one in frames]),
            made.size.image,
        )
        told = [poses([one.view for one in frames], made.size.image)] if made.size.has_pose else []
        share = made.occupancy(*(part[None] for part in (images, *told)))[0]
        points = centres(archive.region.voxels, archive.region.cube_mm, share.device)
        return placed(share, level, region.cube_mm, points - about)[None]

    steps = sum(stage.steps for stage in plan.stages)
    return Engine(
        plan.family,
        reconstruct,
        (data.bone,),
        count(made.network),
        told(taken, steps, seconds_of(plan.folder, plan.log_every)),
        remark=f"{plan.grid} voxels of {region.cube_mm / plan.grid:.1f} mm, cut at {level:.2f}",
    )


def placed(share: Tensor, level: float, cube_mm: float, points: Tensor) -> Tensor:
    """(...) mm about, negative inside, at points (..., 3) about the centre of a cube of shares.

    Args:
        share: (D, D, D), 0 to 1, axes z, y, x; outside its cube nothing is filled.
        level: Of the surface.
        cube_mm: Edge of the cube.
        points: x, y, z, mm.
    """
    at = (points / (cube_mm / 2)).reshape(1, 1, 1, -1, 3)
    found = grid_sample(share[None, None], at, align_corners=False).reshape(points.shape[:-1])
    return (level - found) * (cube_mm / len(share))


def level_of(made: Family, source: Source) -> float:
    """The probability at which the bones of those who were learned from are cut out best."""
    rows = []
    for number in range(min(TRIED, len(source.items))):
        generator = torch.Generator().manual_seed(number)
        sample = source.sample(number, range(min(TRIED_VIEWS, source.views)), generator)
        with torch.no_grad():
            found = made.occupancy(*sample.seen())
        rows.append([float(overlap(found, sample.wanted[None], at)) for at in LEVELS])
    return max(zip(map(fmean, zip(*rows, strict=True)), LEVELS, strict=True))[1]


def tomographic(path: Path, archive: Archive) -> Engine:
    """Single-image tomography that a run file trains.

    Raises:
        RunFault: it has no checkpoint, or is of another region.
    """
    settings = densities.read(path)
    region, sight = densities.archive_of(settings).region, settings.sight
    if not (settings.folder / "checkpoint.pt").exists():
        raise RunFault(f"There is no {settings.folder / 'checkpoint.pt'}: train first")
    run = densities.start(replace(settings, device="cpu"))
    net = run.net.eval()
    files = densities.learned_files(settings, density_judging.LEARNED)[: density_judging.LEARNED]
    mean = density_judging.mean_density(files)
    cut = density_judging.thresholds(net, mean, files, settings)[density_judging.Engine.NETWORK]

    @torch.no_grad()
    def reconstruct(given: Given) -> Tensor:
        about = _cube_of(given, region.name, path)
        (frame,) = cut_out(
            given.radiographs[:1],
            cube_mm=region.cube_mm,
            size=sight.image_size,
            about=about.numpy(),
        )
        image, is_valid = frame.image[None], frame.is_valid[None]
        if sight.is_displayed:
            shown = rescaled(image, is_valid)
        else:
            shown = ((image / ATTENUATION).clamp(0, 1) * is_valid)[:, None, None]
        frustum = Frustum(binned(frame.view, 2), sight.planes, region.cube_mm)
        points = centres(archive.region.voxels, archive.region.cube_mm, image.device) - about
        found = in_frustum(net(shown).volume[0], frustum, points)
        return (cut - found)[None] * frustum.between

    return Engine(
        "tomography",
        reconstruct,
        (sight.bone or ALL_BONES,),
        count(net),
        told(run.taken, settings.steps, seconds_of(settings.folder, settings.log_every)),
        dict.fromkeys(range(2, len(VIEWS) + 1), ONE_RADIOGRAPH),
        f"{sight.planes} planes, cut at {cut:.2f}, before its fusion with the radiograph",
    )


def count(net: nn.Module) -> int:
    """The numbers that a network has learned."""
    return sum(parameter.numel() for parameter in net.parameters())


def told(taken: Taken, of: int, seconds: float) -> str:
    """How long a training was, in words, and whether it came to its end."""
    if taken.begun and not taken.steps:
        return taken.begun
    steps = f"{taken.steps:,} steps" if taken.steps >= of else f"{taken.steps:,} of {of:,} steps"
    return f"{steps}{taken.since}, {seconds / 60:.0f} min"


def seconds_of(folder: Path, log_every: int) -> float:
    """How long a run was trained, as its curve tells: a line for every so many steps."""
    curve = folder / "curve.jsonl"
    lines = curve.read_text(encoding="utf-8").splitlines() if curve.exists() else []
    return sum(float(json.loads(line)["seconds_a_step"]) for line in lines) * log_every


def _cube_of(given: Given, region: str, path: Path) -> Tensor:
    if region not in given.cubes:
        raise RunFault(f"{path.name} is of the {region}, which is not judged here")
    return given.cubes[region]
