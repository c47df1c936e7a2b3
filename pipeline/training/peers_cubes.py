"""What published networks are given and give: cubes of voxels, in and out.

Each radiograph is repeated along its own depth, one channel a view, and a three-dimensional network
says of each voxel which bones it lies in. The cone of the beam is ignored, as is a view that is
turned; but each radiograph is first cast onto the plane through the isocentre that it faces, so
that magnification, mirrored views and shifted detectors do not count against the peer. Nor do the
steps of its voxels: it is taught which share of a voxel is bone, and its surface is cut from that.

Follows Shakya 2023 (arXiv:2309.13587); overlap as in Milletari 2016 (V-Net, 3DV). The networks
themselves stand in `peers_nets`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    avg_pool2d,
    binary_cross_entropy_with_logits,
    grid_sample,
    interpolate,
)

from pipeline.models.lifting import Seen
from pipeline.training.given import Given, Reconstruct


def repeated(seen: Seen, views: int, cube_mm: float, size: int) -> Tensor:
    """(B, views, size, size, size): the first `views` radiographs, each along its depth.

    Args:
        seen: Views that look from the front or from the side, more or less.
        views: How many of them.
        cube_mm: Edge of the cube about the isocentre.
        size: Voxels along each edge; axes z, y, x.
    """
    projections = seen.projections[:, :views]
    along_x, along_y = projections[:, :, 2, :2].abs().unbind(-1)
    is_frontal = (along_y > along_x)[..., None, None]
    # as many samples as the image has pixels there, so that fine detail is averaged and not missed
    fine = max(1, round(seen.images.shape[-1] / size))
    along = ((torch.arange(size * fine) + 0.5) / (size * fine) - 0.5) * cube_mm
    z, aside = torch.meshgrid(*(2 * [along.to(projections.device)]), indexing="ij")
    nothing = torch.zeros_like(z)
    points = torch.stack(
        [
            torch.where(is_frontal, aside, nothing),
            torch.where(is_frontal, nothing, aside),
            z.expand(*is_frontal.shape[:2], -1, -1),
            torch.ones_like(z).expand(*is_frontal.shape[:2], -1, -1),
        ],
        dim=-1,
    )
    at = torch.einsum("bvij,bvrcj->bvrci", projections, points)
    faces = grid_sample(
        seen.images[:, :views, :1].flatten(0, 1),
        (at[..., :2] / at[..., 2:]).flatten(0, 1),
        align_corners=False,
    )
    faces = avg_pool2d(faces, fine)[:, 0].unflatten(0, projections.shape[:2])
    cube = (-1, -1, size, size, size)
    from_front, from_side = faces[..., None, :].expand(cube), faces[..., None].expand(cube)
    return torch.where(is_frontal[..., None], from_front, from_side)


def cube_loss_of(logits: Tensor, field: Tensor, has: Tensor, cube_mm: float) -> Tensor:
    """Dice loss plus cross-entropy, the mean over the bones that are known.

    Args:
        logits: (B, T, N, N, N).
        field: (B, T, D, D, D) signed distances over the same cube, mm.
        has: (B, T) bool.
        cube_mm: Edge of the cube.
    """
    size = logits.shape[2:]
    if field.shape[2:] != size:
        field = interpolate(field, size, mode="trilinear", align_corners=False)
    bone = (0.5 - field * (size[0] / cube_mm)).clamp(0, 1)
    said = logits.sigmoid()
    space = (2, 3, 4)
    common = 2 * (said * bone).sum(space)
    overlap = (common + 1) / (said.square().sum(space) + bone.square().sum(space) + 1)
    entropy = binary_cross_entropy_with_logits(logits, bone, reduction="none").mean(space)
    weight = has.to(logits.dtype)
    return ((1 - overlap + entropy) * weight).sum() / weight.sum().clamp(min=1)


def cube_engine(net: nn.Module, *, grid: int, cube_mm: float, size: int) -> Reconstruct:
    """A network over cubes as an engine to be judged.

    Args:
        net: From (B, views, grid, grid, grid) to logits (B, T, grid, grid, grid).
        grid: Voxels along each edge that it was trained with.
        cube_mm: Edge of the cube.
        size: The archive's voxels along it.
    """

    @torch.no_grad()
    def reconstruct(given: Given) -> Tensor:
        share = net(repeated(given.seen, given.seen.images.shape[1], cube_mm, grid)).sigmoid()
        fine = interpolate(share, (size,) * 3, mode="trilinear", align_corners=False)
        return (0.5 - fine[0]) * (cube_mm / grid)

    return reconstruct
