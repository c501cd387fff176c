"""Sums and differences of plan doses on different grids, with weights and delivered fractions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid, resample
from DoseEngineLib.progress import Progress, part
from RTPlanningLib.evaluation.delivered_dose import DeliveredDose
from RTPlanningLib.evaluation.dose_distribution import DoseDistribution, grid_summary

UNION, FIRST = "union", "first"
_MAXIMUM_VOXELS = 200_000_000
# A dose of this share of its maximum at a face of its grid goes on beyond it.
_CUT_OFF = 0.01


@dataclass(frozen=True, eq=False)
class PlanDose(DeliveredDose):
    """A dose to add, and how much of it.

    Attributes
    ----------
    dose : DoseDistribution
        Of the whole course.
    fractions : int or None
        Fractions delivered: the dose counts by that share of its course; None: the whole course.
    weight : float
        A further factor; may be negative.
    """

    dose: DoseDistribution
    fractions: int | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.weight) or self.weight == 0.0:
            raise EvaluationError(f"{self.dose.name}: a weight of {self.weight} adds nothing; leave the dose out.")
        self._check_fractions()


@dataclass(frozen=True, eq=False)
class CombinedDose:
    """A dose made of others; negative where a subtraction is.

    Attributes
    ----------
    name : str
    dose_Gy : (k, j, i) float32 array
    grid : Grid
    fractions : int
        Fractions of all parts together.
    dose_to : {"water", "medium", "unknown"}
    uncertainty_Gy : (k, j, i) float32 array or None
        One standard deviation, where every part has one and they are taken for independent.
    provenance : mapping
        JSON values: the operation, its parts with factors and their own provenance, the grid.
    notes : tuple of str
        What a reader has to know: doses cut off, different fractionation.
    """

    name: str
    dose_Gy: np.ndarray
    grid: Grid
    fractions: int
    dose_to: str
    uncertainty_Gy: np.ndarray | None
    provenance: Mapping[str, Any]
    notes: tuple[str, ...]

    def distribution(self) -> DoseDistribution:
        """Return it as a dose to evaluate; raises `EvaluationError` where it is negative."""
        if float(self.dose_Gy.min()) < 0.0:
            raise EvaluationError(
                f"{self.name} goes down to {float(self.dose_Gy.min()):.4g} Gy: a difference is no dose to evaluate."
            )
        return DoseDistribution(
            self.name, self.dose_Gy, self.grid, self.fractions, self.dose_to, self.uncertainty_Gy, self.provenance
        )


def sum_plans(
    parts: Sequence[PlanDose | DoseDistribution],
    grid: Grid | str = UNION,
    *,
    name: str = "Plan sum",
    allow_mixed_media: bool = False,
    progress: Progress | None = None,
) -> CombinedDose:
    """Add doses voxel by voxel, interpolated linearly at the voxel centres of one grid.

    A dose counts as 0 beyond its own grid; where it is cut off there, a note says so. The sum is one of physical doses:
    it knows nothing of fractionation.

    Parameters
    ----------
    parts : sequence of PlanDose or DoseDistribution
        A distribution counts as its whole course with weight 1.
    grid : Grid, "union" or "first"
        "union": the lattice of the dose with the smallest voxels, extended to cover all. "first": that of the first.
    name : str
    allow_mixed_media : bool
        Add dose to water to dose to medium; the sum's ``dose_to`` is then "unknown".
    progress : callable, optional

    Raises
    ------
    EvaluationError
        No dose; mixed media; an unknown or too large grid; a dose wholly outside the grid.
    """
    plans = [p if isinstance(p, PlanDose) else PlanDose(p) for p in parts]
    if not plans:
        raise EvaluationError("A plan sum needs at least one dose.")
    return _combine(plans, grid, name, "sum", allow_mixed_media, part(progress, 0.0, 1.0))


def subtract_plans(
    minuend: PlanDose | DoseDistribution,
    subtrahend: PlanDose | DoseDistribution,
    grid: Grid | str = FIRST,
    *,
    name: str | None = None,
    allow_mixed_media: bool = False,
    progress: Progress | None = None,
) -> CombinedDose:
    """Subtract a dose from another; parameters and errors as of `sum_plans`, on the first's grid by default."""
    first = minuend if isinstance(minuend, PlanDose) else PlanDose(minuend)
    second = subtrahend if isinstance(subtrahend, PlanDose) else PlanDose(subtrahend)
    negative = PlanDose(second.dose, second.fractions, -second.weight)
    label = name or f"{first.dose.name} minus {second.dose.name}"
    return _combine([first, negative], grid, label, "difference", allow_mixed_media, part(progress, 0.0, 1.0))


def union_grid(grids: Sequence[Grid]) -> Grid:
    """Return the lattice of the grid with the smallest voxels, extended by whole voxels until it covers all grids.

    Raises
    ------
    EvaluationError
        It would have more than 200 million voxels.
    """
    finest = min(grids, key=lambda g: g.voxel_volume_cm3)
    corners = finest.ras_to_index(np.concatenate([g.corners_RAS_mm for g in grids]))
    # indices of the outermost voxels whose faces enclose every corner
    low = np.floor(corners.min(axis=0) + 0.5 + 1e-4).astype(int)
    high = np.ceil(corners.max(axis=0) - 0.5 - 1e-4).astype(int)
    shape = (high - low + 1)[::-1]
    if np.prod(shape.astype(float)) > _MAXIMUM_VOXELS:
        raise EvaluationError(
            f"A grid that covers all doses would have {shape[0]} x {shape[1]} x {shape[2]} voxels; choose a grid."
        )
    affine = finest.affine.copy()
    affine[:3, 3] = finest.index_to_ras(low)
    return Grid(tuple(shape), affine)


def grid_for(grid: Grid | str, grids: Sequence[Grid]) -> Grid:
    """Return the grid that a choice (`Grid`, "union", "first") means for these grids."""
    if isinstance(grid, Grid):
        return grid
    if grid == UNION:
        return union_grid(grids)
    if grid == FIRST:
        return grids[0]
    raise EvaluationError(f"The grid of a plan sum is a Grid, {UNION!r} or {FIRST!r}, not {grid!r}.")


def common_medium(doses: Sequence[DoseDistribution], allow_mixed: bool) -> str:
    """Return what all doses are to; raises `EvaluationError` when they differ, unless allowed ("unknown")."""
    media = {d.dose_to for d in doses}
    if len(media) == 1:
        return media.pop()
    if not allow_mixed:
        told = ", ".join(f"{d.name} to {d.dose_to}" for d in doses)
        raise EvaluationError(
            f"Doses to different media do not add up ({told}); calculate them alike, or allow mixed media."
        )
    return "unknown"


def fractionation_notes(parts: Sequence[tuple[DoseDistribution, float]]) -> list[str]:
    """Note when doses of different size a fraction are added; parts are doses and factors."""
    a_fraction = [d.max_Gy * abs(f) / (d.fractions * abs(f)) for d, f in parts if d.max_Gy > 0.0]
    if len(a_fraction) > 1 and max(a_fraction) > 1.1 * min(a_fraction):
        return [
            "The largest doses a fraction differ "
            f"({min(a_fraction):.3g} to {max(a_fraction):.3g} Gy): this sum is of physical doses, not of their effect."
        ]
    return []


def face_dose_Gy(dose: np.ndarray) -> float:
    """Largest dose in the outermost voxels of a grid."""
    faces = (dose[0], dose[-1], dose[:, 0], dose[:, -1], dose[:, :, 0], dose[:, :, -1])
    return float(max(f.max() for f in faces))


def _combine(
    plans: Sequence[PlanDose], grid: Grid | str, name: str, operation: str, mixed: bool, report: Progress
) -> CombinedDose:
    doses = [p.dose for p in plans]
    dose_to = common_medium(doses, mixed)
    target = grid_for(grid, [d.grid for d in doses])
    total = np.zeros(target.shape, np.float64)
    variance = np.zeros(target.shape, np.float64)
    known = all(d.uncertainty_Gy is not None for d in doses)
    notes, records = fractionation_notes([(p.dose, p.factor) for p in plans]), []
    for number, plan in enumerate(plans):
        dose = plan.dose
        report(number / len(plans), f"{name}: {dose.name}")
        covers = resample(np.ones(dose.grid.shape, bool), dose.grid, target)
        covered = float(covers.mean())
        if covered == 0.0:
            raise EvaluationError(
                f"{name}: the grid of {dose.name} does not overlap the grid of the result; "
                "check that they are in the same frame of reference, or choose another grid."
            )
        total += plan.factor * resample(dose.dose_Gy, dose.grid, target)
        if known:
            variance += (plan.factor * resample(dose.uncertainty_Gy, dose.grid, target).astype(float)) ** 2
        notes += _cut_notes(dose, target, covered)
        if number and not any(_meet(dose.grid, other.grid) for other in doses[:number]):
            notes.append(
                f"The grid of {dose.name} meets none of the others': nothing is added up there. Check that they are in "
                "the same frame of reference."
            )
        records.append(
            {
                **dose.summary(),
                "weight": plan.weight,
                "delivered_fractions": plan.delivered_fractions,
                "factor": plan.factor,
                "covers_share_of_grid": covered,
            }
        )
    report(1.0, f"{name} ready")
    if not known and any(d.uncertainty_Gy is not None for d in doses):
        notes.append("Not every dose has an uncertainty; the result has none.")
    values = total.astype(np.float32)
    values.setflags(write=False)
    return CombinedDose(
        name=name,
        dose_Gy=values,
        grid=target,
        fractions=sum(p.delivered_fractions for p in plans),
        dose_to=dose_to,
        uncertainty_Gy=np.sqrt(variance).astype(np.float32) if known else None,
        provenance={
            "operation": operation,
            "interpolation": "trilinear at voxel centres; 0 beyond a dose's grid",
            "grid": grid_summary(target),
            "parts": records,
            "notes": notes,
        },
        notes=tuple(notes),
    )


def _meet(one: Grid, other: Grid) -> bool:
    """Whether some voxel of a grid has its centre in the other."""
    return bool(
        resample(np.ones(one.shape, bool), one, other).any() or resample(np.ones(other.shape, bool), other, one).any()
    )


def _cut_notes(dose: DoseDistribution, target: Grid, covered: float) -> list[str]:
    """What is lost of a dose: beyond its own grid, or beyond that of the result."""
    notes = []
    at_face = face_dose_Gy(dose.dose_Gy)
    if covered < 1.0 and at_face > _CUT_OFF * dose.max_Gy:
        notes.append(f"{dose.name} has up to {at_face:.3g} Gy at the faces of its grid and counts as 0 beyond.")
    kept = resample(np.ones(target.shape, bool), target, dose.grid)
    if not kept.all():
        lost = float(dose.dose_Gy[~kept].max())
        if lost > _CUT_OFF * dose.max_Gy:
            notes.append(f"{dose.name} has up to {lost:.3g} Gy outside the grid of the result.")
    return notes
