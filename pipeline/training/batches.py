"""From scenes of the pool to what the network is trained on.

Which views are used, what is known of their cameras and how the images look is drawn anew each
time. A camera that is *told* wrongly stands in the batch as told; the image was taken by the true
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.models.framing import cut_out, framed, seen, seen_in
from pipeline.models.lifting import Seen
from pipeline.projection import binned
from pipeline.training.exposure import Exposure, exposed, in_finer_pixels
from pipeline.training.pool import Simulated
from pipeline.training.real_bodies import RealBody, drawn
from pipeline.training.shots import Shot
from pipeline.types import Radiograph, View


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a reconstruction has to cope with."""

    exposure: Exposure = field(default_factory=lambda: Exposure(implants=0.05))
    one_view: float = 0.5
    """How often only one view is given."""
    three_views: float = 0.1
    wrong: float = 0.5
    """How often the cameras are told wrongly."""
    angle_deg: float = 5.0
    """Standard deviation of a wrong angle."""
    distance: float = 0.05
    """Standard deviation of a wrong SID, as a share."""
    bodies: float = 0.4
    """How often a patient has the body of a real person, where the run names any."""
    points: int = 8192
    """Of each scene."""


class Taken(NamedTuple):
    """Radiographs of one scene."""

    images: Tensor
    """(V, H, W) attenuation of any scale."""
    is_valid: Tensor
    """(V, H, W) bool."""
    views: tuple[View, ...]
    """About the middle of the cube."""


class Cut(NamedTuple):
    """What is cut out of radiographs of a larger region."""

    cube_mm: float
    """Edge of the cube that the piece shows."""
    size: int
    """Rows and columns of the piece."""


class Batch(NamedTuple):
    """B scenes."""

    seen: Seen
    points: Tensor
    """(B, N, 3) mm."""
    distances: Tensor
    """(B, N, T) mm."""
    has: Tensor
    """(B, T) bool."""
    field: Tensor
    """(B, T, D, D, D) mm, axes z, y, x."""
    shadows: Tensor
    """(B, V, T, H / 2, W / 2) bool."""


def assembled(
    scenes: Sequence[Simulated],
    conditions: Conditions,
    generator: torch.Generator,
    bodies: Sequence[RealBody] = (),
    cut: Cut | None = None,
) -> Batch:
    """What the network is given of `scenes`, and what it should say.

    Args:
        scenes: Of one region; those with radiographs of a larger one are cut.
        conditions: What they are seen under.
        generator: Of all that is drawn.
        bodies: Of real people, in the frame that the radiographs show.
        cut: How a closer look sees what it is given.
    """
    # equally many views in each sample: an absent one would cost as much as a present one
    chance = float(torch.rand(1, generator=generator))
    choices = [_chosen(scene, chance, conditions, generator) for scene in scenes]
    samples = [
        sample_of(
            scene,
            choice,
            conditions,
            is_wrong=float(torch.rand(1, generator=generator)) < conditions.wrong,
            generator=generator,
            bodies=bodies,
            cut=cut,
        )
        for scene, choice in zip(scenes, choices, strict=True)
    ]
    chosen = [
        torch.randint(len(scene.points), (conditions.points,), generator=generator)
        for scene in scenes
    ]
    return Batch(
        stacked([seen_by for seen_by, _ in samples]),
        torch.stack([s.points[at] for s, at in zip(scenes, chosen, strict=True)]),
        torch.stack([s.distances[at] for s, at in zip(scenes, chosen, strict=True)]),
        torch.stack([scene.has for scene in scenes]),
        torch.stack([scene.field for scene in scenes]),
        torch.stack([shadows for _, shadows in samples]),
    )


def stacked(samples: Sequence[Seen]) -> Seen:
    """Samples of equally many views as one batch."""
    return Seen(*(torch.cat(parts) for parts in zip(*samples, strict=True)))


def sample_of(
    scene: Simulated,
    chosen: Sequence[int],
    conditions: Conditions,
    *,
    is_wrong: bool,
    generator: torch.Generator,
    bodies: Sequence[RealBody] = (),
    cut: Cut | None = None,
) -> tuple[Seen, Tensor]:
    """These shots of a scene as the network is given them, and their shadows.

    Returns:
        One sample of V views, and (V, T, H / 2, W / 2) bool.

    Raises:
        ValueError: the radiographs show a larger region, and nothing says what is cut out.
    """
    if not scene.is_wider:
        # a body that stands about a larger region does not stand about this one
        around = bodies if cut is None else ()
        taken = taken_of(
            scene, chosen, conditions, is_wrong=is_wrong, generator=generator, bodies=around
        )
        return seen(taken.images, taken.is_valid, taken.views), scene.shadows[list(chosen)]
    if cut is None:
        raise ValueError("radiographs of a larger region are for a network that looks closer")
    finer = scene.thickness.shape[-1] / cut.size
    taken = taken_of(
        scene,
        chosen,
        replace(conditions, exposure=in_finer_pixels(conditions.exposure, finer)),
        is_wrong=is_wrong,
        generator=generator,
        bodies=bodies,
    )
    frames = cut_out(radiographs_of(taken), cube_mm=cut.cube_mm, size=cut.size)
    shadows = [
        _shadows(scene.shadows[n], view, cut) for view, n in zip(taken.views, chosen, strict=True)
    ]
    return seen_in(frames), torch.stack(shadows)


def radiographs_of(taken: Taken) -> tuple[Radiograph, ...]:
    """What was taken, one by one."""
    return tuple(
        Radiograph(image.numpy(), valid.numpy(), view, "", str(number), "")
        for number, (image, valid, view) in enumerate(zip(*taken, strict=True))
    )


def taken_of(
    scene: Simulated,
    chosen: Sequence[int],
    conditions: Conditions,
    *,
    is_wrong: bool,
    generator: torch.Generator,
    bodies: Sequence[RealBody] = (),
) -> Taken:
    """These shots of a scene, exposed, with the cameras that are told."""
    size = scene.thickness.shape[-1]
    shots = [scene.shots[n] for n in chosen]
    known = [told(shot, conditions, generator) if is_wrong else shot for shot in shots]
    images, is_valid = exposed(
        scene.thickness[list(chosen)],
        conditions.exposure,
        generator,
        [shot.camera(size) for shot in shots],
        drawn(bodies, conditions.bodies, generator),
    )
    return Taken(images, is_valid, tuple(shot.about_cube(size) for shot in known))


def told(shot: Shot, conditions: Conditions, generator: torch.Generator) -> Shot:
    """What a header would say of this exposure: wrong by a drawn amount.

    A wrong SID carries the distance to the patient with it; the pixels keep their spacing.
    """
    error = torch.randn(3, generator=generator).clamp(-2.5, 2.5).tolist()
    stretch = 1 + conditions.distance * error[2]
    return replace(
        shot,
        source_to_detector=shot.source_to_detector * stretch,
        source_to_patient=shot.source_to_detector * stretch
        - (shot.source_to_detector - shot.source_to_patient),
        primary_deg=shot.primary_deg + conditions.angle_deg * error[0],
        secondary_deg=shot.secondary_deg + conditions.angle_deg * error[1],
    )


def _shadows(whole: Tensor, view: View, cut: Cut) -> Tensor:
    """(T, H / 2, W / 2) bool: those of a piece of the radiograph of `view`, out of its own."""
    everywhere = np.ones(whole.shape[1:], np.bool_)
    size, half = cut.size // 2, binned(view, 2)
    pieces = [
        framed(bone.float().numpy(), everywhere, half, cube_mm=cut.cube_mm, size=size)[0]
        for bone in whole
    ]
    return torch.stack(pieces) > 0.5


def _chosen(
    scene: Simulated, chance: float, conditions: Conditions, generator: torch.Generator
) -> list[int]:
    """Which shots of a scene are given; how many is decided by `chance`."""
    which = float(torch.rand(1, generator=generator))
    count = len(scene.shots)
    if chance < conditions.one_view:
        return [int(which * count)]
    if chance < conditions.one_view + conditions.three_views:
        return list(range(count))
    return [0, 1] if which < 0.75 or count < 3 else [int(which > 0.875), 2]
