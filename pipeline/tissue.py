"""The insides of bones, and what surrounds them.

Public bone surfaces are outer surfaces. A radiograph shows what they enclose: a cortex, spongy
bone under it that thins out with depth, and marrow. `bone_density` makes the share of cortical
bone from a signed distance alone. Soft tissue is the union of ellipsoids, whose length along each
ray is exact; air in the bowel is an ellipsoid that is taken away.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.beam import Beam, towards_pixels

SOFT_TISSUE_HU, CORTICAL_HU = 50.0, 1560.0
"""Skeletal muscle and cortical bone of ICRU 44 at 70 keV, where CT at 120 kV effectively is."""


def bone_density(
    signed_distance: Tensor,
    cortex_mm: float | Tensor,
    *,
    spongy: float | Tensor = 0.3,
    marrow: float | Tensor = 0.05,
    fading_mm: float | Tensor = 6.0,
    edge_mm: float = 1.0,
) -> Tensor:
    """Share of cortical bone at each point, 0 outside to 1 in the cortex; the rest is marrow.

    What is not bone inside has the length of `filled(signed_distance) - bone_density(...)`.
    Every argument may vary from point to point, as a tensor that broadcasts; the cortex of a
    femur is 1 to 2 mm over its head and 5 to 8 mm in its shaft.

    Args:
        signed_distance: mm to the outer surface, negative inside; any shape.
        cortex_mm: Thickness of the cortex; differentiable, as all else.
        spongy: Share of bone directly under the cortex; 0.1 (old) to 0.4 (young head).
        marrow: Share that is left far from it.
        fading_mm: Depth under the cortex at which the difference has fallen to a third (1 / e).
        edge_mm: Width of the ramps at both surfaces: the spacing of the voxels.
    """
    depth = -signed_distance - cortex_mm
    inner = (depth / edge_mm + 0.5).clamp(0, 1)
    faded = torch.exp(-depth.clamp(min=0) / fading_mm)
    return filled(signed_distance, edge_mm) + inner * (marrow + (spongy - marrow) * faded - 1)


def filled(signed_distance: Tensor, edge_mm: float = 1.0) -> Tensor:
    """Share of each voxel that lies inside, for a surface that is flat at the scale of a voxel."""
    return (0.5 - signed_distance / edge_mm).clamp(0, 1)


def materials_of_ct(hounsfield: Tensor) -> Tensor:
    """(2, ...) shares of cortical bone and of soft tissue, that attenuate as the CT measured.

    Above muscle a voxel is a mixture of muscle and cortical bone, below it of muscle and air; so
    metal becomes more than one part of bone, and fat is thin muscle.
    """
    bone = ((hounsfield - SOFT_TISSUE_HU) / (CORTICAL_HU - SOFT_TISSUE_HU)).clamp(min=0)
    soft = ((1000 + hounsfield) / (1000 + SOFT_TISSUE_HU)).clamp(0, 1)
    return torch.stack([bone, (soft - bone).clamp(min=0)])


def shares_of_labels(labels: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """(C, ...) float32: 1 where a label belongs to the group of that channel, else 0.

    Args:
        labels: Whole numbers, any shape: a label volume.
        groups: For each of C channels, the labels that it is made of, such as all muscles.
    """
    members = [torch.tensor(group, dtype=labels.dtype, device=labels.device) for group in groups]
    return torch.stack([torch.isin(labels, member).float() for member in members])


def ellipsoid_spans(centres: Tensor, half_axes: Tensor, beams: Beam) -> Tensor:
    """Where each ray enters and leaves each ellipsoid, mm from its source; equal where it misses.

    Args:
        centres: (K, 3) LPS mm.
        half_axes: (K, 3, 3) the three half axes of each in rows, mm, perpendicular.
        beams: N sources and detectors.

    Returns:
        (K, N, H, W, 2) float64. Nothing behind a source counts.
    """
    towards = towards_pixels(beams)
    reach = torch.linalg.vector_norm(towards, dim=-1)
    axes = half_axes.to(towards)
    onto_ball = axes / axes.square().sum(dim=-1, keepdim=True)
    start = torch.einsum("kab,knb->kna", onto_ball, beams.source - centres.to(towards)[:, None])
    way = torch.einsum("kab,nhwb->knhwa", onto_ball, towards / reach[..., None])
    # |start + t way| = 1
    a = way.square().sum(dim=-1)
    b = torch.einsum("kna,knhwa->knhw", start, way)
    c = start.square().sum(dim=-1)[..., None, None] - 1
    root = (b * b - a * c).clamp(min=0)
    half = torch.where(root > 0, root, 1.0).sqrt() * (root > 0)
    spans = torch.stack([(-b - half) / a, (-b + half) / a], dim=-1)
    return spans.clamp(min=0)


def united_length(spans: Tensor) -> Tensor:
    """(N, H, W) mm of each ray inside any of K bodies: what they share counts once.

    Args:
        spans: (K, N, H, W, 2) from `ellipsoid_spans`.
    """
    order = spans[..., 0].argsort(dim=0)
    entry = spans[..., 0].gather(0, order)
    leave = spans[..., 1].gather(0, order)
    reached = leave.cummax(dim=0).values
    begun = torch.cat([entry[:1], torch.maximum(entry[1:], reached[:-1])])
    length: Tensor = (leave - begun).clamp(min=0).sum(dim=0)
    return length


def ellipsoid_length(centres: Tensor, half_axes: Tensor, beams: Beam) -> Tensor:
    """(N, H, W) mm of each ray inside the union of ellipsoids, as `ellipsoid_spans` takes them."""
    return united_length(ellipsoid_spans(centres, half_axes, beams))
