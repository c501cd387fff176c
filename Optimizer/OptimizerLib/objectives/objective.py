"""The contract of an objective."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from OptimizerLib.errors import OptimizationError


@dataclass(frozen=True)
class Objective(ABC):
    """A penalty on the dose in one structure; smaller is better.

    Every objective is a mean over the structure's voxels, so that its weight means the same for a large and a small
    structure and does not change with the voxel size.

    Attributes
    ----------
    structure : str
        Name of the structure.
    """

    structure: str

    @abstractmethod
    def value(self, dose_Gy: np.ndarray) -> float:
        """Value at the doses (n,) of the structure's voxels."""

    @abstractmethod
    def gradient(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Derivative of the value with respect to each voxel's dose, (n,), per Gy."""

    def _check(self, **numbers: float) -> None:
        if not self.structure:
            raise OptimizationError(f"{type(self).__name__}: name the structure it applies to.")
        for name, number in numbers.items():
            if not isinstance(number, (int, float, np.integer, np.floating)) or not math.isfinite(number) or number < 0:
                raise OptimizationError(
                    f"{type(self).__name__} of {self.structure}: {name} must be a finite number, not negative; "
                    f"got {number!r}."
                )


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
