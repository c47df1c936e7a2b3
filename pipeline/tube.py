"""The spectrum of an X-ray tube with a tungsten anode, as a detector counts it.

Electrons slow down in the anode; at each energy on their way they give off photons, which pass
the tungsten above them, and then the filter (the thick target of Birch and Marshall 1979, Phys.
Med. Biol. 24:505, with their polynomial for tungsten). Above 69.5 kV the four K lines are added.
The constant of the slowing down and the strength of the lines were set once against SpekPy 2.5.4:
from 50 to 125 kV the mean energy agrees within 0.5 keV and half value layers within 5 %.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import torch
from torch import Tensor

from pipeline.materials import (
    BAND_KEV,
    ENERGIES_KEV,
    HIGHEST_KEV,
    LOWEST_KEV,
    Material,
    density_of,
    mass_attenuation,
)
from pipeline.types import Float

SLOWING_DOWN = 1.0e6
"""keV2 cm2/g: the square of the energy that is lost on the way, Thomson and Whiddington's law."""
BRIGHTNESS: Final = (0.503, -0.946, 0.155, 1.163, -0.682)
"""Photons of energy E by electrons of energy T: coefficients of powers of E / T (ibid.)."""
K_EDGE = 69.525
K_LINES: Final = ((57.98, 0.294), (59.32, 0.505), (67.2, 0.165), (69.1, 0.036))
"""keV and share of each line."""
LINE_STRENGTH, LINE_GROWTH = 0.1, 1.63
"""All lines over the continuum, per (kV / K edge - 1) to that power (Green and Cosslett 1968)."""
STEPS = 200
"""Of the slowing down."""


def spectrum(
    kvp: float,
    *,
    aluminium_mm: float = 3.0,
    copper_mm: float = 0.0,
    anode_deg: float = 12.0,
    scintillator_mm: float = 0.5,
) -> Tensor:
    """Shares of the detector's signal in the bands of `ENERGIES_KEV`, without a patient; sum 1.

    The detector adds up energy: each photon that its caesium iodide stops counts by its energy.

    Args:
        kvp: Peak voltage, 30 to 150 kV.
        aluminium_mm: All filtration of the tube together; IEC 60601-1-3 asks for 2.5 and more.
        copper_mm: Filtration in addition.
        anode_deg: Between the surface of the anode and the central ray.
        scintillator_mm: Caesium iodide at full density; 0 weighs photons by their energy alone.

    Returns:
        (E,) float32.

    Raises:
        ValueError: no tube has that voltage.
    """
    energies = np.arange(LOWEST_KEV + 0.5, HIGHEST_KEV)
    signal = energies * photons(kvp, aluminium_mm, copper_mm, anode_deg)
    if scintillator_mm > 0:
        signal *= -np.expm1(-_optical_depth(Material.CAESIUM_IODIDE, scintillator_mm, energies))
    bands = signal.reshape(len(ENERGIES_KEV), round(BAND_KEV)).sum(axis=1)
    return torch.from_numpy(bands / bands.sum()).float()


def photons(
    kvp: float, aluminium_mm: float = 3.0, copper_mm: float = 0.0, anode_deg: float = 12.0
) -> Float:
    """Photons in each keV from 15.5 to 149.5, behind the filter, in arbitrary units."""
    if not 30 <= kvp <= HIGHEST_KEV:
        raise ValueError(f"{kvp:g} kV is not a voltage of radiography")
    energies = np.arange(LOWEST_KEV + 0.5, HIGHEST_KEV)
    slant = 1 / math.tan(math.radians(anode_deg))
    emitted = _continuum(energies, kvp, slant)
    if kvp > K_EDGE:
        strength = LINE_STRENGTH * emitted.sum() * (kvp / K_EDGE - 1) ** LINE_GROWTH
        depth = 0.2 * kvp**2 / SLOWING_DOWN
        for kev, share in K_LINES:
            passed = np.exp(-mass_attenuation(Material.TUNGSTEN, np.array([kev])) * depth * slant)
            emitted[int(kev - LOWEST_KEV)] += strength * share * passed[0]
    filters = ((Material.ALUMINIUM, aluminium_mm), (Material.COPPER, copper_mm))
    depths = sum(_optical_depth(material, mm, energies) for material, mm in filters)
    filtered: Float = emitted * np.exp(-depths)
    return filtered


def _continuum(energies: Float, kvp: float, slant: float) -> Float:
    """The integral over the energies T of the electrons, from the photon's own up to `kvp`."""
    span = np.clip(kvp - energies, 0, None)
    electrons = energies[:, None] + span[:, None] * (np.arange(STEPS) + 0.5) / STEPS
    depth = (kvp**2 - electrons**2) / SLOWING_DOWN
    passed = np.exp(-mass_attenuation(Material.TUNGSTEN, energies)[:, None] * depth * slant)
    brightness = np.polynomial.Polynomial(BRIGHTNESS)(energies[:, None] / electrons)
    emitted: Float = (brightness * np.where(depth > 0, passed, 0)).mean(axis=1) * span / energies
    return emitted


def _optical_depth(material: Material, mm: float, energies: Float) -> Float:
    depth: Float = mass_attenuation(material, energies) * density_of(material) * mm / 10
    return depth
