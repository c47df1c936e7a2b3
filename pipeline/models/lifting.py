"""The lifting network: image features are carried into space along each view's own rays.

Each image passes a two-dimensional encoder; its features are sampled where the points of a coarse
grid are seen by the camera of that image, and merged over the views by mean, deviation and
maximum, which makes the result independent of their number and order. A three-dimensional
encoder gives the merged grid its context. A point head then reads the grid and, at full detail,
the images at the projections of any point, so that the network has no output resolution.

Follows the implicit functions of Saito 2019 (PIFu, ICCV) and Mescheder 2019 (Occupancy Networks,
CVPR), with true cone-beam cameras and several bones. Needs torch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, pixel_unshuffle

from pipeline.models.encoders import Planar, Spatial

CHANNELS = 13
"""Attenuation and validity of 2 x 2 pixels, column, row, and the direction of their ray (3)."""
OUTPUTS = 3
"""For each bone: occupancy as a logit, signed distance, logarithm of the distance's error."""
USUAL_MM = 6.0
"""What a distance is measured in, and its value before anything is learned."""
SMALLEST_DEPTH = 1.0
"""mm: nearer to the source a point is seen nowhere."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a lifting network; with the weights it is all that is needed to build it."""

    bones: tuple[str, ...]
    cube_mm: float
    """Edge of the reconstructed cube about the isocentre, mm."""
    image_size: int = 256
    grid_size: int = 48
    lifted: int = 8
    """Channels of an image that are carried into the grid."""
    planar: tuple[int, ...] = (32, 48, 64, 96, 128)
    """Channels of the image encoder, from half resolution downwards."""
    spatial: tuple[int, ...] = (16, 32, 64, 96)
    """Channels of the grid encoder, from `grid_size` downwards."""
    hidden: int = 96


class Seen(NamedTuple):
    """Radiographs and their cameras: B samples of up to V views.

    A row of `projections` (B, V, 3, 4) takes (x, y, z, 1), LPS mm about the isocentre, to
    (column * w, row * w, w): w is the depth from the source, mm; column and row run from -1 at
    the outer edge of the first pixel to 1 at that of the last.
    """

    images: Tensor
    """(B, V, 2, H, W): attenuation, normalised by `normalised`, and validity, 0 or 1."""
    projections: Tensor
    """(B, V, 3, 4)."""
    sources: Tensor
    """(B, V, 3) focal spots, mm."""
    is_present: Tensor
    """(B, V) bool; a view that is absent takes no part, whatever its image holds."""


class Features(NamedTuple):
    """What the network has understood of its views, before it is asked about points."""

    planes: Tensor
    """(B, V, C, H / 2, W / 2)."""
    grid: Tensor
    """(B, C, D, D, D), axes z, y, x."""
    coarse: Tensor
    """(B, T, D, D, D) signed distance, mm, at the centres of the grid."""
    seen: Seen
    shadows: Tensor
    """(B, V, T, H / 2, W / 2) logits: which bones lie on the ray of a pixel."""


class Answer(NamedTuple):
    """What the network says of N points and T bones."""

    occupancy: Tensor
    """(B, N, T) logits."""
    distance: Tensor
    """(B, N, T) signed distance to the surface, mm, negative inside."""
    log_error: Tensor
    """(B, N, T) natural logarithm of the Laplace scale of `distance`, mm."""


class Lifting(nn.Module):
    """See the module; `features` once, then `at` for as many points as wanted."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        plane, space, bones = shape.planar[0], shape.spatial[0], len(shape.bones)
        self.planar = Planar(CHANNELS, shape.planar)
        self.shadow = nn.Conv2d(plane, bones, 1)
        self.thinned = nn.Conv2d(plane, shape.lifted, 1)
        self.spatial = Spatial(2 * shape.lifted + 4, shape.spatial)
        self.coarse = nn.Conv3d(space, bones, 1)
        self.head = nn.Sequential(
            nn.Linear(space + bones + 2 * plane + 4, shape.hidden),
            nn.SiLU(),
            nn.Linear(shape.hidden, shape.hidden),
            nn.SiLU(),
            nn.Linear(shape.hidden, OUTPUTS * bones),
        )
        size = shape.grid_size
        centres = (torch.arange(size) + 0.5) / size * 2 - 1
        z, y, x = torch.meshgrid(centres, centres, centres, indexing="ij")
        points = torch.stack([x, y, z], dim=-1).reshape(-1, 3) * (shape.cube_mm / 2)
        self.register_buffer("lattice", points, persistent=False)

    def features(self, seen: Seen) -> Features:
        """The views, encoded."""
        images, views = seen.images, seen.images.shape[:2]
        blocks = pixel_unshuffle(images.flatten(0, 1), 2)
        rays = _ray_channels(seen, blocks.shape[-2:]).to(images.dtype).flatten(0, 1)
        encoded = self.planar(torch.cat([blocks, rays], dim=1))
        thin = self.thinned(encoded).unflatten(0, views)
        lattice = self.lattice.expand(len(images), -1, -1)  # type: ignore[operator]  # a buffer
        place = lattice / (self.shape.cube_mm / 2)
        lifted = torch.cat([_merged(thin, seen, lattice), place], dim=-1)
        size = self.shape.grid_size
        grid = self.spatial(lifted.transpose(1, 2).unflatten(2, (size, size, size)))
        coarse = USUAL_MM * (1 + self.coarse(grid).float())
        shadows = self.shadow(encoded).unflatten(0, views)
        return Features(encoded.unflatten(0, views), grid, coarse, seen, shadows)

    def at(self, features: Features, points: Tensor) -> Answer:
        """What is at `points` (B, N, 3), LPS mm about the isocentre."""
        place = points / (self.shape.cube_mm / 2)
        context = grid_sample(
            torch.cat([features.grid.float(), features.coarse], dim=1),
            place[:, :, None, None],
            padding_mode="border",
            align_corners=False,
        )[..., 0, 0].transpose(1, 2)
        detail = _merged(features.planes, features.seen, points)
        return self.said(context, detail, place)

    def said(self, context: Tensor, detail: Tensor, place: Tensor) -> Answer:
        """What the point head makes of all that is known of points.

        Args:
            context: (..., C + T) of the grid: its features and its signed distances.
            detail: (..., 2 C + 1) of the images, as `_merged` gives them.
            place: (..., 3) from -1 to 1 over the cube.
        """
        bones = len(self.shape.bones)
        # half precision would round the place of a point to half a millimetre
        with torch.autocast(context.device.type, enabled=False):
            known = torch.cat([context, detail.float(), place], dim=-1)
            logits, change, error = self.head(known).unflatten(-1, (bones, OUTPUTS)).unbind(-1)
        distance = context[..., -bones:] + change
        return Answer(logits - distance, distance, error)

    def forward(self, seen: Seen, points: Tensor) -> Answer:
        """`at` of `features`."""
        return self.at(self.features(seen), points)


def normalised(images: Tensor, is_valid: Tensor) -> Tensor:
    """Attenuation of any scale, so that the 2nd and 98th percentiles of its valid pixels are +-1.

    Args:
        images: (N, H, W).
        is_valid: (N, H, W) bool.
    """
    made = []
    for image, valid in zip(images.float(), is_valid, strict=True):
        values = image[valid][:: max(1, int(valid.sum()) // 20_000)]
        if len(values) == 0:
            made.append(torch.zeros_like(image))
            continue
        low, high = torch.quantile(values, torch.tensor([0.02, 0.98], device=image.device))
        scaled = (image - low) / (high - low).clamp(min=1e-6) * 2 - 1
        made.append(torch.where(valid, scaled.clamp(-1.5, 2.0), torch.zeros_like(scaled)))
    return torch.stack(made)


def _ray_channels(seen: Seen, size: Sequence[int]) -> Tensor:
    """(B, V, 5, H, W): column, row, and the unit direction of the ray through each pixel."""
    rows, columns = (
        (torch.arange(n, device=seen.sources.device) + 0.5) / n * 2 - 1 for n in (size[0], size[1])
    )
    row, column = torch.meshgrid(rows, columns, indexing="ij")
    pixels = torch.stack([column, row, torch.ones_like(row)], dim=-1)
    # the columns of the inverse are the directions that the pixel coordinates move along
    inverse = torch.linalg.inv(seen.projections[..., :3].double()).float()
    rays = torch.einsum("bvij,hwj->bvihw", inverse, pixels)
    rays = rays / rays.norm(dim=2, keepdim=True)
    place = pixels[..., :2].permute(2, 0, 1).expand(*rays.shape[:2], -1, -1, -1)
    return torch.cat([place, rays], dim=2)


def _merged(planes: Tensor, seen: Seen, points: Tensor) -> Tensor:
    """(B, N, 2 * C + 1): mean and maximum over the views that see a point, and their share.

    The direction of the ray of a pixel is known to its features already.

    Args:
        planes: (B, V, C, h, w).
        seen: The cameras of the planes.
        points: (B, N, 3) mm.
    """
    # half precision would move a point by a millimetre in the image
    with torch.autocast(points.device.type, enabled=False):
        ones = torch.ones_like(points[..., :1])
        at = torch.einsum("bvij,bnj->bvni", seen.projections, torch.cat([points, ones], dim=-1))
    depth = at[..., 2:]
    pixels = at[..., :2] / depth.clamp(min=SMALLEST_DEPTH)
    is_seen = (pixels.abs() <= 1).all(dim=-1) & (depth[..., 0] > SMALLEST_DEPTH)
    is_seen = is_seen & seen.is_present[..., None]
    sampled = grid_sample(
        planes.flatten(0, 1).float(),
        pixels.flatten(0, 1)[:, :, None],
        padding_mode="border",
        align_corners=False,
    )[..., 0]
    values = sampled.transpose(1, 2).unflatten(0, planes.shape[:2])
    is_seen = is_seen[..., None]
    count = is_seen.sum(dim=1)
    mean = values.masked_fill(~is_seen, 0.0).sum(dim=1) / count.clamp(min=1)
    largest = values.masked_fill(~is_seen, -torch.inf).amax(dim=1)
    largest = largest.masked_fill(count == 0, 0.0)
    share = count / seen.is_present.sum(dim=1).clamp(min=1)[:, None, None]
    return torch.cat([mean, largest, share], dim=-1)
