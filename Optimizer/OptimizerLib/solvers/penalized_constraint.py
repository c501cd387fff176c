"""What hard constraints add to an augmented Lagrangian, in the form of objectives."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import brentq

from OptimizerLib.constraints import MaxDose, MaxMean, MaxTailMean, MinDose, MinMean, MinTailMean


class PenalizedConstraint:
    r"""A constraint by its excesses.

    :math:`\frac{1}{2\rho}\sum_i \left(\max(0, \lambda_i + \rho c_i)^2 - \lambda_i^2\right)` for excesses :math:`c`,
    multipliers :math:`\lambda` and penalty :math:`\rho` (Nocedal and Wright, Numerical Optimization, 2nd ed. 2006,
    section 17.4).

    Parameters
    ----------
    constraint : Constraint
    multipliers : (m,) array
        Per Gy.
    penalty : float
        Per Gy^2.

    Attributes
    ----------
    structure : str
    has_exact_curvature : bool
        Whether the second derivative is that of voxels alone or the one outer product of `rank_one`.
    """

    def __init__(self, constraint: Any, multipliers: np.ndarray, penalty: float) -> None:
        self.constraint, self.structure = constraint, constraint.structure
        self.multipliers, self.penalty = multipliers, penalty
        self.has_exact_curvature = type(constraint) in (MaxDose, MinDose, MaxMean, MinMean)
        if type(constraint) not in (MaxDose, MinDose) and multipliers.size == 1:
            self.rank_one = self._rank_one

    def pressure(self, dose_Gy: np.ndarray) -> np.ndarray:
        """What the multipliers become at some dose."""
        excess = np.atleast_1d(self.constraint.excess_Gy(dose_Gy))
        return np.maximum(self.multipliers + self.penalty * excess, 0.0)

    def value(self, dose_Gy: np.ndarray) -> float:
        """Value at the doses (n,) of the structure's voxels."""
        pressure = self.pressure(dose_Gy)
        return float(pressure @ pressure - self.multipliers @ self.multipliers) / (2.0 * self.penalty)

    def gradient(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Derivative by each voxel's dose (n,)."""
        return self.constraint.pullback(dose_Gy, self.pressure(dose_Gy))

    def lagrangian_gradient(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Derivative (n,) of the multipliers' product with the excesses, without penalty."""
        return self.constraint.pullback(dose_Gy, self.multipliers)

    def _rank_one(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        active = self.pressure(dose_Gy)[0] > 0
        return (self.penalty if active else 0.0), self.constraint.pullback(dose_Gy, np.ones(1))


class PenalizedTailMean:
    r"""A limit on the mean of a tail, by the distance of the doses from those that meet it.

    The excess has kinks wherever two voxels change ranks, and a penalty on it would have them, too. The doses that meet
    the limit are a convex set :math:`C`, so :math:`\frac{\rho}{2}\|y - P_C(y)\|^2 - \frac{1}{2\rho}\|\nu\|^2` with
    :math:`y = d + \nu/\rho` is smooth (Rockafellar, Math. Program. 5 (1973) 354), at the price of a multiplier for each
    voxel.

    Parameters
    ----------
    constraint : MaxTailMean or MinTailMean
    multipliers : (n,) array
        One for each voxel.
    penalty : float
        Per Gy^2 of the whole tail.
    """

    has_exact_curvature = False

    def __init__(self, constraint: Any, multipliers: np.ndarray, penalty: float) -> None:
        self.constraint, self.structure = constraint, constraint.structure
        self.multipliers = multipliers
        self._sign = 1.0 if isinstance(constraint, MaxTailMean) else -1.0
        part = constraint.volume_percent / 100.0
        shares = constraint.voxel_weights
        shares = np.full(multipliers.size, 1.0 / multipliers.size) if shares is None else shares
        # largest weight that a voxel can have in the mean of the tail
        self._most = shares / (part if self._sign > 0 else 1.0 - part)
        self.penalty = penalty * min(float(self._most.mean()), 1.0)
        self._limit = self._sign * constraint.dose_Gy
        self._last: tuple[np.ndarray, np.ndarray, float] | None = None

    def pressure(self, dose_Gy: np.ndarray) -> np.ndarray:
        """What the multipliers become at some dose."""
        return self._pressed(dose_Gy)[0]

    def value(self, dose_Gy: np.ndarray) -> float:
        """Value at the doses (n,) of the structure's voxels."""
        pressure = self.pressure(dose_Gy)
        return float(pressure @ pressure - self.multipliers @ self.multipliers) / (2.0 * self.penalty)

    def gradient(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Derivative by each voxel's dose (n,)."""
        return self._sign * self.pressure(dose_Gy)

    def lagrangian_gradient(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Derivative (n,) of the multipliers' product with the doses, without penalty."""
        return self._sign * self.multipliers

    def curvature(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Second derivative by each voxel's dose alone (n,): that of voxels held at the edge of the tail."""
        pressure, size = self._pressed(dose_Gy)
        return np.where((pressure > 0) & (pressure < self.penalty * size * self._most), self.penalty, 0.0)

    def rank_one(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        """Coefficient and direction (n,) of the curvature of the tail as a whole."""
        pressure, size = self._pressed(dose_Gy)
        if size == 0.0:
            return 0.0, pressure
        return self.penalty / float(pressure @ pressure), pressure

    def _pressed(self, dose_Gy: np.ndarray) -> tuple[np.ndarray, float]:
        if self._last is None or not np.array_equal(self._last[0], dose_Gy):
            there = self._sign * dose_Gy + self.multipliers / self.penalty
            moved, size = _step_to_tail_limit(there, self._most, self._limit)
            self._last = (dose_Gy.copy(), self.penalty * moved, size)
        return self._last[1], self._last[2]


def _step_to_tail_limit(values: np.ndarray, most: np.ndarray, limit: float) -> tuple[np.ndarray, float]:
    """The shortest step down (n,) that brings the mean of the tail to its limit, and its sum.

    The nearest point is ``values - clip(values - edge, 0, size * most)``: the tail is lowered by equal parts, what
    would pass its edge stays there; the parts add up to the size.
    """
    order = np.argsort(-values, kind="stable")
    before = np.cumsum(most[order])
    weights = np.clip(1.0 - (before - most[order]), 0.0, most[order])
    total = float(weights.sum())
    mean = float(weights @ values[order]) / total
    if mean <= limit:
        return np.zeros(values.shape), 0.0
    highest, lowest = float(values.max()), float(values.min())

    def edge_of(size: float) -> float:
        def missing(edge: float) -> float:
            return float(np.minimum(np.maximum(values - edge, 0.0), size * most).sum()) - size * min(total, 1.0)

        low = lowest - size * float(most.max())
        return low if missing(low) <= 0 else float(brentq(missing, low, highest, xtol=1e-13 * (1.0 + abs(highest))))

    def excess(size: float) -> float:
        edge = edge_of(size)
        return edge + float((most * np.maximum(values - size * most - edge, 0.0)).sum()) - limit

    # lowering n voxels by an equal amount lowers their mean by as much
    size = (mean - limit) / float(weights @ weights) * total
    while excess(size) > 0:
        size *= 2.0
    size = float(brentq(excess, 0.0, size, xtol=1e-13 * size, rtol=1e-12))
    edge = edge_of(size)
    return np.minimum(np.maximum(values - edge, 0.0), size * most), size


def penalized(constraint: Any, multipliers: np.ndarray, penalty: float) -> PenalizedConstraint | PenalizedTailMean:
    """The constraint in the form that suits it; see `initial_multipliers`."""
    kind = PenalizedTailMean if isinstance(constraint, (MaxTailMean, MinTailMean)) else PenalizedConstraint
    return kind(constraint, multipliers, penalty)


def initial_multipliers(constraint: Any, dose_Gy: np.ndarray, reported: np.ndarray) -> np.ndarray:
    """Multipliers that `penalized` works with, from one for each excess."""
    if isinstance(constraint, (MaxTailMean, MinTailMean)):
        return np.abs(constraint.pullback(dose_Gy, reported))
    return reported


def reported_multipliers(constraint: Any, multipliers: np.ndarray) -> np.ndarray:
    """Multipliers as a solution has them: one for each excess."""
    if isinstance(constraint, (MaxTailMean, MinTailMean)):
        return np.array([float(multipliers.sum())])
    return multipliers
