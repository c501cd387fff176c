"""Problem and solver on small matrices whose optimum is known otherwise."""

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import nnls

from DoseEngineLib.errors import Cancelled
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import MeanDose, SquaredDeviation, SquaredOverdose, SquaredUnderdose
from OptimizerLib.problem import Problem
from OptimizerLib.solvers import BoundedLBFGS, optimality


@pytest.fixture
def influence():
    """Doses of six beams to sixty voxels."""
    return np.random.default_rng(5).uniform(0.0, 20.0, (60, 6)) * (np.random.default_rng(6).random((60, 6)) > 0.4)


def voxels():
    return {"PTV": np.arange(0, 25), "Core": np.arange(20, 45), "Lung": np.arange(45, 60)}


def mixed(influence):
    return Problem(
        influence,
        voxels(),
        [
            SquaredDeviation("PTV", 50.0, 5.0),
            SquaredUnderdose("PTV", 50.0),
            SquaredOverdose("Core", 20.0),
            MeanDose("Lung"),
        ],
    )


def test_gradient_of_the_whole_is_the_derivative(influence):
    problem = mixed(influence)
    weights = np.array([1.0, 0.2, 3.0, 0.0, 1.5, 0.7])
    _, gradient = problem.value_and_gradient(weights)
    for n in range(6):
        step = np.eye(6)[n] * 1e-5
        slope = (problem.value_and_gradient(weights + step)[0] - problem.value_and_gradient(weights - step)[0]) / 2e-5
        assert gradient[n] == pytest.approx(slope, rel=1e-5)


def test_sum_of_values_is_the_value_and_sparse_equals_dense(influence):
    weights = np.arange(6.0)
    dense, thin = mixed(influence), mixed(sparse.csr_array(influence))
    value, gradient = dense.value_and_gradient(weights)
    assert sum(dense.values(weights)) == pytest.approx(value, rel=1e-12)
    assert thin.value_and_gradient(weights)[0] == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(thin.value_and_gradient(weights)[1], gradient, rtol=1e-12)


def test_a_least_squares_optimum_is_that_of_nnls(influence):
    problem = Problem(influence, {"PTV": np.arange(60)}, [SquaredDeviation("PTV", 50.0)])
    solution = BoundedLBFGS(tolerance=1e-10).solve(problem, np.ones(6))
    expected, _ = nnls(influence, np.full(60, 50.0))
    assert solution.converged
    np.testing.assert_allclose(solution.weights, expected, atol=1e-5)


def test_bounds_hold_where_a_beam_only_harms():
    # the second beam reaches nothing but the core
    influence = np.array([[10.0, 0.0], [10.0, 0.0], [4.0, 30.0]])
    problem = Problem(
        influence,
        {"PTV": np.array([0, 1]), "Core": np.array([2])},
        [SquaredDeviation("PTV", 50.0), SquaredOverdose("Core", 0.0, 0.1)],
    )
    solution = BoundedLBFGS().solve(problem, np.ones(2))
    # minimum of (10 w - 50)^2 + 0.1 (4 w)^2
    assert solution.weights[0] == pytest.approx(500.0 / 101.6, rel=1e-6)
    assert solution.weights[1] == 0.0
    _, gradient = problem.value_and_gradient(solution.weights)
    assert gradient[1] > 0
    assert abs(gradient[0]) < 1e-3


def test_optimality_measures_the_violation():
    assert optimality(np.array([1.0, 0.0]), np.array([0.0, 5.0])) == 0.0
    assert optimality(np.array([1.0, 0.0]), np.array([0.25, 5.0])) == 0.25
    assert optimality(np.array([1.0, 0.0]), np.array([0.0, -2.0])) == 2.0


def test_history_falls_and_progress_is_told(influence):
    calls = []
    solution = BoundedLBFGS().solve(mixed(influence), np.ones(6), lambda f, text: calls.append((f, text)))
    assert solution.iterations > 2
    assert (np.diff(solution.history) <= 1e-9).all()
    assert solution.history[-1] == pytest.approx(solution.value, rel=1e-9)
    fractions = [f for f, _ in calls]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert "Optimum" in calls[-1][1]


def test_cancel_stops_at_once(influence):
    seen = []

    def cancel(fraction, text):
        seen.append(text)
        if len(seen) == 3:
            raise Cancelled("stopped by the user")

    with pytest.raises(Cancelled):
        BoundedLBFGS().solve(mixed(influence), np.ones(6), cancel)
    assert len(seen) == 3


def test_too_few_iterations_are_not_called_an_optimum(influence):
    solution = BoundedLBFGS(max_iterations=2).solve(mixed(influence), np.ones(6))
    assert not solution.converged
    assert "allow more" in solution.message
    assert solution.value < solution.history[0]


@pytest.mark.parametrize("start", [np.ones(5), -np.ones(6), np.full(6, np.nan)])
def test_a_useless_start_is_refused(influence, start):
    with pytest.raises(OptimizationError, match="start"):
        BoundedLBFGS().solve(mixed(influence), start)


@pytest.mark.parametrize("options", [{"max_iterations": 0}, {"tolerance": 0.0}, {"tolerance": float("nan")}])
def test_useless_options_are_refused(options):
    with pytest.raises(OptimizationError, match="positive"):
        BoundedLBFGS(**options)


def test_problems_that_make_no_sense_say_why(influence):
    with pytest.raises(OptimizationError, match="no objectives"):
        Problem(influence, voxels(), [])
    with pytest.raises(OptimizationError, match=r"'Heart'.*PTV, Core, Lung"):
        Problem(influence, voxels(), [MeanDose("Heart")])
    with pytest.raises(OptimizationError, match="Heart has no voxel"):
        Problem(influence, {"Heart": np.array([], dtype=int)}, [MeanDose("Heart")])
    influence[3, 2] = np.nan
    with pytest.raises(OptimizationError, match="NaN"):
        Problem(influence, voxels(), [MeanDose("Lung")])
