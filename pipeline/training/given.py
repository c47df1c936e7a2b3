"""What an engine is given of a person to be judged, and the networks as such engines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.models.closer import Near, distances_of
from pipeline.models.field import encoded
from pipeline.models.framing import cut_out, seen_in
from pipeline.models.lifting import Lifting, Seen
from pipeline.training.batches import Conditions, radiographs_of, taken_of
from pipeline.training.exposure import Exposure, in_finer_pixels
from pipeline.training.pool import Simulated
from pipeline.training.real_bodies import RealBody
from pipeline.types import Radiograph

FINER = 2
"""Pixels of a radiograph along each of those that a network sees: there is more to be cut out."""


class Given(NamedTuple):
    """One sample of views."""

    seen: Seen
    """As a network of the region sees them."""
    radiographs: tuple[Radiograph, ...]
    """The same, in finer pixels."""
    outlines: Tensor
    """(V, T, H / 2, W / 2) bool, filled, of each true bone in each view, for those that start from
    outlines: a network must not look at it."""
    cubes: Mapping[str, Tensor] = MappingProxyType({})
    """By region: (3,) mm, where the cube of a network of it stands, for those that know no camera;
    as far beside the bone's usual place as in their training."""

    def first(self, views: int) -> Given:
        """The same of the first so many views alone."""
        seen = Seen(*(part[:, :views] for part in self.seen))
        return self._replace(
            seen=seen, radiographs=self.radiographs[:views], outlines=self.outlines[:views]
        )


Reconstruct = Callable[[Given], Tensor]
"""To (T, N, N, N) signed distances over the cube, mm, axes z, y, x; N as the archive, T the bones
that are asked for: those of the region, where an engine does not say otherwise."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One that is compared with others."""

    name: str
    reconstruct: Reconstruct
    bones: tuple[str, ...]
    """Of its channels."""
    parameters: int
    """Numbers that were learned from people."""
    trained: str
    """How long, of how much: whether to its end, or until some minutes were over."""
    refused: Mapping[int, str] = field(default_factory=dict)
    """By the numbers of views that it cannot take: why."""
    remark: str = ""


def given_of(
    simulated: Simulated,
    views: Sequence[int],
    exposure: Exposure,
    *,
    is_told_wrongly: bool,
    outlines: Tensor,
    cube_mm: float,
    generator: torch.Generator,
    bodies: Sequence[RealBody] = (),
) -> Given:
    """These views of a scene that was simulated in `FINER` pixels.

    Args:
        simulated: The scene.
        views: Which of its shots.
        exposure: Of an image as a network sees it.
        is_told_wrongly: The cameras are.
        outlines: As in `Given`.
        cube_mm: Edge of the region's cube.
        generator: Of all that is drawn.
        bodies: Of real people, one of which the patient has; without any, one of closed form.
    """
    taken = taken_of(
        simulated,
        views,
        Conditions(exposure=in_finer_pixels(exposure, FINER), bodies=1.0),
        is_wrong=is_told_wrongly,
        generator=generator,
        bodies=bodies,
    )
    radiographs = radiographs_of(taken)
    size = simulated.thickness.shape[-1] // FINER
    frames = cut_out(radiographs, cube_mm=cube_mm, size=size)
    return Given(seen_in(frames), radiographs, outlines)


def network(net: Lifting, *, size: int, closer: Sequence[Near] = ()) -> Reconstruct:
    """The network as an engine to be judged, asked as a job asks it; `size` is the archive's.

    From two views, `closer` networks look again at bones that it found.
    """

    @torch.no_grad()
    def reconstruct(given: Given) -> Tensor:
        distances, _ = distances_of(encoded(net, given.seen), given.radiographs, closer, size)
        return distances

    return reconstruct
