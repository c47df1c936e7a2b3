"""A shape model of a region: one anatomy, and the ways in which people differ from it.

Every case is registered to a template by a smooth displacement of space (`modes`), so that one
displacement moves all bones of a person, joints and neighbours included; the principal components
of these displacements are the modes. Anatomies drawn from it are nobody's, and can be shipped.

    python -m pipeline.training.shapes --archive hip.npz --fold 0 \\
        --out pipeline/weights/shapes/hip.safetensors

Follows Rueckert 2003, "Automatic construction of 3-D statistical deformation models of the brain
using nonrigid registration", IEEE TMI 22:1014.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool3d

from pipeline.training.archive import Archive, Case, load
from pipeline.training.modes import LATTICE, displacement, known, over_far_cube

MODES = 6
FAR_STORED = 96
"""Voxels along each edge of the wide cube as it is shipped; thin bones of the near one need all."""
STEP_MM = 0.125


class Bones(NamedTuple):
    """Signed distances of one person, mm, axes (Z, Y, X)."""

    near: Tensor
    """(T + 1, N, N, N), over the cube."""
    far: Tensor
    """(1, M, M, M), over the wide cube."""


class Model(NamedTuple):
    """A template and its modes."""

    template: Bones
    mean: Tensor
    """(3, G, G, G) mm, x y z over the wide cube: the mean anatomy is template(p + mean(p))."""
    modes: Tensor
    """(K, 3, G, G, G) mm: a standard deviation each, the widest first."""


def learned(archive: Archive, cases: Sequence[Case]) -> Model:
    """The shape model of these cases; the first is the template."""
    region, template = archive.region, cases[0]
    bones = Bones(archive.near(template), archive.far(template)[None])
    found = [torch.zeros((3,) + (LATTICE,) * 3)]
    for case in cases[1:]:
        # neighbours count here: those of an anatomy that is drawn are to be plausible too
        both = torch.tensor([*known(case, template), True])
        moved = displacement(archive.near(case), bones.near, both, region.cube_mm)
        found.append(over_far_cube(moved, region.cube_mm, region.far_mm))
    mean, modes = components(torch.stack(found), MODES)
    return Model(bones, mean, modes)


def components(found: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The mean of (N, ...) and up to `count` principal components, each one deviation long."""
    mean = found.mean(dim=0)
    away = (found - mean).flatten(1)
    _, values, directions = torch.linalg.svd(away, full_matrices=False)
    scale = values / max(1, len(found) - 1) ** 0.5
    kept = min(count, len(found) - 1)
    modes = (scale[:kept, None] * directions[:kept]).view(kept, *found.shape[1:])
    return mean, modes


def write(model: Model, archive: Archive, path: Path) -> None:
    """`path` holds the model, as `pipeline.anatomy` reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    near, far = model.template
    fields = {"near": near, "far": adaptive_avg_pool3d(far, FAR_STORED)}
    stored = {
        name: (field / STEP_MM).round().clamp(-127, 127).char() for name, field in fields.items()
    }
    stored |= {"mean": model.mean.half(), "modes": model.modes.half()}
    region = archive.region
    told = {
        "region": region.name,
        "bones": ",".join(region.targets),
        "cube_mm": f"{region.cube_mm}",
        "far_mm": f"{region.far_mm}",
        "step_mm": f"{STEP_MM}",
    }
    save_file({name: part.contiguous() for name, part in stored.items()}, path, told)


def main() -> None:
    """Learn the shape model of a region, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--archive", type=Path, required=True)
    parser.add_argument("--fold", type=int, help="the people of this fold are left out")
    parser.add_argument("--out", type=Path, required=True)
    told = parser.parse_args()
    archive = load(told.archive)
    cases = archive.cases if told.fold is None else archive.trained_in(told.fold)
    write(learned(archive, cases), archive, told.out)


if __name__ == "__main__":
    main()
