"""Squared dose missing below a level, for target coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from OptimizerLib.objectives.objective import DoseLevelObjective


@dataclass(frozen=True)
class SquaredUnderdose(DoseLevelObjective):
    """``weight * mean(min(D - dose_Gy, 0)**2)``, in weight times Gy^2."""

    def value(self, dose_Gy: np.ndarray) -> float:
        """Value; see `Objective.value`."""
        return self.weight * self._mean(np.minimum(dose_Gy - self.dose_Gy, 0.0) ** 2)

    def gradient(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Gradient; see `Objective.gradient`."""
        return (2.0 * self.weight * self._shares(dose_Gy)) * np.minimum(dose_Gy - self.dose_Gy, 0.0)
