"""How a radiograph was taken: from lengths of materials to the signal of the detector.

`Acquisition` holds what a technician sets and what the room is like, `drawn` draws one from the
spread of ordinary rooms, and `acquired` is the chain of `physics` under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.beam import Beam, pitches, source_to_detectors, source_to_isocentres
from pipeline.materials import Material
from pipeline.physics import blurred, counted, focus_sigma, scattered, transmitted
from pipeline.tube import spectrum


@dataclass(frozen=True, slots=True)
class Acquisition:
    """The settings of one exposure; the defaults are those of a hip with a grid."""

    kvp: float = 75.0
    aluminium_mm: float = 3.0
    copper_mm: float = 0.0
    photons: float = 3e4
    """Counted in a pixel of the open beam. Behind a hip that passes a twentieth these are 1.5e3:
    2.5 uGy on 0.15 mm, at 3.0e4 per mm2 and uGy (IEC 62220-1, RQA5)."""
    scatter_ratio: float = 0.8
    """Over the primary signal, behind the patient; see `physics.scattered`."""
    scatter_reach_mm: float = 60.0
    focus_mm: float = 1.0
    """Full width at half maximum; 0.3 to 2."""
    detector_blur_mm: float = 0.12
    """Standard deviation: MTF 0.5 at 1.5 per mm, as of caesium iodide of 0.5 mm."""


def drawn(generator: torch.Generator) -> Acquisition:
    """An exposure as it might have been taken: any tube, dose, grid and detector in use."""
    u = torch.rand(8, generator=generator).tolist()
    return Acquisition(
        kvp=55 + 55 * u[0],
        aluminium_mm=2.5 + 2 * u[1],
        copper_mm=0.1 if u[2] < 0.25 else 0.0,
        photons=10 ** (3.3 + 1.7 * u[3]),
        scatter_ratio=2.0 * u[4] ** 1.5,
        scatter_reach_mm=35 + 60 * u[5],
        focus_mm=0.4 + 1.4 * u[6],
        detector_blur_mm=0.05 + 0.2 * u[7],
    )


def acquired(
    lengths: Tensor,
    materials: Sequence[Material],
    beams: Beam,
    acquisitions: Sequence[Acquisition],
    generator: torch.Generator | None,
    *,
    light: Tensor | None = None,
) -> Tensor:
    """Signals (N, H, W) in shares of the open beam, float32.

    Args:
        lengths: (N, M, H, W) mm of each material along each ray.
        materials: M, in their order.
        beams: N, from which the lengths were taken.
        acquisitions: N settings.
        generator: Of the noise, on the device of the lengths; None for the expectation.
        light: (N, H, W) of `presentation.collimated`; by default everything.

    Raises:
        ValueError: the numbers of beams, lengths and settings differ.
    """
    if not len(lengths) == len(beams.source) == len(acquisitions):
        raise ValueError(
            f"{len(lengths)} lengths, {len(beams.source)} beams, {len(acquisitions)} settings"
        )

    def each(name: str) -> Tensor:
        return torch.tensor([getattr(a, name) for a in acquisitions]).to(lengths)

    tubes = torch.stack(
        [spectrum(a.kvp, aluminium_mm=a.aluminium_mm, copper_mm=a.copper_mm) for a in acquisitions]
    )
    pitch = pitches(beams).detach().to(lengths)
    sid, sod = (
        distance(beams).detach().to(lengths)
        for distance in (source_to_detectors, source_to_isocentres)
    )
    penumbra = focus_sigma(each("focus_mm"), sid, sod)
    transmission = blurred(transmitted(lengths, materials, tubes), penumbra / pitch)
    scatter = scattered(
        transmission, each("scatter_ratio"), each("scatter_reach_mm") / pitch, light=light
    )
    signal = (transmission if light is None else transmission * light) + scatter
    if generator is not None:
        signal = counted(signal, each("photons"), generator)
    return blurred(signal, each("detector_blur_mm") / pitch)
