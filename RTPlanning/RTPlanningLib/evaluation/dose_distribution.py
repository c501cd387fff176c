"""A dose to compare: array, grid, what course it stands for, where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from DoseEngineLib.engine import DoseResult
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid


@dataclass(frozen=True, eq=False)
class DoseDistribution:
    """A dose on a grid, from an engine, a file or a sum of others.

    Attributes
    ----------
    name : str
        Of the plan; it tells doses apart in tables and messages.
    dose_Gy : (k, j, i) array
        Dose of the whole course, not negative. Kept as float32, read-only.
    grid : Grid
    fractions : int
        Fractions of the course that ``dose_Gy`` stands for.
    dose_to : {"water", "medium", "unknown"}
    uncertainty_Gy : (k, j, i) array or None
        One standard deviation, where it is known.
    provenance : mapping
        JSON values.

    Raises
    ------
    EvaluationError
        A shape that is not the grid's, NaN, infinite or negative doses, fewer than one fraction.
    """

    name: str
    dose_Gy: np.ndarray
    grid: Grid
    fractions: int = 1
    dose_to: str = "water"
    uncertainty_Gy: np.ndarray | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise EvaluationError("A dose to compare needs a name; give that of its plan.")
        if int(self.fractions) != self.fractions or self.fractions < 1:
            raise EvaluationError(f"Dose {self.name}: {self.fractions} fractions; give a whole number from 1 on.")
        if self.dose_to not in ("water", "medium", "unknown"):
            raise EvaluationError(f"Dose {self.name}: dose to {self.dose_to!r}; say water, medium or unknown.")
        object.__setattr__(self, "dose_Gy", _checked(self.dose_Gy, self.grid, f"Dose {self.name}"))
        if self.uncertainty_Gy is not None:
            uncertainty = _checked(self.uncertainty_Gy, self.grid, f"The uncertainty of dose {self.name}")
            object.__setattr__(self, "uncertainty_Gy", uncertainty)

    @classmethod
    def from_result(cls, result: DoseResult, name: str | None = None) -> DoseDistribution:
        """Take the dose of an engine; the name is the plan's unless another is given."""
        return cls(
            name or result.plan.name,
            result.dose_Gy,
            result.grid,
            result.plan.fractions,
            result.dose_to,
            result.uncertainty_Gy,
            dict(result.provenance),
        )

    @property
    def max_Gy(self) -> float:
        """Largest voxel dose."""
        return float(self.dose_Gy.max())

    def summary(self) -> dict[str, Any]:
        """Name, fractions, grid, maximum and provenance as JSON values."""
        return {
            "name": self.name,
            "fractions": int(self.fractions),
            "dose_to": self.dose_to,
            "maximum_Gy": self.max_Gy,
            "grid": grid_summary(self.grid),
            "provenance": dict(self.provenance),
        }


def grid_summary(grid: Grid) -> dict[str, Any]:
    """Shape, spacing and affine of a grid as JSON values."""
    return {
        "shape_kji": list(grid.shape),
        "spacing_ijk_mm": [round(float(s), 6) for s in grid.spacing_mm],
        "affine_ijk_to_RAS_mm": grid.affine.tolist(),
    }


def _checked(values: np.ndarray, grid: Grid, what: str) -> np.ndarray:
    array = np.asarray(values)
    if array.shape != grid.shape:
        raise EvaluationError(f"{what} has the shape {array.shape}, its grid {grid.shape} (k, j, i); they must agree.")
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise EvaluationError(f"{what} has {bad} NaN or infinite voxels; repair it before comparing.")
    # a value beyond single precision would become infinite here
    with np.errstate(over="ignore"):
        array = np.array(array, dtype=np.float32, order="C")
    low = float(array.min())
    if low < 0.0:
        raise EvaluationError(f"{what} goes down to {low:.4g} Gy; it cannot be negative, check its offset and unit.")
    if not np.isfinite(array.max()):
        raise EvaluationError(f"{what} has values beyond 3e38 Gy; check its unit.")
    array.setflags(write=False)
    return array
