"""Dose-volume limits in convex form: the mean dose of the hottest or the coldest part of a structure.

The mean of a tail (conditional value at risk; Rockafellar and Uryasev, J. Risk 2 (2000) 21; Romeijn et al., Phys. Med.
Biol. 48 (2003) 3521) is on the safe side of the DVH point at the tail's edge: what keeps the limit in the mean of its
hottest 5 % has D5% below it. So these constraints are conservative: they ask for more than the dose-volume goal they
stand for, the more so the longer the tail, and may refuse as impossible a goal that can just be met.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from OptimizerLib.constraints.constraint import Constraint
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives.dose_volume import tail_shares


@dataclass(frozen=True)
class _TailMean(Constraint):
    volume_percent: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check(volume_percent=self.volume_percent)
        if not 0.0 < self._part <= 1.0:
            raise OptimizationError(
                f"{type(self).__name__} of {self.structure}: {self.volume_percent:g} % leaves no tail to limit; "
                f"{self._instead}."
            )

    @property
    def _part(self) -> float:
        raise NotImplementedError

    def _tail(self, hotness_Gy: np.ndarray) -> np.ndarray:
        """Weights (n,) whose product with the dose is the mean of the tail, hottest first."""
        shares = self._shares(hotness_Gy)
        tail = tail_shares(hotness_Gy, self._part, shares)
        return tail / tail.sum()


@dataclass(frozen=True)
class MaxTailMean(_TailMean):
    """The hottest ``volume_percent`` of the volume with a mean dose not above ``dose_Gy`` (m = 1).

    Then no more than ``volume_percent`` has more than ``dose_Gy``.

    Attributes
    ----------
    dose_Gy : float
    volume_percent : float
        Above 0; a tail smaller than a voxel is the hottest voxel.
    """

    _instead = "limit the maximum with MaxDose"

    @property
    def _part(self) -> float:
        return self.volume_percent / 100.0

    def excess_Gy(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Excess; see `Constraint.excess_Gy`."""
        return np.array([float(self._tail(dose_Gy) @ dose_Gy) - self.dose_Gy])

    def pullback(self, dose_Gy: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Gradient, with the tail as it is now; see `Constraint.pullback`."""
        return float(multipliers[0]) * self._tail(dose_Gy)


@dataclass(frozen=True)
class MinTailMean(_TailMean):
    """The coldest part beyond ``volume_percent`` of the volume with a mean dose not below ``dose_Gy`` (m = 1).

    Then at least ``volume_percent`` has ``dose_Gy`` or more.

    Attributes
    ----------
    dose_Gy : float
    volume_percent : float
        Below 100; a rest smaller than a voxel is the coldest voxel.
    """

    _instead = "limit the minimum with MinDose"

    @property
    def _part(self) -> float:
        return 1.0 - self.volume_percent / 100.0

    def excess_Gy(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Shortfall; see `Constraint.excess_Gy`."""
        return np.array([self.dose_Gy - float(self._tail(-dose_Gy) @ dose_Gy)])

    def pullback(self, dose_Gy: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Gradient, with the tail as it is now; see `Constraint.pullback`."""
        return -float(multipliers[0]) * self._tail(-dose_Gy)
