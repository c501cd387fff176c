"""Every solver against exact solutions, with constraints, and what a user can do while it runs."""

import importlib.util

import numpy as np
import pytest
from missing import missing
from scipy import sparse

from DoseEngineLib.errors import Cancelled
from OptimizerLib.constraints import MaxDose, MaxMean, MaxTailMean, MinDose, MinTailMean
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import (
    EquivalentUniformDose,
    EUDOverdose,
    FluenceSmoothness,
    MeanDose,
    SquaredDeviation,
    SquaredOverdose,
    SquaredUnderdose,
)
from OptimizerLib.problem import Problem
from OptimizerLib.solvers import BoundedLBFGS, QuasiNewton, Solution, available_solvers, create_solver
from OptimizerLib.solvers.bounded_quadratic import principal_pivoting, projected_conjugate_gradients

VOXELS = {"PTV": np.arange(0, 25), "Core": np.arange(20, 45), "Lung": np.arange(45, 60)}
MIXED = (
    SquaredDeviation("PTV", 50.0, 5.0),
    SquaredUnderdose("PTV", 50.0),
    SquaredOverdose("Core", 20.0),
    MeanDose("Lung"),
)
LABELS = ("quasi-newton", "l-bfgs-b", "ipopt")


def solver(label, **options):
    package = {"ipopt": "ipyopt", "highs": "highspy"}.get(label)
    if package and importlib.util.find_spec(package) is None:
        missing(f'{package} is not installed: pip install ".[test]" brings it.')
    return create_solver(label, **options)


@pytest.fixture
def influence():
    random = np.random.default_rng(5)
    return random.uniform(0.0, 20.0, (60, 6)) * (random.random((60, 6)) > 0.4)


@pytest.fixture
def plan():
    """Five beams of thirty bixels on a disc of 1,600 voxels: a ring around a core."""
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 40)), -1).reshape(-1, 2)
    columns = []
    for angle in np.radians([0, 72, 144, 216, 288]):
        along = np.array([np.cos(angle), np.sin(angle)])
        across, depth = grid @ along, grid @ np.array([-along[1], along[0]])
        for centre in np.linspace(-0.6, 0.6, 30):
            value = 2 * np.exp(-(((across - centre) / 0.06) ** 2) - 0.5 * (depth + 1))
            columns.append(value * (np.abs(across - centre) < 0.3))
    radius = np.hypot(*grid.T)
    voxels = {
        "PTV": np.flatnonzero((radius < 0.5) & (radius > 0.2)),
        "Core": np.flatnonzero(radius < 0.15),
        "Body": np.arange(1600),
    }
    return sparse.csc_array(np.stack(columns, axis=1).astype(np.float32)), voxels


SQUARES = (SquaredDeviation("PTV", 50.0, 10.0), SquaredOverdose("Core", 10.0, 5.0), SquaredOverdose("Body", 30.0))


@pytest.mark.parametrize("label", LABELS)
def test_a_quadratic_problem_is_solved_exactly(influence, label):
    problem = Problem(influence, VOXELS, MIXED)
    exact = solver("highs").solve(problem, np.ones(6))
    found = solver(label).solve(problem, np.ones(6))
    assert found.converged
    assert found.value == pytest.approx(exact.value, rel=1e-6)
    np.testing.assert_allclose(found.weights, exact.weights, atol=1e-3)
    assert found.optimality < 1e-5


@pytest.mark.parametrize("largest_dense", [0, 4000])
def test_many_bixels_reach_the_optimum_of_the_referee(plan, largest_dense):
    matrix, voxels = plan
    problem = Problem(matrix, voxels, SQUARES)
    referee = BoundedLBFGS(max_iterations=3000, tolerance=1e-10).solve(problem, np.ones(150))
    found = QuasiNewton(largest_dense=largest_dense).solve(problem, np.zeros(150))
    assert found.converged
    assert found.value == pytest.approx(referee.value, rel=1e-6)
    assert found.iterations < 25


@pytest.mark.parametrize(
    "constraints",
    [
        [MaxDose("Core", 45.0)],
        [MaxDose("Core", 45.0), MinDose("PTV", 5.0)],
        [MaxMean("Core", 20.0)],
        [MaxTailMean("Core", 40.0, 20.0)],
        [MinTailMean("PTV", 30.0, 70.0), MaxDose("PTV", 100.0)],
    ],
    ids=["max", "max and min", "mean", "hot tail", "cold tail"],
)
@pytest.mark.parametrize("label", ["quasi-newton", "l-bfgs-b"])
def test_constraints_are_met_at_the_exact_optimum(influence, label, constraints):
    problem = Problem(influence, VOXELS, MIXED, constraints)
    exact = solver("highs").solve(problem, np.ones(6))
    found = solver(label).solve(problem, np.ones(6))
    assert found.converged, found.message
    assert found.violation_Gy == pytest.approx(problem.violation_Gy(found.weights))
    assert found.violation_Gy < 1e-4
    assert found.value == pytest.approx(exact.value, rel=2e-6)
    # they do bind, and cost what the multipliers say
    assert exact.value > solver(label).solve(Problem(influence, VOXELS, MIXED), np.ones(6)).value
    for mine, theirs in zip(found.multipliers, exact.multipliers):
        assert mine.sum() == pytest.approx(theirs.sum(), rel=5e-3, abs=1e-2)


def test_a_linear_problem(influence):
    problem = Problem(
        influence, VOXELS, [MeanDose("Core"), MeanDose("Lung", 2.0)], [MinTailMean("PTV", 25.0, 70.0)], scale=2.0
    )
    exact = solver("highs").solve(problem, np.ones(6))
    found = QuasiNewton().solve(problem, np.ones(6))
    assert exact.optimality < 1e-8
    assert found.value == pytest.approx(exact.value, rel=1e-5)


def test_constraints_that_contradict_each_other_are_told(influence):
    problem = Problem(influence, VOXELS, MIXED, [MaxDose("Core", 10.0), MinDose("PTV", 40.0)])
    found = QuasiNewton().solve(problem, np.ones(6))
    assert not found.converged
    assert "MinDose of PTV" in found.message
    assert "relax" in found.message
    assert found.violation_Gy > 1.0
    with pytest.raises(OptimizationError, match="relax"):
        solver("highs").solve(problem, np.ones(6))


def test_constraints_that_do_not_bind_change_nothing(influence):
    free = QuasiNewton().solve(Problem(influence, VOXELS, MIXED), np.ones(6))
    bound = QuasiNewton().solve(Problem(influence, VOXELS, MIXED, [MaxDose("Lung", 500.0)]), np.ones(6))
    np.testing.assert_array_equal(bound.weights, free.weights)
    assert not bound.multipliers[0].any()


@pytest.mark.parametrize(
    "objectives",
    [
        (SquaredDeviation("PTV", 50.0, 10.0), EquivalentUniformDose("Core", a=8.0, weight=2.0), MeanDose("Body")),
        (SquaredDeviation("PTV", 50.0, 10.0), EUDOverdose("Core", 10.0, 5.0, a=8.0), EUDOverdose("Body", 10.0, a=4.0)),
    ],
    ids=["gEUD", "gEUD above"],
)
@pytest.mark.parametrize("smooth", [False, True])
def test_objectives_that_couple_voxels(plan, objectives, smooth):
    matrix, voxels = plan
    pairs = np.array([(30 * beam + n, 30 * beam + n + 1) for beam in range(5) for n in range(29)])
    problem = Problem(matrix, voxels, objectives, fluence_terms=[FluenceSmoothness(pairs)] if smooth else ())
    found = QuasiNewton().solve(problem, np.ones(150))
    referee = BoundedLBFGS(max_iterations=3000, tolerance=1e-9).solve(problem, np.ones(150))
    assert found.converged
    assert found.value <= referee.value * (1 + 1e-6)
    assert found.iterations < 100


@pytest.mark.parametrize("label", LABELS)
def test_callback_hears_every_iteration_and_may_stop(influence, label):
    problem = Problem(influence, VOXELS, MIXED)
    heard = []

    def watch(state):
        heard.append(state)
        if state.iteration == 2:
            state.stop()

    found = solver(label).solve(problem, np.ones(6), callback=watch)
    assert [state.iteration for state in heard] == [0, 1, 2]
    assert not found.converged
    assert "request" in found.message
    last = heard[-1]
    assert sum(last.values) == pytest.approx(last.value, rel=1e-9)
    np.testing.assert_allclose(last.dose_Gy(), influence @ last.weights)
    np.testing.assert_allclose(last.structure_dose_Gy("Lung"), (influence @ last.weights)[VOXELS["Lung"]])
    # and goes on from there
    onward = solver(label).solve(problem, found)
    assert onward.converged
    assert onward.history[0] == pytest.approx(found.value, rel=1e-6)


def test_a_solution_is_taken_up_with_its_multipliers(influence):
    problem = Problem(influence, VOXELS, MIXED, [MaxDose("Core", 45.0), MaxTailMean("Lung", 30.0, 20.0)])
    first = QuasiNewton().solve(problem, np.ones(6))
    again = QuasiNewton().solve(problem, first)
    assert isinstance(first, Solution)
    assert again.converged
    assert again.iterations <= max(first.iterations // 2, 3)
    assert again.value == pytest.approx(first.value, rel=1e-5)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("constraints", [[], [MaxDose("Core", 45.0)]], ids=["free", "constrained"])
def test_progress_rises_and_cancels(influence, label, constraints):
    problem = Problem(influence, VOXELS, MIXED, constraints)
    told = []
    solver(label).solve(problem, np.ones(6), lambda fraction, text: told.append(fraction))
    assert told == sorted(told)
    assert told[-1] == 1.0

    def cancel(fraction, text):
        raise Cancelled("stopped by the user")

    with pytest.raises(Cancelled):
        solver(label).solve(problem, np.ones(6), cancel)


def test_too_few_iterations_are_not_called_an_optimum(plan):
    matrix, voxels = plan
    found = QuasiNewton(max_iterations=2).solve(Problem(matrix, voxels, SQUARES), np.zeros(150))
    assert not found.converged
    assert "allow more" in found.message
    assert found.iterations == 2


def test_highs_refuses_what_it_cannot_solve(influence):
    problem = Problem(influence, VOXELS, [EquivalentUniformDose("PTV", a=4.0)])
    with pytest.raises(OptimizationError, match="EquivalentUniformDose"):
        solver("highs").solve(problem, np.ones(6))


def test_registry_lists_all_and_says_what_is_missing(monkeypatch):
    assert [info.label for info in available_solvers()] == ["quasi-newton", "l-bfgs-b", "ipopt", "highs"]
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ipyopt" else found(name))
    info = next(info for info in available_solvers() if info.label == "ipopt")
    assert not info.available
    assert "pip install ipyopt" in info.reason
    with pytest.raises(OptimizationError, match="pip install ipyopt"):
        create_solver("ipopt")
    assert isinstance(create_solver(), QuasiNewton)
    with pytest.raises(OptimizationError, match=r"'simplex'.*quasi-newton"):
        create_solver("simplex")
    with pytest.raises(OptimizationError, match="temperature"):
        create_solver("quasi-newton", temperature=3.0)
    with pytest.raises(OptimizationError, match="positive"):
        QuasiNewton(tolerance=0.0)
    with pytest.raises(OptimizationError, match="largest_dense must not be negative"):
        QuasiNewton(largest_dense=-1)


def test_a_problem_that_hides_from_the_solver_is_an_error(influence):
    class Other(Problem):
        def value_and_gradient(self, weights):
            return 0.0, np.zeros(6)

    with pytest.raises(TypeError, match="evaluate"):
        QuasiNewton().solve(Other(influence, VOXELS, MIXED), np.ones(6))


def test_bounded_quadratics():
    random = np.random.default_rng(7)
    root = random.normal(size=(80, 50))
    matrix, linear = root.T @ root, random.normal(size=50)
    x, exact = principal_pivoting(matrix, linear, np.ones(50, bool), 50)
    slope = matrix @ x - linear
    assert exact
    assert 5 < np.count_nonzero(x) < 45
    assert (x >= 0).all()
    assert np.abs(slope[x > 0]).max() < 1e-8
    assert slope[x == 0].min() > -1e-8
    other, reached = projected_conjugate_gradients(
        lambda v: matrix @ v, linear, np.ones(50), float(np.linalg.eigvalsh(matrix)[-1]), 1e-9, 2000
    )
    assert reached
    np.testing.assert_allclose(other, x, atol=1e-7)
