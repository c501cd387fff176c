"""Fluence in few levels: the total variation between neighbouring bixels, smoothed.

Unlike a quadratic term it does not round the edges that a plan needs; it takes away those it does not need, and with
them segments and MU (Zhu et al., Phys. Med. Biol. 53 (2008) 6653).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives.fluence_term import FluenceTerm


@dataclass(frozen=True, eq=False)
class FluenceTotalVariation(FluenceTerm):
    """``weight * mean(sqrt((w1 - w2)**2 + s**2) - s)`` over neighbouring bixels, in weight times MU.

    The smoothing takes up to s off the absolute difference of each pair.

    Attributes
    ----------
    softness_MU : float
        The s above: differences well below it are not told from none.
    """

    softness_MU: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (np.isfinite(self.softness_MU) and self.softness_MU > 0.0):
            raise OptimizationError(
                f"FluenceTotalVariation: softness_MU must be positive; got {self.softness_MU!r}. 0.05 is usual."
            )

    def value(self, weights: np.ndarray) -> float:
        """Value; see `FluenceTerm.value`."""
        return self.weight * float(np.mean(np.hypot(self._differences(weights), self.softness_MU) - self.softness_MU))

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """Gradient; see `FluenceTerm.gradient`."""
        differences = self._differences(weights)
        slopes = differences / np.hypot(differences, self.softness_MU)
        return self._scatter(self.weight / len(self.neighbours) * slopes, weights)
