"""From where simulated exposures are taken, of a region or of a larger one that it lies within."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from pipeline.camera import camera
from pipeline.models.framing import FIELD
from pipeline.projection import shifted
from pipeline.training.regions import WITHIN, Region, Triple, region_named
from pipeline.types import View, ViewName

BESIDE_MM = 15.0
"""Deviation of the tube from its place before the isocentre; never beyond twice that."""
FINER = 1.5
"""Pixels of a radiograph of a larger region along each of those of one of the region alone."""
FRONTAL = (ViewName.AP, ViewName.PA)
LATERAL = (ViewName.LL, ViewName.RL)


@dataclass(frozen=True, slots=True)
class Shot:
    """Where a simulated exposure was taken from."""

    name: ViewName
    source_to_detector: float
    source_to_patient: float
    primary_deg: float
    secondary_deg: float
    spacing: float
    """mm at the detector."""
    is_alone: bool
    """The other leg is out of the way."""
    along: float = 0.0
    """mm by which the tube stands beside the isocentre, in the direction of the rows."""
    down: float = 0.0
    """And in that of the columns."""
    isocentre: Triple = (0.0, 0.0, 0.0)
    """mm, x y z, from the middle of the cube: elsewhere in a radiograph of a larger region."""

    def camera(self, size: int) -> View:
        """The camera of this exposure, of `size` rows and columns, about the isocentre's image."""
        central = camera(
            self.name,
            source_to_detector=self.source_to_detector,
            source_to_patient=self.source_to_patient,
            row_spacing=self.spacing,
            column_spacing=self.spacing,
            rows=size,
            columns=size,
            primary_deg=self.primary_deg,
            secondary_deg=self.secondary_deg,
        )
        beside = np.array([self.along, self.down])
        shift, offset = np.zeros((4, 4)), np.zeros((4, 4))
        shift[:3, 3] = central.patient_from_detector[:3, :2] @ beside
        # the principal point moves with the tube, the image stays where the isocentre is seen
        offset[:2, 3] = -beside * self.source_to_detector / self.source_to_patient
        return replace(
            central,
            source=central.source + shift[:3, 3],
            patient_from_detector=central.patient_from_detector + shift,
            detector_from_index=central.detector_from_index + offset,
        )

    def about_cube(self, size: int) -> View:
        """The same camera, about the middle of the cube."""
        return shifted(self.camera(size), self.isocentre)


def draw_shots(cube_mm: float, size: int, generator: torch.Generator) -> tuple[Shot, ...]:
    """A frontal view, a lateral one, and one from any direction, about as large as `FIELD`."""
    u = torch.rand(12, generator=generator).tolist()
    turns = (torch.randn(6, generator=generator).clamp(-2, 2) * 7).tolist()
    beside = (torch.randn(6, generator=generator).clamp(-2, 2) * BESIDE_MM).tolist()
    shots = []
    for number, names in enumerate((FRONTAL, LATERAL, FRONTAL + LATERAL)):
        chance, distance, gap, zoom = u[4 * number : 4 * number + 4]
        name = names[int(chance * len(names))]
        wide = 6.0 if number == 2 else 1.0
        sid = 900 + 900 * distance
        sod = sid * (1 - 0.11 - 0.19 * gap)
        shots.append(
            Shot(
                name=name,
                source_to_detector=sid,
                source_to_patient=sod,
                primary_deg=float(np.clip(turns[2 * number] * wide, -44, 44)),
                secondary_deg=turns[2 * number + 1],
                spacing=cube_mm * FIELD * sid / sod / size * (0.88 + 0.24 * zoom),
                is_alone=number > 0 and chance * 8 % 2 < 1,
                along=beside[2 * number],
                down=beside[2 * number + 1],
            )
        )
    return tuple(shots)


def draw_wider(region: Region, size: int, generator: torch.Generator) -> tuple[Shot, ...]:
    """The same of the larger region that `region` lies within: its radiographs show that one."""
    wider = region_named(WITHIN[region.name].region)
    x, y, z = (own - its for own, its in zip(region.pivot, wider.pivot, strict=True))
    shots = draw_shots(wider.cube_mm, size, generator)
    return tuple(replace(shot, isocentre=(x, y, z)) for shot in shots)
