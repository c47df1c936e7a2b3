"""`export` of a run file: the network of its checkpoint as weights, its own error scale calibrated.

How wrong a network expects to be is compared with how wrong it is, where it puts the surfaces of
people that it did not learn from: right and wrong cameras, two views and, for a whole region, one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from pipeline import weights
from pipeline.models.lifting import Lifting
from pipeline.training.archive import SYNTHETIC, Archive
from pipeline.training.batches import Conditions, seen_of
from pipeline.training.command import Say, archive_of, learned_from, trained
from pipeline.training.evaluating import left_out
from pipeline.training.losses import CLIP_MM
from pipeline.training.pool import Simulated, fill, load
from pipeline.training.regions import WITHIN, Region
from pipeline.training.settings import RunFault, RunSettings, read
from pipeline.types import Code
from pipeline.weights import Closer, Limits, Trained, TrainedBone

SCENES = 24
"""Of people left out: in half of them the cameras are told wrongly."""
SEED = 77
AT_THE_SURFACE_MM = 1.0
POINTS = 8192


def export(
    path: Path, out: Path, *, may_be_missing: Sequence[str] = (), say: Say = print
) -> Trained:
    """Calibrate the run's network and write it as `out`, a weights file.

    Args:
        path: The run file.
        out: Named as the region, ending in `.safetensors`.
        may_be_missing: Bones that a result may lack.
        say: Is given what happens, a line at a time.

    Raises:
        RunFault: the run has no checkpoint or nobody to calibrate on, a bone is unknown, or the
            name is not that of the region.
    """
    settings = read(path)
    archive = archive_of(settings)
    region = archive.region
    if out.name != region.name + weights.SUFFIX:
        raise RunFault(f"The file must be called {region.name}{weights.SUFFIX}, not {out.name}")
    unknown = set(may_be_missing) - set(region.targets)
    if unknown:
        raise RunFault(f"The {region.name} has no {', '.join(sorted(unknown))}")
    net, step = trained(archive, settings)
    torch.set_num_threads(settings.training.threads)
    held = settings.folder / "calibration"
    say(f"simulating {SCENES} scenes of people left out")
    fill(
        archive,
        left_out(archive, settings),
        held,
        SCENES,
        image_size=settings.network.image_size,
        seed=SEED,
        between=0.0,
    )
    views = [(0, 1)] if region.name in WITHIN else [(0, 1), (0,)]
    factors = calibrated(net, [load(file) for file in sorted(held.glob("*.npz"))], views)
    bones = tuple(
        TrainedBone(
            name=target.replace("_", " ").capitalize(),
            code=Code(code, "SCT", meaning),
            error_factor=round(factor, 2),
            is_required=target not in may_be_missing,
        )
        for target, (code, meaning), factor in zip(
            region.targets, region.codes, factors, strict=True
        )
    )
    told = weights.described(
        region.name, bones, Limits(), trained_line(archive, settings, step), closer_of(region)
    )
    done = weights.export(net, out, told)
    for bone in done.bones:
        say(f"{bone.name}: its own error times {bone.error_factor:.2f}")
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, SHA-256 {done.digest}")
    return done


@torch.no_grad()
def calibrated(
    net: Lifting, scenes: Sequence[Simulated], views: Sequence[Sequence[int]]
) -> list[float]:
    """For each bone, the true error at its surface as a multiple of the expected one."""
    generator = torch.Generator().manual_seed(SEED)
    true, said = (torch.zeros(len(net.shape.bones)) for _ in range(2))
    for number, scene in enumerate(scenes):
        for chosen in views:
            seen = seen_of(
                scene, chosen, Conditions(), is_wrong=number % 2 == 1, generator=generator
            )
            pick = torch.randint(len(scene.points), (POINTS,), generator=generator)
            answer = net.at(net.features(seen), scene.points[pick][None])
            is_near = (answer.distance[0].abs() < AT_THE_SURFACE_MM) & scene.has
            off = answer.distance[0] - scene.distances[pick].clamp(-CLIP_MM, CLIP_MM)
            true += _sum(off.abs(), is_near)
            said += _sum(answer.log_error[0].exp(), is_near)
    factors: list[float] = (true / said).nan_to_num(1.0).tolist()
    return factors


def _sum(values: Tensor, chosen: Tensor) -> Tensor:
    return torch.where(chosen, values, torch.zeros_like(values)).sum(dim=0)


def trained_line(archive: Archive, settings: RunSettings, step: int) -> str:
    """One line: on whom, how long, with which seed."""
    cases = learned_from(archive, settings)
    real = [case for case in cases if case.fold != SYNTHETIC]
    made = len(cases) - len(real)
    synthetic = f" and {made} synthetic ones" if made else ""
    fold = "nobody" if settings.fold is None else f"fold {settings.fold}"
    training = settings.training
    return (
        f"{len(real)} legs of {len({case.person for case in real})} people{synthetic}, {fold} left"
        f" out, {step} steps of {training.batch} scenes, seed {training.seed}"
    )


def closer_of(region: Region) -> Closer | None:
    """Where the network of the region is asked after that of a larger one."""
    within = WITHIN.get(region.name)
    if within is None:
        return None
    bone = within.bone.replace("_", " ").capitalize()
    return Closer(within.region, bone, within.reach_mm, within.is_from_below, within.offset)
