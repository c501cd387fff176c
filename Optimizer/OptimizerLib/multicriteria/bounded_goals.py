"""One plan: some goals minimized by importance, others held below limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from DoseEngineLib.progress import Progress, part
from OptimizerLib.constraints import MaxTailMean
from OptimizerLib.errors import OptimizationError
from OptimizerLib.multicriteria.trade_off import TradeOff
from OptimizerLib.solvers import IterationState, Solver
from OptimizerLib.solvers.solver import Callback

# Rounds of the method of multipliers; the first penalty relative to the objective's worth, its growth and its end.
_ROUNDS, _STIFFNESS, _STIFFENING, _STIFFEST = 30, 10.0, 5.0, 1e5
_SMALLEST_WORTH = 1e-6
# Total weight, relative to that of the heaviest plan seen, up to which a plan has to be certain.
_HEAVIER = 4.0
# The solver goes on to this share of the certainty asked for: multipliers are to be as good as the plan.
_FINER = 0.01


@dataclass(frozen=True, eq=False)
class BoundedPlan:
    """A plan that minimizes a weighted sum of goals within limits on their values.

    Attributes
    ----------
    weights : (variables,) array
    values : (goals,) array
        Of each goal.
    normal : (goals,) array
        Importances of which the plan minimizes the plain sum: those asked for plus the multipliers of the limits.
    lagrangian : float
        ``normal @ values`` plus, for each constraint, multiplier times excess (zero at an exact optimum).
    slope, descent : float
        Of the gradient of the Lagrangian ``gradient @ weights`` and the most negative component, negated; both zero at
        an exact optimum. See `least_possible`.
    excess : float
        Largest relative excess over a limit; zero when all are met.
    excess_Gy : float
        Largest excess over a constraint; zero when all are met.
    converged : bool
    message : str
    stopped : bool
        Whether the callback ended it before it was done.
    """

    weights: np.ndarray
    values: np.ndarray
    normal: np.ndarray
    lagrangian: float
    slope: float
    descent: float
    excess: float
    excess_Gy: float
    converged: bool
    message: str
    stopped: bool = False

    def least_possible(self, total_weight: float) -> float:
        """Lower bound of ``normal @ values`` over all plans whose weights sum to no more than ``total_weight``.

        From convexity, ``L(y) >= L(w) + g (y - w)`` with the Lagrangian L, which is no more than ``normal @ values``
        where constraints are met: however far the solver stopped from the optimum, no plan is better than this.
        """
        return self.lagrangian - self.slope - total_weight * self.descent


def minimize_within_limits(
    trade_off: TradeOff,
    importance: np.ndarray,
    limits: np.ndarray,
    start: np.ndarray,
    solver: Solver,
    progress: Progress | None = None,
    *,
    resolution: float = 1e-3,
    accuracy: float = 1e-4,
    accuracy_Gy: float = 2e-3,
    certainty: float | None = None,
    callback: Callback | None = None,
) -> BoundedPlan:
    """Minimize ``importance @ values`` with ``values <= limits`` and constraints, by the method of multipliers.

    Parameters
    ----------
    trade_off : TradeOff
    importance : (goals,) array
        Not negative, one at least positive.
    limits : (goals,) array
        Infinite where there is none.
    start : (variables,) array
    solver : Solver
        Minimizes each augmented Lagrangian.
    progress : callable, optional
        ``progress(fraction, text)``; it may raise `Cancelled`.
    resolution : float
        Smallest size that a limit is taken to have: excesses are relative to ``max(abs(limit), resolution)``.
    accuracy : float
        Relative excess over a limit that is accepted.
    accuracy_Gy : float
        Excess over a constraint that is accepted.
    certainty : float, optional
        The solver is started again, as long as that helps, until `BoundedPlan.least_possible` is no further than this
        below ``normal @ values``, for four times the largest of the total weights of plan, start and
        `TradeOff.typical_total_weight`; by default a thousandth of ``importance @ values``, at least a tenth of the
        resolution.
    callback : callable, optional
        Called with an `IterationState` of the trade-off's problem at the start and after each iteration, whose
        ``value`` is ``importance @ values``; its ``stop()`` ends the work with the plan of that moment.

    Notes
    -----
    Hestenes, J. Optim. Theory Appl. 4 (1969) 303; Powell, in Optimization (1969) 283; safeguards after Nocedal and
    Wright, Numerical Optimization, 2nd ed. (2006), algorithm 17.4.
    """
    importance, limits = np.asarray(importance, float), np.asarray(limits, float)
    if not importance.sum() > 0:
        raise OptimizationError("No goal has any importance; give at least one a positive one.")
    limited = np.isfinite(limits)
    finite_limits = np.where(limited, limits, 0.0)
    size = np.where(limited, np.maximum(np.abs(finite_limits), resolution), 1.0)
    weights = np.asarray(start, float)
    values = trade_off.values(weights)
    worth = abs(float(importance @ values)) or 1.0
    least_worth = _SMALLEST_WORTH * worth
    multipliers, pressures = np.zeros(limits.shape), None
    total = _HEAVIER * max(float(weights.sum()), trade_off.typical_total_weight)
    stiffness, last_misfit, last_uncertain = _STIFFNESS, np.inf, np.inf
    relay = _Relay(trade_off, importance, callback)
    for round_ in range(_ROUNDS):
        # a tenth above a limit, or 1 Gy above a constraint, costs about as much as the objective itself is worth
        problem = trade_off.scalarized(
            importance, limits, multipliers, stiffness * worth / size**2, pressures, 0.1 * stiffness * worth
        )
        enough = certainty
        if enough is None:
            enough = max(1e-3 * abs(float(importance @ values)), 0.1 * resolution * float(importance.sum()))
        solution = solver.solve(
            problem,
            weights,
            part(progress, round_ / _ROUNDS, (round_ + 1) / _ROUNDS),
            relay.and_then(_stop_within(_FINER * enough, total)),
        )
        weights = solution.weights
        values = trade_off.values(weights)
        normal = problem.normal(values)
        multipliers = normal - importance
        dose = problem.seen_dose_Gy(weights)
        seen = [dose[problem.rows(penalty)] for penalty in problem.penalties]
        pressures = [penalty.pressure(there) for penalty, there in zip(problem.penalties, seen)]
        excesses_Gy = [
            np.atleast_1d(penalty.constraint.excess_Gy(there)) for penalty, there in zip(problem.penalties, seen)
        ]
        relative = np.where(limited, (values - finite_limits) / size, 0.0)
        excess = float(np.maximum(relative, 0.0).max())
        excess_Gy = max([0.0, *(float(there.max()) for there in excesses_Gy)])
        # a multiplier on a goal that is below its limit is not done falling
        unused = float(np.abs(np.where(multipliers > 0, np.minimum(relative, 0.0), 0.0)).max())
        met = excess <= accuracy and unused <= 10 * accuracy and excess_Gy <= accuracy_Gy
        _, gradient = problem.value_and_gradient(weights)
        slope, descent = float(gradient @ weights), max(0.0, -float(gradient.min()))
        lagrangian = float(normal @ values)
        for penalty, pressure, there in zip(problem.penalties, pressures, seen):
            lagrangian += pressed_excess(penalty.constraint, pressure, there)
        total = max(total, _HEAVIER * float(weights.sum()))
        bound = lagrangian - slope - total * descent
        uncertain = float(normal @ values) - bound
        if excess <= accuracy and excess_Gy <= accuracy_Gy:
            # not where limits are exceeded: a plan without dose is worth nothing and would make them cost nothing
            worth = min(worth, max(abs(float(importance @ values)), least_worth))
        if relay.stopped:
            break
        if met and (uncertain <= enough or uncertain > 0.5 * last_uncertain):
            break
        misfit = max(excess / accuracy, unused / accuracy, excess_Gy / accuracy_Gy)
        if misfit > 0.25 * last_misfit and misfit > 1.0 and stiffness < _STIFFEST:
            stiffness *= _STIFFENING
        last_misfit = misfit
        last_uncertain = uncertain if met else np.inf
    if relay.stopped:
        message = "Stopped on request."
    elif met:
        message = "Optimum found." if uncertain <= enough else solution.message
    elif excess_Gy > accuracy_Gy:
        worst = int(np.argmax([there.max() for there in excesses_Gy]))
        constraint = problem.penalties[worst].constraint
        message = (
            f"{type(constraint).__name__} of {constraint.structure} stays exceeded by {excess_Gy:.3g} Gy: it cannot be "
            "met together with the other constraints and limits, or the solver needs more iterations."
        )
    else:
        worst = int(np.argmax(relative))
        message = (
            f"{trade_off.names[worst]} stays {100 * excess:.3g} % above its limit of {limits[worst]:.5g}: the limits "
            "cannot be met together, or the solver needs more iterations."
        )
    converged = bool(met and not relay.stopped and (solution.converged or uncertain <= enough))
    return BoundedPlan(
        weights, values, normal, lagrangian, slope, descent, excess, excess_Gy, converged, message, relay.stopped
    )


class _Relay:
    """Tells a callback of every iteration of all rounds, in terms of the goals alone, and hands on its stop."""

    def __init__(self, trade_off: TradeOff, importance: np.ndarray, callback: Callback | None) -> None:
        self._trade_off = trade_off
        self._importance = importance
        self._callback = callback
        self._told = 0
        self.stopped = False

    def and_then(self, other: Callback) -> Callback:
        def tell(state: IterationState) -> None:
            # every round begins where the last one ended
            if self._callback is not None and not (state.iteration == 0 and self._told):
                outer = IterationState(self._trade_off.problem, self._told, 0.0, state.weights)
                outer.value = float(self._importance @ self._trade_off.goal_values(outer.values))
                self._told += 1
                self._callback(outer)
                if outer.is_stopped:
                    self.stopped = True
                    state.stop()
                    return
            other(state)

        return tell


def _stop_within(distance: float, total: float) -> Callback:
    """Callback that stops a solver where no plan of that total weight can be better by more than a distance."""

    def stop(state: IterationState) -> None:
        _, gradient = state.problem.value_and_gradient(state.weights)
        descent = max(0.0, -float(gradient.min()))
        heaviest = max(total, _HEAVIER * float(state.weights.sum()))
        if float(gradient @ state.weights) + heaviest * descent <= distance:
            state.stop()

    return stop


def pressed_excess(constraint: Any, pressure: np.ndarray, dose_Gy: np.ndarray) -> float:
    """Multipliers times excess, which is not positive for any dose that meets the constraint."""
    excess = np.atleast_1d(constraint.excess_Gy(dose_Gy))
    if pressure.size == excess.size:
        return float(pressure @ excess)
    # a tail mean by projection: parts of one multiplier on the voxels, none larger than its part of a tail
    sign = 1.0 if isinstance(constraint, MaxTailMean) else -1.0
    return sign * float(pressure @ dose_Gy - pressure.sum() * constraint.dose_Gy)
