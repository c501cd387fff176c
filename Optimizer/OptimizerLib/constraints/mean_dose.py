"""Limits on the mean dose of a structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from OptimizerLib.constraints.constraint import Constraint


@dataclass(frozen=True)
class MaxMean(Constraint):
    """A mean dose not above ``dose_Gy`` (m = 1)."""

    def excess_Gy(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Excess; see `Constraint.excess_Gy`."""
        return np.array([self._mean(dose_Gy) - self.dose_Gy])

    def pullback(self, dose_Gy: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Gradient; see `Constraint.pullback`."""
        return np.full(dose_Gy.shape, float(multipliers[0]) * self._shares(dose_Gy))


@dataclass(frozen=True)
class MinMean(Constraint):
    """A mean dose not below ``dose_Gy`` (m = 1)."""

    def excess_Gy(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Shortfall; see `Constraint.excess_Gy`."""
        return np.array([self.dose_Gy - self._mean(dose_Gy)])

    def pullback(self, dose_Gy: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Gradient; see `Constraint.pullback`."""
        return np.full(dose_Gy.shape, -float(multipliers[0]) * self._shares(dose_Gy))
