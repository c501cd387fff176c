"""Objectives: values worked out by hand, gradients against finite differences."""

import numpy as np
import pytest

from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import MeanDose, SquaredDeviation, SquaredOverdose, SquaredUnderdose

ALL = [
    SquaredDeviation("PTV", 50.0, 3.0),
    SquaredOverdose("Core", 25.0, 2.0),
    SquaredUnderdose("PTV", 50.0, 1.5),
    MeanDose("Lung", 0.7),
]


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        (SquaredDeviation("PTV", 50.0, 3.0), 3.0 * (100 + 0 + 16) / 3),
        (SquaredOverdose("PTV", 50.0, 3.0), 3.0 * 16 / 3),
        (SquaredUnderdose("PTV", 50.0, 3.0), 3.0 * 100 / 3),
        (MeanDose("PTV", 3.0), 3.0 * 144 / 3),
    ],
)
def test_values(objective, value):
    assert objective.value(np.array([40.0, 50.0, 54.0])) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("objective", ALL, ids=lambda o: type(o).__name__)
def test_gradient_is_the_derivative(objective):
    dose = np.random.default_rng(3).uniform(10.0, 70.0, 40)
    gradient = objective.gradient(dose)
    assert np.abs(gradient).max() > 0
    step = 1e-4
    for n in range(dose.size):
        up, down = dose.copy(), dose.copy()
        up[n] += step
        down[n] -= step
        slope = (objective.value(up) - objective.value(down)) / (2 * step)
        assert gradient[n] == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("objective", ALL, ids=lambda o: type(o).__name__)
def test_value_does_not_depend_on_the_number_of_voxels(objective):
    dose = np.random.default_rng(4).uniform(10.0, 70.0, 30)
    assert objective.value(np.repeat(dose, 5)) == pytest.approx(objective.value(dose), rel=1e-12)


@pytest.mark.parametrize("number", [-1.0, float("nan"), float("inf"), "fifty", None])
def test_a_level_or_weight_that_is_no_number_is_refused(number):
    with pytest.raises(OptimizationError, match="dose_Gy"):
        SquaredOverdose("Core", number)
    with pytest.raises(OptimizationError, match="weight"):
        MeanDose("Core", number)


def test_an_objective_needs_a_structure():
    with pytest.raises(OptimizationError, match="name the structure"):
        SquaredDeviation("", 50.0)
