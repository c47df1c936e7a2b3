"""One person's bones as they might have been: turned, moved, scaled and smoothly deformed.

A pose is drawn once for a scene; it takes points of the cube about the isocentre back to the
region frame of the archive, where the signed distances are looked up. A pose may also give the
bones a shape between people (`modes`). Distances are not exact
after a deformation, but their zero is: the surface is where it belongs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

DISPLACEMENT_GRID = 9
"""Control points along each edge of the far cube: 64 mm apart."""


@dataclass(frozen=True, slots=True)
class PoseRange:
    """How far a scene may differ from the person it is drawn from; standard deviations."""

    turn_deg: float = 6.0
    """About each axis; never beyond 15."""
    shift_mm: float = 8.0
    scale: float = 0.06
    """Of each axis on its own, as a share."""
    shear: float = 0.03
    displacement_mm: float = 2.5
    """Of the control points."""
    bent: float = 0.6
    """How often the joint of a region that has one (`joints`) is bent."""


RIGID = PoseRange(scale=0.0, shear=0.0, displacement_mm=0.0, bent=0.0)
"""Another pose of the very same bones, for judging."""
STILL = PoseRange(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""The bones where the archive has them."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where points of the scene lie in the region frame."""

    region_from_scene: Tensor
    """(4, 4) float32, affine, mm."""
    displacement: Tensor
    """(3, G, G, G) mm, x y z, added after the affine; over the far cube."""
    far_cube_mm: float
    moves: Tensor | None = None
    """(T, 4, 4): where a bent joint has taken each target bone from there; None if straight."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Signed distances, mm, in the frame of the isocentre; axes (Z, Y, X)."""

    near: Tensor
    """(T + 1, N, N, N): each target bone, and all other bones together, within the cube."""
    near_cube_mm: float
    far: Tensor
    """(M, M, M): all bones together."""
    far_cube_mm: float


def draw(pose: PoseRange, far_cube_mm: float, generator: torch.Generator) -> Pose:
    """A pose; the same generator gives the same one."""

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator).clamp(-2.5, 2.5)

    turn = torch.deg2rad((normal(3) * pose.turn_deg).clamp(-15, 15))
    stretch = torch.diag(1 + normal(3) * pose.scale) + normal(3, 3).triu(1) * pose.shear
    scene_from_region = torch.eye(4)
    scene_from_region[:3, :3] = rotation(turn) @ stretch
    scene_from_region[:3, 3] = normal(3) * pose.shift_mm
    size = DISPLACEMENT_GRID
    displacement = normal(3, size, size, size) * pose.displacement_mm
    return Pose(torch.linalg.inv(scene_from_region), displacement, far_cube_mm)


def reshaped(pose: Pose, shape: Tensor) -> Pose:
    """The same pose, of bones that are given another shape before.

    Args:
        pose: Of a case.
        shape: (3, G, G, G) mm, x y z, over the far cube in the region frame: from a point of the
            new shape to its place in the bones of the case; G no less than `DISPLACEMENT_GRID`.
    """
    edge, size = pose.far_cube_mm, shape.shape[-1]
    along = torch.linspace(-edge / 2, edge / 2, size)
    z, y, x = torch.meshgrid(along, along, along, indexing="ij")
    affine = pose.region_from_scene
    at = torch.stack([x, y, z], dim=-1) @ affine[:3, :3].T + affine[:3, 3]
    there = grid_sample(
        shape[None], at[None] / (edge / 2), padding_mode="border", align_corners=True
    )
    own = interpolate(
        pose.displacement[None], size=shape.shape[1:], mode="trilinear", align_corners=True
    )
    return replace(pose, displacement=(own + there)[0])


def posed(near: Tensor, near_cube_mm: float, far: Tensor, pose: Pose) -> Scene:
    """The bones of a case, taken into `pose`.

    Args:
        near: (T + 1, N, N, N) mm, in the region frame.
        near_cube_mm: Its edge.
        far: (M, M, M) mm, in the region frame.
        pose: Its `far_cube_mm` is the edge of `far`.
    """
    size = pose.far_cube_mm
    points = in_region(centres(near.shape[-1], near_cube_mm, near.device), pose)
    near_posed = found(near, near_cube_mm, far, size, points)
    far_points = in_region(centres(far.shape[-1], size, far.device), pose)
    return Scene(near_posed, near_cube_mm, looked_up(far[None], far_points, size)[0], size)


def found(
    near: Tensor, near_cube_mm: float, far: Tensor, far_cube_mm: float, points: Tensor
) -> Tensor:
    """(T + 1, Z, Y, X) mm of the bones of a case at points (Z, Y, X, 3) of the region frame."""
    inside = looked_up(near, points, near_cube_mm)
    # what a turn brings in from outside the archive's cube is only known coarsely
    outside = (points.abs().amax(dim=-1) > near_cube_mm / 2).expand_as(inside)
    coarse = looked_up(far[None], points, far_cube_mm).expand_as(inside).clone()
    coarse[:-1] = torch.maximum(coarse[:-1], inside[:-1])
    return torch.where(outside, coarse, inside)


def without_neighbours(scene: Scene) -> Scene:
    """The target bones alone, as far as the cube reaches."""
    nothing = torch.full_like(scene.far, scene.far_cube_mm)
    near = torch.cat([scene.near[:-1], torch.full_like(scene.near[-1:], scene.near_cube_mm)])
    return replace(scene, near=near, far=nothing)


def in_region(points: Tensor, pose: Pose) -> Tensor:
    """(Z, Y, X, 3) mm: where points (Z, Y, X, 3) of the scene lie in the region frame."""
    moved = transformed(points, pose.region_from_scene.to(points.device))
    at = points / (pose.far_cube_mm / 2)
    smooth = grid_sample(
        pose.displacement[None].to(points.device),
        at[None],
        padding_mode="border",
        align_corners=True,
    )[0]
    return moved + smooth.permute(1, 2, 3, 0)


def transformed(points: Tensor, affine: Tensor) -> Tensor:
    """(..., 3) points under a (4, 4) transform."""
    return points @ affine[:3, :3].T + affine[:3, 3]


def looked_up(field: Tensor, points: Tensor, cube_mm: float) -> Tensor:
    """(C, Z, Y, X) of a field (C, N, N, N) at points (Z, Y, X, 3)."""
    at = (points / (cube_mm / 2))[None]
    found: Tensor = grid_sample(field[None], at, padding_mode="border", align_corners=False)
    return found[0]


def centres(size: int, cube_mm: float, device: torch.device) -> Tensor:
    """(N, N, N, 3): x, y, z of the voxel centres of a cube about the origin, mm."""
    along = ((torch.arange(size, device=device) + 0.5) / size - 0.5) * cube_mm
    z, y, x = torch.meshgrid(along, along, along, indexing="ij")
    return torch.stack([x, y, z], dim=-1)


def rotation(turn: Tensor) -> Tensor:
    """(..., 3, 3) of rotation vectors (..., 3), radians."""
    x, y, z = turn.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1)
    made: Tensor = torch.linalg.matrix_exp(skew.unflatten(-1, (3, 3)))
    return made
