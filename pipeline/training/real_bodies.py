"""The body of a real person in a patient of training: muscles, organs, fat and skin.

It is another person's than the bones. It stands about the bones as far as the radiographs tell:
their borders lie where its own bones end, in height and turn it stands as hips usually do. So what
the muscles tell of the bones is right to a centimetre, as it is between people. How much fat is in
muscles, between organs and under the skin is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import torch
from torch import Tensor

from pipeline.beam import beam
from pipeline.models.framing import FIELD
from pipeline.projection import grid
from pipeline.simulate import line_integrals
from pipeline.training.extents import Extent
from pipeline.training.label_maps import LabelMaps
from pipeline.training.posing import rotation
from pipeline.training.regions import Region
from pipeline.types import View

MUSCLE, ORGANS, BONE = 1, 2, 3
"""Numbers in the archive; what is above are layers of fat, from the inside."""
LAYER_MM, LAYERS = 4.0, 12
NAMES: Final = (
    "muscle", "organs", "bone", *(f"fat_{LAYER_MM * n:g}_mm" for n in range(1, LAYERS + 1)),
)  # fmt: skip
"""In the archive; layers of fat by how far they reach from what is none."""
LEAN_MUSCLE, LEAN_ORGANS = (0.7, 1.0), (0.3, 0.9)
"""Least and largest share of soft tissue that is no fat."""
FAT_MM = (8.0, 32.0)
"""Under the skin."""
TURN_DEG, SHIFT_MM, SCALE = 3.0, 5.0, 0.05
"""Deviations from how hips usually stand, of what the bones do not tell."""
STRETCH, ASIDE_MM = (0.88, 1.12), 20.0
"""Sizes and shifts that the bones may ask for: a thigh that is drawn aside asks for too much."""
LEAST_SEEN_MM = 60.0
"""Bones that seem to be less deep than this were not seen from the side."""


class RealBody(NamedTuple):
    """A body about one hip, in a right-sided region frame."""

    labels: Tensor
    """(Z, Y, X) uint8, as far as radiographs show it."""
    region_from_index: Tensor
    """(4, 4) float64; voxel centre (k, j, i, 1) to mm."""
    bones: Extent
    """Of its own bones, as radiographs show them."""


class Placed(NamedTuple):
    """A body in a patient, LPS mm about the isocentre."""

    shares: Tensor
    """(2, Z, Y, X) float32, of lean tissue and of fat."""
    patient_from_index: Tensor
    """(4, 4) float64."""


def load(
    path: Path, region: Region, folds: Sequence[int], *, is_judged: bool = False
) -> tuple[RealBody, ...]:
    """The bodies of all people who are not judged in `folds`; of no fold, of all.

    Args:
        path: What `label_sets --set hip_bodies` wrote.
        region: One about a femoral head.
        folds: Of the run.
        is_judged: Instead those of the people who are.

    Raises:
        ValueError: the archive holds something else, or the region shows no hip.
    """
    if not {"femur", "hip_bone"} <= {*region.targets, *region.neighbours}:
        raise ValueError(f"bodies are known about hips only, not about the {region.name}")
    try:
        maps = LabelMaps.load(path)
    except KeyError as fault:
        raise ValueError(f"{path} is no archive of label maps") from fault
    if maps.names != NAMES:
        raise ValueError(f"{path} holds no bodies about hips but {', '.join(maps.names[:3])}")
    judged = [case for fold in folds for case in maps.judged_in(fold)]
    return tuple(
        body_of(
            torch.from_numpy(maps.labels(case)),
            maps.box_mm[0],
            region.pivot,
            shown_mm=region.cube_mm * FIELD,
        )
        for case in maps.cases
        if (case in judged) is is_judged
    )


def body_of(
    labels: Tensor, edge_mm: float, middle: tuple[float, float, float], *, shown_mm: float
) -> RealBody:
    """The body of the labels of a cube.

    Args:
        labels: (N, N, N) uint8, axes z, y, x.
        edge_mm: Of the cube.
        middle: Of the cube, x y z in the region frame, mm.
        shown_mm: By a radiograph at the isocentre, on each side half.
    """
    region_from_index = torch.from_numpy(grid(edge_mm, len(labels), middle))
    index = (labels == BONE).nonzero().double()
    at = index @ region_from_index[:3, :3].T + region_from_index[:3, 3]
    at = at[(at.abs() < shown_mm / 2).all(dim=-1), :2].float()
    both = torch.cat([torch.zeros(1, 2), at])
    bones = Extent(both.amin(dim=0), both.amax(dim=0))
    body = labels.nonzero()
    # an even number along each axis
    first = body.amin(dim=0) // 2 * 2
    last = body.amax(dim=0) // 2 * 2 + 2
    region_from_index[:3, 3] += region_from_index[:3, :3] @ first.double()
    box = tuple(slice(*ends) for ends in torch.stack([first, last], dim=1).tolist())
    return RealBody(labels[box].contiguous(), region_from_index, bones)


def drawn(people: Sequence[RealBody], share: float, generator: torch.Generator) -> RealBody | None:
    """One of these, in so large a share of all draws; of nobody, none, and nothing is drawn."""
    if not people:
        return None
    chance, which = torch.rand(2, generator=generator).tolist()
    return people[int(which * len(people))] if chance < share else None


def placed(of: RealBody, bones: Extent, generator: torch.Generator) -> Placed:
    """The body about these bones, more or less fat."""
    u = torch.rand(3, generator=generator).tolist()
    normal = torch.randn(7, generator=generator).clamp(-2.5, 2.5)
    patient_from_region = torch.eye(4, dtype=torch.float64)
    scale, shift = _fitted(of.bones, bones)
    turn = rotation(torch.deg2rad(TURN_DEG * normal[:3]).double())
    patient_from_region[:3, :3] = turn * (scale * (1 + SCALE * float(normal[3])))
    patient_from_region[:3, 3] = shift + SHIFT_MM * normal[4:]
    shares = _shares(
        _between(LEAN_MUSCLE, u[0]),
        _between(LEAN_ORGANS, u[1]),
        _between(FAT_MM, u[2]),
    )
    each = shares.index_select(1, of.labels.flatten().int())
    patient_from_index = patient_from_region @ of.region_from_index
    return Placed(each.unflatten(1, of.labels.shape), patient_from_index)


def lengths(of: Placed, seen_by: View) -> Tensor:
    """(2, H, W) mm of lean tissue and of fat along each ray."""
    index_from_patient = torch.linalg.inv(of.patient_from_index[:3, :3])
    along = int((index_from_patient @ torch.from_numpy(seen_by.source)).abs().argmax())
    # voxels twice as long along the rays look the same, and take half of the time
    front, behind = of.shares.unflatten(1 + along, (-1, 2)).unbind(dim=2 + along)
    patient_from_pairs = of.patient_from_index.clone()
    patient_from_pairs[:, 3] += patient_from_pairs[:, along] / 2
    patient_from_pairs[:, along] *= 2
    return line_integrals((front + behind) / 2, patient_from_pairs, beam([seen_by]))[0]


def _fitted(own: Extent, bones: Extent) -> tuple[float, Tensor]:
    """Size and shift (3,) mm that bring the person's own bones where these are, where seen."""
    scale, shift = 1.0, torch.zeros(3)
    seen, known = bones.high - bones.low, own.high - own.low
    is_seen = torch.minimum(seen, known) > LEAST_SEEN_MM
    if is_seen[1]:
        scale = min(max(float(seen[1] / known[1]), STRETCH[0]), STRETCH[1])
        shift[1] = (bones.high[1] + bones.low[1] - scale * (own.high[1] + own.low[1])) / 2
    if is_seen[0]:
        # beyond the midline they reach out of the picture
        shift[0] = bones.low[0] - scale * own.low[0]
    return scale, shift.clamp(-ASIDE_MM, ASIDE_MM)


def _shares(muscle: float, organs: float, fat_mm: float) -> Tensor:
    """(2, 1 + kinds) of lean tissue and of fat in each kind of voxel."""
    lean, whole = torch.zeros(2, 1 + len(NAMES))
    lean[MUSCLE], lean[ORGANS] = muscle, organs
    # nothing should show where the person's own bones were
    lean[BONE] = muscle
    whole[1 : BONE + 1] = 1
    inner = LAYER_MM * torch.arange(LAYERS)
    whole[BONE + 1 :] = ((fat_mm - inner) / LAYER_MM).clamp(0, 1)
    return torch.stack([lean, whole - lean])


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share
