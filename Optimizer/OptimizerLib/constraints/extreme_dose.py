"""Limits on every voxel of a structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from OptimizerLib.constraints.constraint import Constraint


@dataclass(frozen=True)
class MaxDose(Constraint):
    """No voxel above ``dose_Gy``: an excess for each voxel (m = n)."""

    def excess_Gy(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Excess; see `Constraint.excess_Gy`."""
        return dose_Gy - self.dose_Gy

    def pullback(self, dose_Gy: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Gradient; see `Constraint.pullback`."""
        return np.array(multipliers, dtype=float)


@dataclass(frozen=True)
class MinDose(Constraint):
    """No voxel below ``dose_Gy``: an excess for each voxel (m = n)."""

    def excess_Gy(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Shortfall; see `Constraint.excess_Gy`."""
        return self.dose_Gy - dose_Gy

    def pullback(self, dose_Gy: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Gradient; see `Constraint.pullback`."""
        return -np.array(multipliers, dtype=float)
