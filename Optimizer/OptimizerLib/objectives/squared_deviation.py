"""Squared deviation from a dose level, for targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from OptimizerLib.objectives.objective import DoseLevelObjective


@dataclass(frozen=True)
class SquaredDeviation(DoseLevelObjective):
    """``weight * mean((D - dose_Gy)**2)``, in weight times Gy^2."""

    def value(self, dose_Gy: np.ndarray) -> float:
        """Value; see `Objective.value`."""
        return self.weight * self._mean((dose_Gy - self.dose_Gy) ** 2)

    def gradient(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Gradient; see `Objective.gradient`."""
        return (2.0 * self.weight * self._shares(dose_Gy)) * (dose_Gy - self.dose_Gy)
