"""The contract of an objective."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from OptimizerLib.dose_term import DoseTerm


@dataclass(frozen=True)
class Objective(DoseTerm, ABC):
    """A penalty on the dose in one structure; smaller is better.

    Every objective is a mean over the structure's volume, so that its weight means the same for a large and a small
    structure and does not change with the voxel size.
    """

    @abstractmethod
    def value(self, dose_Gy: np.ndarray) -> float:
        """Value at the doses (n,) of the structure's voxels."""

    @abstractmethod
    def gradient(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Derivative of the value with respect to each voxel's dose, (n,), per Gy."""

    def value_and_gradient(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        """Both at once, where that saves work."""
        return self.value(dose_Gy), self.gradient(dose_Gy)


@dataclass(frozen=True)
class JointObjective(Objective):
    """An objective whose value and gradient come of one computation: it has `value_and_gradient` alone."""

    @abstractmethod
    def value_and_gradient(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        """Value at the doses (n,) of the structure's voxels, and its derivative (n,) by each, per Gy."""

    def value(self, dose_Gy: np.ndarray) -> float:
        """Value; see `Objective.value`."""
        return self.value_and_gradient(dose_Gy)[0]

    def gradient(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Gradient; see `Objective.gradient`."""
        return self.value_and_gradient(dose_Gy)[1]


@dataclass(frozen=True)
class DoseLevelObjective(Objective):
    """An objective that compares dose with a level.

    Attributes
    ----------
    dose_Gy : float
        The level, of the whole course.
    weight : float
        Importance relative to the other objectives.
    """

    dose_Gy: float
    weight: float = 1.0

    def __post_init__(self) -> None:
        self._check(dose_Gy=self.dose_Gy, weight=self.weight)
