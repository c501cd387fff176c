"""The contract of a hard constraint."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from OptimizerLib.dose_term import DoseTerm


@dataclass(frozen=True)
class Constraint(DoseTerm, ABC):
    """A limit on the dose in one structure that a plan has to keep; all of them are convex.

    Attributes
    ----------
    dose_Gy : float
        The limit, of the whole course.
    """

    dose_Gy: float

    def __post_init__(self) -> None:
        self._check(dose_Gy=self.dose_Gy)

    @abstractmethod
    def excess_Gy(self, dose_Gy: np.ndarray) -> np.ndarray:
        """By how much the limit is missed at the doses (n,) of the structure's voxels: (m,), met where not positive."""

    @abstractmethod
    def pullback(self, dose_Gy: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Gradient (n,) of ``multipliers @ excess_Gy(dose_Gy)`` with respect to each voxel's dose."""
