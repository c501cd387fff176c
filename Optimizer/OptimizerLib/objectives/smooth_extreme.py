"""Maximum and minimum dose made smooth by log-sum-exp, so that they have a gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives.objective import JointObjective


def smooth_maximum(dose_Gy: np.ndarray, softness_Gy: float, shares: np.ndarray | float) -> tuple[float, np.ndarray]:
    """Smoothed maximum ``s log(mean(exp(D / s)))`` and its gradient.

    It is convex, never above the true maximum, and below it by no more than ``s log(V / v)``, where v is the volume at
    the maximum and V the whole: at s = 0.5 Gy a single hot voxel among 10,000 counts 4.6 Gy less than it has, a
    hundredth of the volume 2.3 Gy less.

    Parameters
    ----------
    dose_Gy : (n,) array
    softness_Gy : float
        The s above.
    shares : (n,) array or float
        Part of the volume that each voxel stands for.
    """
    highest = float(dose_Gy.max())
    terms = shares * np.exp((dose_Gy - highest) / softness_Gy)
    total = float(terms.sum())
    return highest + softness_Gy * math.log(total), terms / total


@dataclass(frozen=True)
class _SmoothExtreme(JointObjective):
    weight: float = 1.0
    softness_Gy: float = 0.5

    def __post_init__(self) -> None:
        self._check(weight=self.weight, softness_Gy=self.softness_Gy)
        if self.softness_Gy == 0.0:
            raise OptimizationError(
                f"{type(self).__name__} of {self.structure}: softness_Gy must be above zero; 0.5 is usual, less "
                "follows the true extreme more closely and is harder to optimize."
            )


@dataclass(frozen=True)
class MaximumDose(_SmoothExtreme):
    """``weight * smoothmax(D)``, in weight times Gy, for serial organs; see `smooth_maximum` for what it misses.

    Attributes
    ----------
    weight : float
        Importance relative to the other objectives, per Gy.
    softness_Gy : float
        Dose over which voxels count as equally hot.
    """

    def value_and_gradient(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient; see `JointObjective`."""
        value, slope = smooth_maximum(dose_Gy, self.softness_Gy, self._shares(dose_Gy))
        return self.weight * value, self.weight * slope


@dataclass(frozen=True)
class MinimumDose(_SmoothExtreme):
    """``-weight * smoothmin(D)``, in weight times Gy: a higher minimum is better.

    The smoothed minimum is ``-smoothmax(-D)``: never below the true one, and above it by no more than `smooth_maximum`
    says. On its own this objective has no optimum, as more dose is always better: something else must bound the dose.

    Attributes
    ----------
    weight : float
        Importance relative to the other objectives, per Gy.
    softness_Gy : float
        Dose over which voxels count as equally cold.
    """

    def value_and_gradient(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient; see `JointObjective`."""
        value, slope = smooth_maximum(-dose_Gy, self.softness_Gy, self._shares(dose_Gy))
        return self.weight * value, -self.weight * slope
