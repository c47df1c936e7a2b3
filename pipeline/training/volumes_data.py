"""What the volumetric families learn from and are judged on: images of a thing, and its voxels.

A `Source` is a number of items that can be drawn again and again. Ours shows one bone of a region:
a scene of the pool is exposed anew each time, and the share of bone in each voxel is read off its
signed distances. The other reads the folders of the published data sets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool3d, interpolate

from pipeline.models.pictures import pictures
from pipeline.models.poses import poses
from pipeline.training import binvox, published_images
from pipeline.training.archive import Case
from pipeline.training.exposure import Exposure, exposed
from pipeline.training.pool import Simulated, load, shows_larger
from pipeline.training.published_layout import Model, Published, images_of
from pipeline.training.regions import Region
from pipeline.training.settings import RunFault


class Sample(NamedTuple):
    """One item, seen from V sides."""

    images: Tensor
    """(V, 3, H, W) float32, 0 to 1."""
    wanted: Tensor
    """(D, D, D) float32, 0 to 1: the share of each voxel that is filled, axes z, y, x."""
    poses: Tensor | None = None
    """(V, 5) tokens of the views, for a network that is told them."""

    def seen(self, views: slice | list[int] = slice(None)) -> tuple[Tensor, ...]:
        """What a network is given of these views: images, and poses if there are; a batch of 1."""
        parts = (self.images,) if self.poses is None else (self.images, self.poses)
        return tuple(part[views][None] for part in parts)


class Batch(NamedTuple):
    """B items."""

    images: Tensor
    """(B, V, 3, H, W) float32, 0 to 1."""
    wanted: Tensor
    """(B, D, D, D) float32, 0 to 1."""
    poses: Tensor | None = None
    """(B, V, 5) tokens of the views, for a network that is told them."""


@dataclass(frozen=True, slots=True)
class Item:
    """What is told of it in the tables."""

    name: str
    owner: str
    """Means are over owners: a person, or the object itself."""
    category: str
    """A bone, or the category of an object."""


@dataclass(frozen=True, slots=True)
class Source:
    """Items that can be drawn."""

    items: tuple[Item, ...]
    views: int
    """Of each item."""
    sample: Callable[[int, Sequence[int], torch.Generator], Sample]
    """Of an item by its number, the views of these numbers."""
    wanted: Callable[[int], Tensor]
    """The voxels of an item alone."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a network takes and gives."""

    image: int
    """Rows and columns."""
    grid: int
    """Voxels along each edge."""
    has_pose: bool = False
    """It is told where each view was taken from."""


def batch(source: Source, count: int, views: int, generator: torch.Generator) -> Batch:
    """`count` items drawn with replacement, each from `views` sides in any order."""
    numbers = torch.randint(len(source.items), (count,), generator=generator).tolist()
    samples = [
        source.sample(number, drawn_views(source.views, views, generator), generator)
        for number in numbers
    ]
    images = torch.stack([one.images for one in samples])
    wanted = torch.stack([one.wanted for one in samples])
    told = [one.poses for one in samples if one.poses is not None]
    return Batch(images, wanted, torch.stack(told) if told else None)


def drawn_views(there: int, wanted: int, generator: torch.Generator) -> list[int]:
    """`wanted` of the views 0 to `there`, in any order; none again before all were taken."""
    rounds = -(-wanted // there)
    drawn = [torch.randperm(there, generator=generator) for _ in range(rounds)]
    taken: list[int] = torch.cat(drawn)[:wanted].tolist()
    return taken


def filled_share(distance: Tensor, cube_mm: float, size: int) -> Tensor:
    """(size, size, size), 0 to 1: the share of each voxel that lies within a surface.

    Args:
        distance: (D, D, D) signed distance at the voxel centres, mm, negative inside.
        cube_mm: Edge of the cube.
        size: Voxels along each edge; where it is less than D, D is a multiple of it.
    """
    if size > distance.shape[-1]:
        fine = interpolate(distance[None, None], (size,) * 3, mode="trilinear", align_corners=False)
        distance = fine[0, 0]
    share = (0.5 - distance * (distance.shape[-1] / cube_mm)).clamp(0, 1)
    made: Tensor = adaptive_avg_pool3d(share[None], size)[0]
    return made


def scenes(
    files: Sequence[Path],
    cases: Sequence[Case],
    *,
    region: Region,
    bone: str,
    size: Size,
    exposure: Exposure,
    is_judged: bool = False,
) -> Source:
    """The scenes of a pool, exposed anew each time they are drawn.

    Args:
        files: Of the scenes; the one of number n shows case n modulo their count, as `pool.fill`.
        cases: That the pool was made of.
        region: Whose cube they show.
        bone: One of its targets; a case that does not know it is not shown, nor are radiographs
            of a larger region.
        size: Of the network.
        exposure: How much of each effect.
        is_judged: A bone that was borrowed from another person is not shown either.

    Raises:
        RunFault: there is no scene.
    """
    channel = region.targets.index(bone)
    shown = [(file, cases[int(file.stem) % len(cases)]) for file in files]
    shown = [
        (file, case)
        for file, case in shown
        if case.has[channel] or (case.borrowed[channel] and not is_judged)
    ]
    # a pool that a closer look learns from holds radiographs of a larger region too
    shown = [(file, case) for file, case in shown if not shows_larger(file)]
    if not shown:
        raise RunFault(f"There are no scenes with a {bone} where they should be")

    def sample(number: int, views: Sequence[int], generator: torch.Generator) -> Sample:
        scene = load(shown[number][0])
        thickness = scene.thickness[list(views)]
        cameras = [scene.shots[view].camera(thickness.shape[-1]) for view in views]
        images, is_valid = exposed(thickness, exposure, generator, cameras)
        told = poses(cameras, size.image) if size.has_pose else None
        return Sample(pictures(images, is_valid, size.image), share_of(scene), told)

    def share_of(scene: Simulated) -> Tensor:
        return filled_share(scene.field[channel], region.cube_mm, size.grid)

    items = tuple(Item(file.stem, case.person, bone) for file, case in shown)
    return Source(
        items, len(load(shown[0][0]).shots), sample, lambda n: share_of(load(shown[n][0]))
    )


def objects(models: Sequence[Model], of: Published, size: Size, *, is_learned: bool) -> Source:
    """The models of a published data set.

    Raises:
        RunFault: the network wants poses, which these folders do not tell in mm; or, when asked
            for, where a model has fewer images than the first, or another grid.
    """
    if size.has_pose:
        raise RunFault("network.has_pose: published folders do not tell poses in mm")
    views = len(images_of(models[0]))

    def sample(number: int, which: Sequence[int], generator: torch.Generator) -> Sample:
        model = models[number]
        files = images_of(model)
        if len(files) < views:
            raise RunFault(f"{model.renderings} holds {len(files)} images, others {views}")
        read = [published_images.read(files[view]) for view in which]
        if is_learned:
            images = [published_images.learned(one, of, size.image, generator) for one in read]
        else:
            images = [published_images.judged(one, of, size.image) for one in read]
        return Sample(torch.stack(images), voxels(number))

    def voxels(number: int) -> Tensor:
        path = models[number].voxels
        made = torch.from_numpy(binvox.read(path)).float()
        if made.shape != (size.grid,) * 3:
            raise RunFault(f"{path} has {made.shape[0]} voxels along an edge, not {size.grid}")
        return made

    items = tuple(Item(one.name, f"{one.category}/{one.name}", one.category) for one in models)
    return Source(items, views, sample, voxels)
