"""Fronts of goals against analytic fronts and exact least squares; what is said of the gap holds."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import nnls

from DoseEngineLib.errors import Cancelled
from OptimizerLib.errors import OptimizationError
from OptimizerLib.multicriteria import Goal, TradeOff, approximate_pareto_front
from OptimizerLib.multicriteria.bounded_goals import BoundedPlan, minimize_within_limits
from OptimizerLib.multicriteria.pareto import with_plan
from OptimizerLib.multicriteria.sandwich import outer_vertices, shortfall
from OptimizerLib.objectives import MaxDVH, MeanDose, MinimumDose, SquaredDeviation, SquaredOverdose
from OptimizerLib.solvers import BoundedLBFGS, QuasiNewton


def one_beam():
    """One weight w, dose w in A and in B: goals (w - 10)^2 and w^2, whose front is sqrt(a) + sqrt(b) = 10."""
    return TradeOff(
        np.ones((2, 1)),
        {"A": np.array([0]), "B": np.array([1])},
        [Goal("Target", (SquaredDeviation("A", 10.0),)), Goal("Organ", (SquaredOverdose("B", 0.0),))],
    )


def least_squares(goals=3, seed=1, variables=8, **options):
    """Goals that are mean squares of 15 voxels each: every weighted sum of them is a problem for nnls."""
    random = np.random.default_rng(seed)
    influence = random.uniform(0.0, 10.0, (15 * goals, variables)) * (random.random((15 * goals, variables)) > 0.5)
    voxels = {f"S{n}": np.arange(15 * n, 15 * n + 15) for n in range(goals)}
    return TradeOff(
        influence,
        voxels,
        [Goal(f"S{n}", (SquaredDeviation(f"S{n}", level),)) for n, level in enumerate((60.0, 10.0, 25.0, 0.0)[:goals])],
        **options,
    )


def exact_minimum(trade_off, importance):
    """Weights of the least weighted sum of mean squares, by nnls."""
    factor = np.sqrt(np.asarray(importance)[trade_off.goal_of].repeat(15) / 15.0)
    levels = np.array([o.dose_Gy for o in trade_off.problem.objectives]).repeat(15)
    return nnls(factor[:, None] * trade_off.problem.influence, factor * levels)[0]


@pytest.fixture(scope="module")
def three_goals():
    trade_off = least_squares()
    return trade_off, approximate_pareto_front(trade_off, gap=0.03, max_plans=30)


def test_an_analytic_front_is_met_and_bracketed():
    """Plans on sqrt(a) + sqrt(b) = 10 to 1e-5; all of the front within the gap of mixtures and above all planes."""
    front = approximate_pareto_front(one_beam(), gap=0.01)
    assert front.converged
    assert front.gap <= 0.01
    assert front.plans <= 12
    np.testing.assert_allclose(np.sqrt(front.values).sum(axis=1), 10.0, atol=1e-5)
    np.testing.assert_allclose(front.ideal, 0.0, atol=1e-6)
    dose = np.linspace(0.1, 9.9, 99)
    true = np.stack([(dose - 10.0) ** 2, dose**2], axis=1)
    assert (front.plane_normals @ true.T >= front.plane_offsets[:, None] - 1e-9).all()
    extent = front.nadir - front.ideal
    points = (front.values - front.ideal) / extent
    distances = [shortfall(points, (point - front.ideal) / extent).gap for point in true]
    assert max(distances) <= front.gap
    # no empty bound: a parabola lies half way between chord and tangents
    assert max(distances) > 0.45 * front.gap


def test_the_gap_of_two_anchors_is_that_of_a_triangle():
    """Anchors of sqrt(a) + sqrt(b) = 1 at its ends, planes along the axes: the corner is half a unit from the chord."""
    front = approximate_pareto_front(one_beam(), gap=0.9, max_plans=2)
    assert front.plans == 2
    assert front.gap == pytest.approx(0.49, abs=0.01)


def test_each_plan_is_the_exact_minimum_of_its_weighted_sum(three_goals):
    """Weighted sums equal those of nnls to 1e-5 relative."""
    trade_off, front = three_goals
    for values, normal in zip(front.values, front.normals, strict=True):
        exact = normal @ trade_off.values(exact_minimum(trade_off, normal))
        assert normal @ values == pytest.approx(exact, rel=1e-5)
        assert (normal > 0).all()


def test_stored_values_and_doses_are_those_of_the_weights(three_goals):
    trade_off, front = three_goals
    assert front.weights.min() >= 0
    for weights, values, dose in zip(front.weights, front.values, front.doses_Gy, strict=True):
        np.testing.assert_allclose(trade_off.values(weights), values, rtol=1e-12)
        np.testing.assert_allclose(trade_off.dose_Gy(weights)[front.voxels], dose, rtol=1e-6)
    np.testing.assert_array_equal(front.voxels[front.voxels_of["S1"]], np.arange(15, 30))


def test_exact_fronts_lie_between_the_polyhedra(three_goals):
    """Two hundred exact Pareto points: none below a plane by more than 1e-7, none in the box beyond the gap."""
    trade_off, front = three_goals
    assert front.converged
    extent = front.nadir - front.ideal
    points = (front.values - front.ideal) / extent
    judged = 0
    for importance in np.random.default_rng(3).dirichlet(np.ones(3), 200) / extent:
        exact = trade_off.values(exact_minimum(trade_off, importance))
        assert (front.plane_normals @ exact >= front.plane_offsets * (1 - 1e-7) - 1e-9).all()
        assert (exact >= front.ideal - 1e-6).all()
        if (exact <= front.nadir).all():
            judged += 1
            assert shortfall(points, (exact - front.ideal) / extent).gap <= front.gap
    assert judged > 100


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("goals", [2, 3, 4])
def test_no_plan_dominates_another(goals, seed):
    front = approximate_pareto_front(least_squares(goals, seed), gap=0.05, max_plans=goals + 4)
    for n, values in enumerate(front.values):
        others = np.delete(front.values, n, axis=0)
        assert not (others <= values).all(axis=1).any()


def test_the_gap_falls_as_plans_are_added(three_goals):
    _, front = three_goals
    gaps = [gap for _, gap in front.gap_history]
    assert (np.diff(gaps) <= 1e-9).all()
    assert gaps[-1] == front.gap < 0.1 * gaps[0]
    assert front.gap_history[0][0] == 3
    assert front.gap_history[-1][0] == front.plans


def test_a_front_continued_is_that_of_one_run():
    trade_off = least_squares()
    first = approximate_pareto_front(trade_off, gap=0.001, max_plans=5)
    assert not first.converged
    assert "allow more" in first.message
    continued = approximate_pareto_front(trade_off, gap=0.001, max_plans=8, previous=first)
    at_once = approximate_pareto_front(trade_off, gap=0.001, max_plans=8)
    assert continued.plans == 8
    np.testing.assert_array_equal(continued.values, at_once.values)
    assert continued.gap == at_once.gap


def test_a_front_of_something_else_is_not_continued():
    front = approximate_pareto_front(least_squares(), max_plans=3)
    with pytest.raises(OptimizationError, match="compute the front anew"):
        approximate_pareto_front(least_squares(seed=2), previous=front)
    with pytest.raises(OptimizationError, match="compute the front anew"):
        approximate_pareto_front(one_beam(), previous=front)


def test_bounds_hold_and_cut_the_front():
    """With the target bounded to 9 of (w - 10)^2 the least organ dose is that of w = 7: 49, met to 1e-3."""
    trade_off = one_beam()
    bounded = TradeOff(
        trade_off.problem.influence,
        trade_off.voxels_of,
        [replace(trade_off.goals[0], bound=9.0), trade_off.goals[1]],
    )
    front = approximate_pareto_front(bounded, gap=0.01)
    assert front.values[:, 0].max() == pytest.approx(9.0, rel=1e-3)
    assert front.values[:, 0].max() <= 9.0 * (1 + 1e-4)
    assert front.values[:, 1].min() == pytest.approx(49.0, rel=1e-3)
    assert front.ideal[1] == pytest.approx(49.0, rel=1e-3)
    assert front.ideal[1] <= 49.0
    assert front.converged


def test_bounds_that_contradict_are_refused():
    trade_off = one_beam()
    goals = [replace(trade_off.goals[0], bound=1.0), replace(trade_off.goals[1], bound=1.0)]
    with pytest.raises(OptimizationError, match=r"leave no plan.*Loosen a bound"):
        approximate_pareto_front(TradeOff(trade_off.problem.influence, trade_off.voxels_of, goals))


def test_limits_give_the_multipliers_of_the_lagrangian():
    """min w^2 with (w - 10)^2 <= 9: w = 7, multiplier 2 w / (2 (10 - w)) = 7/3, to 1e-3."""
    plan = minimize_within_limits(
        one_beam(), np.array([0.0, 1.0]), np.array([9.0, math.inf]), np.ones(1), BoundedLBFGS()
    )
    assert plan.converged
    assert plan.weights[0] == pytest.approx(7.0, abs=1e-3)
    np.testing.assert_allclose(plan.normal, [7.0 / 3.0, 1.0], rtol=1e-3)
    assert plan.excess <= 1e-4


class Counted(QuasiNewton):
    """The solver, with the number of its iterations."""

    def __init__(self):
        super().__init__()
        self.iterations = 0

    def solve(self, problem, start, progress=None, callback=None):
        solution = super().solve(problem, start, progress, callback)
        self.iterations += solution.iterations
        return solution


def test_the_solver_knows_the_curvature_of_limits():
    """Two goals pressed against limits cost tens of iterations in all; without the curvature they are hundreds."""
    trade_off = least_squares()
    loosest = trade_off.values(exact_minimum(trade_off, np.array([1.0, 1.0, 0.01])))
    solver = Counted()
    limits = np.array([1.02 * loosest[0], 1.02 * loosest[1], math.inf])
    plan = minimize_within_limits(trade_off, np.array([0.0, 0.0, 1.0]), limits, np.ones(8), solver)
    assert plan.converged
    assert (plan.normal[:2] > 0).any()
    assert solver.iterations < 100


def test_a_goal_to_be_high_has_negative_values():
    """The target's smoothed minimum against the organ's mean: the better beam alone gives a front that is a line."""
    trade_off = TradeOff(
        np.array([[10.0, 1.0], [10.0, 1.0], [8.0, 4.0]]),
        {"PTV": np.array([0, 1]), "Cord": np.array([2])},
        [Goal("Coverage", (MinimumDose("PTV"),), bound=-30.0), Goal("Cord", (MeanDose("Cord"),), bound=48.0)],
    )
    front = approximate_pareto_front(trade_off, gap=0.01)
    assert front.converged
    # the cord has 0.8 Gy for each Gy of the target, 48 Gy at most
    np.testing.assert_allclose(front.ideal, [-60.0, 24.0], atol=0.05)
    np.testing.assert_allclose(front.values @ [0.8, 1.0], 0.0, atol=0.02)


def test_a_bound_of_a_plan_stopped_early_still_holds():
    """After three iterations the plan is no optimum; its bound is below the exact least sum, and says so."""
    trade_off = least_squares()
    importance = np.array([1.0, 2.0, 0.5])
    exact_weights = exact_minimum(trade_off, importance)
    exact = importance @ trade_off.values(exact_weights)
    plan = minimize_within_limits(
        trade_off, importance, np.full(3, math.inf), np.ones(8), BoundedLBFGS(max_iterations=3), certainty=1e9
    )
    assert plan.normal @ plan.values != pytest.approx(exact, rel=1e-3)
    assert plan.least_possible(exact_weights.sum()) < exact


def test_gradient_of_the_augmented_sum_is_its_derivative():
    trade_off = least_squares(fluence_terms=[SumOfSquares(0.3)])
    weights = np.linspace(0.2, 2.0, 8)
    values = trade_off.values(weights)
    # the first limit exceeded, the second kept with a multiplier that still presses, the third kept by far
    limits = values * [0.9, 1.01, 5.0]
    problem = trade_off.scalarized(
        np.array([0.5, 0.0, 2.0]), limits, np.array([0.0, 3.0, 0.1]), np.array([0.02, 0.1, 0.1])
    )
    _, gradient = problem.value_and_gradient(weights)
    assert (problem.normal(values) > [0.5, 0.0, 1.9]).all()
    assert problem.normal(values)[2] == 2.0
    for n in range(8):
        step = np.eye(8)[n] * 1e-6
        slope = (problem.value_and_gradient(weights + step)[0] - problem.value_and_gradient(weights - step)[0]) / 2e-6
        assert gradient[n] == pytest.approx(slope, rel=1e-5, abs=1e-4)


@dataclass(frozen=True)
class SumOfSquares:
    """A fluence term with a known value."""

    weight: float

    def value(self, weights):
        return self.weight * float(weights @ weights)

    def gradient(self, weights):
        return 2.0 * self.weight * weights


def test_every_goal_pays_for_fluence_terms():
    plain, smooth = least_squares(), least_squares(fluence_terms=[SumOfSquares(0.3)])
    weights = np.arange(8.0)
    np.testing.assert_allclose(smooth.values(weights) - plain.values(weights), 0.3 * weights @ weights)
    front = approximate_pareto_front(smooth, gap=0.05)
    assert front.converged
    np.testing.assert_allclose(front.values, [smooth.values(w) for w in front.weights])


def test_several_objectives_make_one_goal_and_sparse_equals_dense():
    influence = np.random.default_rng(4).uniform(0, 5, (20, 4))
    voxels = {"PTV": np.arange(10), "Cord": np.arange(8, 14), "Body": np.arange(20)}
    goals = [
        Goal("Target", (SquaredDeviation("PTV", 50.0), SquaredOverdose("PTV", 52.0, 3.0))),
        Goal("Rest", (MeanDose("Body"), SquaredOverdose("Cord", 20.0))),
    ]
    dense = TradeOff(influence, voxels, goals, scale=2.0)
    weights = np.array([1.0, 2.0, 0.0, 3.0])
    dose = 2.0 * influence @ weights
    rest = dose.mean() + np.mean(np.maximum(dose[8:14] - 20.0, 0.0) ** 2)
    assert dense.values(weights)[1] == pytest.approx(rest, rel=1e-12)
    thin = TradeOff(sparse.csc_array(influence), voxels, goals, scale=2.0)
    np.testing.assert_allclose(thin.values(weights), dense.values(weights), rtol=1e-12)
    importance = np.array([0.2, 1.5])
    np.testing.assert_allclose(
        thin.scalarized(importance).value_and_gradient(weights)[1],
        dense.scalarized(importance).value_and_gradient(weights)[1],
        rtol=1e-12,
    )


def test_goals_that_do_not_compete_need_no_more_than_their_anchors():
    trade_off = one_beam()
    same = [trade_off.goals[0], Goal("Again", (SquaredDeviation("B", 10.0),))]
    front = approximate_pareto_front(TradeOff(trade_off.problem.influence, trade_off.voxels_of, same))
    assert not front.competing.any()
    assert front.converged
    assert front.plans <= 2
    np.testing.assert_allclose(front.values, 0.0, atol=1e-4)


def test_a_goal_that_does_not_compete_changes_nothing():
    """A structure that no weight reaches has the same value in all plans: gap and plans are those without it."""
    trade_off = one_beam()
    beside = TradeOff(
        np.array([[1.0], [1.0], [0.0]]),
        {**trade_off.voxels_of, "C": np.array([2])},
        [*trade_off.goals, Goal("Far", (SquaredDeviation("C", 5.0),))],
    )
    front = approximate_pareto_front(beside, gap=0.05)
    assert list(front.competing) == [True, True, False]
    np.testing.assert_allclose(front.values[:, 2], 25.0)
    without = approximate_pareto_front(trade_off, gap=0.05)
    assert front.plans == without.plans
    assert front.gap == pytest.approx(without.gap, rel=0.05)


def test_a_plan_no_better_than_another_adds_its_bound_only():
    trade_off = one_beam()
    front = approximate_pareto_front(trade_off, gap=0.9, max_plans=2)
    middle = BoundedPlan(np.array([5.0]), np.array([25.0, 25.0]), np.ones(2), 50.0, 0.0, 0.0, 0.0, 0.0, True, "")
    more = with_plan(trade_off, front, middle)
    assert more.plans == 3
    worse = replace(middle, values=np.array([26.0, 25.0]))
    again = with_plan(trade_off, more, worse)
    assert again.plans == 3
    assert len(again.plane_offsets) == len(more.plane_offsets) + 1
    better = with_plan(trade_off, more, replace(middle, values=np.array([24.0, 25.0])))
    assert better.plans == 3
    assert [24.0, 25.0] in better.values.tolist()
    assert [25.0, 25.0] not in better.values.tolist()
    assert len(better.doses_Gy) == len(better.weights) == len(better.normals) == 3


def test_cancelling_keeps_what_was_there():
    kept = []

    def cancel(fraction, text):
        if len(kept) == 2:
            raise Cancelled("stopped by the user")

    with pytest.raises(Cancelled):
        approximate_pareto_front(least_squares(), gap=1e-4, progress=cancel, on_front=kept.append)
    assert [front.plans for front in kept] == [3, 4]
    continued = approximate_pareto_front(least_squares(), gap=1e-4, max_plans=5, previous=kept[-1])
    assert continued.plans == 5


def test_progress_rises_to_one_and_names_the_work():
    told = []
    front = approximate_pareto_front(least_squares(), max_plans=6, progress=lambda f, text: told.append((f, text)))
    fractions = np.array([f for f, _ in told])
    assert (np.diff(fractions) >= -1e-12).all()
    assert fractions[-1] == 1.0
    assert told[-1][1] == front.message
    texts = " ".join(text for _, text in told)
    assert "Least S0" in texts
    assert "Anchor S2" in texts
    assert "Plan 4, gap" in texts


def test_only_chosen_doses_are_stored():
    front = approximate_pareto_front(least_squares(), max_plans=3, structures=["S1"])
    np.testing.assert_array_equal(front.voxels, np.arange(15, 30))
    assert front.doses_Gy.shape == (front.plans, 15)
    shares = np.array([0.5, 0.0, 0.5])
    np.testing.assert_allclose(front.mixed_dose_Gy(shares, "S1"), front.doses_Gy[[0, 2]].mean(axis=0), rtol=1e-6)
    with pytest.raises(OptimizationError, match=r"S0 was not stored.*S1"):
        front.mixed_dose_Gy(shares, "S0")


def test_vertices_of_a_cut_cube():
    """x + y >= 1 leaves three corners of the unit square; x + y + z >= 1.5 cuts a hexagon's corner off the cube."""
    corners = outer_vertices(np.array([[0.5, 0.5]]), np.array([0.5]))
    np.testing.assert_allclose(sorted(map(tuple, corners)), [(0, 1), (1, 0), (1, 1)], atol=1e-9)
    corners = outer_vertices(np.ones((1, 3)) / 3, np.array([0.5]))
    assert len(corners) == 10
    assert (corners.sum(axis=1) > 1.5 - 1e-9).all()
    with pytest.raises(OptimizationError, match="smaller tolerance"):
        outer_vertices(np.array([[0.5, 0.5]]), np.array([1.2]))


def test_shortfall_and_its_dual_by_hand():
    """Points (0, 1) and (1, 0) from the corner (0, 0): half a unit along both axes, weights one half each."""
    found = shortfall(np.array([[0.0, 1.0], [1.0, 0.0]]), np.zeros(2))
    assert found.gap == pytest.approx(0.5)
    np.testing.assert_allclose(found.normal, 0.5)
    np.testing.assert_allclose(found.mixture, 0.5)
    assert shortfall(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([0.7, 0.7])).gap == pytest.approx(-0.2)


def test_requests_that_make_no_sense_say_why():
    goal = Goal("A", (MeanDose("A"),))
    influence, voxels = np.ones((2, 1)), {"A": np.array([0])}
    bent = [goal, Goal("B", (MaxDVH("A", 20.0, volume_percent=30.0),))]
    with pytest.raises(OptimizationError, match="MaxDVH of A is not convex"):
        approximate_pareto_front(TradeOff(influence, voxels, bent))
    with pytest.raises(OptimizationError, match="at least one objective"):
        Goal("A", ())
    with pytest.raises(OptimizationError, match="bound must be finite"):
        Goal("A", (MeanDose("A"),), bound=math.nan)
    with pytest.raises(OptimizationError, match="name of its own; got A, A"):
        TradeOff(influence, voxels, [goal, goal])
    with pytest.raises(OptimizationError, match="no structure 'B'"):
        TradeOff(influence, voxels, [goal, Goal("B", (MeanDose("B"),))])
    with pytest.raises(OptimizationError, match="2 to 4 goals; got 1"):
        approximate_pareto_front(TradeOff(influence, voxels, [goal]))
    with pytest.raises(OptimizationError, match="positive gap"):
        approximate_pareto_front(one_beam(), gap=0.0)
    with pytest.raises(OptimizationError, match="at least 2 plans"):
        approximate_pareto_front(one_beam(), max_plans=1)
    with pytest.raises(OptimizationError, match=r"'Heart' to store.*A, B"):
        approximate_pareto_front(one_beam(), structures=["Heart"])
    with pytest.raises(OptimizationError, match="importances"):
        one_beam().scalarized(np.array([1.0, -1.0]))
    with pytest.raises(OptimizationError, match="any importance"):
        minimize_within_limits(one_beam(), np.zeros(2), np.full(2, math.inf), np.ones(1), BoundedLBFGS())
