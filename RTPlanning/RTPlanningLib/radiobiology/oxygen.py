"""Oxygen: how much less a dose does in hypoxic tissue, from a map of oxygen partial pressure or of PET uptake.

Sensitivity relative to anoxia, T. Alper and P. Howard-Flanders, Nature 178 (1956) 978:

    OER(p) = (m p + K) / (p + K)

with the partial pressure p in mmHg, the largest enhancement m and K the pressure of half the enhancement.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.radiobiology.physical_range import checked_doses, require_positive


@dataclass(frozen=True)
class OxygenEffect:
    """The oxygen enhancement of sparsely ionizing radiation.

    Attributes
    ----------
    maximum : float
        m, sensitivity in full oxygen over that in anoxia.
    half_maximum_mmHg : float
        K.
    reference_mmHg : float
        Partial pressure at which a dose counts in full; by default unlimited oxygen. Parameters from clinical data hold
        some hypoxia already: for those give the pressure of the tissue that they stand for.
    """

    maximum: float = 3.0
    half_maximum_mmHg: float = 3.0
    reference_mmHg: float = math.inf

    def __post_init__(self) -> None:
        require_positive("Oxygen effect", maximum=self.maximum, half_maximum_mmHg=self.half_maximum_mmHg)
        if self.maximum < 1.0:
            raise EvaluationError(f"Oxygen effect: the enhancement {self.maximum:g} is below 1; oxygen sensitizes.")
        if math.isnan(self.reference_mmHg) or self.reference_mmHg < 0.0:
            raise EvaluationError(
                f"Oxygen effect: the reference pressure {self.reference_mmHg} must be 0 mmHg or more."
            )

    def enhancement(self, pressure_mmHg: np.ndarray | float) -> np.ndarray:
        """Return OER(p), 1 in anoxia and ``maximum`` in full oxygen."""
        pressure = _checked_pressure(pressure_mmHg)
        return (self.maximum * pressure + self.half_maximum_mmHg) / (pressure + self.half_maximum_mmHg)

    def relative_sensitivity(self, pressure_mmHg: np.ndarray | float) -> np.ndarray:
        """Return what a dose is multiplied by: OER(p) over OER at the reference pressure."""
        reference = self.maximum if math.isinf(self.reference_mmHg) else float(self.enhancement(self.reference_mmHg))
        return self.enhancement(pressure_mmHg) / reference

    def effective_dose_Gy(self, dose_Gy: np.ndarray | float, pressure_mmHg: np.ndarray | float) -> np.ndarray:
        """Return the dose at the reference pressure with the same effect, voxel by voxel.

        The enhancement multiplies dose, the same at every dose a fraction, so a BED or TCP follows from the result.

        Parameters
        ----------
        dose_Gy, pressure_mmHg : arrays of the same shape, or one value each
        """
        dose = checked_doses("Oxygen effect", dose_Gy)
        pressure = _checked_pressure(pressure_mmHg)
        if dose.ndim and pressure.ndim and dose.shape != pressure.shape:
            raise EvaluationError(
                f"Oxygen effect: the dose's shape {dose.shape} is not the oxygen map's {pressure.shape}; resample one."
            )
        return dose * self.relative_sensitivity(pressure)


class UptakeConversion(Protocol):
    """What turns the uptake of a hypoxia tracer into an oxygen partial pressure."""

    def pressure_mmHg(self, uptake: np.ndarray) -> np.ndarray:
        """Return the partial pressure of every voxel in mmHg."""


@dataclass(frozen=True)
class BindingConversion:
    """Tracer that binds in proportion to K / (p + K), as nitroimidazoles do.

    For 18F-misonidazole K is 1.4 mmHg (95 % confidence 0.3 to 2.6; D. R. Warren and M. Partridge, Phys. Med. Biol. 61
    (2016) 8596). It is a relation of cells; a PET voxel averages over many of them, and over blood and necrosis, so
    what comes out is a guess of the order of the pressure.

    Attributes
    ----------
    anoxic_uptake : float
        Uptake (SUV, ratio to blood, ...) without any oxygen. Uptakes above it count as anoxic.
    oxic_uptake : float
        Uptake in full oxygen: unbound tracer.
    half_maximum_mmHg : float
    highest_mmHg : float
        Pressure that voxels with no more than the oxic uptake get.
    """

    anoxic_uptake: float
    oxic_uptake: float = 0.0
    half_maximum_mmHg: float = 1.4
    highest_mmHg: float = 60.0

    def __post_init__(self) -> None:
        require_positive(
            "Uptake conversion",
            anoxic_uptake=self.anoxic_uptake,
            half_maximum_mmHg=self.half_maximum_mmHg,
            highest_mmHg=self.highest_mmHg,
        )
        if not 0.0 <= self.oxic_uptake < self.anoxic_uptake:
            raise EvaluationError(
                f"Uptake conversion: the oxic uptake {self.oxic_uptake} must be 0 or more and below the anoxic uptake "
                f"{self.anoxic_uptake}."
            )

    def pressure_mmHg(self, uptake: np.ndarray) -> np.ndarray:
        """Return the partial pressure in mmHg, between 0 and ``highest_mmHg``."""
        bound = (_checked_uptake(uptake) - self.oxic_uptake) / (self.anoxic_uptake - self.oxic_uptake)
        least = self.half_maximum_mmHg / (self.highest_mmHg + self.half_maximum_mmHg)
        return self.half_maximum_mmHg * (1.0 / np.clip(bound, least, 1.0) - 1.0)


@dataclass(frozen=True)
class LinearConversion:
    """A straight line through two points that the user sets, held between their pressures.

    Attributes
    ----------
    low_uptake, pressure_at_low_mmHg : float
    high_uptake, pressure_at_high_mmHg : float
    """

    low_uptake: float
    pressure_at_low_mmHg: float
    high_uptake: float
    pressure_at_high_mmHg: float

    def __post_init__(self) -> None:
        for name, value in (("low_uptake", self.low_uptake), ("high_uptake", self.high_uptake)):
            if not math.isfinite(value) or value < 0.0:
                raise EvaluationError(f"Uptake conversion: {name} must be finite and 0 or more; got {value}.")
        if self.low_uptake >= self.high_uptake:
            raise EvaluationError(
                f"Uptake conversion: low_uptake {self.low_uptake} must be below high_uptake {self.high_uptake}."
            )
        _checked_pressure(np.array([self.pressure_at_low_mmHg, self.pressure_at_high_mmHg]))

    def pressure_mmHg(self, uptake: np.ndarray) -> np.ndarray:
        """Return the partial pressure in mmHg."""
        return np.interp(
            _checked_uptake(uptake),
            (self.low_uptake, self.high_uptake),
            (self.pressure_at_low_mmHg, self.pressure_at_high_mmHg),
        )


def _checked_pressure(pressure_mmHg: np.ndarray | float) -> np.ndarray:
    pressure = np.asarray(pressure_mmHg, dtype=np.float64)
    if not np.isfinite(pressure).all() or (pressure < 0.0).any():
        raise EvaluationError("Oxygen partial pressures must be finite and 0 mmHg or more; repair the oxygen map.")
    return pressure


def _checked_uptake(uptake: np.ndarray) -> np.ndarray:
    values = np.asarray(uptake, dtype=np.float64)
    if not np.isfinite(values).all() or (values < 0.0).any():
        raise EvaluationError("Uptakes must be finite and 0 or more; repair the PET image.")
    return values
