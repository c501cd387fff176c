"""Sliders between Pareto plans: guarantees hold, moves are the best there are, bounds are kept."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from OptimizerLib.errors import OptimizationError
from OptimizerLib.multicriteria import Goal, Navigator, TradeOff, approximate_pareto_front
from OptimizerLib.objectives import MeanDose, SquaredDeviation, SquaredOverdose, SquaredUnderdose


def make_trade_off():
    random = np.random.default_rng(8)
    influence = random.uniform(0.0, 6.0, (60, 9)) * (random.random((60, 9)) > 0.4)
    voxels = {"PTV": np.arange(20), "Cord": np.arange(15, 35), "Lung": np.arange(35, 60)}
    goals = [
        Goal("Target", (SquaredDeviation("PTV", 50.0), SquaredUnderdose("PTV", 48.0)), bound=450.0),
        Goal("Cord", (SquaredOverdose("Cord", 15.0),)),
        Goal("Lung", (MeanDose("Lung"),)),
    ]
    return TradeOff(influence, voxels, goals)


TRADE_OFF = make_trade_off()
FRONT = approximate_pareto_front(TRADE_OFF, gap=0.05, max_plans=12)
EXTENT = FRONT.nadir - FRONT.ideal


@pytest.fixture
def navigator():
    return Navigator(FRONT, TRADE_OFF)


def three_points():
    """A front of three plans whose values are chosen by hand; weights and doses are their own names."""
    return replace(
        FRONT,
        weights=np.eye(3),
        values=np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]),
        normals=np.ones((3, 3)),
        ideal=np.zeros(3),
        nadir=np.ones(3),
        doses_Gy=np.eye(3, dtype=np.float32),
        voxels=np.arange(3),
        voxels_of={"A": np.arange(3)},
    )


def test_it_begins_at_the_balance():
    navigator = Navigator(three_points())
    np.testing.assert_allclose(navigator.position.shares, 1 / 3, atol=1e-6)
    np.testing.assert_allclose(navigator.position.values, 2 / 3, atol=1e-6)


def test_a_move_by_hand():
    """First goal from 2/3 to 1/3: two thirds of the first plan, the other two share the loss and stand at 5/6."""
    navigator = Navigator(three_points())
    position = navigator.move("Target", 1 / 3)
    assert position.reached
    np.testing.assert_allclose(position.shares, [2 / 3, 1 / 6, 1 / 6], atol=1e-5)
    np.testing.assert_allclose(position.values, [1 / 3, 5 / 6, 5 / 6], atol=1e-5)
    # the other way the two gain alike
    position = navigator.move("Target", 0.9)
    np.testing.assert_allclose(position.values, [0.9, 0.55, 0.55], atol=1e-5)


def test_of_equal_losses_the_one_without_waste_is_taken():
    """The second and third plan lose as much of the largest; the third wastes nothing of the last goal."""
    front = replace(three_points(), values=np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.5], [1.0, 0.0, 0.0]]))
    position = Navigator(front).move("Target", 0.4)
    np.testing.assert_allclose(position.values, [0.4, 0.6, 0.3], atol=1e-5)


def test_a_lock_by_hand():
    """With the second locked at 2/3 the third alone pays for the first."""
    navigator = Navigator(three_points())
    navigator.lock("Cord")
    position = navigator.move("Target", 0.5)
    np.testing.assert_allclose(position.values, [0.5, 2 / 3, 5 / 6], atol=1e-5)
    assert navigator.reach("Target")[0] == pytest.approx(1 / 3, abs=1e-5)
    navigator.set_bound("Cord", None)
    assert navigator.reach("Target") == (pytest.approx(0.0, abs=1e-6), pytest.approx(1.0, abs=1e-6))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.0, 1.0)), min_size=1, max_size=4))
def test_the_plan_is_never_worse_than_the_sliders_show(moves):
    """Exact values of the mixture are at or below those shown (1e-5 relative: doses are stored in single precision)."""
    navigator = Navigator(FRONT, TRADE_OFF)
    for goal, share in moves:
        navigator.move(goal, float(FRONT.ideal[goal] + share * EXTENT[goal]))
    shown = navigator.position.values
    exact = TRADE_OFF.values(navigator.weights())
    assert (exact <= shown * (1 + 1e-9) + 1e-9).all()
    np.testing.assert_allclose(navigator.exact_values(), exact, rtol=1e-5, atol=1e-3)
    dose = TRADE_OFF.dose_Gy(navigator.weights())
    np.testing.assert_allclose(navigator.dose_Gy(), dose[FRONT.voxels], rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(navigator.dose_Gy("Lung"), dose[35:60], rtol=1e-5, atol=1e-4)
    assert navigator.position.shares.min() >= 0
    assert navigator.position.shares.sum() == pytest.approx(1.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2), st.floats(0.0, 1.0), st.integers(0, 2**32 - 1))
def test_no_random_mixture_beats_a_move(goal, share, seed):
    """Of 3000 mixtures with the moved goal no higher, none has a smaller largest loss of the others (1e-3 allowed:
    the weight of the sum)."""
    navigator = Navigator(FRONT)
    before = navigator.position.values
    asked = float(FRONT.ideal[goal] + share * EXTENT[goal])
    position = navigator.move(goal, asked)
    others = np.arange(3) != goal
    loss = ((position.values - before) / EXTENT)[others].max()
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.full(FRONT.plans, 0.2), 3000)
    values = shares @ FRONT.values
    allowed = values[values[:, goal] <= max(asked, position.values[goal])]
    losses = ((allowed - before) / EXTENT)[:, others].max(axis=1)
    assert (losses >= loss - 3e-3).all()


@settings(max_examples=40, deadline=None)
@given(st.floats(0.3, 1.0), st.lists(st.floats(0.0, 1.0), min_size=1, max_size=4))
def test_bounds_are_kept_whatever_is_moved(share, moves):
    navigator = Navigator(FRONT)
    low, high = navigator.reach("Cord")
    bound = low + share * (high - low)
    navigator.set_bound("Cord", bound)
    for number, wish in enumerate(moves):
        navigator.move(("Target", "Lung")[number % 2], float(FRONT.ideal[0] + wish * EXTENT[0]))
        assert navigator.position.values[1] <= bound + 1e-6 * EXTENT[1]


def test_a_move_is_met_and_wastes_nothing(navigator):
    """The moved goal stands where it was asked to; no plan or mixture is better in all goals."""
    low, high = navigator.reach("Lung")
    asked = low + 0.4 * (high - low)
    position = navigator.move("Lung", asked)
    assert position.reached
    assert position.values[2] == pytest.approx(asked, rel=1e-5)
    shares = np.random.default_rng(0).dirichlet(np.full(FRONT.plans, 0.2), 5000)
    better = (shares @ FRONT.values < position.values - 1e-3 * EXTENT).all(axis=1)
    assert not better.any()


def test_out_of_reach_stops_at_the_end_and_says_so(navigator):
    lowest = navigator.reach("Lung")[0]
    position = navigator.move("Lung", lowest - 5.0)
    assert not position.reached
    assert position.asked == lowest - 5.0
    assert position.values[2] == pytest.approx(lowest, abs=1e-5 * EXTENT[2])
    assert lowest == pytest.approx(FRONT.values[:, 2].min(), rel=1e-9)


def test_a_locked_slider_cannot_be_moved_up(navigator):
    stands = navigator.position.values[2]
    navigator.lock("Lung")
    assert navigator.bounds[2] == stands
    position = navigator.move("Lung", stands + 0.3 * EXTENT[2])
    assert not position.reached
    assert position.values[2] <= stands + 1e-6 * EXTENT[2]


def test_a_bound_below_the_position_moves_it(navigator):
    low = navigator.reach("Cord")[0]
    bound = 0.5 * (low + navigator.position.values[1])
    position = navigator.set_bound("Cord", bound)
    assert position.values[1] <= bound + 1e-6 * EXTENT[1]


def test_an_impossible_bound_is_refused_and_changes_nothing(navigator):
    navigator.lock("Target")
    before = navigator.position
    lowest = navigator.reach("Cord")[0]
    with pytest.raises(OptimizationError, match=r"Cord cannot be bounded.*Loosen a bound"):
        navigator.set_bound("Cord", lowest - 0.1 * EXTENT[1])
    with pytest.raises(OptimizationError, match="cannot be bounded"):
        navigator.set_bound("Cord", math.nan)
    assert navigator.position is before
    assert navigator.bounds[1] == math.inf


def test_aiming_at_a_plan_finds_it(navigator):
    for plan in range(FRONT.plans):
        position = navigator.aim(FRONT.values[plan])
        assert ((position.values - FRONT.values[plan]) / EXTENT).max() <= 1e-6


def test_a_front_with_more_plans_is_entered_where_one_stood(navigator):
    navigator.move("Target", float(navigator.reach("Target")[0] + 0.2 * EXTENT[0]))
    more = approximate_pareto_front(TRADE_OFF, gap=0.01, max_plans=15, previous=FRONT)
    entered = Navigator(more).aim(navigator.position.values)
    assert more.plans > FRONT.plans
    assert ((entered.values - navigator.position.values) / EXTENT).max() <= 1e-6


def test_requests_that_make_no_sense_say_why(navigator):
    with pytest.raises(OptimizationError, match=r"no goal 'Heart'.*Target, Cord, Lung"):
        navigator.move("Heart", 1.0)
    with pytest.raises(OptimizationError, match="no goal number 3"):
        navigator.move(3, 1.0)
    with pytest.raises(OptimizationError, match="finite value"):
        navigator.move("Cord", math.nan)
    with pytest.raises(OptimizationError, match="3 finite values"):
        navigator.aim(np.array([1.0]))
    with pytest.raises(OptimizationError, match="Give the trade-off"):
        Navigator(FRONT).exact_values()
    with pytest.raises(OptimizationError, match="no plans"):
        Navigator(replace(FRONT, weights=FRONT.weights[:0]))
    other = TradeOff(np.ones((1, 1)), {"A": np.array([0])}, [Goal("A", (MeanDose("A"),))])
    with pytest.raises(OptimizationError, match="the same"):
        Navigator(FRONT, other)


def test_where_the_sliders_stood_is_restored(navigator):
    navigator.move("Cord", float(FRONT.ideal[1] + 0.3 * EXTENT[1]))
    navigator.lock("Cord")
    navigator.move("Lung", float(FRONT.ideal[2] + 0.2 * EXTENT[2]))
    other = Navigator(FRONT, TRADE_OFF)
    position = other.restore(navigator.position.shares, navigator.bounds)
    np.testing.assert_allclose(position.values, navigator.position.values, rtol=1e-12)
    np.testing.assert_array_equal(other.bounds, navigator.bounds)
    # and goes on as it would have
    for goal in ("Target", "Lung"):
        np.testing.assert_allclose(other.reach(goal), navigator.reach(goal), rtol=1e-9)
    wanted = float(FRONT.ideal[0] + 0.5 * EXTENT[0])
    np.testing.assert_allclose(other.move(0, wanted).values, navigator.move(0, wanted).values, rtol=1e-6)


@pytest.mark.parametrize(
    ("shares", "bounds", "text"),
    [
        ([0.5, 0.5], [math.inf] * 3, "a share of each of 3 plans"),
        ([1.5, -0.5, 0.0], [math.inf] * 3, "none negative"),
        ([0.5, 0.2, 0.2], [math.inf] * 3, "sum one"),
        ([1.0, 0.0, 0.0], [math.inf] * 2, "Give 3 bounds"),
        ([1.0, 0.0, 0.0], [math.nan, 1.0, 1.0], "Give 3 bounds"),
        ([1.0, 0.0, 0.0], [1.0, 0.5, 1.0], "breaks the bounds of Cord"),
    ],
)
def test_a_place_that_is_none_is_refused_and_nothing_changes(shares, bounds, text):
    navigator = Navigator(three_points())
    before = navigator.position
    with pytest.raises(OptimizationError, match=text):
        navigator.restore(np.array(shares), np.array(bounds))
    assert navigator.position is before
    assert not np.isfinite(navigator.bounds).any()
