"""What a volumetric family fills of some items, as OBJ files of cubes: as 3D-R2N2 was published.

To look at with any viewer of meshes, beside the tables: voxels as the network said them, and no
surface of a bone. Source: Choy 2016, arXiv:1604.00449.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pipeline.models.cubes import as_obj, cubes
from pipeline.projection import grid
from pipeline.training import volumes_scenes
from pipeline.training.published_layout import Published
from pipeline.training.volumes_data import Source
from pipeline.training.volumes_families import Family
from pipeline.training.volumes_judging import drawn
from pipeline.training.volumes_settings import Regional, VolumeRun
from pipeline.types import Float, Volume

ITEMS = 4
"""The first ones that are judged."""
PITCH = 0.011
"""Of the authors' cubes: 1.1 apart, times their scale of 0.01."""


@torch.no_grad()
def write_cubes(made: Family, run: VolumeRun, held: Source) -> tuple[Path, ...]:
    """An OBJ of each of the first items, from as many views as are judged at most.

    In mm of the region's cube; of published folders, which have no mm, in the authors' unit.
    """
    folder = run.plan.folder / "cubes"
    folder.mkdir(exist_ok=True)
    views = max(count for count in run.plan.judged_views if count <= held.views)
    paths = []
    for number, item in enumerate(held.items[:ITEMS]):
        sample = drawn(held, number, views, run.plan.judged_seed)
        found = made.occupancy(*sample.seen())[0].float().numpy()
        mesh = cubes(Volume(found, _patient_from_index(run, made.size.grid)))
        paths.append(folder / f"{item.name}-{views}-views.obj")
        paths[-1].write_text(as_obj(mesh), encoding="ascii")
    return tuple(paths)


def _patient_from_index(run: VolumeRun, size: int) -> Float:
    match run.data:
        case Regional():
            return grid(volumes_scenes.archive_of(run.data).region.cube_mm, size)
        case Published():
            return np.asarray(grid(PITCH * size, size))
