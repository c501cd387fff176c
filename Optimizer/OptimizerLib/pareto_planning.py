"""Pareto plans in one call: a patient, directions, rows, and which of them compete; plans to navigate between out.

As in clinical multi-criteria planning, a first plan by the rows' own weights shows what is feasible, and limits set
from it keep out plans that nobody wants: the least dose to the lung is that of no beam at all (Craft, Halabi, Shih and
Bortfeld, Int. J. Radiat. Oncol. Biol. Phys. 69 (2007) 1600).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from DoseEngineLib.influence import DoseInfluence
from DoseEngineLib.patient import Patient
from DoseEngineLib.plan import Plan
from DoseEngineLib.progress import Progress, part
from OptimizerLib.errors import OptimizationError
from OptimizerLib.fluence_planning import (
    FluenceSettings,
    fluence_influence,
    open_questions,
    planning_terms,
    solver_of,
)
from OptimizerLib.multicriteria.even_start import even_start
from OptimizerLib.multicriteria.pareto import ParetoFront, approximate_pareto_front
from OptimizerLib.multicriteria.trade_off import Goal, TradeOff
from OptimizerLib.pareto_plans import ParetoPlans
from OptimizerLib.planning_goals import PlanningGoals

# Least size of a goal in units of the sum of all: one that is met costs nothing, and a limit of nothing is none.
_LEAST_PART = 0.01


def plan_pareto(
    patient: Patient,
    plan: Plan,
    goals: PlanningGoals,
    trade_off: Sequence[Sequence[str]] = (),
    settings: FluenceSettings | None = None,
    *,
    limits: Mapping[str, float] | None = None,
    room: float = 4.0,
    gap: float = 0.05,
    max_plans: int = 12,
    targets: Sequence[str] = (),
    influence: DoseInfluence | None = None,
    previous: ParetoPlans | None = None,
    progress: Progress | None = None,
) -> ParetoPlans:
    """Compute plans for two to four goals that compete.

    Parameters
    ----------
    patient, plan, goals, settings, targets, influence, progress
        As of `OptimizerLib.fluence_planning.plan_fluence`; constraints hold in every plan, fluence terms are part of
        every goal.
    trade_off : sequence of sequence of str
        For each goal the structures whose rows make it up, every row in one goal; by default a goal a structure.
    limits : mapping of goal or structure to float, optional
        Largest value of a goal.
    room : float
        Limit of the other goals, relative to their value in the plan that the rows' weights lead to: 4 for squared
        deviations is twice the deviation. Goals below a hundredth of the sum count as that much.
    gap : float
        How near mixtures of the plans come to the front, see `ParetoFront.gap`.
    max_plans : int
    previous : ParetoPlans, optional
        Of the same patient, beams and rows: plans are added to them, within their limits.

    Raises
    ------
    OptimizationError
        Rows on several levels, in no goal or in two, DVH objectives (which are not convex); limits that cannot be met.
    """
    settings = settings or FluenceSettings()
    if not (math.isfinite(room) and room > 1.0):
        raise OptimizationError(f"The room above the balanced plan must be more than 1; got {room}.")
    groups = goal_groups(goals, trade_off) if previous is None else previous.groups
    names = [" and ".join(group) for group in groups]
    if influence is None:
        influence = fluence_influence(patient, plan, goals, settings, targets, part(progress, 0.0, 0.2))
    else:
        influence.check(patient, plan)
    if previous is not None:
        previous.check(influence, goals)
    seen, terms = planning_terms(patient, plan, goals, influence)
    objectives = terms.all_objectives
    competing = TradeOff(
        influence.matrix,
        {name: entry.rows for name, entry in seen.items()},
        [Goal(name, [o for o in objectives if o.structure in group]) for name, group in zip(names, groups)],
        terms.constraints,
        terms.fluence_terms,
        float(influence.fractions),
    )
    if previous is None:
        weights, balanced, bounds = _balanced(
            competing, groups, solver_of(settings), limits or {}, room, part(progress, 0.2, 0.3)
        )
    else:
        if limits:
            raise OptimizationError("Plans are added within the limits of those before; compute anew for other limits.")
        weights, balanced, bounds = None, np.array(previous.balanced), np.array(previous.limits)
    competing.goals = tuple(replace(goal, bound=float(b)) for goal, b in zip(competing.goals, bounds))
    front: ParetoFront = approximate_pareto_front(
        competing,
        weights,
        None,
        part(progress, 0.3, 1.0),
        gap=gap,
        max_plans=max_plans,
        previous=None if previous is None else previous.front,
    )
    return ParetoPlans(
        front,
        influence.beams,
        tuple(goals.to_entries()),
        tuple(groups),
        tuple(float(bound) for bound in bounds),
        tuple(float(value) for value in balanced),
        {name: entry.volumes for name, entry in seen.items()},
        tuple(targets),
        settings,
        dict(influence.provenance),
        open_questions(patient, goals, influence, weights) if previous is None else previous.notes,
    )


def goal_groups(goals: PlanningGoals, trade_off: Sequence[Sequence[str]] = ()) -> tuple[tuple[str, ...], ...]:
    """Structures whose rows make up each goal, checked; a goal a structure by default."""
    if not goals.levels:
        raise OptimizationError('There are no objectives; write at least two rows, e.g. "PTV uniform 50 Gy".')
    if len(goals.levels) > 1:
        raise OptimizationError(
            "Rows on several levels are not traded; take the levels away, or optimize them level by level."
        )
    traded = list(dict.fromkeys(r.structure for r in goals.rows if not r.constraint and r.structure is not None))
    groups = tuple(tuple(group) for group in trade_off) or tuple((name,) for name in traded)
    named = [name for group in groups for name in group]
    for name in named:
        if name not in traded:
            raise OptimizationError(f"{name} has no objective to trade; those that have: {', '.join(traded)}.")
        if named.count(name) > 1:
            raise OptimizationError(f"{name} is named more than once; its rows belong to one goal.")
    left = [name for name in traded if name not in named]
    if left:
        raise OptimizationError(
            f"Rows of {' and '.join(left)} belong to no goal; put them into one of the goals, or make them constraints."
        )
    if not 2 <= len(groups) <= 4:
        raise OptimizationError(
            f"Two to four goals can be traded; these are {len(groups)}: {', '.join(map(' and '.join, groups))}. Put "
            "structures together into one goal."
        )
    return groups


def _balanced(
    trade_off: TradeOff, groups: Sequence[Sequence[str]], solver, limits: Mapping[str, float], room: float, progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights and goals (goals,) of the plan that the rows' weights lead to, and limits (goals,) around it."""
    solution = solver.solve(trade_off.problem, even_start(trade_off), progress)
    values = trade_off.values(solution.weights)
    size = np.maximum(np.abs(values), _LEAST_PART * float(np.abs(values).sum()))
    bounds = values - np.abs(values) + room * size
    for name, limit in limits.items():
        found = [n for n, group in enumerate(groups) if name == trade_off.names[n] or name in group]
        if not found or not math.isfinite(limit):
            raise OptimizationError(
                f"{name} cannot be limited to {limit}; give a finite value for one of: {', '.join(trade_off.names)}."
            )
        bounds[found[0]] = limit
    return solution.weights, values, bounds
