"""From objective rows to what a solver minimizes: objectives, constraints and terms on the fluence.

==========================  ===========================================  ==============================================
the row                     as an objective                              as a constraint
==========================  ===========================================  ==============================================
``Max <= d``, ``Min >= d``  squared over- or underdose                   every voxel (`MaxDose`, `MinDose`)
``Mean``, ``gEUD(a)``       squared excess of the value (`EUDOverdose`)  the value itself (`MaxMean`, `MaxEUD`)
``D``, ``V``, ``DC``,       dose-volume objective (`MaxDVH`, `MinDVH`)   mean of the tail, conservative (`MaxTailMean`)
``CV``, ``Coverage``
``uniform``                 squared deviation                            none
``falloff``                 squared overdose above the level             none
``minimize``, ``maximize``  the (smoothed) value, linear                 none
==========================  ===========================================  ==============================================

Every limit is aimed at as it stands, strict or not; acceptable variations are for judging. Indices of conformity,
gradient and homogeneity have no objective: aim at them with ``uniform`` and ``falloff``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from DoseEngineLib.clinical_goals import Goal
from DoseEngineLib.dose_metrics import checked_prescription
from DoseEngineLib.influence import BixelBeam, DoseInfluence
from DoseEngineLib.plan import Structure
from OptimizerLib.aims import Dose, Extreme, Falloff, FluenceAim, UniformDose
from OptimizerLib.constraints import (
    Constraint,
    MaxDose,
    MaxEUD,
    MaxMean,
    MaxTailMean,
    MinDose,
    MinEUD,
    MinMean,
    MinTailMean,
)
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objective_rows import ObjectiveRow
from OptimizerLib.objectives import (
    DoseFalloff,
    EquivalentUniformDose,
    EUDOverdose,
    EUDUnderdose,
    FluenceSmoothness,
    FluenceTerm,
    FluenceTotalVariation,
    MaxDVH,
    MaximumDose,
    MeanDose,
    MinDVH,
    MinimumDose,
    Objective,
    SquaredDeviation,
    SquaredOverdose,
    SquaredUnderdose,
)

_FLUENCE = {"smoothness": FluenceSmoothness, "total variation": FluenceTotalVariation}


@dataclass(frozen=True, eq=False)
class RowContext:
    """What rows refer to beside themselves.

    Attributes
    ----------
    structures : mapping of name to Structure
        The case's; rows may name these only. Targets of fall-offs and volumes in cc are measured on them.
    prescription_Gy : float, optional
        Of the course, for doses in %.
    fractions : int
        For rows per fraction.
    points_RAS_mm : callable, optional
        Name of a structure -> voxel centres (n, 3) in the order of its rows in the influence; for fall-offs.
    voxel_weights : callable, optional
        Name of a structure -> (n,) volumes its rows stand for, or None where all are alike.
    beams : sequence of BixelBeam
        In the order of the influence's columns; for terms on the fluence.
    """

    structures: Mapping[str, Structure] = field(default_factory=dict)
    prescription_Gy: float | None = None
    fractions: int = 1
    points_RAS_mm: Callable[[str], np.ndarray] | None = None
    voxel_weights: Callable[[str], np.ndarray | None] | None = None
    beams: Sequence[BixelBeam] = ()

    @classmethod
    def of_influence(
        cls, influence: DoseInfluence, structures: Sequence[Structure], prescription_Gy: float | None = None
    ) -> RowContext:
        """Take points, volumes, beams and fractions from a dose influence; rows are those of ``rows_of``."""
        by_name = {structure.name: structure for structure in structures}

        def points(name: str) -> np.ndarray:
            voxels = influence.voxels[influence.rows_of(by_name[name])]
            k, j, i = np.unravel_index(voxels, influence.grid.shape)
            return influence.grid.index_to_ras(np.stack((i, j, k), axis=-1))

        def weights(name: str) -> np.ndarray | None:
            found = influence.voxel_weights[influence.rows_of(by_name[name])]
            return None if not found.size or (found == found[0]).all() else found

        return cls(by_name, prescription_Gy, influence.fractions, points, weights, influence.beams)

    def structure(self, name: str, row: ObjectiveRow) -> Structure:
        """Return a structure by name; an unknown one raises `OptimizationError` and lists those there are."""
        if name not in self.structures:
            raise OptimizationError(
                f"{row}: there is no structure {name!r}; choose one of: {', '.join(self.structures) or 'none'}."
            )
        return self.structures[name]

    def dose_Gy(self, value: float, unit: str, row: ObjectiveRow) -> float:
        """Dose of the course in Gy."""
        if unit == "%":
            return value / 100.0 * checked_prescription(self.prescription_Gy, str(row))
        value = value / 100.0 if unit == "cGy" else value
        return value * self.fractions if row.per == "fraction" else value


def make_term(row: ObjectiveRow, context: RowContext) -> Objective | Constraint | FluenceTerm:
    """Make what a row stands for.

    Raises
    ------
    OptimizationError
        A structure that is not there, a goal that no objective can stand for, a context that lacks what the row needs.
    EvaluationError
        A dose in % without a prescription.
    """
    aim = row.aim
    if isinstance(aim, FluenceAim):
        if not context.beams:
            raise OptimizationError(f"{row}: there are no bixels here; fluence rows are for optimizing fluence.")
        return _FLUENCE[aim.term].of_beams(context.beams, row.weight)
    context.structure(aim.structure, row)
    volumes = None if context.voxel_weights is None else context.voxel_weights(aim.structure)
    if isinstance(aim, UniformDose):
        return SquaredDeviation(aim.structure, _dose(aim.dose, row, context), row.weight, voxel_weights=volumes)
    if isinstance(aim, Falloff):
        if context.points_RAS_mm is None:
            raise OptimizationError(f"{row}: fall-offs need the voxels of a dose influence, and there is none here.")
        return DoseFalloff.of_target(
            aim.structure,
            context.structure(aim.target, row),
            context.points_RAS_mm(aim.structure),
            _dose(aim.near, row, context),
            _dose(aim.far, row, context),
            aim.reach_mm,
            aim.shape,
            row.weight,
            volumes,
        )
    if isinstance(aim, Extreme):
        return _extreme(aim, row.weight, volumes)
    return _constraint(row, context, volumes) if row.constraint else _objective(row, context, volumes)


def _extreme(aim: Extreme, weight: float, volumes: np.ndarray | None) -> Objective:
    if aim.metric.kind == "gEUD":
        return EquivalentUniformDose(aim.structure, aim.metric.amount, weight, voxel_weights=volumes)
    kind = {"Mean": MeanDose, "Max": MaximumDose, "Min": MinimumDose}[aim.metric.kind]
    return kind(aim.structure, weight, voxel_weights=volumes)


def _objective(row: ObjectiveRow, context: RowContext, volumes: np.ndarray | None) -> Objective:
    goal, kind, a = _goal_of(row)
    more = goal.wants_more
    if goal.metric.is_dose and kind not in ("D", "DC"):
        limit = context.dose_Gy(goal.limit, goal.unit, row)
        if kind in ("Max", "Min"):
            squared = SquaredUnderdose if more else SquaredOverdose
            return squared(goal.structure, limit, row.weight, voxel_weights=volumes)
        penalty = EUDUnderdose if more else EUDOverdose
        return penalty(goal.structure, limit, row.weight, a=a, voxel_weights=volumes)
    dose, percent, at_least = _dvh_point(row, context)
    dose_volume = MinDVH if at_least else MaxDVH
    return dose_volume(goal.structure, dose, row.weight, volume_percent=percent, voxel_weights=volumes)


def _constraint(row: ObjectiveRow, context: RowContext, volumes: np.ndarray | None) -> Constraint:
    goal, kind, a = _goal_of(row)
    more = goal.wants_more
    if goal.metric.is_dose and kind not in ("D", "DC"):
        limit = context.dose_Gy(goal.limit, goal.unit, row)
        if kind in ("Max", "Min"):
            return (MinDose if more else MaxDose)(goal.structure, limit, voxel_weights=volumes)
        if kind == "Mean":
            return (MinMean if more else MaxMean)(goal.structure, limit, voxel_weights=volumes)
        return (MinEUD if more else MaxEUD)(goal.structure, limit, a=a, voxel_weights=volumes)
    dose, percent, at_least = _dvh_point(row, context)
    if at_least:
        if percent <= 0.0:
            raise OptimizationError(f"{row}: none of the volume needs that dose, so there is nothing to keep.")
        if percent >= 100.0:
            return MinDose(goal.structure, dose, voxel_weights=volumes)
        return MinTailMean(goal.structure, dose, volume_percent=percent, voxel_weights=volumes)
    if percent >= 100.0:
        raise OptimizationError(f"{row}: all of the volume may exceed that dose, so there is nothing to keep.")
    if percent <= 0.0:
        return MaxDose(goal.structure, dose, voxel_weights=volumes)
    return MaxTailMean(goal.structure, dose, volume_percent=percent, voxel_weights=volumes)


def _goal_of(row: ObjectiveRow) -> tuple[Goal, str, float]:
    """Return the row's goal, the kind of its metric and the exponent of its mean; refuse what cannot be optimized."""
    goal: Goal = row.aim
    kind = goal.metric.kind
    if kind not in ("Mean", "Max", "Min", "gEUD", "D", "DC", "V", "CV", "Coverage"):
        raise OptimizationError(
            f"{row}: there is no objective for {goal.metric}; aim at it with a uniform dose to the target and a "
            "fall-off around it, and judge it afterwards as a goal."
        )
    if (kind == "Max" and goal.wants_more) or (kind == "Min" and not goal.wants_more):
        raise OptimizationError(
            f"{row}: a {'higher maximum' if kind == 'Max' else 'lower minimum'} is not something to optimize for; did "
            f"you mean {'Min' if kind == 'Max' else 'Max'}, or D2% or D98%?"
        )
    return goal, kind, goal.metric.amount if kind == "gEUD" else 1.0


def _dvh_point(row: ObjectiveRow, context: RowContext) -> tuple[float, float, bool]:
    """Return dose in Gy, volume in % and whether at least (else at most) that volume shall have that dose."""
    goal: Goal = row.aim
    metric = goal.metric
    total = context.structure(goal.structure, row).volume_cm3
    if metric.kind in ("D", "DC"):
        dose, volume, unit = context.dose_Gy(goal.limit, goal.unit, row), metric.amount, metric.amount_unit
        complement, at_least = metric.kind == "DC", goal.wants_more
    else:
        dose, volume, unit = context.dose_Gy(metric.amount, metric.amount_unit, row), goal.limit, goal.unit
        # a large volume below a dose is a small one above it
        complement = metric.kind == "CV"
        at_least = goal.wants_more != complement
    if unit == "cc":
        if not total > 0.0:
            raise OptimizationError(f"{row}: {goal.structure} is empty; contour it or drop the row.")
        volume = 100.0 * volume / total
    if not 0.0 <= volume <= 100.0 * (1.0 + 1e-9):
        raise OptimizationError(
            f"{row}: {goal.structure} has {total:.4g} cc, the row asks for {volume:.4g} % of it; give a volume between "
            "0 and all of it."
        )
    volume = min(volume, 100.0)
    return dose, (100.0 - volume if complement else volume), at_least


def _dose(dose: Dose, row: ObjectiveRow, context: RowContext) -> float:
    return context.dose_Gy(dose.value, dose.unit, row)
