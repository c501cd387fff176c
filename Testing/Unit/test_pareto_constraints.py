"""Fronts and priorities within hard constraints on dose, against linear programs by HiGHS."""

import math

import numpy as np
import pytest
from scipy.optimize import linprog

from OptimizerLib.constraints import MaxDose, MaxMean, MaxTailMean, MinDose, MinTailMean
from OptimizerLib.errors import OptimizationError
from OptimizerLib.multicriteria import Goal, Navigator, TradeOff, approximate_pareto_front, optimize_by_priority
from OptimizerLib.multicriteria.bounded_goals import minimize_within_limits, pressed_excess
from OptimizerLib.objectives import MeanDose
from OptimizerLib.solvers import BoundedLBFGS, QuasiNewton
from OptimizerLib.solvers.penalized_constraint import initial_multipliers, penalized

ORGANS = ("Cord", "Lung", "Liver")


def planning(seed=0, goals=2, highest=66.0):
    """Mean doses to organs as goals; 60 Gy at least and 66 Gy at most in each voxel of the target."""
    random = np.random.default_rng(seed)
    beams = 12
    target = random.uniform(2.0, 3.0, (6, beams))
    organs = random.uniform(0.0, 3.0, (10 * goals, beams)) * (random.random((10 * goals, beams)) > 0.5)
    voxels = {"PTV": np.arange(6)} | {name: 6 + 10 * n + np.arange(10) for n, name in enumerate(ORGANS[:goals])}
    return TradeOff(
        np.vstack([target, organs]),
        voxels,
        [Goal(name, (MeanDose(name),)) for name in ORGANS[:goals]],
        [MinDose("PTV", 60.0), MaxDose("PTV", highest)],
    )


def by_highs(trade_off, importance, limits=None):
    """Least weighted mean dose to organs, exactly; with limits on some of the means."""
    influence = trade_off.problem.influence
    means = np.array([influence[trade_off.voxels_of[name]].mean(axis=0) for name in trade_off.names])
    target = influence[trade_off.voxels_of["PTV"]]
    highest = trade_off.problem.constraints[1].dose_Gy
    rows, right = [-target, target], [np.full(6, -60.0), np.full(6, highest)]
    if limits is not None:
        limited = np.isfinite(limits)
        rows.append(means[limited])
        right.append(limits[limited])
    found = linprog(importance @ means, A_ub=np.vstack(rows), b_ub=np.concatenate(right), method="highs")
    assert found.success, found.message
    return found.fun


@pytest.mark.parametrize("solver", [QuasiNewton(), BoundedLBFGS()], ids=["quasi-newton", "l-bfgs-b"])
@pytest.mark.parametrize("seed", range(3))
def test_constrained_minimum_and_bound_are_those_of_highs(seed, solver):
    """Value to 0.05 Gy, constraints to 2e-3 Gy; the bound from multipliers is below the exact value, by 0.05 Gy at
    most where certainty was asked for."""
    trade_off = planning(seed)
    importance = np.array([0.7, 0.3])
    plan = minimize_within_limits(trade_off, importance, np.full(2, math.inf), np.full(12, 2.0), solver, certainty=0.05)
    exact = by_highs(trade_off, importance)
    assert plan.excess_Gy <= 2e-3
    assert trade_off.problem.violation_Gy(plan.weights) == pytest.approx(plan.excess_Gy)
    assert importance @ plan.values == pytest.approx(exact, abs=0.05)
    assert exact - 0.1 <= plan.least_possible(4 * plan.weights.sum()) <= exact + 1e-9


def test_tail_means_are_the_linear_programs_of_rockafellar_and_uryasev():
    """Cord's hottest half at 24 Gy on average, target's coldest third at 60 Gy: value as HiGHS to 0.02 Gy, bound below
    it by 0.1 Gy at most, limits kept to 2e-3 Gy."""
    free = planning(1)
    trade_off = TradeOff(
        free.problem.influence,
        free.voxels_of,
        free.goals,
        [MinTailMean("PTV", 60.0, volume_percent=200.0 / 3.0), MaxTailMean("Cord", 24.0, volume_percent=50.0)],
    )
    importance = np.array([0.1, 0.9])
    plan = minimize_within_limits(
        trade_off, importance, np.full(2, math.inf), np.full(12, 2.0), QuasiNewton(), certainty=0.05
    )
    influence = trade_off.problem.influence
    target, cord = influence[:6], influence[6:16]
    means = np.array([influence[trade_off.voxels_of[name]].mean(axis=0) for name in trade_off.names])
    # variables: weights, edge of each tail, what is beyond it in each voxel
    rows = [
        np.concatenate([np.zeros(12), [-1.0, 0.0], np.full(6, 1 / 2.0), np.zeros(10)]),
        np.concatenate([np.zeros(12), [0.0, 1.0], np.zeros(6), np.full(10, 1 / 5.0)]),
    ]
    below = np.hstack([-target, np.ones((6, 1)), np.zeros((6, 1)), -np.eye(6), np.zeros((6, 10))])
    above = np.hstack([cord, np.zeros((10, 1)), -np.ones((10, 1)), np.zeros((10, 6)), -np.eye(10)])
    found = linprog(
        np.concatenate([importance @ means, np.zeros(18)]),
        A_ub=np.vstack([rows, below, above]),
        b_ub=np.concatenate([[-60.0, 24.0], np.zeros(16)]),
        bounds=[(0, None)] * 12 + [(None, None)] * 2 + [(0, None)] * 16,
        method="highs",
    )
    assert found.success
    assert plan.excess_Gy <= 2e-3
    assert importance @ plan.values == pytest.approx(found.fun, abs=0.02)
    assert found.fun - 0.1 <= plan.least_possible(4 * plan.weights.sum()) <= found.fun + 1e-9
    # the limit of the cord matters
    assert trade_off.problem.excesses_Gy(plan.weights)[1] == pytest.approx(0.0, abs=3e-3)


@pytest.mark.parametrize(("goals", "seed"), [(2, 0), (2, 1), (3, 2)])
def test_a_front_within_constraints_brackets_linear_programs(goals, seed):
    """Of 50 weighted sums the exact least is above all planes' least, and no plan is below it by more than 0.05 Gy;
    every plan and mixture keeps the constraints to 2e-3 Gy."""
    trade_off = planning(seed, goals)
    front = approximate_pareto_front(trade_off, gap=0.03, max_plans=14)
    assert front.gap < 0.1
    random = np.random.default_rng(7)
    for importance in random.dirichlet(np.ones(goals), 50):
        exact = by_highs(trade_off, importance)
        # the least that the planes allow, between ideal and infinity
        allowed = linprog(
            importance,
            A_ub=-front.plane_normals,
            b_ub=-front.plane_offsets,
            bounds=[(low, None) for low in front.ideal],
            method="highs",
        )
        assert allowed.fun <= exact + 1e-6
        assert (front.values @ importance >= exact - 0.05).all()
    for shares in random.dirichlet(np.ones(front.plans), 20):
        assert trade_off.problem.violation_Gy(front.mixed_weights(shares)) <= 2.1e-3
    # a slider at the limit of one goal: the other is within the gap of the exact constrained minimum
    navigator = Navigator(front, trade_off)
    extent = front.nadir - front.ideal
    asked = front.ideal[0] + 0.3 * extent[0]
    navigator.move(0, asked)
    for other in range(1, goals):
        navigator.move(other, front.ideal[other])
        limits = np.full(goals, math.inf)
        limits[0] = navigator.position.values[0]
        importance = np.eye(goals)[other]
        assert navigator.position.values[other] >= by_highs(trade_off, importance, limits) - 0.05
        navigator.aim(navigator.position.values)
    if goals == 2:
        navigator.set_bound(0, asked)
        limits = np.array([asked, math.inf])
        least = navigator.reach(1)[0]
        assert least - by_highs(trade_off, np.array([0.0, 1.0]), limits) <= 2 * front.gap * extent[1] + 0.05


@pytest.mark.parametrize(
    "constraint",
    [MaxTailMean("A", 20.0, volume_percent=30.0), MinTailMean("A", 20.0, volume_percent=60.0), MaxDose("A", 20.0)],
    ids=lambda constraint: type(constraint).__name__,
)
def test_multipliers_times_excess_is_a_bound(constraint):
    """Not positive for any dose that meets the constraint, its slope the multipliers' pull."""
    random = np.random.default_rng(5)
    missed = random.uniform(10.0, 30.0, 20)
    zero = initial_multipliers(constraint, missed, np.zeros(np.atleast_1d(constraint.excess_Gy(missed)).size))
    pressure = penalized(constraint, zero, 2.0).pressure(missed)
    assert pressed_excess(constraint, pressure, missed) > 1.0
    met = []
    for _ in range(200):
        dose = random.uniform(5.0, 35.0, 20)
        # moved to the edge of what is met, then by chance further in
        excess = float(np.max(constraint.excess_Gy(dose)))
        inward = -1.0 if isinstance(constraint, (MaxTailMean, MaxDose)) else 1.0
        dose = dose + inward * (excess + random.choice([0.0, 2.0]))
        assert np.max(constraint.excess_Gy(dose)) <= 1e-9
        met.append(pressed_excess(constraint, pressure, dose))
    assert max(met) <= 1e-9
    slope = penalized(constraint, pressure, 1.0).lagrangian_gradient(missed)
    step = 1e-4 * random.normal(size=20)
    change = pressed_excess(constraint, pressure, missed + step) - pressed_excess(constraint, pressure, missed - step)
    assert change == pytest.approx(2.0 * slope @ step, rel=1e-6)


def test_priorities_within_constraints_are_linear_programs():
    """Cord, then lung within 3 % more cord: both as HiGHS to 0.1 Gy."""
    trade_off = planning(4)
    plan = optimize_by_priority(trade_off)
    cord = by_highs(trade_off, np.array([1.0, 0.0]))
    assert plan.steps[0].value == pytest.approx(cord, abs=0.1)
    lung = by_highs(trade_off, np.array([0.0, 1.0]), np.array([plan.steps[0].limit, math.inf]))
    assert plan.steps[1].value == pytest.approx(lung, abs=0.1)
    assert trade_off.problem.violation_Gy(plan.weights) <= 2.1e-3


def test_constraints_that_contradict_are_named():
    trade_off = planning(0)
    impossible = TradeOff(
        trade_off.problem.influence,
        trade_off.voxels_of,
        trade_off.goals,
        [MinDose("PTV", 60.0), MaxMean("PTV", 50.0)],
    )
    with pytest.raises(OptimizationError, match=r"leave no plan. (MinDose|MaxMean) of PTV stays exceeded by .* Gy"):
        approximate_pareto_front(impossible)
    with pytest.raises(
        OptimizationError, match=r"Cord could not be optimized. (MinDose|MaxMean) of PTV stays exceeded"
    ):
        optimize_by_priority(impossible)
