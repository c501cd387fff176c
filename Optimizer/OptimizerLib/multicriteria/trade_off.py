"""Goals that compete, and the scalar problems that come of weighing and bounding them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import Objective
from OptimizerLib.problem import Problem
from OptimizerLib.solvers.penalized_constraint import initial_multipliers, penalized


@dataclass(frozen=True)
class Goal:
    """One of several competing goals: a sum of objectives, of which smaller is better.

    Attributes
    ----------
    name : str
        As a person calls it, e.g. "Cord".
    objectives : tuple of Objective
    bound : float, optional
        Largest value a plan may have. Without bounds the extremes of a front are of no use: the least dose to the lung
        is that of no beam at all.
    """

    name: str
    objectives: tuple[Objective, ...]
    bound: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "objectives", tuple(self.objectives))
        if not self.name or not self.objectives:
            raise OptimizationError(
                f"A goal needs a name and at least one objective; got {self.name!r} with {len(self.objectives)}."
            )
        if self.bound is not None and not math.isfinite(self.bound):
            raise OptimizationError(f"Goal {self.name}: the bound must be finite, or None for no bound; got it not so.")


class TradeOff:
    """Competing goals over one influence matrix.

    The value of a goal is the sum of its objectives plus all fluence terms, which every goal pays for alike.

    Parameters
    ----------
    influence, voxels_of, constraints, fluence_terms, scale
        As of `Problem`.
    goals : sequence of Goal

    Raises
    ------
    OptimizationError
        No goals, two of one name, or what `Problem` refuses.
    """

    def __init__(
        self,
        influence: Any,
        voxels_of: Mapping[str, np.ndarray],
        goals: Sequence[Goal],
        constraints: Sequence[Any] = (),
        fluence_terms: Sequence[Any] = (),
        scale: float = 1.0,
    ) -> None:
        names = [goal.name for goal in goals]
        if not goals or len(set(names)) != len(names):
            raise OptimizationError(f"Give goals, each with a name of its own; got {', '.join(names) or 'none'}.")
        self.goals = tuple(goals)
        objectives = [objective for goal in goals for objective in goal.objectives]
        self.problem = Problem(influence, voxels_of, objectives, constraints, fluence_terms, scale)
        self.goal_of = np.repeat(np.arange(len(goals)), [len(goal.objectives) for goal in goals])
        self.voxels_of = {name: np.asarray(voxels, dtype=np.intp) for name, voxels in voxels_of.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each goal."""
        return tuple(goal.name for goal in self.goals)

    @property
    def bounds(self) -> np.ndarray:
        """Bound of each goal (goals,); infinite where there is none."""
        return np.array([math.inf if goal.bound is None else goal.bound for goal in self.goals])

    @property
    def variables(self) -> int:
        """Number of weights."""
        return self.problem.variables

    @cached_property
    def typical_total_weight(self) -> float:
        """Sum of equal weights that give 50 Gy to the voxel with most: what a plan's weights may come to."""
        largest = float(self.problem.seen_dose_Gy(np.ones(self.variables)).max())
        return 50.0 * self.variables / largest if largest > 0 else 0.0

    def dose_Gy(self, weights: np.ndarray) -> np.ndarray:
        """Dose (voxels,) at some weights (variables,)."""
        return self.problem.dose_Gy(weights)

    def values(self, weights: np.ndarray) -> np.ndarray:
        """Value of each goal (goals,) at some weights (variables,)."""
        return self.goal_values(self.problem.values(weights))

    def goal_values(self, values: Sequence[float]) -> np.ndarray:
        """Value of each goal (goals,), from those of all objectives and then all fluence terms."""
        count = self.goal_of.size
        return np.bincount(self.goal_of, values[:count], len(self.goals)) + sum(values[count:])

    def scalarized(
        self,
        importance: np.ndarray,
        limits: np.ndarray | None = None,
        multipliers: np.ndarray | None = None,
        penalty: np.ndarray | None = None,
        constraint_multipliers: Sequence[np.ndarray] | None = None,
        constraint_penalty: float = 1.0,
    ) -> ScalarizedProblem:
        """The sum of goals by importance, with an augmented Lagrangian on limits of goals and on constraints."""
        return ScalarizedProblem(
            self, importance, limits, multipliers, penalty, constraint_multipliers, constraint_penalty
        )


class ScalarizedProblem(Problem):
    r"""Minimize :math:`\sum_g \lambda_g F_g` plus what makes exceeding limits and constraints costly.

    For limits :math:`F_g \le b_g`, multipliers :math:`\mu` and penalties :math:`\rho` the sum is the augmented
    Lagrangian

    .. math:: \sum_g \lambda_g F_g
       + \sum_g \frac{1}{2\rho_g}\left(\max(0,\, \mu_g + \rho_g (F_g - b_g))^2 - \mu_g^2\right)

    (Nocedal and Wright, Numerical Optimization, 2nd ed. 2006, section 17.3), and the same for each component of the
    constraints' excess. What is left to a solver has no constraints but that weights are not negative.

    Parameters
    ----------
    trade_off : TradeOff
    importance : (goals,) array
        Not negative.
    limits, multipliers, penalty : (goals,) array, optional
        Infinite limits are none.
    constraint_multipliers : sequence of array, optional
        For each constraint, as its penalty's ``pressure`` (`penalized_constraint`); zero by default.
    constraint_penalty : float
        Per Gy^2; for constraints of m excesses divided by the square root of m.
    """

    def __init__(
        self,
        trade_off: TradeOff,
        importance: np.ndarray,
        limits: np.ndarray | None = None,
        multipliers: np.ndarray | None = None,
        penalty: np.ndarray | None = None,
        constraint_multipliers: Sequence[np.ndarray] | None = None,
        constraint_penalty: float = 1.0,
    ) -> None:
        # the same matrix, terms and rows, checked once when the trade-off was made
        self.__dict__.update(trade_off.problem.__dict__)
        goals = len(trade_off.goals)
        self.trade_off = trade_off
        self.importance = np.asarray(importance, float)
        self.limits = np.full(goals, math.inf) if limits is None else np.asarray(limits, float)
        self.multipliers = np.zeros(goals) if multipliers is None else np.asarray(multipliers, float)
        self.penalty = np.ones(goals) if penalty is None else np.asarray(penalty, float)
        self.penalties = self._penalties(constraint_multipliers, constraint_penalty)
        self.constraints = ()
        self._limit_curvatures = {
            int(goal): LimitCurvature(self, int(goal)) for goal in np.flatnonzero(np.isfinite(self.limits))
        }
        if self.importance.shape != (goals,) or not np.isfinite(self.importance).all() or (self.importance < 0).any():
            raise OptimizationError(f"Give {goals} finite importances, not negative; got {importance}.")

    def _penalties(self, multipliers: Sequence[np.ndarray] | None, penalty: float) -> tuple[Any, ...]:
        terms = []
        for number, constraint in enumerate(self.constraints):
            count = self.operator.shape[0]
            rows = self.rows(constraint)
            voxels = len(range(*rows.indices(count))) if isinstance(rows, slice) else rows.size
            excesses = np.atleast_1d(constraint.excess_Gy(np.zeros(voxels))).size
            if multipliers is None:
                there = initial_multipliers(constraint, np.zeros(voxels), np.zeros(excesses))
            else:
                there = multipliers[number]
            terms.append(penalized(constraint, there, penalty / math.sqrt(excesses)))
        return tuple(terms)

    def normal(self, values: np.ndarray) -> np.ndarray:
        """Importances (goals,) whose plain weighted sum has the same gradient where the goals have these values."""
        return self.importance + self._pressed(values)

    @property
    def has_coupling(self) -> bool:
        """Whether there is curvature that `weighted_objectives` do not tell; see `Problem.has_coupling`."""
        return bool(self.fluence_terms) or not all(penalty.has_exact_curvature for penalty in self.penalties)

    def evaluate(self, dose: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value and its derivatives by dose and by weights; see `Problem.evaluate`."""
        values = self._goal_values(dose, weights)
        pressed = self._pressed(values)
        normal = self.importance + pressed
        value = float(self.importance @ values + ((pressed**2 - self.multipliers**2) / (2.0 * self.penalty)).sum())
        by_dose = np.zeros(dose.shape)
        by_weights = np.zeros(self.variables)
        for goal, objective in zip(self.trade_off.goal_of, self.objectives):
            if normal[goal] > 0:
                rows = self.rows(objective)
                by_dose[rows] += normal[goal] * objective.gradient(dose[rows])
        for penalty in self.penalties:
            rows = self.rows(penalty)
            value += penalty.value(dose[rows])
            by_dose[rows] += penalty.gradient(dose[rows])
        for term in self.fluence_terms:
            by_weights += normal.sum() * term.gradient(weights)
        return value, by_dose, by_weights

    def weighted_objectives(self, dose: np.ndarray, weights: np.ndarray) -> list[tuple[float, Any]]:
        """Objectives and penalties with their factors in the gradient; see `Problem.weighted_objectives`."""
        pressed = self._pressed(self._goal_values(dose, weights))
        normal = self.importance + pressed
        factors = [(float(normal[goal]), objective) for goal, objective in zip(self.trade_off.goal_of, self.objectives)]
        factors += [(1.0, penalty) for penalty in self.penalties]
        return factors + [
            (float(self.penalty[goal]) if pressed[goal] > 0 else 0.0, limit)
            for goal, limit in self._limit_curvatures.items()
        ]

    def rows(self, term: Any) -> slice | np.ndarray:
        """Where in the rows of `operator` a term finds its dose; see `Problem.rows`."""
        return slice(None) if isinstance(term, LimitCurvature) else super().rows(term)

    def goal_gradient(self, goal: int, dose: np.ndarray) -> np.ndarray:
        """Derivative of one goal's objectives by the doses of `seen_dose_Gy`."""
        by_dose = np.zeros(dose.shape)
        for number, objective in zip(self.trade_off.goal_of, self.objectives):
            if number == goal:
                rows = self.rows(objective)
                by_dose[rows] += objective.gradient(dose[rows])
        return by_dose

    def _goal_values(self, dose: np.ndarray, weights: np.ndarray) -> np.ndarray:
        each = [float(objective.value(dose[self.rows(objective)])) for objective in self.objectives]
        return self.trade_off.goal_values(each + [float(term.value(weights)) for term in self.fluence_terms])

    def _pressed(self, values: np.ndarray) -> np.ndarray:
        limited = np.isfinite(self.limits)
        excess = np.where(limited, values - np.where(limited, self.limits, 0.0), 0.0)
        return np.where(limited, np.maximum(self.multipliers + self.penalty * excess, 0.0), 0.0)


class LimitCurvature:
    """What the penalty on a goal's limit adds to the second derivative beside the goal's own: rank one in dose.

    Solvers that model curvature ask for it; the gradient of the penalty is in that of the goal's objectives already.
    """

    def __init__(self, problem: ScalarizedProblem, goal: int) -> None:
        self._problem = problem
        self._goal = goal

    def rank_one(self, dose_Gy: np.ndarray) -> tuple[float, np.ndarray]:
        """Coefficient and vector (seen,) of the second derivative by dose, for a penalty of one."""
        return 1.0, self._problem.goal_gradient(self._goal, dose_Gy)
