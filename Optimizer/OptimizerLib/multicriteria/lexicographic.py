"""Goals in order of priority: what a goal has reached becomes a limit for all that come after.

Two phases (Breedveld, Storchi, Keijzer, Heemink and Heijmen, Phys. Med. Biol. 52 (2007) 6339; Breedveld et al., Med.
Phys. 39 (2012) 951). First every goal in turn is minimized; one that falls below the value that suffices for it is
limited to that value, to leave room for the goals after it, any other one to what it reached and a slack. Then the
goals that had sufficed are minimized in turn as far as the limits permit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from DoseEngineLib.progress import Progress, silent
from OptimizerLib.errors import OptimizationError
from OptimizerLib.multicriteria.bounded_goals import BoundedPlan, minimize_within_limits
from OptimizerLib.multicriteria.even_start import even_start
from OptimizerLib.multicriteria.trade_off import TradeOff
from OptimizerLib.solvers import IterationState, QuasiNewton, Solver

_ACCURACY = 1e-4
# Constraints exceeded by more than this are taken for contradictory.
_LARGEST_EXCESS_GY = 0.2


@dataclass(frozen=True)
class PriorityStep:
    """What happened to one goal in one phase.

    Attributes
    ----------
    phase : int
        1 or 2.
    goal : str
    value : float
        What the goal reached.
    limit : float
        What it was limited to afterwards.
    optimized : bool
        False where the plan before already sufficed, so that nothing had to be done.
    converged : bool
    message : str
    """

    phase: int
    goal: str
    value: float
    limit: float
    optimized: bool
    converged: bool
    message: str


@dataclass(frozen=True, eq=False)
class PrioritizedPlan:
    """The plan that goals in order of priority lead to.

    Attributes
    ----------
    goals : tuple of str
        Highest priority first.
    weights : (variables,) array
    values : (goals,) array
    limits : (goals,) array
        What each goal was limited to in the end.
    excess : float
        Largest excess over a limit, relative to the limit (or the resolution, where that is larger).
    steps : tuple of PriorityStep
    converged : bool
        Whether every step was and all limits are kept to 1e-4.
    message : str
    stopped_at : str or None
        Goal at which the callback ended the search; those after it had no turn.
    """

    goals: tuple[str, ...]
    weights: np.ndarray
    values: np.ndarray
    limits: np.ndarray
    excess: float
    steps: tuple[PriorityStep, ...]
    converged: bool
    message: str
    stopped_at: str | None = None


GoalCallback = Callable[[IterationState, str], None]


def optimize_by_priority(
    trade_off: TradeOff,
    sufficient: Mapping[str, float] | None = None,
    start: np.ndarray | None = None,
    solver: Solver | None = None,
    progress: Progress | None = None,
    *,
    callback: GoalCallback | None = None,
    slack: float = 0.03,
    resolution: float = 1e-3,
) -> PrioritizedPlan:
    """Optimize goals in their order, the first being the most important.

    Parameters
    ----------
    trade_off : TradeOff
        Its goals in order of priority; bounds hold from the beginning. Of objectives that are not convex the minima
        found are local ones.
    sufficient : mapping of goal name to float, optional
        Value below which a goal need not go before those after it had their turn.
    start : (variables,) array, optional
        Equal weights of a fitting size by default. Every step starts from the plan of the one before.
    solver : Solver, optional
        `QuasiNewton` by default.
    progress : callable, optional
        ``progress(fraction, text)``; it may raise `Cancelled`.
    callback : callable, optional
        ``callback(state, goal)`` with an `IterationState` of the trade-off's problem and the goal whose turn it is, at
        the start of each turn and after each iteration. The state's ``value`` is that goal's, its ``iteration`` counts
        on through all turns. ``stop()`` ends the whole search: the plan is that of the moment.
    slack : float
        Share of its value that a goal may lose to those after it: 3 % by default, as in the papers; 0 is strict order.
    resolution : float
        Least that a goal may lose, in its own units (Gy, Gy^2): without it a goal that reaches zero would freeze the
        plan.

    Raises
    ------
    OptimizationError
        A sufficient value of a goal that there is not; a negative slack; bounds that cannot be met together.
    """
    sufficient = dict(sufficient or {})
    unknown = [name for name in sufficient if name not in trade_off.names]
    if unknown:
        raise OptimizationError(
            f"There is no goal {unknown[0]!r} that could suffice; there are: {', '.join(trade_off.names)}."
        )
    if not slack >= 0 or not resolution > 0 or not np.isfinite(list(sufficient.values())).all():
        raise OptimizationError(
            f"Give a slack that is not negative, a positive resolution and finite values that suffice; got {slack}, "
            f"{resolution} and {sufficient}."
        )
    report = progress or silent
    solver = solver or QuasiNewton()
    weights = even_start(trade_off) if start is None else np.asarray(start, float)
    limits = trade_off.bounds
    steps: list[PriorityStep] = []
    plan: BoundedPlan | None = None
    left_room: list[int] = []
    told = 0
    turns = len(trade_off.goals) + len(sufficient)

    def turn(phase: int, goal: int) -> float:
        nonlocal weights, plan
        name = trade_off.names[goal]

        def tell(state: IterationState) -> None:
            nonlocal told
            state.iteration, told = told, told + 1
            callback(state, name)

        done = len(steps) / turns
        importance = np.zeros(limits.shape)
        importance[goal] = 1.0
        plan = minimize_within_limits(
            trade_off,
            importance,
            limits,
            weights,
            solver,
            lambda f, text: report(done + f / turns, f"Phase {phase}, {name}: {text}"),
            resolution=resolution,
            accuracy=_ACCURACY,
            callback=None if callback is None else tell,
        )
        weights = plan.weights
        if plan.stopped:
            return float(plan.values[goal])
        if plan.excess > 100 * _ACCURACY or plan.excess_Gy > _LARGEST_EXCESS_GY:
            raise OptimizationError(f"{name} could not be optimized. {plan.message} Loosen a bound or the slack.")
        return float(plan.values[goal])

    def loosened(value: float, goal: int) -> float:
        return min(value + max(slack * abs(value), resolution), float(limits[goal]))

    for goal, name in enumerate(trade_off.names):
        enough = sufficient.get(name, -np.inf)
        now = trade_off.values(weights)
        done_already = bool(now[goal] <= enough and _excess(now, limits, resolution) <= _ACCURACY)
        value = float(now[goal]) if done_already else turn(1, goal)
        if not done_already and plan.stopped:
            steps.append(_step(1, name, value, limits[goal], plan))
            return _stopped(trade_off, plan, limits, steps, resolution, report)
        if value <= enough:
            left_room.append(goal)
            limits[goal] = min(enough, limits[goal])
        else:
            limits[goal] = loosened(value, goal)
        steps.append(_step(1, name, value, limits[goal], None if done_already else plan))
    for goal in left_room:
        value = turn(2, goal)
        if plan.stopped:
            steps.append(_step(2, trade_off.names[goal], value, limits[goal], plan))
            return _stopped(trade_off, plan, limits, steps, resolution, report)
        limits[goal] = loosened(value, goal)
        steps.append(_step(2, trade_off.names[goal], value, limits[goal], plan))
    values = trade_off.values(weights)
    excess = _excess(values, limits, resolution)
    open_steps = [step for step in steps if not step.converged]
    converged = not open_steps and excess <= _ACCURACY
    if converged:
        message = f"{len(trade_off.goals)} goals in order of priority, {len(steps)} steps."
    elif open_steps:
        message = f"{open_steps[0].goal} in phase {open_steps[0].phase}: {open_steps[0].message}"
    else:
        message = f"The limits are exceeded by {100 * excess:.3g} %; allow the solver more iterations."
    report(1.0, message)
    return PrioritizedPlan(trade_off.names, weights, values, limits, excess, tuple(steps), converged, message)


def _stopped(
    trade_off: TradeOff,
    plan: BoundedPlan,
    limits: np.ndarray,
    steps: list[PriorityStep],
    resolution: float,
    report: Progress,
) -> PrioritizedPlan:
    """The plan at which the search was ended, and what is not done."""
    at = steps[-1]
    excess = _excess(plan.values, limits, resolution)
    message = f"Stopped on request at {at.goal}"
    waiting = trade_off.names[trade_off.names.index(at.goal) + 1 :] if at.phase == 1 else ()
    if waiting:
        message += f"; no turn had: {', '.join(waiting)}"
    message += "."
    # limits are only neared from outside: in the middle of a turn the goals before may stand above theirs
    if excess > _ACCURACY:
        limited = np.flatnonzero(np.isfinite(limits))
        over = (plan.values - limits)[limited] / np.maximum(np.abs(limits[limited]), resolution)
        worst = trade_off.names[limited[np.argmax(over)]]
        message += f" {worst} stands {100 * excess:.3g} % above its limit."
    if plan.excess_Gy > _LARGEST_EXCESS_GY:
        message += f" A constraint is exceeded by {plan.excess_Gy:.2f} Gy."
    report(1.0, message)
    return PrioritizedPlan(
        trade_off.names, plan.weights, plan.values, limits, excess, tuple(steps), False, message, at.goal
    )


def _excess(values: np.ndarray, limits: np.ndarray, resolution: float) -> float:
    limited = np.isfinite(limits)
    over = values[limited] - limits[limited]
    return float(max((over / np.maximum(np.abs(limits[limited]), resolution)).max(initial=0.0), 0.0))


def _step(phase: int, name: str, value: float, limit: float, plan: BoundedPlan | None) -> PriorityStep:
    if plan is None:
        return PriorityStep(phase, name, value, float(limit), False, True, "It sufficed already.")
    return PriorityStep(phase, name, value, float(limit), True, plan.converged, plan.message)
