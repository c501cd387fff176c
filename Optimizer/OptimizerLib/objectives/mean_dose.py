"""Mean dose, for organs that work in parallel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from OptimizerLib.objectives.objective import Objective


@dataclass(frozen=True)
class MeanDose(Objective):
    """``weight * mean(D)``, in weight times Gy.

    Attributes
    ----------
    weight : float
        Importance relative to the other objectives, per Gy.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        self._check(weight=self.weight)

    def value(self, dose_Gy: np.ndarray) -> float:
        """Value; see `Objective.value`."""
        return self.weight * self._mean(dose_Gy)

    def gradient(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Gradient; see `Objective.gradient`."""
        return np.full(dose_Gy.shape, self.weight * self._shares(dose_Gy))
