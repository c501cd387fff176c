"""Goals that compete, and the scalar problems that come of weighing and bounding them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import Objective
from OptimizerLib.problem import Problem


@dataclass(frozen=True)
class Goal:
    """One of several competing goals: a sum of objectives, of which smaller is better.

    Attributes
    ----------
    name : str
        As a person calls it, e.g. "Cord".
    objectives : tuple of Objective
        Convex ones only: interpolation between plans is no better than its ends otherwise.
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
        bent = [o for o in self.objectives if not getattr(o, "convex", True)]
        if bent:
            raise OptimizationError(
                f"Goal {self.name}: {type(bent[0]).__name__} of {bent[0].structure} is not convex, so nothing could be "
                "said of the plans between two plans; use gEUD, mean, squared or CVaR forms instead."
            )


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
    ) -> ScalarizedProblem:
        """The sum of goals by importance, with an augmented Lagrangian on those that have limits."""
        return ScalarizedProblem(self, importance, limits, multipliers, penalty)


class ScalarizedProblem(Problem):
    r"""Minimize :math:`\sum_g \lambda_g F_g` plus, on goals with limits, what makes exceeding them costly.

    With limits :math:`b`, multipliers :math:`\mu` and penalties :math:`\rho` the sum is the augmented Lagrangian

    .. math:: \sum_g \lambda_g F_g
       + \frac{1}{2\rho_g}\left(\max(0,\, \mu_g + \rho_g (F_g - b_g))^2 - \mu_g^2\right)

    (Nocedal and Wright, Numerical Optimization, 2nd ed. 2006, section 17.3). Its gradient is that of
    :math:`\nu \cdot F` with :math:`\nu` of `normal`.

    Parameters
    ----------
    trade_off : TradeOff
    importance : (goals,) array
        Not negative.
    limits, multipliers, penalty : (goals,) array, optional
        Infinite limits are none.
    """

    def __init__(
        self,
        trade_off: TradeOff,
        importance: np.ndarray,
        limits: np.ndarray | None = None,
        multipliers: np.ndarray | None = None,
        penalty: np.ndarray | None = None,
    ) -> None:
        # the same matrix, terms and rows, checked once when the trade-off was made
        self.__dict__.update(trade_off.problem.__dict__)
        goals = len(trade_off.goals)
        self.trade_off = trade_off
        self.importance = np.asarray(importance, float)
        self.limits = np.full(goals, math.inf) if limits is None else np.asarray(limits, float)
        self.multipliers = np.zeros(goals) if multipliers is None else np.asarray(multipliers, float)
        self.penalty = np.ones(goals) if penalty is None else np.asarray(penalty, float)
        if self.importance.shape != (goals,) or not np.isfinite(self.importance).all() or (self.importance < 0).any():
            raise OptimizationError(f"Give {goals} finite importances, not negative; got {importance}.")

    def normal(self, values: np.ndarray) -> np.ndarray:
        """Importances (goals,) whose plain weighted sum has the same gradient where the goals have these values."""
        return self.importance + self._pressed(values)

    def _pressed(self, values: np.ndarray) -> np.ndarray:
        limited = np.isfinite(self.limits)
        excess = np.where(limited, values - np.where(limited, self.limits, 0.0), 0.0)
        return np.where(limited, np.maximum(self.multipliers + self.penalty * excess, 0.0), 0.0)

    def value_and_gradient(self, weights: np.ndarray) -> tuple[float, np.ndarray]:
        """Value at some weights (variables,), and its gradient (variables,)."""
        dose = self.dose_Gy(weights)
        seen = [(objective, voxels, there) for objective, voxels, there in self._objective_doses(dose)]
        values = self.trade_off.goal_values(
            [objective.value(there) for objective, _, there in seen]
            + [float(term.value(weights)) for term in self.fluence_terms]
        )
        pressed = self._pressed(values)
        normal = self.importance + pressed
        value = float(self.importance @ values + ((pressed**2 - self.multipliers**2) / (2.0 * self.penalty)).sum())
        by_dose = np.zeros(dose.shape)
        for goal, (objective, voxels, there) in zip(self.trade_off.goal_of, seen):
            if normal[goal] > 0:
                by_dose[voxels] += normal[goal] * objective.gradient(there)
        gradient = self.scale * (self.influence.T @ by_dose)
        for term in self.fluence_terms:
            gradient += normal.sum() * term.gradient(weights)
        return value, gradient
