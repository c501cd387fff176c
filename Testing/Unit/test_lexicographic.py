"""Goals in order of priority against exact solutions: linear programs by HiGHS, quadratic ones by SLSQP."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.optimize import linprog, minimize

from DoseEngineLib.errors import Cancelled
from OptimizerLib.errors import OptimizationError
from OptimizerLib.multicriteria import Goal, TradeOff, optimize_by_priority
from OptimizerLib.objectives import MeanDose, Objective, SquaredDeviation, SquaredOverdose
from OptimizerLib.solvers import BoundedLBFGS


@dataclass(frozen=True)
class MeanShortfall(Objective):
    """``level - mean(D)``: a linear wish for dose, so that priorities are linear programs."""

    level_Gy: float
    weight: float = 1.0

    def value(self, dose_Gy):
        return self.weight * (self.level_Gy - float(np.mean(dose_Gy)))

    def gradient(self, dose_Gy):
        return np.full(dose_Gy.shape, -self.weight / dose_Gy.size)


def doses(seed, variables=6):
    random = np.random.default_rng(seed)
    influence = random.uniform(0.5, 3.0, (40, variables)) * (random.random((40, variables)) > 0.3)
    return influence, {
        "PTV": np.arange(10),
        "Cord": np.arange(10, 20),
        "Lung": np.arange(20, 30),
        "Body": np.arange(40),
    }


def least_by_highs(influence, voxels, goal, limits):
    """Least of one goal of `linear` within limits on all, by HiGHS."""
    mean = {name: influence[rows].mean(axis=0) for name, rows in voxels.items()}
    rows = [-mean["PTV"], mean["Lung"], mean["Body"], mean["Cord"]]
    constants = np.array([60.0, 0.0, 0.0, 0.0])
    limited = np.isfinite(limits)
    found = linprog(
        rows[goal], A_ub=np.array(rows)[limited], b_ub=(np.array(limits) - constants)[limited], method="highs"
    )
    assert found.success, found.message
    return found.fun + constants[goal]


def check_by_highs(influence, voxels, plan, cord_bound, within):
    """Every step's value is the least within the limits that the steps before have set."""
    names = ["Target", "Lung", "Body", "Cord"]
    limits = [np.inf, np.inf, np.inf, cord_bound]
    for step in plan.steps:
        goal = names.index(step.goal)
        assert step.value == pytest.approx(least_by_highs(influence, voxels, goal, limits), abs=within), step
        limits[goal] = step.limit


def linear(influence, voxels, cord_bound):
    goals = [
        Goal("Target", (MeanShortfall("PTV", 60.0),)),
        Goal("Lung", (MeanDose("Lung"),)),
        Goal("Body", (MeanDose("Body"),)),
        Goal("Cord", (MeanDose("Cord"),), bound=cord_bound),
    ]
    return TradeOff(influence, voxels, goals)


@pytest.mark.parametrize("solver", [BoundedLBFGS(), BoundedLBFGS(2000, 1e-9)], ids=["default", "strict"])
@pytest.mark.parametrize("slack", [0.0, 0.03])
@pytest.mark.parametrize("seed", range(4))
def test_priorities_of_means_are_linear_programs(seed, slack, solver):
    """Every value reached is that of HiGHS to 0.02 Gy (of 60 Gy), limits are kept to 1e-4."""
    influence, voxels = doses(seed)
    plan = optimize_by_priority(linear(influence, voxels, 20.0), slack=slack, solver=solver)
    check_by_highs(influence, voxels, plan, 20.0, 0.02)
    for step in plan.steps:
        bound = 20.0 if step.goal == "Cord" else np.inf
        assert step.limit == min(step.value + max(slack * abs(step.value), 1e-3), bound)
    assert plan.excess <= 1e-4
    assert plan.weights.min() >= 0


def test_sufficient_values_leave_room_and_are_improved_at_the_end():
    """Both phases as HiGHS to 0.02 Gy (of 60 Gy); the lung gains from the room that the target left."""
    influence, voxels = doses(1)
    strict = optimize_by_priority(linear(influence, voxels, 20.0))
    enough = strict.steps[0].value + 12.0
    plan = optimize_by_priority(linear(influence, voxels, 20.0), {"Target": enough})
    check_by_highs(influence, voxels, plan, 20.0, 0.02)
    assert [(step.phase, step.goal) for step in plan.steps] == [
        (1, "Target"),
        (1, "Lung"),
        (1, "Body"),
        (1, "Cord"),
        (2, "Target"),
    ]
    assert plan.steps[0].limit == enough
    assert plan.steps[1].value < strict.steps[1].value - 1.0
    assert plan.steps[-1].value <= enough + 1e-2


def quadratic(seed=2):
    influence, voxels = doses(seed)
    goals = [
        Goal("Target", (SquaredDeviation("PTV", 20.0),)),
        Goal("Cord", (SquaredOverdose("Cord", 8.0),)),
        Goal("Body", (MeanDose("Body"), SquaredOverdose("Lung", 5.0, 0.1))),
    ]
    return TradeOff(influence, voxels, goals)


def referee(trade_off, slack):
    """Strict order with SLSQP, ten digits."""
    limits, values = [], []
    weights = np.full(trade_off.variables, 1.0)
    one = [trade_off.scalarized(row) for row in np.eye(len(trade_off.goals))]
    for goal in range(len(trade_off.goals)):
        held = [
            {
                "type": "ineq",
                "fun": lambda w, n=n, b=b: b - one[n].value_and_gradient(w)[0],
                "jac": lambda w, n=n: -one[n].value_and_gradient(w)[1],
            }
            for n, b in enumerate(limits)
        ]
        found = minimize(
            one[goal].value_and_gradient,
            weights,
            jac=True,
            method="SLSQP",
            bounds=[(0.0, None)] * trade_off.variables,
            constraints=held,
            options={"ftol": 1e-12, "maxiter": 1000},
        )
        # 8: no descent left at this accuracy
        assert found.status in (0, 8), found.message
        weights = np.maximum(found.x, 0.0)
        values.append(found.fun)
        limits.append(found.fun + max(slack * abs(found.fun), 1e-3))
    return values, limits


@pytest.mark.parametrize("slack", [0.03, 0.3])
@pytest.mark.parametrize("seed", [2, 3, 5])
def test_quadratic_priorities_are_those_of_slsqp(seed, slack):
    """Values reached are those of SLSQP to 1e-3 relative (1e-3 Gy^2 where they are small); limits kept to 1e-4."""
    trade_off = quadratic(seed)
    plan = optimize_by_priority(trade_off, slack=slack, solver=BoundedLBFGS(2000, 1e-9))
    values, limits = referee(trade_off, slack)
    for step, value, limit in zip(plan.steps, values, limits, strict=True):
        assert step.value == pytest.approx(value, rel=1e-3, abs=1e-3), step.goal
        assert step.limit == pytest.approx(limit, rel=1e-3, abs=2e-3), step.goal
    assert plan.excess <= 1e-4
    assert plan.converged, plan.message
    np.testing.assert_allclose(trade_off.values(plan.weights), plan.values, rtol=1e-12)


def test_a_goal_of_higher_priority_is_never_lost_to_a_lower_one():
    """The first goal ends within its slack of its own minimum, whatever the order."""
    trade_off = quadratic()
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        goals = [trade_off.goals[n] for n in order]
        turned = TradeOff(trade_off.problem.influence, trade_off.voxels_of, goals)
        plan = optimize_by_priority(turned, slack=0.05)
        alone = optimize_by_priority(TradeOff(trade_off.problem.influence, trade_off.voxels_of, goals[:1]))
        assert plan.values[0] <= 1.0501 * alone.values[0] + 1.1e-3


def test_what_suffices_already_is_not_optimized():
    trade_off = quadratic()
    weights = np.full(trade_off.variables, 2.0)
    now = trade_off.values(weights)
    plan = optimize_by_priority(trade_off, {"Cord": now[1] + 1e4, "Target": now[0] + 1.0}, start=weights)
    assert [step.optimized for step in plan.steps] == [False, False, True, True, True]
    assert [step.goal for step in plan.steps] == ["Target", "Cord", "Body", "Target", "Cord"]
    assert plan.values[0] <= now[0] + 1.0


def test_bounds_hold_from_the_beginning_and_contradictions_are_told():
    influence, voxels = doses(2)
    plan = optimize_by_priority(linear(influence, voxels, 7.0))
    assert plan.values[3] <= 7.0 * (1 + 1e-4)
    goals = [
        Goal("Target", (SquaredDeviation("PTV", 20.0),), bound=20.0),
        Goal("Body", (MeanDose("Body"),), bound=1.0),
    ]
    with pytest.raises(OptimizationError, match=r"could not be optimized.*Loosen a bound"):
        optimize_by_priority(TradeOff(influence, voxels, goals))


def test_progress_and_cancel():
    told = []
    optimize_by_priority(quadratic(), progress=lambda f, text: told.append((f, text)))
    fractions = np.array([f for f, _ in told])
    assert (np.diff(fractions) >= -1e-12).all()
    assert fractions[-1] == 1.0
    assert any("Phase 1, Cord" in text for _, text in told)

    def cancel(fraction, text):
        if "Cord" in text:
            raise Cancelled("stopped by the user")

    with pytest.raises(Cancelled):
        optimize_by_priority(quadratic(), progress=cancel)


def test_requests_that_make_no_sense_say_why():
    with pytest.raises(OptimizationError, match=r"'Heart' that could suffice.*Target, Cord, Body"):
        optimize_by_priority(quadratic(), {"Heart": 1.0})
    with pytest.raises(OptimizationError, match="slack"):
        optimize_by_priority(quadratic(), slack=-0.1)
    with pytest.raises(OptimizationError, match="resolution"):
        optimize_by_priority(quadratic(), resolution=0.0)
    with pytest.raises(OptimizationError, match="finite values that suffice"):
        optimize_by_priority(quadratic(), {"Cord": float("nan")})


def test_a_callback_follows_every_turn_and_can_end_the_search():
    """It is told whose turn it is and that goal's value; the plan at its stop is what comes out."""
    influence, voxels = doses(1)
    trade_off = linear(influence, voxels, 20.0)
    seen = []
    optimize_by_priority(trade_off, callback=lambda state, goal: seen.append((state.iteration, goal, state.value)))
    assert [number for number, _, _ in seen] == list(range(len(seen)))
    assert list(dict.fromkeys(goal for _, goal, _ in seen)) == list(trade_off.names)

    last = []

    def stop(state, goal) -> None:
        if goal == "Lung":
            last.append(state.weights)
            state.stop()

    plan = optimize_by_priority(trade_off, callback=stop)
    assert len(last) == 1
    np.testing.assert_array_equal(plan.weights, last[0])
    assert plan.stopped_at == "Lung"
    assert [step.goal for step in plan.steps] == ["Target", "Lung"]
    assert not plan.converged
    assert plan.message.startswith("Stopped on request at Lung; no turn had: Body, Cord.")
    np.testing.assert_allclose(plan.values, trade_off.values(last[0]))
