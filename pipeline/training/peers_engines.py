"""Who is compared: an entrant is a name that becomes an engine in the process that judges it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from torch import Tensor, nn

from pipeline.training import densities, peers_runs, peers_shape, volumes_settings
from pipeline.training.archive import Archive
from pipeline.training.command import archive_of, learned_from, shape_of, trained
from pipeline.training.evaluating import nears_of
from pipeline.training.given import Engine, Given, network
from pipeline.training.loop import start
from pipeline.training.peers_cubes import cube_engine
from pipeline.training.peers_hull import hull_engine
from pipeline.training.peers_runs import count, seconds_of, told
from pipeline.training.peers_samples import VIEWS
from pipeline.training.settings import Peers, RunFault, RunSettings, read

LIFTING = "lifting"
ANEW = "lifting-anew"
OUTLINES = "true outlines of each bone are given to it"
NO_DEPTH = "the outline of one view has no depth"
TWO_VIEWS = "it has one channel for the frontal view and one for the lateral view"
CUBE_VIEWS = (1, 2)
"""Numbers of views that networks over cubes are trained for, each on its own."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a run file says of a comparison, once read."""

    path: Path
    settings: RunSettings
    archive: Archive

    @property
    def folder(self) -> Path:
        """Of the peers' checkpoints, the samples, what was found and the tables."""
        return self.settings.folder / "compare"

    def home(self, name: str, views: int = 0) -> Path:
        """Of the checkpoint of a peer that is trained here, for so many views."""
        return self.folder / (f"{name}-{views}" if views else name)


@dataclass(frozen=True, slots=True)
class Entrant:
    """One who is to be judged."""

    name: str
    run: Path | None = None
    """The run file of its own, of a volumetric family or of tomography."""


def comparison_of(path: Path) -> Comparison:
    """The comparison that a run file of the lifting network asks for.

    Raises:
        RunFault: there is no archive, an engine that nobody knows, or a number of views that the
            samples do not have.
    """
    settings = read(path)
    unknown = set(settings.peers.engines) - set(Peers().engines)
    if unknown:
        raise RunFault(f"peers.engines: {', '.join(sorted(unknown))} is none of them")
    views = settings.comparison.views
    if not views or not set(views) <= set(range(1, len(VIEWS) + 1)):
        raise RunFault(f"comparison.views: a sample has from 1 to {len(VIEWS)} views")
    return Comparison(path, settings, archive_of(settings))


def entrants(of: Comparison) -> list[Entrant]:
    """Lifting first: all others are compared with it.

    Raises:
        RunFault: a run file that is named cannot be read.
    """
    found = [Entrant(LIFTING)]
    if (of.home(ANEW) / "checkpoint.pt").exists():
        found.append(Entrant(ANEW))
    for name in of.settings.comparison.runs:
        run = of.path.parent / name
        if not run.exists():
            raise RunFault(f"comparison.runs: there is no {run}")
        is_family = volumes_settings.is_volume_run(run)
        engine = volumes_settings.read(run).plan.family if is_family else "tomography"
        # a family may be there twice, as at another grid
        is_taken = engine in {one.name for one in found}
        found.append(Entrant(f"{engine}, {run.stem}" if is_taken else engine, run))
    return [*found, *(Entrant(name) for name in of.settings.peers.engines)]


def states(entrant: Entrant, of: Comparison) -> list[Path]:
    """The files whose content decides what an entrant answers, as far as they exist."""
    checkpoint = "checkpoint.pt"
    if entrant.run is not None:
        is_family = volumes_settings.is_volume_run(entrant.run)
        family = volumes_settings.read(entrant.run).plan if is_family else None
        folder = family.folder if family else densities.read(entrant.run).folder
        files = [entrant.run, folder / checkpoint]
    elif entrant.name == LIFTING:
        closer = [of.path.parent / name for name in of.settings.evaluation.closer]
        files = [of.settings.folder / checkpoint]
        files += [read(run).folder / checkpoint for run in closer]
    else:
        homes = [of.home(entrant.name, views) for views in (0, *CUBE_VIEWS)]
        files = [home / checkpoint for home in homes]
    return [file for file in files if file.exists()]


def engine_of(entrant: Entrant, of: Comparison) -> Engine:
    """The engine, as far as it is trained.

    Raises:
        RunFault: it has no checkpoint.
    """
    if entrant.run is not None:
        return peers_runs.of_run(entrant.run, of.archive)
    match entrant.name:
        case "lifting":
            return _lifting(of)
        case "shape-model":
            return _shape_model(of)
        case "visual-hull":
            return _visual_hull(of)
        case name if name == ANEW:
            return _anew(of)
        case name:
            return _cubes(of, name)


def _lifting(of: Comparison) -> Engine:
    settings, region = of.settings, of.archive.region
    net, taken = trained(of.archive, settings)
    nears = nears_of(of.path, settings, region)
    looks = "; ".join(f"{region.targets[one.number]} again from two views" for one in nears)
    return Engine(
        LIFTING,
        network(net, size=region.voxels, closer=nears),
        region.targets,
        count(net) + sum(count(one.net) for one in nears),
        told(taken, settings.training.steps, _seconds(settings, of.path)),
        remark=f"looks at the {looks}" if looks else "",
    )


def _seconds(settings: RunSettings, path: Path) -> float:
    """Of the network and of those that look closer."""
    runs = [settings, *(read(path.parent / name) for name in settings.evaluation.closer)]
    return sum(seconds_of(one.folder, one.training.log_every) for one in runs)


def _anew(of: Comparison) -> Engine:
    region, home = of.archive.region, of.home(ANEW)
    shape = shape_of(of.archive, of.settings)
    run = start(shape, of.settings.training, home / "checkpoint.pt")
    net = run.average.cpu().eval()
    reconstruct = network(net, size=region.voxels)
    trained_by = _within(run.step, [home])
    remark = "from scratch, in the minutes of the peers"
    return Engine(ANEW, reconstruct, region.targets, count(net), trained_by, remark=remark)


def _cubes(of: Comparison, name: str) -> Engine:
    """One network for each number of views, from the checkpoints that there are."""
    # MONAI takes seconds to import, and no other engine needs it
    peers_nets = import_module("pipeline.training.peers_nets")
    peers, region = of.settings.peers, of.archive.region
    nets: dict[int, nn.Module] = {}
    homes, steps = [], 0
    for views in CUBE_VIEWS:
        home = of.home(name, views)
        if (home / "checkpoint.pt").exists():
            run = peers_nets.start(
                name,
                peers,
                of.settings.training,
                home / "checkpoint.pt",
                views=views,
                bones=len(region.targets),
                cube_mm=region.cube_mm,
            )
            nets[views] = run.net.cpu().eval()
            homes.append(home)
            steps += run.step
    if not nets:
        raise RunFault("it is not trained: ask for --minutes")
    asked = {
        views: cube_engine(net, grid=peers.grid, cube_mm=region.cube_mm, size=region.voxels)
        for views, net in nets.items()
    }

    def reconstruct(given: Given) -> Tensor:
        return asked[len(given.radiographs)](given)

    refused = dict.fromkeys(range(1, len(VIEWS) + 1), TWO_VIEWS)
    refused |= dict.fromkeys(CUBE_VIEWS, "it is not trained for so many views")
    refused = {views: why for views, why in refused.items() if views not in nets}
    remark = f"{peers.grid} voxels of {region.cube_mm / peers.grid:.1f} mm"
    largest = max(count(net) for net in nets.values())
    return Engine(
        name, reconstruct, region.targets, largest, _within(steps, homes), refused, remark
    )


def _within(steps: int, homes: Sequence[Path]) -> str:
    """How much was trained in a budget of minutes."""
    spent = [json.loads((home / "spent.json").read_text())["seconds"] for home in homes]
    networks = f" in {len(homes)} networks" if len(homes) > 1 else ""
    return f"{steps:,} steps, {sum(spent) / 60:.0f} min{networks}: a budget, not its end"


def _shape_model(of: Comparison) -> Engine:
    peers, region = of.settings.peers, of.archive.region
    shapes = peers_shape.learned(of.archive, learned_from(of.archive, of.settings), peers.modes)
    reconstruct = peers_shape.shape_engine(
        shapes, cube_mm=region.cube_mm, size=region.voxels, rounds=peers.rounds
    )
    numbers = sum(shape.mean.numel() + shape.modes.numel() for shape in shapes)
    trained_by = f"{peers.modes} components of those learned from"
    return Engine("shape-model", reconstruct, region.targets, numbers, trained_by, remark=OUTLINES)


def _visual_hull(of: Comparison) -> Engine:
    region = of.archive.region
    reconstruct = hull_engine(cube_mm=region.cube_mm, size=region.voxels)
    bones, refused = region.targets, {1: NO_DEPTH}
    return Engine("visual-hull", reconstruct, bones, 0, "not at all", refused, OUTLINES)
