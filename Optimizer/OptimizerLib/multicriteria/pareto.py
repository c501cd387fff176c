"""A set of Pareto plans that covers the trade-off between goals to a stated gap.

The anchor plans come first: each goal minimized, the others with a hundredth of its importance. Then, again and again,
the place is found where mixtures of the plans fall short the most of what no plan so far rules out (`sandwich`), and
the plan is optimized whose weighted sum looks there. Every plan is the optimum of a weighted sum of the goals, so it is
on the front, and its optimal value is a bound for all plans.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from DoseEngineLib.progress import Progress, part, silent
from OptimizerLib.errors import OptimizationError
from OptimizerLib.multicriteria.bounded_goals import BoundedPlan, minimize_within_limits
from OptimizerLib.multicriteria.even_start import even_start
from OptimizerLib.multicriteria.sandwich import Sandwich, shortfall
from OptimizerLib.multicriteria.trade_off import TradeOff
from OptimizerLib.objectives import MaxDVH, MinDVH
from OptimizerLib.solvers import QuasiNewton, Solver

_FEWEST_GOALS, _MOST_GOALS = 2, 4
_NOT_CONVEX = (MaxDVH, MinDVH)
# Importance of each other goal at an anchor, and the least of any goal later: with none at all a plan could waste it.
_ANCHOR_SHARE, _LEAST_SHARE = 1e-2, 1e-3
# The gap is stated for plans of at most this many times the total weight of the heaviest anchor.
_HEAVIER = 4.0
_COMPETES = 1e-3
# Certainty of a plan's optimum relative to the gap asked for, in units of nadir - ideal.
_CERTAINTY = 0.1
# Constraints exceeded by more than this are taken for contradictory.
_LARGEST_EXCESS_GY = 0.2


@dataclass(frozen=True, eq=False)
class ParetoFront:
    """Plans on the front of a trade-off, and how well their mixtures cover it.

    Attributes
    ----------
    goals : tuple of str
    weights : (plans, variables) array
    values : (plans, goals) array
        Of each goal, as `TradeOff.values`. No plan is as good as another in all goals and better in one.
    normals : (plans, goals) array
        Importances of whose weighted sum each plan is the minimum.
    ideal : (goals,) array
        Lower bound of each goal alone.
    nadir : (goals,) array
        Largest value of each goal at the anchor plans: the front is covered between ideal and nadir.
    gap : float
        For every plan between ideal and nadir there is a mixture of these plans that is worse by no more than ``gap *
        (nadir - ideal)`` in every goal. Infinite until the anchors are there.
    gap_history : tuple of (int, float)
        Number of plans and gap, from the anchors on.
    total_weight : float
        The gap is stated for plans whose weights sum to no more than this.
    plane_normals, plane_offsets : (planes, goals), (planes,) arrays
        ``plane_normals @ values >= plane_offsets`` for every such plan.
    voxels : (stored,) int array
        Rows of the influence matrix whose dose is stored, ascending.
    voxels_of : mapping of str to int array
        Of each stored structure, the columns of ``doses_Gy``.
    doses_Gy : (plans, stored) float32 array
        Dose of each plan.
    converged : bool
        Whether the gap asked for was reached; else ``message`` says why not.
    message : str
    """

    goals: tuple[str, ...]
    weights: np.ndarray
    values: np.ndarray
    normals: np.ndarray
    ideal: np.ndarray
    nadir: np.ndarray
    gap: float
    gap_history: tuple[tuple[int, float], ...]
    total_weight: float
    plane_normals: np.ndarray
    plane_offsets: np.ndarray
    voxels: np.ndarray
    voxels_of: Mapping[str, np.ndarray] = field(repr=False)
    doses_Gy: np.ndarray = field(repr=False)
    converged: bool
    message: str

    @property
    def plans(self) -> int:
        """Number of plans."""
        return len(self.weights)

    @property
    def competing(self) -> np.ndarray:
        """Which goals compete (goals,) bool: those with more than a thousandth between ideal and nadir."""
        return _competing(self.ideal, self.nadir)

    def mixed_weights(self, shares: np.ndarray) -> np.ndarray:
        """Weights (variables,) of a mixture of the plans by shares (plans,), not negative, of sum one."""
        used = np.flatnonzero(shares)
        return shares[used] @ self.weights[used]

    def mixed_dose_Gy(self, shares: np.ndarray, structure: str | None = None) -> np.ndarray:
        """Dose of a mixture in the stored voxels or one structure's: exact, dose is linear in the weights."""
        used = np.flatnonzero(shares)
        if structure is None:
            return np.asarray(shares[used], np.float32) @ self.doses_Gy[used]
        if structure not in self.voxels_of:
            raise OptimizationError(
                f"The dose of {structure} was not stored with the plans; stored are: {', '.join(self.voxels_of)}."
            )
        return np.asarray(shares[used], np.float32) @ self.doses_Gy[np.ix_(used, self.voxels_of[structure])]


def approximate_pareto_front(
    trade_off: TradeOff,
    start: np.ndarray | None = None,
    solver: Solver | None = None,
    progress: Progress | None = None,
    *,
    gap: float = 0.02,
    max_plans: int = 20,
    structures: Sequence[str] | None = None,
    previous: ParetoFront | None = None,
    on_front: Callable[[ParetoFront], None] | None = None,
) -> ParetoFront:
    """Compute plans until their mixtures cover the front to a gap.

    Parameters
    ----------
    trade_off : TradeOff
        Of two to four goals with convex objectives. Give bounds to goals whose extremes are of no interest.
    start : (variables,) array, optional
        Weights of the first optimization, ones by default. Later ones start from the mixture of plans that is nearest.
    solver : Solver, optional
        `QuasiNewton` by default.
    progress : callable, optional
        ``progress(fraction, text)``; it may raise `Cancelled`. What was reached by then was given to ``on_front``.
    gap : float
        To stop at; see `ParetoFront.gap`.
    max_plans : int
        To stop at, anchors included.
    structures : sequence of str, optional
        Whose doses are stored; all by default.
    previous : ParetoFront, optional
        Of the same trade-off: plans are added to it.
    on_front : callable, optional
        Receives the front when the anchors are there and after each plan.

    Raises
    ------
    OptimizationError
        Not two to four goals, or objectives that are not convex; bounds and constraints that cannot be met together; a
        previous front of something else.
    """
    goals = len(trade_off.goals)
    if not _FEWEST_GOALS <= goals <= _MOST_GOALS:
        raise OptimizationError(
            f"A front is computed for {_FEWEST_GOALS} to {_MOST_GOALS} goals; got {goals}. Put what belongs together "
            "into one goal."
        )
    for objective in trade_off.problem.objectives:
        if isinstance(objective, _NOT_CONVEX):
            raise OptimizationError(
                f"{type(objective).__name__} of {objective.structure} is not convex, so nothing can be said of what "
                "lies between two plans; use a squared, mean or gEUD objective, or a tail mean as a constraint."
            )
    if not gap > 0 or max_plans < goals:
        raise OptimizationError(f"Give a positive gap and at least {goals} plans; got {gap} and {max_plans}.")
    unknown = [name for name in structures or () if name not in trade_off.voxels_of]
    if unknown:
        raise OptimizationError(
            f"There is no structure {unknown[0]!r} to store the dose of; choose of: {', '.join(trade_off.voxels_of)}."
        )
    report = progress or silent
    solver = solver or QuasiNewton()
    sandwich = Sandwich()
    told = 0.0 if previous is None else previous.plans / max_plans
    if previous is None:
        start = even_start(trade_off) if start is None else np.asarray(start, float)
        stored = tuple(trade_off.voxels_of) if structures is None else tuple(structures)
        told = 2 * goals / (max_plans + goals)
        front = _anchors(trade_off, start, solver, part(progress, 0.0, told), stored, gap)
    else:
        _check_same(trade_off, previous)
        front = previous
    given_up: set[bytes] = set()
    while True:
        reached, worst = _worst(front, sandwich, given_up)
        front = replace(front, gap=reached, gap_history=_with(front.gap_history, (front.plans, reached)))
        if reached <= gap:
            front = replace(front, converged=True, message=f"Gap of {100 * reached:.3g} % with {front.plans} plans.")
        elif worst is None or worst.gap <= gap:
            text = "the solver's accuracy permits no less; use a smaller tolerance"
            front = replace(front, converged=False, message=f"Gap of {100 * reached:.3g} %: {text}.")
        elif front.plans >= max_plans:
            text = f"Gap of {100 * reached:.3g} % with {front.plans} plans; allow more for {100 * gap:.3g} %."
            front = replace(front, converged=False, message=text)
        else:
            front = replace(front, converged=False, message=f"Gap of {100 * reached:.3g} %, more plans are coming.")
        if on_front is not None:
            on_front(front)
        if not front.message.endswith("coming."):
            report(1.0, front.message)
            return front
        done = told + (1.0 - told) * min(front.plans / max_plans, 1.0)
        text = f"Plan {front.plans + 1}, gap {100 * reached:.3g} %"
        report(done, text)
        step = part(lambda f, t, text=text: report(f, f"{text}: {t}"), done, done + (1.0 - told) / max_plans)
        share = worst.normal * (1.0 - _LEAST_SHARE * worst.normal.size) + _LEAST_SHARE
        plan = minimize_within_limits(
            trade_off,
            _importance(front, share),
            np.minimum(trade_off.bounds, front.nadir),
            front.mixed_weights(worst.mixture),
            solver,
            step,
            certainty=_CERTAINTY * gap,
        )
        grown = with_plan(trade_off, front, plan)
        if not _improves(front, grown, worst):
            given_up.add(sandwich.key(worst.vertex))
        front = grown


def _anchors(
    trade_off: TradeOff,
    start: np.ndarray,
    solver: Solver,
    progress: Progress,
    structures: tuple[str, ...],
    gap: float,
) -> ParetoFront:
    goals, bounds = len(trade_off.goals), trade_off.bounds
    size = np.where(np.isfinite(bounds), np.abs(bounds), np.abs(trade_off.values(start)))
    least = []
    for goal, name in enumerate(trade_off.names):
        report = _named(part(progress, goal / (2 * goals), (goal + 1) / (2 * goals)), f"Least {name}")
        certainty = _CERTAINTY * gap * size[goal]
        plan = minimize_within_limits(
            trade_off, np.eye(goals)[goal], bounds, start, solver, report, certainty=certainty
        )
        if plan.excess > 1e-2 or plan.excess_Gy > _LARGEST_EXCESS_GY:
            raise OptimizationError(f"Bounds and constraints leave no plan. {plan.message} Loosen a bound.")
        least.append(plan)
    values = np.array([plan.values for plan in least])
    extent = np.minimum(values.max(axis=0), bounds) - values.min(axis=0)
    extent = np.maximum(extent, _COMPETES * np.abs(values).max(axis=0))
    extent[extent <= 0] = 1.0
    anchors = []
    for goal, name in enumerate(trade_off.names):
        begin = (goals + goal) / (2 * goals)
        report = _named(part(progress, begin, begin + 1 / (2 * goals)), f"Anchor {name}")
        share = np.where(np.arange(goals) == goal, 1.0, _ANCHOR_SHARE)
        begin_at = least[goal].weights
        anchors.append(
            minimize_within_limits(
                trade_off, share / extent, bounds, begin_at, solver, report, certainty=_CERTAINTY * gap
            )
        )
    total = _HEAVIER * max(float(plan.weights.sum()) for plan in least + anchors)
    ideal = np.array([_alone(plan, goal, total, bounds) for goal, plan in enumerate(least)])
    voxels = np.unique(np.concatenate([trade_off.voxels_of[name] for name in structures] or [np.zeros(0, np.intp)]))
    front = ParetoFront(
        trade_off.names,
        np.zeros((0, trade_off.variables)),
        np.zeros((0, goals)),
        np.zeros((0, goals)),
        ideal,
        np.array([plan.values for plan in anchors]).max(axis=0),
        np.inf,
        (),
        total,
        np.zeros((0, goals)),
        np.zeros(0),
        voxels,
        {name: np.searchsorted(voxels, trade_off.voxels_of[name]) for name in structures},
        np.zeros((0, voxels.size), np.float32),
        False,
        "",
    )
    for plan in anchors:
        front = with_plan(trade_off, front, plan)
    return front


def _alone(plan: BoundedPlan, goal: int, total: float, bounds: np.ndarray) -> float:
    """Lower bound of one goal from a plan whose limits press: the other goals are at most at their bounds."""
    others = np.where(np.arange(bounds.size) == goal, 0.0, plan.normal)
    at_bounds = others @ np.where(np.isfinite(bounds), bounds, 0.0)
    return min((plan.least_possible(total) - at_bounds) / plan.normal[goal], plan.values[goal])


def with_plan(trade_off: TradeOff, front: ParetoFront, plan: BoundedPlan) -> ParetoFront:
    """The front with the plan's bound, and with the plan itself unless it is no better than one that is there."""
    front = replace(
        front,
        plane_normals=np.vstack([front.plane_normals, plan.normal]),
        plane_offsets=np.append(front.plane_offsets, plan.least_possible(front.total_weight)),
    )
    if (front.values <= plan.values).all(axis=1).any():
        return front
    kept = ~(plan.values <= front.values).all(axis=1)
    dose = trade_off.dose_Gy(plan.weights)[front.voxels].astype(np.float32)
    return replace(
        front,
        weights=np.vstack([front.weights[kept], plan.weights]),
        values=np.vstack([front.values[kept], plan.values]),
        normals=np.vstack([front.normals[kept], plan.normal]),
        doses_Gy=np.vstack([front.doses_Gy[kept], dose]),
    )


def _competing(ideal: np.ndarray, nadir: np.ndarray) -> np.ndarray:
    return nadir - ideal > _COMPETES * np.maximum(np.abs(ideal), np.abs(nadir))


def _scaled(front: ParetoFront) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, normals and offsets in the competing goals' units of nadir - ideal above ideal."""
    on = front.competing
    extent = (front.nadir - front.ideal)[on]
    points = (front.values[:, on] - front.ideal[on]) / extent
    rest = front.plane_normals[:, ~on] @ front.nadir[~on] + front.plane_normals[:, on] @ front.ideal[on]
    normals = front.plane_normals[:, on] * extent
    length = normals.sum(axis=1, keepdims=True)
    length[length <= 0] = 1.0
    return points, normals / length, (front.plane_offsets - rest) / length[:, 0]


def _worst(front: ParetoFront, sandwich: Sandwich, given_up: set[bytes]):
    if front.competing.sum() < 2:
        return 0.0, None
    points, normals, offsets = _scaled(front)
    return sandwich.worst(points, normals, offsets, given_up)


def _importance(front: ParetoFront, share: np.ndarray) -> np.ndarray:
    """Importances (goals,) from shares of the competing goals in units of nadir - ideal."""
    size = np.maximum(front.nadir - front.ideal, _COMPETES * np.maximum(np.abs(front.ideal), np.abs(front.nadir)))
    size[size <= 0] = 1.0
    importance = np.full(len(front.goals), _LEAST_SHARE)
    importance[front.competing] = share
    return importance / size


def _improves(before: ParetoFront, after: ParetoFront, worst) -> bool:
    """Whether a plan moved either polyhedron at the vertex it was made for."""
    points, normals, offsets = _scaled(after)
    cut = float((offsets - normals @ worst.vertex).max())
    nearer = worst.gap - shortfall(points, worst.vertex).gap if after.plans > before.plans else 0.0
    return max(cut, nearer) > 1e-2 * worst.gap


def _check_same(trade_off: TradeOff, front: ParetoFront) -> None:
    same = front.goals == trade_off.names and front.weights.shape[1] == trade_off.variables
    if not same or not np.allclose(trade_off.values(front.weights[0]), front.values[0], rtol=1e-6, atol=1e-9):
        raise OptimizationError(
            "The plans to continue from belong to other goals, objectives or doses; compute the front anew."
        )


def _named(progress: Progress, name: str) -> Progress:
    return lambda fraction, text: progress(fraction, f"{name}: {text}")


def _with(history: tuple, entry: tuple[int, float]) -> tuple:
    return history if history and history[-1] == entry else history + (entry,)
