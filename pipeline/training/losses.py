"""What the lifting network is trained to make small."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.models.lifting import Answer, Features
from pipeline.training.batches import Batch

CLIP_MM = 12.0
"""Farther from a surface, its distance is of no use."""


def loss_of(answer: Answer, distances: Tensor, has: Tensor) -> dict[str, Tensor]:
    """What is minimised, as the mean over the points of the bones that are known.

    Args:
        answer: Of the network.
        distances: (B, N, T) mm.
        has: (B, T) bool.
    """
    weight = has[:, None].to(distances.dtype).expand_as(distances)
    total = weight.sum().clamp(min=1)
    inside = (distances < 0).to(distances.dtype)
    logits = answer.occupancy.clamp(-15, 15)
    occupancy = nn.functional.binary_cross_entropy_with_logits(logits, inside, reduction="none")
    off = (answer.distance - distances.clamp(-CLIP_MM, CLIP_MM)).abs()
    log_error = answer.log_error.clamp(-4, 4)
    likelihood = off * torch.exp(-log_error) + log_error
    near = torch.exp(-distances.abs() / 3.0)
    return {
        "occupancy": (occupancy * weight).sum() / total,
        "distance": (off * weight).sum() / total,
        "likelihood": (likelihood * weight).sum() / total,
        "near_surface": (off * weight * near).sum() / (weight * near).sum().clamp(min=1e-6),
    }


def shadow_loss_of(features: Features, batch: Batch) -> Tensor:
    """Cross-entropy of the shadows, over the views that are there and the bones that are known.

    It teaches the image encoder where each bone is before anything is known of depth.
    """
    wanted = batch.shadows.to(torch.float32)
    each = nn.functional.binary_cross_entropy_with_logits(
        features.shadows.float(), wanted, reduction="none"
    ).mean(dim=(-2, -1))
    weight = (batch.seen.is_present[..., None] & batch.has[:, None]).to(each.dtype)
    return (each * weight).sum() / weight.sum().clamp(min=1)


def coarse_loss_of(features: Features, batch: Batch) -> Tensor:
    """Error of the signed distance at the centres of the grid, mm, mostly of those near a surface.

    Every voxel teaches, where points are few.
    """
    size = features.coarse.shape[2:]
    wanted = batch.field
    if wanted.shape[2:] != size:
        wanted = nn.functional.interpolate(wanted, size, mode="trilinear", align_corners=False)
    wanted = wanted.clamp(-CLIP_MM, CLIP_MM)
    weight = (0.1 + torch.exp(-wanted.abs() / 3.0)) * batch.has[:, :, None, None, None]
    off = (features.coarse - wanted).abs()
    return (off * weight).sum() / weight.sum().clamp(min=1e-6)
