"""What attenuates X-rays in a radiograph, and how much at which energy.

Mass attenuation coefficients with coherent scattering are those of NIST (Hubbell and Seltzer,
NISTIR 5632, tables 3 and 4; tissues as ICRU Report 44 composes them), interpolated as there
between logarithms, with a pair of values at an absorption edge. The cobalt-chromium alloy is the
mixture of its elements as ISO 5832-4 has them (66 % Co, 28 % Cr, 6 % Mo). Between about 20 and
60 keV bone and metal attenuate more per gram the lower the energy, soft tissue much less so: that
is what hardens a beam, and what makes bone light at 60 kV and pale at 120 kV.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pipeline.types import Float

LOWEST_KEV, HIGHEST_KEV, BAND_KEV = 15.0, 150.0, 5.0
"""Below, nothing passes the tube's own filter; above, no tube of radiography reaches."""
ENERGIES_KEV: Final = np.arange(LOWEST_KEV + BAND_KEV / 2, HIGHEST_KEV, BAND_KEV)
"""Middles of the bands that spectra and attenuations are given on, (27,)."""


class Material(StrEnum):
    """A substance whose length along each ray makes a radiograph."""

    CORTICAL_BONE = "cortical bone"
    SOFT_TISSUE = "soft tissue"
    """Skeletal muscle of ICRU 44; organs and red marrow differ from it by a few percent."""
    FAT = "fat"
    """Adipose tissue, and yellow marrow."""
    WATER = "water"
    ALUMINIUM = "aluminium"
    TITANIUM = "titanium"
    STEEL = "steel"
    """As iron: chromium and nickel beside it differ little, and in opposite senses."""
    COBALT_CHROME = "cobalt-chrome"
    COPPER = "copper"
    CAESIUM_IODIDE = "caesium iodide"
    TUNGSTEN = "tungsten"
    LEAD = "lead"


@dataclass(frozen=True, slots=True)
class _Substance:
    density: float
    """g/cm3."""
    coefficients: tuple[float, ...]
    """cm2/g at `_TABLED`, both sides of each edge inserted."""
    edges: tuple[float, ...] = ()
    """keV, each with two of the coefficients."""


_TABLED: Final = (15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0)
_SUBSTANCES: Final = {
    Material.CORTICAL_BONE: _Substance(
        1.92, (9.032, 4.001, 1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480)
    ),
    Material.SOFT_TISSUE: _Substance(
        1.05, (1.693, 0.8205, 0.3783, 0.2685, 0.2262, 0.2048, 0.1823, 0.1693, 0.1492)
    ),
    Material.FAT: _Substance(
        0.95, (1.083, 0.5677, 0.3063, 0.2396, 0.2123, 0.1974, 0.1800, 0.1688, 0.1500)
    ),
    Material.WATER: _Substance(
        1.00, (1.673, 0.8096, 0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505)
    ),
    Material.ALUMINIUM: _Substance(
        2.699, (7.955, 3.441, 1.128, 0.5685, 0.3681, 0.2778, 0.2018, 0.1704, 0.1378)
    ),
    Material.TITANIUM: _Substance(
        4.54, (35.87, 15.85, 4.972, 2.214, 1.213, 0.7661, 0.4052, 0.2721, 0.1649)
    ),
    Material.STEEL: _Substance(
        7.874, (57.08, 25.68, 8.176, 3.629, 1.958, 1.205, 0.5952, 0.3717, 0.1964)
    ),
    Material.COBALT_CHROME: _Substance(
        8.30, (55.44, 28.78, 9.403, 4.203, 2.272, 1.394, 0.6784, 0.4151, 0.2088)
    ),
    Material.COPPER: _Substance(
        8.96, (74.05, 33.79, 10.92, 4.862, 2.613, 1.593, 0.7630, 0.4584, 0.2217)
    ),
    Material.CAESIUM_IODIDE: _Substance(
        4.51,
        (58.16, 26.82, 9.047, 6.927, 21.20, 17.20, 30.23, 22.97, 12.87, 7.921, 3.677, 2.035, 0.729),
        edges=(33.17, 35.98),
    ),
    Material.TUNGSTEN: _Substance(
        19.3,
        (138.9, 65.73, 22.73, 10.67, 5.949, 3.713, 2.552, 11.23, 7.810, 4.438, 1.581),
        edges=(69.525,),
    ),
    Material.LEAD: _Substance(
        11.35,
        (111.6, 86.36, 30.32, 14.36, 8.041, 5.021, 2.419, 1.910, 7.683, 5.549, 2.014),
        edges=(88.005,),
    ),
}


def density_of(material: Material) -> float:
    """g/cm3."""
    return _SUBSTANCES[material].density


def mass_attenuation(material: Material, energies_kev: Float) -> Float:
    """cm2/g at energies from 15 to 150 keV.

    Raises:
        ValueError: an energy lies outside the table.
    """
    energies = np.asarray(energies_kev, np.float64)
    if energies.size and (energies.min() < LOWEST_KEV or energies.max() > HIGHEST_KEV):
        raise ValueError(f"attenuation is tabled from {LOWEST_KEV:g} to {HIGHEST_KEV:g} keV")
    substance = _SUBSTANCES[material]
    below = [edge * (1 - 1e-9) for edge in substance.edges]
    tabled = np.array(sorted((*_TABLED, *below, *substance.edges)))
    logarithms: Float = np.interp(
        np.log(energies), np.log(tabled), np.log(np.array(substance.coefficients))
    )
    return np.exp(logarithms)


def linear_attenuation(materials: Sequence[Material], energies_kev: Float = ENERGIES_KEV) -> Tensor:
    """(M, E) float32, 1/mm, at full density."""
    per_cm = [mass_attenuation(m, energies_kev) * density_of(m) for m in materials]
    return torch.from_numpy(np.stack(per_cm) / 10).float()
