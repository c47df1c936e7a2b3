"""`train` of a run file; what it says goes through `say`, a line at a time.

    python -m pipeline.training.command run.toml

is `osteon train` on a machine that has nothing but torch and numpy. `evaluating` needs more.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import torch

from pipeline.models.lifting import Lifting, Shape
from pipeline.training import archive as archives
from pipeline.training import real_bodies
from pipeline.training.archive import Archive, Case
from pipeline.training.batches import Cut
from pipeline.training.beginnings import begin_with
from pipeline.training.loop import Run, start
from pipeline.training.loop import train as train_run
from pipeline.training.parallel import Team, any_of, team
from pipeline.training.pool import fill
from pipeline.training.real_bodies import RealBody
from pipeline.training.regions import WITHIN, Region, region_named
from pipeline.training.settings import RunFault, RunSettings, of_folds, read
from pipeline.training.taken import Taken

Say = Callable[[str], None]
SECONDS_BETWEEN_LINES = 15.0


def train(path: Path, say: Say = print, folds: Sequence[int] = ()) -> bool:
    """Simulate what is missing of the pool, and train on from the checkpoint.

    Args:
        path: The run file.
        say: Is told.
        folds: Of the people who are left out, by default those of the run file; see `of_folds`.

    Returns:
        Whether all steps are done; a run that reached its time limit is continued by another
        call.

    Raises:
        RunFault: the run file or its archive cannot be used.
    """
    began = time.monotonic()
    settings = of_folds(read(path), folds) if folds else read(path)
    archive = archive_of(settings)
    until = began + 60 * settings.limit_minutes if settings.limit_minutes else float("inf")
    settings.folder.mkdir(parents=True, exist_ok=True)
    with team(settings.training.device) as of:
        return _train(settings, archive, say if of.is_first else _silent, until, of)


def _train(settings: RunSettings, archive: Archive, say: Say, until: float, of: Team) -> bool:
    cases = learned_from(archive, settings)
    say(
        f"{archive.region.name}: {len(cases)} legs of {len({c.person for c in cases})} people"
        f" to learn from, {settings.pool.scenes} scenes"
    )
    within = WITHIN.get(archive.region.name)
    bodies = bodies_of(settings, region_named(within.region) if within else archive.region)
    _simulate(settings, cases, say, until, of)
    run = start(shape_of(archive, settings), settings.training, settings.folder / "checkpoint.pt")
    if run.step == 0 and settings.begin_with and not run.begun:
        _begin(run, settings.begin_with)
    said = [0.0]

    def tell(line: dict[str, float]) -> None:
        if time.monotonic() - said[0] > SECONDS_BETWEEN_LINES:
            said[0] = time.monotonic()
            say(
                f"step {line['step']:.0f} of {settings.training.steps}: near the surface"
                f" {line['near_surface']:.2f} mm off, {line['left_s'] / 60:.0f} minutes left"
            )

    pool = settings.folder / "pool"
    is_done = train_run(
        run,
        settings.training,
        pool,
        settings.folder,
        until=until,
        told=tell,
        of=of,
        bodies=bodies,
        cut=cut_of(archive.region, settings),
    )
    say("all steps are done" if is_done else f"stopped at step {run.step}; call again to go on")
    return is_done


def cut_of(region: Region, settings: RunSettings) -> Cut | None:
    """What a network that looks closer is given of radiographs of the larger region."""
    is_closer = region.name in WITHIN
    return Cut(region.cube_mm, settings.network.image_size) if is_closer else None


def wider_share(region: Region, settings: RunSettings) -> float:
    """Of the scenes whose radiographs show the larger region; none where there is no such one."""
    return settings.pool.wider if region.name in WITHIN else 0.0


def bodies_of(
    settings: RunSettings, region: Region, *, is_judged: bool = False
) -> tuple[RealBody, ...]:
    """The bodies of real people that the run learns from, or those that it does not.

    They stand about `region`, which the radiographs show.

    Raises:
        RunFault: what it names holds none.
    """
    if settings.bodies is None:
        return ()
    if not settings.bodies.exists():
        raise RunFault(f"There are no bodies {settings.bodies}: make them with label_sets")
    try:
        return real_bodies.load(settings.bodies, region, settings.fold or (), is_judged=is_judged)
    except ValueError as fault:
        raise RunFault(str(fault)) from fault


def _begin(run: Run, checkpoint: Path) -> None:
    if not checkpoint.exists():
        raise RunFault(f"There is no {checkpoint} to begin with")
    try:
        begin_with(run, checkpoint)
    except ValueError as fault:
        raise RunFault(f"{checkpoint} is no beginning for this run: {fault}") from fault


def _silent(_: str) -> None:
    """Of several processes, the first one speaks."""


def trained(archive: Archive, settings: RunSettings) -> tuple[Lifting, Taken]:
    """The averaged network of the run's checkpoint, and how far it has come.

    Raises:
        RunFault: there is no checkpoint.
    """
    checkpoint = settings.folder / "checkpoint.pt"
    if not checkpoint.exists():
        raise RunFault(f"There is no {checkpoint}: train first")
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    net = Lifting(shape_of(archive, settings))
    net.load_state_dict(stored["average"])
    return net.eval(), Taken(int(stored["step"]), stored.get("begun", ""))


def shape_of(archive: Archive, settings: RunSettings) -> Shape:
    """The network that the run trains."""
    network = settings.network
    return Shape(
        bones=archive.region.targets,
        cube_mm=archive.region.cube_mm,
        image_size=network.image_size,
        grid_size=network.grid_size,
        lifted=network.lifted,
        planar=network.planar,
        spatial=network.spatial,
        hidden=network.hidden,
    )


def learned_from(archive: Archive, settings: RunSettings) -> tuple[Case, ...]:
    """The cases that are not judged in the run's fold."""
    return archive.trained_in(*settings.fold or ())


def archive_of(settings: RunSettings) -> Archive:
    """The archive that the run learns from.

    Raises:
        RunFault: there is none.
    """
    if not settings.archive.exists():
        raise RunFault(f"There is no archive {settings.archive}: make it with prepare")
    return archives.load(settings.archive)


def _simulate(
    settings: RunSettings, cases: Sequence[Case], say: Say, until: float, of: Team
) -> None:
    """The pool, by as many processes as the training has threads."""
    folder = settings.folder / "pool"
    missing = settings.pool.scenes - len(list(folder.glob("*.npz")))
    # all see the pool as it is before any of them adds to it, and go on when it is whole
    if any_of(of, missing > 0):
        say(f"simulating {missing} scenes")
        _fill(settings, cases, until, of)
        any_of(of, True)


def _fill(settings: RunSettings, cases: Sequence[Case], until: float, of: Team) -> None:
    threads = settings.training.threads
    count = threads * of.size
    with ProcessPoolExecutor(threads, mp_context=get_context("spawn")) as workers:
        parts = [
            workers.submit(
                _part, settings, tuple(cases), (of.rank * threads + number, count), until
            )
            for number in range(threads)
        ]
        for part in as_completed(parts):
            part.result()


def _part(
    settings: RunSettings, cases: tuple[Case, ...], part: tuple[int, int], until: float
) -> None:
    torch.set_num_threads(1)
    archive = archives.load(settings.archive)
    fill(
        archive,
        cases,
        settings.folder / "pool",
        settings.pool.scenes,
        image_size=settings.network.image_size,
        seed=settings.pool.seed,
        part=part,
        wider=wider_share(archive.region, settings),
        is_over=lambda: time.monotonic() >= until,
    )


if __name__ == "__main__":
    try:
        train(Path(sys.argv[1]))
    except RunFault as fault:
        sys.exit(str(fault))
