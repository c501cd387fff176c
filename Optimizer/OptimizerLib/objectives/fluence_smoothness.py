"""Fluence without jumps: the squared difference of neighbouring bixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from OptimizerLib.objectives.fluence_term import FluenceTerm


@dataclass(frozen=True, eq=False)
class FluenceSmoothness(FluenceTerm):
    """``weight * mean((w1 - w2)**2)`` over neighbouring bixels, in weight times MU^2; rounds every edge."""

    def value(self, weights: np.ndarray) -> float:
        """Value; see `FluenceTerm.value`."""
        return self.weight * float(np.mean(self._differences(weights) ** 2))

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """Gradient; see `FluenceTerm.gradient`."""
        return self._scatter(2.0 * self.weight / len(self.neighbours) * self._differences(weights), weights)
