"""Dose that should fall with the distance from the target: an objective for normal tissue, and for conformity.

The level at distance x from the target's surface goes from ``near_Gy`` to ``far_Gy``:

- linear: ``near - (near - far) x / reach`` up to the reach, ``far`` beyond;
- exponential: ``far + (near - far) exp(-3 x / reach)``, 95 % of the fall within the reach.

Inside the target there is no level: other objectives say what it shall have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DoseEngineLib.distance import distance_from_structure_mm
from DoseEngineLib.plan import Structure
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives.objective import Objective

SHAPES = ("linear", "exponential")
_STEEPNESS = 3.0


@dataclass(frozen=True, eq=False)
class DoseFalloff(Objective):
    """``weight * mean(max(D - level, 0)**2)`` with a level for each voxel, in weight times Gy^2.

    Make one for a target with `of_target`.

    Attributes
    ----------
    levels_Gy : (n,) array
        Of the whole course, in the order of the structure's voxels; infinite where any dose is allowed.
    weight : float
    """

    levels_Gy: np.ndarray
    weight: float = 1.0

    def __post_init__(self) -> None:
        self._check(weight=self.weight)
        levels = np.array(self.levels_Gy, dtype=float)
        if levels.ndim != 1 or not levels.size or np.isnan(levels).any() or (levels < 0).any():
            raise OptimizationError(
                f"DoseFalloff of {self.structure}: give a level of 0 Gy or more for each of the structure's voxels."
            )
        levels.setflags(write=False)
        object.__setattr__(self, "levels_Gy", levels)

    @classmethod
    def of_target(
        cls,
        structure: str,
        target: Structure,
        points_RAS_mm: np.ndarray,
        near_Gy: float,
        far_Gy: float,
        reach_mm: float,
        shape: str = "linear",
        weight: float = 1.0,
        voxel_weights: np.ndarray | None = None,
    ) -> DoseFalloff:
        """Make the objective from a target.

        Parameters
        ----------
        structure : str
            The tissue it applies to, often the whole body.
        target : Structure
            On any grid.
        points_RAS_mm : (n, 3) array
            Centres of the structure's voxels, in the order of its rows in the influence.
        near_Gy, far_Gy : float
            Levels at the target's surface and far from it, of the whole course.
        reach_mm : float
            Distance over which the level falls.
        shape : {"linear", "exponential"}

        Raises
        ------
        OptimizationError
            A level that rises, a reach that is not positive, an unknown shape.
        """
        if not (np.isfinite(near_Gy) and np.isfinite(far_Gy) and near_Gy > far_Gy >= 0.0):
            raise OptimizationError(
                f"DoseFalloff of {structure}: the dose must fall from a higher to a lower level of 0 Gy or more; got "
                f"{near_Gy} and {far_Gy} Gy."
            )
        if not (np.isfinite(reach_mm) and reach_mm > 0.0):
            raise OptimizationError(f"DoseFalloff of {structure}: the reach must be positive; got {reach_mm} mm.")
        if shape not in SHAPES:
            raise OptimizationError(f"DoseFalloff of {structure}: the shape is {' or '.join(SHAPES)}; got {shape!r}.")
        # at 2.5 times the reach the exponential is down to 0.06 % of its fall
        seen_mm = reach_mm if shape == "linear" else 2.5 * reach_mm
        distance = distance_from_structure_mm(target, np.asarray(points_RAS_mm, float), seen_mm).astype(float)
        fall = distance / reach_mm
        rest = 1.0 - fall if shape == "linear" else np.exp(-_STEEPNESS * fall)
        levels = np.where(distance < 0.0, np.inf, far_Gy + (near_Gy - far_Gy) * rest)
        return cls(structure, levels, weight, voxel_weights=voxel_weights)

    def value(self, dose_Gy: np.ndarray) -> float:
        """Value; see `Objective.value`."""
        return self.weight * self._mean(self._excess(dose_Gy) ** 2)

    def gradient(self, dose_Gy: np.ndarray) -> np.ndarray:
        """Gradient; see `Objective.gradient`."""
        return (2.0 * self.weight * self._shares(dose_Gy)) * self._excess(dose_Gy)

    def value_and_gradient(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        """Both; see `Objective.value_and_gradient`."""
        excess = self._excess(dose_Gy)
        return self.weight * self._mean(excess**2), (2.0 * self.weight * self._shares(dose_Gy)) * excess

    def _excess(self, dose_Gy: np.ndarray) -> np.ndarray:
        if dose_Gy.shape != self.levels_Gy.shape:
            raise OptimizationError(
                f"DoseFalloff of {self.structure}: {self.levels_Gy.size} levels do not fit {dose_Gy.size} doses; make "
                "it from the voxels of this influence."
            )
        return np.maximum(dose_Gy - self.levels_Gy, 0.0)
