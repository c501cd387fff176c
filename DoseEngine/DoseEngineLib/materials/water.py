"""Photon attenuation of water from NIST's tables."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib import resources

import numpy as np
from scipy.interpolate import CubicSpline

from DoseEngineLib.errors import MachineError


@lru_cache(maxsize=1)
def _table() -> dict[str, object]:
    return json.loads(resources.files("DoseEngineLib").joinpath("materials", "water.json").read_text(encoding="utf-8"))


@lru_cache(maxsize=2)
def _spline(quantity: str) -> tuple[CubicSpline, float, float]:
    energy = np.array(_table()["energy_MeV"])
    return CubicSpline(np.log(energy), np.log(_table()[quantity])), float(energy[0]), float(energy[-1])


def _coefficient(quantity: str, energy_MeV: np.ndarray) -> np.ndarray:
    spline, low, high = _spline(quantity)
    energy = np.asarray(energy_MeV, dtype=float)
    if energy.size and (energy.min() < low or energy.max() > high):
        raise MachineError(f"Photon energies must lie in {low:g}..{high:g} MeV.")
    return np.exp(spline(np.log(energy)))


def mass_attenuation_cm2_g(energy_MeV: np.ndarray) -> np.ndarray:
    """Mass attenuation coefficient of water, with coherent scattering, in cm2/g (NIST SRD 126, log-log cubic)."""
    return _coefficient("mass_attenuation", energy_MeV)


def mass_energy_absorption_cm2_g(energy_MeV: np.ndarray) -> np.ndarray:
    """Mass energy-absorption coefficient of water in cm2/g (NIST SRD 126, log-log cubic)."""
    return _coefficient("mass_energy_absorption", energy_MeV)
