"""What objectives and constraints share: a structure, and the volume that each of its voxels stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from OptimizerLib.errors import OptimizationError


@dataclass(frozen=True)
class DoseTerm:
    """A term of the dose in one structure.

    Attributes
    ----------
    structure : str
        Name of the structure.
    voxel_weights : (n,) array, optional
        Volume that each voxel of the structure stands for, in any unit, where normal tissue was sampled sparsely; by
        default all count alike. Kept as parts of the whole, which sum to one.
    """

    structure: str
    voxel_weights: np.ndarray | None = field(default=None, kw_only=True, repr=False, compare=False)

    def _check(self, **numbers: float) -> None:
        if not self.structure:
            raise OptimizationError(f"{type(self).__name__}: name the structure it applies to.")
        for name, number in numbers.items():
            if not isinstance(number, (int, float, np.integer, np.floating)) or not math.isfinite(number) or number < 0:
                raise OptimizationError(
                    f"{type(self).__name__} of {self.structure}: {name} must be a finite number, not negative; "
                    f"got {number!r}."
                )
        if self.voxel_weights is None:
            return
        weights = np.array(self.voxel_weights, dtype=float)
        if weights.ndim != 1 or not np.isfinite(weights).all() or (weights < 0).any() or not weights.sum() > 0:
            raise OptimizationError(
                f"{type(self).__name__} of {self.structure}: voxel weights are volumes; they must be finite, not "
                "negative and not all zero."
            )
        weights /= weights.sum()
        weights.setflags(write=False)
        object.__setattr__(self, "voxel_weights", weights)

    def _shares(self, dose_Gy: np.ndarray) -> np.ndarray | float:
        """Part of the volume that each voxel stands for: (n,), or one number when all are alike."""
        if self.voxel_weights is None:
            return 1.0 / dose_Gy.size
        if self.voxel_weights.shape != dose_Gy.shape:
            raise OptimizationError(
                f"{type(self).__name__} of {self.structure}: {self.voxel_weights.size} voxel weights do not fit "
                f"{dose_Gy.size} doses; give one for each voxel."
            )
        return self.voxel_weights

    def _mean(self, values: np.ndarray) -> float:
        """Mean over the volume of values (n,) in its voxels."""
        shares = self._shares(values)
        return float(np.mean(values)) if isinstance(shares, float) else float(shares @ values)
