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
        return self.weight * self._mean(np.maximum(self.dose_Gy - dose_Gy, 0.0) ** 2)

    def gradient(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Gradient; see `Objective.gradient`."""
        return (-2.0 * self.weight * self._shares(dose_Gy)) * np.maximum(self.dose_Gy - dose_Gy, 0.0)

    def value_and_gradient(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        """Both; see `Objective.value_and_gradient`."""
        missed = np.maximum(self.dose_Gy - dose_Gy, 0.0)
        return self.weight * self._mean(missed**2), (-2.0 * self.weight * self._shares(dose_Gy)) * missed
