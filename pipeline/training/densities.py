"""Training of single-image tomography from a run file.

    python -m pipeline.training.densities run.toml

draws the scenes that are missing and trains on from the checkpoint until the last step or the time
limit. Another call goes on where the last one stopped, with the same samples to come. Nothing but
torch and numpy is needed; `density_judging`, which tells what the network reaches, needs more.
"""

from __future__ import annotations

import json
import math
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from pipeline.models.tomography import Tomography, TomographyShape
from pipeline.training import archive as archives
from pipeline.training.archive import Archive, Case
from pipeline.training.density_pairs import VIEWS, Sight, fill, known_in, load, shown
from pipeline.training.exposure import CLEAN, Exposure
from pipeline.training.loop import laid_out, scheduled
from pipeline.training.precision import in_half
from pipeline.training.settings import RunFault, as_dataclass
from pipeline.training.taken import Taken

Say = Callable[[str], None]
FIRST_ANSWER = 0.01
"""Times the weights that the last layer begins with: most voxels are empty, and the published
beginning answers eight times what is there, which takes tens of steps to unlearn."""


@dataclass(frozen=True, slots=True)
class DensityRun:
    """A run: what is learned, from whom, how long."""

    archive: Path
    """What `python -m pipeline.training.prepare` wrote."""
    folder: Path
    """Of the scenes, the checkpoint, the curve and the table."""
    fold: int | None = 0
    """The people of this fold are judged and never learned from; none: all are learned from."""
    limit_minutes: float | None = None
    """Of one call; the next goes on."""
    scenes: int = 300
    steps: int = 2000
    batch: int = 8
    learning_rate: float = 5e-3
    """Of Adam, at its height."""
    width: int = 32
    """Of `TomographyShape`; the published network has 64."""
    blocks: tuple[int, ...] = (3, 3, 3, 5)
    seed: int = 1
    threads: int = 1
    device: str = "cpu"
    checkpoint_every: int = 100
    log_every: int = 20
    sight: Sight = field(default_factory=Sight)
    exposure: Exposure = CLEAN
    """Without its table: the bones alone. With it: an ordinary exposure but for what it says."""

    @property
    def shape(self) -> TomographyShape:
        """Of the network."""
        return TomographyShape(self.sight.planes, self.width, self.blocks)


@dataclass(slots=True)
class Run:
    """A training under way."""

    net: Tomography
    optimiser: torch.optim.Optimizer
    step: int = 0
    begun: str = ""
    """The weights that it began with, in words."""

    @property
    def taken(self) -> Taken:
        """How far it has come."""
        return Taken(self.step, self.begun)


def read(path: Path) -> DensityRun:
    """The run that the file describes; paths in it are relative to the file.

    Raises:
        RunFault: naming the key, or the place of a syntax error.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise RunFault(f"{path}: {fault}") from None
    made: DensityRun = as_dataclass(DensityRun, told, "")
    if made.sight.view not in VIEWS:
        raise RunFault(f"sight.view must be one of {', '.join(VIEWS)}, not {made.sight.view!r}")
    if made.sight.image_size % made.shape.multiple:
        raise RunFault(f"sight.image_size must be a multiple of {made.shape.multiple}")
    if min(made.scenes, made.sight.shots, made.batch, made.checkpoint_every, made.log_every) < 1:
        raise RunFault("scenes, shots, batch, checkpoint_every and log_every must be at least 1")
    return replace(made, archive=path.parent / made.archive, folder=path.parent / made.folder)


def start(settings: DensityRun) -> Run:
    """A run from its checkpoint, or from the beginning where there is none.

    Raises:
        RunFault: the checkpoint is of another network.
    """
    torch.manual_seed(settings.seed)
    net = Tomography(settings.shape).to(settings.device)
    net.get_parameter("tail.2.weight").data.mul_(FIRST_ANSWER)
    laid_out(net)
    run = Run(net, torch.optim.Adam(net.parameters(), lr=settings.learning_rate))
    checkpoint = settings.folder / "checkpoint.pt"
    if checkpoint.exists():
        stored = torch.load(checkpoint, map_location=settings.device, weights_only=True)
        try:
            run.net.load_state_dict(stored["net"])
        except RuntimeError as fault:
            raise RunFault(f"{checkpoint} is of another network: {fault}") from fault
        run.optimiser.load_state_dict(stored["optimiser"])
        run.step, run.begun = stored["step"], stored.get("begun", "")
    return run


def train(run: Run, settings: DensityRun, *, until: float, say: Say) -> bool:
    """Train until the last step, or until `time.monotonic()` is `until`; whether all are done."""
    files = sorted((settings.folder / "pairs").glob("*.npz"))
    began, first, mean = time.monotonic(), run.step, 0.0
    run.net.train()
    while run.step < settings.steps and time.monotonic() < until:
        relative = _step(run, settings, files)
        mean += relative / settings.log_every
        if run.step % settings.log_every == 0:
            each = (time.monotonic() - began) / (run.step - first)
            line = {"step": run.step, "relative": round(mean, 5), "seconds_a_step": round(each, 3)}
            with (settings.folder / "curve.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            say(
                f"step {run.step} of {settings.steps}: volume error {mean:.3f}, {each:.2f} s a step"
            )
            mean = 0.0
        if run.step % settings.checkpoint_every == 0:
            save(run, settings.folder / "checkpoint.pt")
    save(run, settings.folder / "checkpoint.pt")
    return run.step >= settings.steps


def save(run: Run, path: Path) -> None:
    """Write the checkpoint, whole or not at all."""
    partial = path.with_suffix(".part")
    state = {
        "net": run.net.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "step": run.step,
        "begun": run.begun,
    }
    torch.save(state, partial)
    partial.replace(path)


def batch(
    files: list[Path], settings: DensityRun, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Radiographs (B, 1, 1, H, W), and the density (B, D, H / 2, W / 2) behind each."""
    thickness, density = [], []
    for number in torch.randint(len(files), (settings.batch,), generator=generator).tolist():
        pairs = load(files[number])
        shot = int(torch.randint(len(pairs.thickness), (1,), generator=generator))
        thickness.append(pairs.thickness[shot])
        density.append(pairs.density[shot])
    return seen(settings, torch.stack(thickness), generator), torch.stack(density)


def seen(settings: DensityRun, thickness: Tensor, generator: torch.Generator) -> Tensor:
    """Radiographs (N, 1, 1, H, W) of thicknesses (N, H, W), as the run shows them."""
    is_displayed = settings.sight.is_displayed
    return shown(thickness, settings.exposure, generator, is_displayed=is_displayed)


def main(path: Path, say: Say = print) -> bool:
    """Follow the run file; whether all steps are done.

    Raises:
        RunFault: the run file or its archive cannot be used.
    """
    began = time.monotonic()
    settings = read(path)
    archive = archive_of(settings)
    until = began + 60 * settings.limit_minutes if settings.limit_minutes else math.inf
    torch.set_num_threads(settings.threads)
    cases = learned_from(archive, settings)
    people = len({case.person for case in cases})
    say(f"{archive.region.name}: {len(cases)} legs of {people} people, {settings.scenes} scenes")
    fill(
        archive,
        cases,
        settings.folder / "pairs",
        settings.scenes,
        settings.sight,
        seed=settings.seed,
        is_over=lambda: time.monotonic() >= until,
    )
    run = start(settings)
    is_done = train(run, settings, until=until, say=say)
    say("all steps are done" if is_done else f"stopped at step {run.step}; call again to go on")
    return is_done


def archive_of(settings: DensityRun) -> Archive:
    """The archive that the run learns from.

    Raises:
        RunFault: there is none, or it does not have the bone.
    """
    if not settings.archive.exists():
        raise RunFault(f"There is no archive {settings.archive}: make it with prepare")
    archive = archives.load(settings.archive)
    if settings.sight.bone and settings.sight.bone not in archive.region.targets:
        raise RunFault(f"sight.bone must be one of {', '.join(archive.region.targets)}")
    return archive


def learned_files(settings: DensityRun, count: int | None = None) -> list[Path]:
    """The scenes that were drawn; where there are none, `count` or all of them are drawn now.

    For a run that begins with weights, and has drawn none.

    Raises:
        RunFault: there is no archive to draw from.
    """
    folder = settings.folder / "pairs"
    if not any(folder.glob("*.npz")):
        archive, scenes = archive_of(settings), min(count or settings.scenes, settings.scenes)
        cases = learned_from(archive, settings)
        fill(archive, cases, folder, scenes, settings.sight, seed=settings.seed)
    return sorted(folder.glob("*.npz"))


def learned_from(archive: Archive, settings: DensityRun) -> tuple[Case, ...]:
    """The cases that are not judged in the run's fold, and show what is to be learned."""
    cases = archive.cases if settings.fold is None else archive.trained_in(settings.fold)
    return known_in(cases, settings.sight.channel(archive.region))


def _step(run: Run, settings: DensityRun, files: list[Path]) -> float:
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + run.step)
    images, wanted = (one.to(settings.device) for one in batch(files, settings, generator))
    for group in run.optimiser.param_groups:
        group["lr"] = settings.learning_rate * scheduled(run.step / settings.steps, 0.05)
    with in_half(torch.device(settings.device).type):
        losses = run.net.loss(images, wanted)
    run.optimiser.zero_grad(set_to_none=True)
    losses["total"].backward()
    run.optimiser.step()
    run.step += 1
    return float(losses["relative"].detach())


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except RunFault as fault:
        sys.exit(str(fault))
