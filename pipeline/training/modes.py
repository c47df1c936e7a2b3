"""Shapes between people: smooth displacements that take the bones of one into those of another.

The bones of one person, the template, are registered to those of each other by the difference of
their signed distances, pushed along their gradients and smoothed (the demons of Thirion 1998, Med.
Image Anal. 2:243, on distances instead of grey values). To first order, the difference of two such
displacements takes one person to the other; a share of it gives a shape between them, and a little
beyond. A map that folds nowhere keeps bones closed and in one piece, so every drawn map is halved
until it does. Only the cases that are handed over take part: of a fold, those that are trained on.

Every process that simulates registers its people anew, within seconds; `shapes` makes a model of
the same displacements that is shipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d

from pipeline.training.archive import Archive, Case
from pipeline.training.posing import centres, looked_up

GRID = 24
"""Points along each edge of the cube at which people are compared."""
LATTICE = 33
"""Along each edge of the far cube: 16 mm apart."""
SMOOTHING_MM = (60.0, 40.0, 25.0, 15.0)
"""Standard deviations, from the coarse to the fine."""
ROUNDS = 12
"""With each of them; a push along the normals alone takes a few to arrive."""
NEAR_MM = 5.0
"""Distance from a surface at which its weight has fallen to a third."""
LARGEST_STEP = 8.0
BEYOND = 0.3
"""Share of the way to another person that a shape may lie on the far side of its own."""
LEAST_VOLUME = 0.25
"""What a map must leave of each small volume."""


def registered(archive: Archive, cases: Sequence[Case]) -> dict[str, Tensor]:
    """For each case by its name, where points of the template lie in its bones.

    (3, `LATTICE`, `LATTICE`, `LATTICE`) mm, x y z, to be added to points of the region frame over
    the far cube; beyond the cube as at its border. The template is the first case of whom every
    bone is known, or else the first.
    """
    edge = archive.region.cube_mm
    template = next((case for case in cases if all(known(case))), cases[0])
    fixed = archive.near(template)[:-1]
    return {
        case.name: over_far_cube(
            displacement(fixed, archive.near(case)[:-1], torch.tensor(known(case, template)), edge),
            edge,
            archive.region.far_mm,
        )
        for case in cases
    }


def displacement(fixed: Tensor, moving: Tensor, known: Tensor, cube_mm: float) -> Tensor:
    """(3, `GRID`, `GRID`, `GRID`) mm, x y z: `moving` is found by `fixed` where it leads.

    Args:
        fixed: (T, N, N, N) signed distances, mm.
        moving: The same bones of another.
        known: (T,) bool: those that count.
        cube_mm: Edge of the cube of both.
    """
    points = centres(GRID, cube_mm, fixed.device)
    wanted = looked_up(fixed, points, cube_mm)
    weight = torch.exp(-wanted.abs() / NEAR_MM) * known[:, None, None, None]
    halved = avg_pool3d(moving, 2)
    voxel = cube_mm / halved.shape[-1]
    slopes = torch.stack(torch.gradient(halved, spacing=voxel, dim=(3, 2, 1)))
    fields = torch.cat([halved[None], slopes]).flatten(0, 1)
    moved = torch.zeros_like(points)
    for sigma in SMOOTHING_MM:
        blur = _blur(sigma, cube_mm)
        weights = _blurred(weight.sum(dim=0)[None], blur) + 1e-3
        for _ in range(ROUNDS):
            found = looked_up(fields, points + moved, cube_mm).unflatten(0, (4, len(moving)))
            off = weight * (wanted - found[0]).clamp(-LARGEST_STEP, LARGEST_STEP)
            push = _blurred((off * found[1:]).sum(dim=1), blur) / weights
            moved = moved + push.permute(1, 2, 3, 0)
    return moved.permute(3, 0, 1, 2)


def drawn(
    displacements: Mapping[str, Tensor],
    case: Case,
    cases: Sequence[Case],
    far_mm: float,
    generator: torch.Generator,
) -> Tensor:
    """A shape between `case` and two other people, for `posing.reshaped`.

    Args:
        displacements: Of `registered`.
        case: Whose bones are to be reshaped.
        cases: From whom the others are drawn.
        far_mm: Edge of the far cube.
        generator: Of all that is drawn.
    """
    own = displacements[case.name]
    others = [one for one in cases if one.person != case.person]
    share, way = torch.rand(2, generator=generator).tolist()
    if not others:
        return torch.zeros_like(own)
    first, second = torch.randint(len(others), (2,), generator=generator).tolist()
    goal = displacements[others[first].name].lerp(displacements[others[second].name], share)
    shape: Tensor = ((1 + BEYOND) * way - BEYOND) * (own - goal)
    while least_volume(shape, far_mm) < LEAST_VOLUME:
        shape = shape / 2
    return shape


def least_volume(shape: Tensor, far_mm: float) -> float:
    """What is left of the smallest of all small volumes under the map; below 0 it is folded.

    Args:
        shape: (3, G, G, G) mm, added to the points of a lattice over the far cube.
        far_mm: Its edge.
    """
    spacing = far_mm / (shape.shape[-1] - 1)
    along_x, along_y, along_z = torch.gradient(shape, spacing=spacing, dim=(3, 2, 1))
    jacobian = torch.stack([along_x, along_y, along_z], dim=-1).movedim(0, -2)
    return float(torch.linalg.det(jacobian + torch.eye(3)).min())


def known(*cases: Case) -> tuple[bool, ...]:
    """Which target bones all of these cases have, be they borrowed."""
    each = (zip(case.has, case.borrowed, strict=True) for case in cases)
    return tuple(all(own or lent for own, lent in bone) for bone in zip(*each, strict=True))


def over_far_cube(moved: Tensor, cube_mm: float, far_mm: float) -> Tensor:
    """A displacement over the cube as one over the far cube, beyond the cube as at its border.

    Args:
        moved: (3, `GRID`, `GRID`, `GRID`) mm.
        cube_mm: Edge of the cube.
        far_mm: Edge of the far cube; (3, `LATTICE`, `LATTICE`, `LATTICE`) points, its faces too.
    """
    along = torch.linspace(-far_mm / 2, far_mm / 2, LATTICE)
    z, y, x = torch.meshgrid(along, along, along, indexing="ij")
    return looked_up(moved, torch.stack([x, y, z], dim=-1), cube_mm)


def _blur(sigma: float, cube_mm: float) -> Tensor:
    """(G, G) Gaussian weights of the points along an edge for each other."""
    along = torch.arange(GRID) * (cube_mm / GRID)
    return torch.exp(-0.5 * ((along[:, None] - along) / sigma) ** 2)


def _blurred(field: Tensor, blur: Tensor) -> Tensor:
    """(C, G, G, G) under `blur` along each axis; not normalised, as its weights are not."""
    field = torch.einsum("ai,nijk->najk", blur, field)
    field = torch.einsum("bj,najk->nabk", blur, field)
    smooth: Tensor = torch.einsum("ck,nabk->nabc", blur, field)
    return smooth
