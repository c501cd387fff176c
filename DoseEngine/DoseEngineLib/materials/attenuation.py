"""Photon attenuation and stopping power of materials from NIST's tables, and what a mass density is made of."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources

import numpy as np
from scipy.interpolate import CubicSpline

from DoseEngineLib.errors import MachineError

# What a voxel of a CT is taken to be made of, by mass density in g/cm3; linear between the neighbours.
DENSITY_SCALE = ((1.05, "water"), (1.85, "bone_cortical_icrp"), (4.54, "titanium"), (7.874, "iron"))


@lru_cache(maxsize=16)
def _table(material: str) -> dict:
    text = resources.files("DoseEngineLib").joinpath("materials", f"{material}.json").read_text(encoding="utf-8")
    return json.loads(text)


@lru_cache(maxsize=32)
def _spline(material: str, quantity: str) -> tuple[CubicSpline, float, float]:
    table = _table(material)
    energy = np.array(table["energy_MeV"])
    return CubicSpline(np.log(energy), np.log(table[quantity])), float(energy[0]), float(energy[-1])


def _coefficient(material: str, quantity: str, energy_MeV: np.ndarray) -> np.ndarray:
    spline, low, high = _spline(material, quantity)
    energy = np.asarray(energy_MeV, dtype=float)
    if energy.size and (energy.min() < low or energy.max() > high):
        raise MachineError(f"Photon energies must lie in {low:g}..{high:g} MeV.")
    return np.exp(spline(np.log(energy)))


def mass_attenuation_cm2_g(energy_MeV: np.ndarray, material: str = "water") -> np.ndarray:
    """Mass attenuation coefficient, with coherent scattering, in cm2/g (NIST SRD 126, log-log cubic)."""
    return _coefficient(material, "mass_attenuation", energy_MeV)


def mass_energy_absorption_cm2_g(energy_MeV: np.ndarray, material: str = "water") -> np.ndarray:
    """Mass energy-absorption coefficient in cm2/g (NIST SRD 126, log-log cubic)."""
    return _coefficient(material, "mass_energy_absorption", energy_MeV)


def _by_density(density_g_cm3: np.ndarray, values: list[np.ndarray]) -> np.ndarray:
    """Interpolate values (one an entry of `DENSITY_SCALE`) to densities (n,): (n, ...)."""
    knots = np.array([density for density, _ in DENSITY_SCALE])
    at = np.interp(density_g_cm3, knots, np.arange(knots.size))
    low = np.minimum(at.astype(int), knots.size - 2)
    share = (at - low).reshape(-1, *([1] * np.ndim(values[0])))
    stacked = np.array(values)
    return stacked[low] * (1 - share) + stacked[low + 1] * share


def mass_attenuation_by_density_cm2_g(density_g_cm3: np.ndarray, energy_MeV: np.ndarray) -> np.ndarray:
    """Mass attenuation (n, e) in cm2/g of what mass densities (n,) stand for on `DENSITY_SCALE`."""
    return _by_density(
        np.asarray(density_g_cm3, float),
        [mass_attenuation_cm2_g(np.asarray(energy_MeV), material) for _, material in DENSITY_SCALE],
    )


def water_to_medium_stopping_ratio(density_g_cm3: np.ndarray) -> np.ndarray:
    """Collision stopping power of water over that of what densities (n,) stand for, electrons of 1 MeV (NIST ESTAR)."""
    water = _table("water")["collision_stopping_1MeV"]
    ratios = [np.array(water / _table(material)["collision_stopping_1MeV"]) for _, material in DENSITY_SCALE]
    return _by_density(np.asarray(density_g_cm3, float), ratios)
