"""`export` of a run file: the network of its checkpoint as weights, its own error scale calibrated.

How wrong a network expects to be is compared with how wrong it is, where it puts the surfaces of
people that it did not learn from: right and wrong cameras, two views and, for a whole region, one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from pipeline import weights
from pipeline.models.lifting import Lifting
from pipeline.stated import Judged, Stated
from pipeline.training.archive import Case
from pipeline.training.batches import Conditions, Cut, sample_of
from pipeline.training.command import (
    Say,
    archive_of,
    cut_of,
    learned_from,
    trained,
    wider_share,
)
from pipeline.training.describing import bones_of, closer_of, licences_of, named, people_line
from pipeline.training.evaluating import left_out
from pipeline.training.losses import CLIP_MM
from pipeline.training.pool import Simulated, fill, load
from pipeline.training.regions import WITHIN
from pipeline.training.settings import RunFault, RunSettings, read
from pipeline.weights import Limits, Trained

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
    net, taken = trained(archive, settings)
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
        wider=wider_share(region, settings),
    )
    views = [(0, 1)] if region.name in WITHIN else [(0, 1), (0,)]
    scenes = [load(file) for file in sorted(held.glob("*.npz"))]
    factors = calibrated(net, scenes, views, cut_of(region, settings))
    bones = tuple(
        replace(bone, error_factor=round(factor, 2))
        for bone, factor in zip(bones_of(region, may_be_missing), factors, strict=True)
    )
    cases, training = learned_from(archive, settings), settings.training
    told = weights.described(
        region.name,
        bones,
        Limits(),
        f"{people_line(cases, settings.fold or ())}, {taken.steps} steps of {training.batch} scenes"
        f"{taken.since}, seed {training.seed}",
        closer_of(region),
        stated_of(settings, cases),
    )
    done = weights.export(net, out, told)
    for bone in done.bones:
        say(f"{bone.name}: its own error times {bone.error_factor:.2f}")
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, SHA-256 {done.digest}")
    return done


@torch.no_grad()
def calibrated(
    net: Lifting,
    scenes: Sequence[Simulated],
    views: Sequence[Sequence[int]],
    cut: Cut | None = None,
) -> list[float]:
    """For each bone, the true error at its surface as a multiple of the expected one."""
    generator = torch.Generator().manual_seed(SEED)
    true, said = (torch.zeros(len(net.shape.bones)) for _ in range(2))
    for number, scene in enumerate(scenes):
        for chosen in views:
            seen, _ = sample_of(
                scene, chosen, Conditions(), is_wrong=number % 2 == 1, generator=generator, cut=cut
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


def stated_of(settings: RunSettings, cases: Sequence[Case]) -> Stated:
    """The licences of the data, and the figures of `evaluate` where it has been called."""
    results = settings.folder / "results.json"
    summaries = json.loads(results.read_text("utf-8"))["summaries"] if results.exists() else []
    judged = tuple(
        Judged(one["condition"], named(one["bone"]), one["people"], measure, value, unit)
        for one in summaries
        for measure, value, unit in (
            ("Dice", round(one["dice"], 3), ""),
            ("ASSD", round(one["assd_mm"], 2), "mm"),
        )
    )
    return Stated(licences_of(cases), judged)
