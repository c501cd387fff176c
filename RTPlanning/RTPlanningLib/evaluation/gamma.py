"""The gamma index of two doses: dose difference and distance to agreement in one number.

Low et al., Med Phys 25, 656 (1998); terms and the reporting of options follow AAPM TG-218 (Miften et al., Med Phys 45,
e53, 2018). Gamma is asked at the voxel centres of the reference; the evaluated dose is searched.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution
from RTPlanningLib.evaluation.judged_voxels import judged_voxels

# How far the gamma found may lie above the true least one.
GAMMA_TOLERANCE = 2e-4
_VOXELS_A_STEP = 50_000
_PARALLEL_COSINE = 1.0 - 1e-6
_AXES = "ijk"
_MAXIMUM_POINTS = 5_000_000


@dataclass(frozen=True)
class GammaCriterion:
    """What two doses are held to, and how gamma is searched.

    Attributes
    ----------
    dose_percent : float
        Dose criterion in % of the normalization dose, or of the reference dose at the voxel where ``local``.
    distance_mm : float
        Distance criterion.
    local : bool
    threshold_percent : float
        Voxels whose reference dose is below this share of the normalization dose are not judged.
    normalization_Gy : float or None
        What the percentages refer to, for example the prescribed dose; None: the largest reference dose.
    max_gamma : float
        The search ends here; larger values are given as this.
    slice_axis : {"i", "j", "k"} or None
        Search within the reference's slices across this voxel axis alone (2D gamma); None: in all directions (3D).
    interpolation_fraction : int or None
        None: the whole interpolated dose is searched, to within `GAMMA_TOLERANCE`. A number n: only points on a lattice
        of ``distance_mm / n``, as other programs do; such a gamma is never below the first.

    Raises
    ------
    EvaluationError
        A value that makes no criterion.
    """

    dose_percent: float = 3.0
    distance_mm: float = 2.0
    local: bool = False
    threshold_percent: float = 10.0
    normalization_Gy: float | None = None
    max_gamma: float = 2.0
    slice_axis: str | None = None
    interpolation_fraction: int | None = None

    def __post_init__(self) -> None:
        for name, value, unit in (("dose", self.dose_percent, "%"), ("distance", self.distance_mm, "mm")):
            if not (math.isfinite(value) and value > 0.0):
                raise EvaluationError(f"Gamma: the {name} criterion {value} {unit} must be a number above 0.")
        if not (math.isfinite(self.threshold_percent) and 0.0 <= self.threshold_percent < 100.0):
            raise EvaluationError(f"Gamma: the threshold {self.threshold_percent} % must lie from 0 to below 100.")
        if self.local and self.threshold_percent <= 0.0:
            raise EvaluationError("Local gamma is not defined where the dose is 0; give a threshold above 0 %.")
        if self.normalization_Gy is not None and not (
            math.isfinite(self.normalization_Gy) and self.normalization_Gy > 0.0
        ):
            raise EvaluationError(f"Gamma: the normalization dose {self.normalization_Gy} Gy must be above 0.")
        if not (math.isfinite(self.max_gamma) and self.max_gamma > 1.0):
            raise EvaluationError(f"Gamma: the largest gamma {self.max_gamma} must be above 1, or nothing could fail.")
        if self.slice_axis is not None and self.slice_axis not in tuple(_AXES):
            raise EvaluationError(f"Gamma: slices lie across axis i, j or k, not {self.slice_axis!r}.")
        if self.interpolation_fraction is not None:
            fraction = self.interpolation_fraction
            if int(fraction) != fraction or fraction < 1:
                raise EvaluationError(f"Gamma: the interpolation fraction {fraction} must be a whole number from 1 on.")
            per_axis = 2 * self.max_gamma * fraction + 1
            if per_axis ** (2 if self.slice_axis else 3) > _MAXIMUM_POINTS:
                raise EvaluationError(
                    f"Gamma: an interpolation fraction of {fraction} up to gamma {self.max_gamma:g} needs too many "
                    "points; lower either, or search the whole interpolated dose (no fraction)."
                )

    def __str__(self) -> str:
        kind = "local" if self.local else "global"
        plane = "3D" if self.slice_axis is None else f"2D across {self.slice_axis}"
        return f"{self.dose_percent:g} %/{self.distance_mm:g} mm {kind} {plane}, threshold {self.threshold_percent:g} %"


@dataclass(frozen=True, eq=False)
class GammaResult:
    """Gamma of two doses on the reference's grid.

    Attributes
    ----------
    gamma : (k, j, i) float32 array
        NaN where it was not judged.
    grid : Grid
    criterion : GammaCriterion
    normalization_Gy : float
        The dose that percentages refer to.
    reference, evaluated : str
        Names of the doses.
    structure : str or None
        The structure that voxels were restricted to.
    structure_covered : float
        Share of the structure's voxels that lie on the reference's grid; 1 without a structure.
    outside_evaluated : int
        Voxels above the threshold left out because they lie outside the evaluated dose's grid.
    """

    gamma: np.ndarray
    grid: Grid
    criterion: GammaCriterion
    normalization_Gy: float
    reference: str
    evaluated: str
    structure: str | None
    structure_covered: float
    outside_evaluated: int

    @cached_property
    def values(self) -> np.ndarray:
        """Gamma of the judged voxels, (n,) ascending."""
        return np.sort(self.gamma[~np.isnan(self.gamma)])

    @property
    def judged(self) -> int:
        """Number of voxels judged: the denominator of the pass rate."""
        return int(self.values.size)

    @property
    def passed(self) -> int:
        """Number of judged voxels with gamma of at most 1."""
        return int(np.searchsorted(self.values, 1.0, side="right"))

    @property
    def pass_rate_percent(self) -> float:
        """Share of the judged voxels with gamma of at most 1, in %."""
        return 100.0 * self.passed / self.judged

    @property
    def mean(self) -> float:
        """Mean gamma of the judged voxels; those at the largest gamma searched for count as that."""
        return float(self.values.mean(dtype=np.float64))

    @property
    def maximum(self) -> float:
        """Largest gamma; the criterion's ``max_gamma`` means that or more."""
        return float(self.values[-1])

    def percentile(self, percent: float) -> float:
        """Gamma that this share of the judged voxels does not exceed (linear between voxels)."""
        if not 0.0 <= percent <= 100.0:
            raise EvaluationError(f"A percentile lies from 0 to 100, not at {percent}.")
        return float(np.percentile(self.values, percent))

    @property
    def denominator(self) -> str:
        """What 100 % of the pass rate are, in words."""
        least = self.criterion.threshold_percent / 100.0 * self.normalization_Gy
        where = f" of {self.structure}" if self.structure else ""
        text = (
            f"{self.judged} voxels{where} of the grid of {self.reference} with a reference dose of at least "
            f"{least:.4g} Gy ({self.criterion.threshold_percent:g} % of {self.normalization_Gy:.4g} Gy)"
        )
        if self.outside_evaluated:
            text += f"; {self.outside_evaluated} more lie outside the grid of {self.evaluated} and are not judged"
        if self.structure_covered < 1.0:
            text += (
                f"; {100.0 * (1.0 - self.structure_covered):.3g} % of {self.structure} lie outside the grid "
                f"of {self.reference}"
            )
        return text

    def statistics(self) -> dict[str, Any]:
        """All figures and options as JSON values."""
        criterion = self.criterion
        return {
            "reference": self.reference,
            "evaluated": self.evaluated,
            "structure": self.structure,
            "dose_percent": criterion.dose_percent,
            "distance_mm": criterion.distance_mm,
            "kind": "local" if criterion.local else "global",
            "search": "3D" if criterion.slice_axis is None else f"2D across {criterion.slice_axis}",
            "interpolation": (
                "whole trilinear dose"
                if criterion.interpolation_fraction is None
                else f"lattice of {criterion.distance_mm / criterion.interpolation_fraction:g} mm"
            ),
            "threshold_percent": criterion.threshold_percent,
            "normalization_Gy": self.normalization_Gy,
            "max_gamma": criterion.max_gamma,
            "judged_voxels": self.judged,
            "passed_voxels": self.passed,
            "outside_evaluated_voxels": self.outside_evaluated,
            "structure_covered": self.structure_covered,
            "pass_rate_percent": self.pass_rate_percent,
            "mean": self.mean,
            "median": self.percentile(50.0),
            "p95": self.percentile(95.0),
            "p99": self.percentile(99.0),
            "maximum": self.maximum,
            "denominator": self.denominator,
        }


def gamma_index(
    reference: DoseDistribution,
    evaluated: DoseDistribution,
    criterion: GammaCriterion | None = None,
    *,
    structure: Structure | None = None,
    progress: Progress | None = None,
) -> GammaResult:
    """Calculate gamma at the reference's voxel centres; the evaluated dose is interpolated linearly.

    The grids may differ in spacing, extent and orientation. The result does not depend on the number of threads.

    Parameters
    ----------
    reference, evaluated : DoseDistribution
        Which is which matters: thresholds, percentages and the denominator are the reference's.
    criterion : GammaCriterion, optional
        By default 3 %/2 mm global, threshold 10 %, in 3D (the universal criterion of TG-218).
    structure : Structure, optional
        Judge only voxels whose centres lie in it; on a grid of its own.
    progress : callable, optional

    Raises
    ------
    EvaluationError
        A reference without dose; grids that do not overlap; nothing to judge; a structure that is empty or outside the
        reference's grid; 2D gamma of an evaluated dose none of whose axes is across the reference's slices.
    """
    criterion = criterion or GammaCriterion()
    report = part(progress, 0.0, 1.0)
    names = f"gamma of {evaluated.name} against {reference.name}"
    if not reference.max_Gy > 0.0:
        raise EvaluationError(f"Cannot calculate the {names}: the reference dose is 0 everywhere; choose another.")
    if not evaluated.max_Gy > 0.0:
        raise EvaluationError(f"Cannot calculate the {names}: the evaluated dose is 0 everywhere; choose another.")
    normalization = reference.max_Gy if criterion.normalization_Gy is None else float(criterion.normalization_Gy)
    threshold = criterion.threshold_percent / 100.0 * normalization
    judged, covered = judged_voxels(reference, threshold, structure, names)
    voxels = np.flatnonzero(judged)
    found = _search(reference, evaluated, criterion, normalization, voxels, report)
    outside = int(np.count_nonzero(np.isnan(found)))
    if outside == found.size:
        raise EvaluationError(
            f"Cannot calculate the {names}: no voxel above the threshold lies inside the grid of {evaluated.name}; "
            "the doses do not overlap, check that they are in the same frame of reference."
        )
    gamma = np.full(reference.grid.shape, np.nan, np.float32)
    gamma.reshape(-1)[voxels] = found
    gamma.setflags(write=False)
    report(1.0, "Gamma ready")
    return GammaResult(
        gamma=gamma,
        grid=reference.grid,
        criterion=criterion,
        normalization_Gy=normalization,
        reference=reference.name,
        evaluated=evaluated.name,
        structure=None if structure is None else structure.name,
        structure_covered=covered,
        outside_evaluated=outside,
    )


def _search(
    reference: DoseDistribution,
    evaluated: DoseDistribution,
    criterion: GammaCriterion,
    normalization: float,
    voxels: np.ndarray,
    report: Progress,
) -> np.ndarray:
    # numba is not needed, and in the desktop not there, before a gamma is asked for
    from RTPlanningLib.evaluation.gamma_search import cell_offsets, point_offsets, search_interpolated, search_sampled

    to_index = np.ascontiguousarray((evaluated.grid.inverse_affine @ reference.grid.affine)[:3])
    spacing = evaluated.grid.spacing_mm / criterion.distance_mm
    share = criterion.dose_percent / 100.0
    dose_criterion = -share if criterion.local else share * normalization
    frozen = -1 if criterion.slice_axis is None else _across(criterion.slice_axis, reference, evaluated)
    whole = criterion.interpolation_fraction is None
    if whole:
        offsets, squared = cell_offsets(spacing, evaluated.grid.shape, criterion.max_gamma, frozen)
    else:
        offsets, squared = point_offsets(int(criterion.interpolation_fraction), criterion.max_gamma, frozen)
    found = np.empty(voxels.size, np.float32)
    arrays = (reference.dose_Gy, evaluated.dose_Gy, to_index, spacing, dose_criterion, offsets, squared)
    for start in range(0, voxels.size, _VOXELS_A_STEP):
        report(start / voxels.size, f"Gamma {criterion}")
        some = slice(start, start + _VOXELS_A_STEP)
        if whole:
            search_interpolated(voxels[some], *arrays, frozen, criterion.max_gamma, GAMMA_TOLERANCE, found[some])
        else:
            search_sampled(voxels[some], *arrays, criterion.max_gamma, found[some])
    return found


def _across(slice_axis: str, reference: DoseDistribution, evaluated: DoseDistribution) -> int:
    """Axis of the evaluated grid that is parallel to the reference's slice axis."""
    normal = reference.grid.directions[:, _AXES.index(slice_axis)]
    cosines = np.abs(evaluated.grid.directions.T @ normal)
    axis = int(np.argmax(cosines))
    if cosines[axis] < _PARALLEL_COSINE:
        raise EvaluationError(
            f"2D gamma: no axis of the grid of {evaluated.name} is across the slices of {reference.name}; use 3D "
            f"gamma, or resample {evaluated.name} to slices of that orientation first."
        )
    return axis
