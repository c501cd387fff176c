"""Limits on the generalized equivalent uniform dose of a structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from OptimizerLib.constraints.constraint import Constraint
from OptimizerLib.objectives.equivalent_uniform_dose import check_exponent, eud_and_gradient


@dataclass(frozen=True)
class MaxEUD(Constraint):
    """A gEUD not above ``dose_Gy`` (m = 1).

    Attributes
    ----------
    a : float
        1 or more.
    """

    a: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_exponent(self, self.a, "above")

    def excess_Gy(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Excess; see `Constraint.excess_Gy`."""
        return np.array([eud_and_gradient(dose_Gy, self.a, self._shares(dose_Gy))[0] - self.dose_Gy])

    def pullback(self, dose_Gy: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Gradient; see `Constraint.pullback`."""
        return float(multipliers[0]) * eud_and_gradient(dose_Gy, self.a, self._shares(dose_Gy))[1]


@dataclass(frozen=True)
class MinEUD(Constraint):
    """A gEUD not below ``dose_Gy`` (m = 1).

    Attributes
    ----------
    a : float
        1 or less, not zero.
    """

    a: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_exponent(self, self.a, "below")

    def excess_Gy(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Shortfall; see `Constraint.excess_Gy`."""
        return np.array([self.dose_Gy - eud_and_gradient(dose_Gy, self.a, self._shares(dose_Gy))[0]])

    def pullback(self, dose_Gy: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Gradient; see `Constraint.pullback`."""
        return -float(multipliers[0]) * eud_and_gradient(dose_Gy, self.a, self._shares(dose_Gy))[1]
