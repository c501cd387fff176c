"""Difference of two doses on the reference's grid: in Gy, in % of a dose, or in % of the local dose."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.plan import Structure
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution
from RTPlanningLib.evaluation.judged_voxels import judged_voxels

KINDS = ("absolute", "percent", "local")


@dataclass(frozen=True, eq=False)
class DoseDifference:
    """Evaluated minus reference dose, at the reference's voxel centres.

    Attributes
    ----------
    difference : (k, j, i) float32 array
        In ``unit``; NaN where it was not judged.
    grid : Grid
    kind : {"absolute", "percent", "local"}
    normalization_Gy : float or None
        What 100 % are, for "percent".
    threshold_Gy : float
        Voxels of a lower reference dose were left out.
    reference, evaluated : str
        Names of the doses.
    structure : str or None
    structure_covered : float
        Share of the structure's voxels that lie on the reference's grid; 1 without a structure.
    outside_evaluated : int
        Voxels left out because they lie outside the evaluated dose's grid.
    """

    difference: np.ndarray
    grid: Grid
    kind: str
    normalization_Gy: float | None
    threshold_Gy: float
    reference: str
    evaluated: str
    structure: str | None
    structure_covered: float
    outside_evaluated: int

    @property
    def unit(self) -> str:
        """ "Gy" or "%"."""
        return "Gy" if self.kind == "absolute" else "%"

    @cached_property
    def values(self) -> np.ndarray:
        """Differences of the judged voxels, (n,) ascending."""
        return np.sort(self.difference[~np.isnan(self.difference)])

    def within_percent(self, tolerance: float) -> float:
        """Share of the judged voxels, in %, whose difference is at most ``tolerance`` (in ``unit``) either way."""
        if not (math.isfinite(tolerance) and tolerance >= 0.0):
            raise EvaluationError(f"A tolerance of {tolerance} {self.unit} is none; give a number from 0 on.")
        return 100.0 * float(np.count_nonzero(np.abs(self.values) <= tolerance)) / self.values.size

    def statistics(self) -> dict[str, Any]:
        """All figures and options as JSON values."""
        values = self.values.astype(np.float64)
        return {
            "reference": self.reference,
            "evaluated": self.evaluated,
            "structure": self.structure,
            "kind": self.kind,
            "unit": self.unit,
            "normalization_Gy": self.normalization_Gy,
            "threshold_Gy": self.threshold_Gy,
            "judged_voxels": int(values.size),
            "outside_evaluated_voxels": self.outside_evaluated,
            "structure_covered": self.structure_covered,
            "mean": float(values.mean()),
            "standard_deviation": float(values.std()),
            "root_mean_square": float(np.sqrt(np.mean(values**2))),
            "minimum": float(values[0]),
            "p05": float(np.percentile(values, 5)),
            "median": float(np.percentile(values, 50)),
            "p95": float(np.percentile(values, 95)),
            "maximum": float(values[-1]),
        }


def dose_difference(
    reference: DoseDistribution,
    evaluated: DoseDistribution,
    kind: str = "absolute",
    *,
    normalization_Gy: float | None = None,
    threshold_Gy: float = 0.0,
    structure: Structure | None = None,
) -> DoseDifference:
    """Subtract the reference dose from the evaluated one, which is interpolated linearly at the reference's voxels.

    Parameters
    ----------
    reference, evaluated : DoseDistribution
    kind : {"absolute", "percent", "local"}
        In Gy; in % of ``normalization_Gy``; or in % of the reference dose of the voxel.
    normalization_Gy : float, optional
        For "percent": the prescribed dose, for example; by default the largest reference dose.
    threshold_Gy : float
        Voxels of a lower reference dose are left out. Local differences need one above 0.
    structure : Structure, optional
        Judge only voxels whose centres lie in it.

    Raises
    ------
    EvaluationError
        An unknown kind; a normalization that is not asked for or not positive; grids that do not overlap; nothing to
        judge.
    """
    what = f"difference of {evaluated.name} from {reference.name}"
    if kind not in KINDS:
        raise EvaluationError(f"A dose difference is {', '.join(KINDS[:-1])} or {KINDS[-1]}, not {kind!r}.")
    if normalization_Gy is not None and kind != "percent":
        raise EvaluationError(f"The {kind} dose difference needs no normalization dose; leave it out, or ask percent.")
    if normalization_Gy is not None and not (math.isfinite(normalization_Gy) and normalization_Gy > 0.0):
        raise EvaluationError(f"The normalization dose {normalization_Gy} Gy must be a number above 0.")
    if not (math.isfinite(threshold_Gy) and threshold_Gy >= 0.0):
        raise EvaluationError(f"The threshold {threshold_Gy} Gy must be a number from 0 on.")
    if kind == "local" and threshold_Gy <= 0.0:
        raise EvaluationError("The local difference is not defined where the dose is 0; give a threshold above 0 Gy.")
    if kind == "percent" and normalization_Gy is None:
        if not reference.max_Gy > 0.0:
            raise EvaluationError(f"Cannot calculate the {what} in percent: the reference dose is 0 everywhere.")
        normalization_Gy = reference.max_Gy
    judged, covered = judged_voxels(reference, threshold_Gy, structure, what)
    at_reference = resample(evaluated.dose_Gy, evaluated.grid, reference.grid, fill=np.nan)
    difference = at_reference.astype(np.float64) - reference.dose_Gy
    outside = int(np.count_nonzero(judged & np.isnan(difference)))
    difference[~judged] = np.nan
    if np.isnan(difference).all():
        raise EvaluationError(
            f"Cannot calculate the {what}: none of the voxels asked for lies inside the grid of {evaluated.name}; "
            "the doses do not overlap, check that they are in the same frame of reference."
        )
    if kind == "percent":
        difference *= 100.0 / normalization_Gy
    elif kind == "local":
        # voxels without dose are below the threshold
        difference *= 100.0 / np.where(judged, reference.dose_Gy, 1.0)
    difference = difference.astype(np.float32)
    difference.setflags(write=False)
    return DoseDifference(
        difference=difference,
        grid=reference.grid,
        kind=kind,
        normalization_Gy=normalization_Gy,
        threshold_Gy=threshold_Gy,
        reference=reference.name,
        evaluated=evaluated.name,
        structure=None if structure is None else structure.name,
        structure_covered=covered,
        outside_evaluated=outside,
    )
