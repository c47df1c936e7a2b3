"""The scenes that a volumetric family learns from and is judged on, simulated where missing.

Those to learn from are a pool as of the lifting network. Those to judge on show the people that
were left out, with their own bones in another pose, and as many views as are asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from pipeline.training import archive as archives
from pipeline.training.archive import Archive, Case
from pipeline.training.exposure import CLEAN, Exposure
from pipeline.training.pool import fill, save, simulate
from pipeline.training.posing import RIGID
from pipeline.training.settings import RunFault
from pipeline.training.shots import Shot, draw_shots
from pipeline.training.volumes_data import Size, Source, scenes
from pipeline.training.volumes_loop import Learned
from pipeline.training.volumes_settings import Regional

Part = tuple[int, int]


def archive_of(of: Regional) -> Archive:
    """The archive of the run.

    Raises:
        RunFault: there is none, or its region has no such bone.
    """
    if not of.archive.exists():
        raise RunFault(f"There is no archive {of.archive}: make it with prepare")
    archive = archives.load(of.archive)
    if of.bone not in archive.region.targets:
        known = ", ".join(archive.region.targets)
        raise RunFault(f"regional.bone: {archive.region.name} has {known}, not {of.bone!r}")
    return archive


def learned(of: Regional, size: Size) -> Learned:
    """The scenes to learn from.

    Raises:
        RunFault: there are none.
    """
    archive = archive_of(of)
    source = partial(
        scenes,
        _files(of.pool),
        archive.trained_in(of.fold),
        region=archive.region,
        bone=of.bone,
        size=size,
    )
    return Learned(source(exposure=of.exposure), source(exposure=CLEAN), of.ease)


def held(of: Regional, size: Size) -> Source:
    """The scenes of the people that are left out.

    Raises:
        RunFault: there are none.
    """
    archive = archive_of(of)
    return scenes(
        _files(of.held),
        archive.judged_in(of.fold),
        region=archive.region,
        bone=of.bone,
        size=size,
        exposure=Exposure(),
        is_judged=True,
    )


def simulate_learned(of: Regional, processes: int, until: float) -> None:
    """The pool holds `of.scenes` scenes, or as many as were ready before `until`."""
    if of.scenes > len(list(of.pool.glob("*.npz"))):
        _shared(partial(_learned_part, of, until), processes)


def require_learned(of: Regional, processes: int, count: int | None = None) -> None:
    """The pool holds scenes: those that there are, or else `count` or all that the run asks for.

    For a run that begins with weights, and has drawn none.
    """
    if not any(of.pool.glob("*.npz")):
        wanted = of if count is None else replace(of, scenes=min(count, of.scenes))
        simulate_learned(wanted, processes, float("inf"))


def simulate_held(of: Regional, processes: int) -> None:
    """There are `of.held_scenes` scenes to judge on."""
    if of.held_scenes > len(list(of.held.glob("*.npz"))):
        _shared(partial(_held_part, of), processes)


def fill_held(
    archive: Archive,
    cases: Sequence[Case],
    folder: Path,
    count: int,
    *,
    views: int,
    image_size: int,
    seed: int,
    part: Part = (0, 1),
) -> None:
    """Make `folder` hold scenes 0 to `count`; scene n shows case n modulo their number.

    Args:
        archive: Of the region.
        cases: Whose own bones are shown, in another pose.
        folder: Is made where it does not exist; what is there already is kept.
        count: Scenes.
        views: Of each: a frontal one, a lateral one, one from anywhere, and again in this order.
        image_size: Rows and columns.
        seed: Of the scenes.
        part: (i, n): only every n-th scene, from the i-th, so that n processes share the work.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(part[0], count, part[1]):
        path = folder / f"{number:06d}.npz"
        if path.exists():
            continue
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        scene, _, _ = simulate(
            cases[number % len(cases)],
            archive,
            image_size=image_size,
            pose=RIGID,
            shots=shots(archive.region.cube_mm, image_size, views, generator),
            generator=generator,
        )
        save(scene, path)


def shots(cube_mm: float, size: int, views: int, generator: torch.Generator) -> tuple[Shot, ...]:
    """So many shots: frontal, lateral, from anywhere, and again."""
    rounds = -(-views // 3)
    drawn = [shot for _ in range(rounds) for shot in draw_shots(cube_mm, size, generator)]
    return tuple(drawn[:views])


def _shared(part: Callable[[Part], None], processes: int) -> None:
    if processes == 1:
        part((0, 1))
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as workers:
        parts = [workers.submit(part, (number, processes)) for number in range(processes)]
        for one in as_completed(parts):
            one.result()


def _learned_part(of: Regional, until: float, part: Part) -> None:
    torch.set_num_threads(1)
    archive = archive_of(of)
    fill(
        archive,
        archive.trained_in(of.fold),
        of.pool,
        of.scenes,
        image_size=of.image_size,
        seed=of.seed,
        part=part,
        is_over=lambda: time.monotonic() >= until,
    )


def _held_part(of: Regional, part: Part) -> None:
    torch.set_num_threads(1)
    archive = archive_of(of)
    fill_held(
        archive,
        archive.judged_in(of.fold),
        of.held,
        of.held_scenes,
        views=of.held_views,
        image_size=of.image_size,
        seed=of.seed + 1,
        part=part,
    )


def _files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.npz"))
    if not files:
        raise RunFault(f"There are no scenes in {folder}")
    return files
