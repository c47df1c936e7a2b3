"""What the bones of a scene leave on a detector: thickness of cortical bone along each ray."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pipeline.beam import beam
from pipeline.projection import binned, grid
from pipeline.simulate import line_integrals, project
from pipeline.tissue import bone_density, filled
from pipeline.training.posing import Scene
from pipeline.types import View

SHADOW_MM = 1.0
"""A ray that passes less of a bone only grazes it."""
SEAM_MM = 12.0
"""Over which the fine drawing passes into the coarse one: an edge there would be learned from."""


@dataclass(frozen=True, slots=True)
class Tissue:
    """How dense the bones of one scene are."""

    cortex_mm: float
    spongy: float
    """Density within the cortex, as a share of that of cortical bone."""
    knots: Tensor
    """(5, 5, 5) factors of the cortex over the cube."""


def draw_tissue(generator: torch.Generator) -> Tissue:
    """A young or an old skeleton; the same generator gives the same one."""
    u = torch.rand(3, generator=generator)
    knots = torch.exp(0.35 * torch.randn(5, 5, 5, generator=generator))
    return Tissue(0.8 + 2.4 * float(u[0]), 0.12 + 0.33 * float(u[1]), knots)


def bone_thickness(
    scene: Scene,
    tissue: Tissue,
    views: list[View],
    *,
    without_other_side: list[bool],
    other_side_mm: float | None = None,
) -> Tensor:
    """(V, H, W): mm of cortical bone that each ray passes.

    Args:
        scene: The bones.
        tissue: Their density.
        views: The cameras.
        without_other_side: For each view, whether the leg beyond the midline is out of the way.
        other_side_mm: Along x, where it begins; by default at the face of the near cube.
    """
    near = near_density(scene, tissue)
    near_index = _affine(scene.near_cube_mm, near.shape[-1])
    far_index = _affine(scene.far_cube_mm, scene.far.shape[-1])
    far = {
        alone: far_density(scene, tissue, alone=alone, other_side_mm=other_side_mm)
        for alone in sorted(set(without_other_side))
    }
    images = []
    for view, alone in zip(views, without_other_side, strict=True):
        fine = project(near, near_index, view, step=2.2)
        coarse = project(far[alone], far_index, binned(view, 2), step=4.0)
        wide = interpolate(coarse[None, None], size=fine.shape, mode="bilinear")[0, 0]
        images.append(fine + wide)
    return torch.stack(images)


def bone_shadows(scene: Scene, views: list[View]) -> Tensor:
    """(V, T, H / 2, W / 2) bool: the ray of a pixel passes a target bone within the cube."""
    targets = scene.near[:-1]
    voxel = scene.near_cube_mm / targets.shape[-1]
    inside = filled(targets, voxel)
    beams = beam([binned(view, 2) for view in views], inside.device)
    affine = _affine(scene.near_cube_mm, targets.shape[-1])
    return line_integrals(inside, affine, beams) > SHADOW_MM


def near_density(scene: Scene, tissue: Tissue) -> Tensor:
    """(N, N, N) share of cortical bone in the near cube, nothing at its faces."""
    density = _density(scene.near.amin(dim=0), tissue, scene.near_cube_mm)
    return density * _share_of_near(density.shape[-1], scene.near_cube_mm, scene)


def far_density(
    scene: Scene, tissue: Tissue, *, alone: bool, other_side_mm: float | None = None
) -> Tensor:
    """(M, M, M) share of cortical bone that `near_density` leaves out, in the far cube.

    Args:
        scene: The bones.
        tissue: Their density.
        alone: The leg beyond the midline is out of the way.
        other_side_mm: As for `bone_thickness`.
    """
    edge, size = scene.far_cube_mm, scene.far.shape[-1]
    density = _density(scene.far, tissue, edge) * (1 - _share_of_near(size, edge, scene))
    if alone:
        # region frames are right-sided: the other side lies towards +x
        face = scene.near_cube_mm / 2 if other_side_mm is None else other_side_mm
        density[:, :, _along(size, edge, scene) > face] = 0
    return density


def _share_of_near(size: int, edge: float, scene: Scene) -> Tensor:
    """(N, N, N): 1 where only the near cube is drawn, 0 outside it, and no seam between."""
    ramp = ((scene.near_cube_mm / 2 - _along(size, edge, scene).abs()) / SEAM_MM).clamp(0, 1)
    return ramp[:, None, None] * ramp[None, :, None] * ramp[None, None, :]


def _along(size: int, edge: float, scene: Scene) -> Tensor:
    return ((torch.arange(size, device=scene.far.device) + 0.5) / size - 0.5) * edge


def _density(distance: Tensor, tissue: Tissue, cube_mm: float) -> Tensor:
    """Share of cortical bone in each voxel: a shell over a softer core, blurred by the voxel."""
    voxel = cube_mm / distance.shape[-1]
    factor = interpolate(
        tissue.knots[None, None].to(distance.device),
        size=distance.shape,
        mode="trilinear",
        align_corners=True,
    )[0, 0]
    # no marrow cavity, as in every pool that weights were trained on
    return bone_density(
        distance,
        tissue.cortex_mm * factor,
        spongy=tissue.spongy,
        marrow=tissue.spongy,
        edge_mm=voxel,
    )


def _affine(cube_mm: float, size: int) -> Tensor:
    """(4, 4) voxel centre (k, j, i, 1) to mm."""
    return torch.from_numpy(grid(cube_mm, size))
