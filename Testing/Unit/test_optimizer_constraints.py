"""Constraints: excess by hand, derivative by finite differences, and what they promise of the DVH."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from OptimizerLib.constraints import MaxDose, MaxEUD, MaxMean, MaxTailMean, MinDose, MinEUD, MinMean, MinTailMean
from OptimizerLib.errors import OptimizationError

ALL = [
    MaxDose("Cord", 45.0),
    MinDose("PTV", 57.0),
    MaxMean("Lung", 20.0),
    MinMean("PTV", 60.0),
    MaxTailMean("Lung", 20.0, 30.0),
    MinTailMean("PTV", 57.0, 93.0),
    MaxEUD("Rectum", 40.0, a=6.0),
    MaxEUD("Parotid", 26.0),
    MinEUD("PTV", 58.0, a=-10.0),
]


def names(constraint) -> str:
    return f"{type(constraint).__name__}{getattr(constraint, 'a', '')}"


@pytest.mark.parametrize(
    ("constraint", "excess"),
    [
        (MaxDose("A", 45.0), [-5.0, 5.0, 9.0, -35.0]),
        (MinDose("A", 45.0), [5.0, -5.0, -9.0, 35.0]),
        (MaxMean("A", 30.0), [8.5]),
        (MinMean("A", 40.0), [1.5]),
        (MaxTailMean("A", 50.0, 50.0), [2.0]),
        (MaxTailMean("A", 50.0, 37.5), [(54.0 + 0.5 * 50.0) / 1.5 - 50.0]),
        (MaxTailMean("A", 50.0, 1.0), [4.0]),
        (MinTailMean("A", 30.0, 50.0), [5.0]),
        (MinTailMean("A", 30.0, 99.0), [20.0]),
        (MaxTailMean("A", 30.0, 100.0), [8.5]),
        (MaxEUD("A", 30.0), [8.5]),
    ],
)
def test_excess(constraint, excess):
    assert constraint.excess_Gy(np.array([40.0, 50.0, 54.0, 10.0])) == pytest.approx(excess)


@pytest.mark.parametrize("weighted", [False, True], ids=["even", "weighted"])
@pytest.mark.parametrize("constraint", ALL, ids=names)
def test_pullback_is_the_derivative(constraint, weighted):
    rng = np.random.default_rng(1)
    dose = rng.uniform(10.0, 70.0, 30)
    if weighted:
        constraint = replace(constraint, voxel_weights=rng.uniform(0.2, 4.0, 30))
    multipliers = rng.uniform(0.5, 2.0, constraint.excess_Gy(dose).size)
    found = constraint.pullback(dose, multipliers)
    for n in range(dose.size):
        up, down = dose.copy(), dose.copy()
        up[n] += 1e-4
        down[n] -= 1e-4
        slope = multipliers @ (constraint.excess_Gy(up) - constraint.excess_Gy(down)) / 2e-4
        assert found[n] == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("constraint", ALL, ids=names)
def test_constraints_are_convex(constraint):
    rng = np.random.default_rng(2)
    for _ in range(50):
        one, other = rng.uniform(0.0, 70.0, (2, 25))
        middle = constraint.excess_Gy(0.5 * (one + other))
        assert (middle <= 0.5 * (constraint.excess_Gy(one) + constraint.excess_Gy(other)) + 1e-9).all()


def test_tail_means_are_on_the_safe_side_of_the_dvh():
    rng = np.random.default_rng(3)
    for _ in range(100):
        dose = rng.gamma(4.0, 8.0, 200)
        upper = MaxTailMean("A", 0.0, 20.0).excess_Gy(dose)[0]
        assert np.count_nonzero(dose > upper) <= 40
        lower = -MinTailMean("A", 0.0, 90.0).excess_Gy(dose)[0]
        assert np.count_nonzero(dose >= lower) >= 180


@pytest.mark.parametrize("constraint", ALL[2:], ids=names)
def test_a_voxel_of_weight_three_counts_as_three_voxels(constraint):
    rng = np.random.default_rng(4)
    dose, count = rng.uniform(10.0, 70.0, 25), rng.integers(1, 4, 25)
    weighted = replace(constraint, voxel_weights=count / 7.0)
    assert weighted.excess_Gy(dose) == pytest.approx(constraint.excess_Gy(np.repeat(dose, count)))


def test_limits_without_meaning_are_refused():
    with pytest.raises(OptimizationError, match="name the structure"):
        MaxDose("", 45.0)
    with pytest.raises(OptimizationError, match="dose_Gy"):
        MaxMean("Lung", -1.0)
    with pytest.raises(OptimizationError, match="with MaxDose"):
        MaxTailMean("Lung", 20.0, 0.0)
    with pytest.raises(OptimizationError, match="with MinDose"):
        MinTailMean("PTV", 57.0, 100.0)
    with pytest.raises(OptimizationError, match="non-convex"):
        MaxEUD("PTV", 57.0, a=-3.0)
