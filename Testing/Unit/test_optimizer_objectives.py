"""Objectives: values worked out by hand, gradients against finite differences."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from OptimizerLib.errors import OptimizationError
from OptimizerLib.objectives import (
    DoseFalloff,
    EquivalentUniformDose,
    EUDOverdose,
    EUDUnderdose,
    MaxDVH,
    MaximumDose,
    MeanDose,
    MinDVH,
    MinimumDose,
    SquaredDeviation,
    SquaredOverdose,
    SquaredUnderdose,
)

ALL = [
    SquaredDeviation("PTV", 50.0, 3.0),
    SquaredOverdose("Core", 25.0, 2.0),
    SquaredUnderdose("PTV", 50.0, 1.5),
    MeanDose("Lung", 0.7),
    MaximumDose("Cord", 2.0, 1.5),
    MinimumDose("PTV", 2.0, 1.5),
    EquivalentUniformDose("Parotid", 1.0, 2.0),
    EquivalentUniformDose("Rectum", 8.0, 2.0),
    EquivalentUniformDose("PTV", -10.0, 2.0),
    EquivalentUniformDose("PTV", 0.5, 2.0),
    EUDOverdose("Rectum", 20.0, 3.0, a=4.0),
    EUDOverdose("Lung", 20.0, 3.0),
    EUDUnderdose("PTV", 55.0, 3.0, a=-8.0),
    EUDUnderdose("PTV", 60.0, 3.0),
    MaxDVH("Lung", 20.0, 2.0, volume_percent=35.0),
    MinDVH("PTV", 55.0, 2.0, volume_percent=93.0),
]


def names(objective) -> str:
    return f"{type(objective).__name__}{getattr(objective, 'a', '')}"


@pytest.mark.parametrize(
    ("objective", "value"),
    [
        (SquaredDeviation("PTV", 50.0, 3.0), 3.0 * (100 + 0 + 16) / 3),
        (SquaredOverdose("PTV", 50.0, 3.0), 3.0 * 16 / 3),
        (SquaredUnderdose("PTV", 50.0, 3.0), 3.0 * 100 / 3),
        (MeanDose("PTV", 3.0), 3.0 * 144 / 3),
        (MaximumDose("PTV", 3.0, 2.0), 3.0 * 2.0 * math.log((math.exp(20) + math.exp(25) + math.exp(27)) / 3)),
        (MinimumDose("PTV", 3.0, 2.0), 3.0 * 2.0 * math.log((math.exp(-20) + math.exp(-25) + math.exp(-27)) / 3)),
        (EquivalentUniformDose("PTV", 2.0, 3.0), 3.0 * math.sqrt((1600 + 2500 + 2916) / 3)),
        (EquivalentUniformDose("PTV", 1.0, 3.0), 3.0 * 48.0),
        (EUDOverdose("PTV", 45.0, 3.0), 3.0 * 9.0),
        (EUDOverdose("PTV", 50.0, 3.0), 0.0),
        (EUDUnderdose("PTV", 50.0, 3.0), 3.0 * 4.0),
        # the hottest third (54 Gy) may exceed 45 Gy, 50 Gy may not
        (MaxDVH("PTV", 45.0, 3.0, volume_percent=100.0 / 3), 3.0 * 25.0 / 3),
        (MaxDVH("PTV", 45.0, 3.0, volume_percent=50.0), 3.0 * 0.5 * 25.0 / 3),
        (MaxDVH("PTV", 45.0, 3.0, volume_percent=0.0), 3.0 * (25.0 + 81.0) / 3),
        (MaxDVH("PTV", 45.0, 3.0, volume_percent=70.0), 0.0),
        # the coldest third (40 Gy) may miss 52 Gy, 50 Gy may not
        (MinDVH("PTV", 52.0, 3.0, volume_percent=200.0 / 3), 3.0 * 4.0 / 3),
        (MinDVH("PTV", 52.0, 3.0, volume_percent=100.0), 3.0 * (4.0 + 144.0) / 3),
        (MinDVH("PTV", 52.0, 3.0, volume_percent=30.0), 0.0),
        (DoseFalloff("Body", np.array([30.0, 60.0, np.inf]), 3.0), 3.0 * 100.0 / 3),
    ],
)
def test_values(objective, value):
    assert objective.value(np.array([40.0, 50.0, 54.0])) == pytest.approx(value, rel=1e-12, abs=1e-12)


def slopes(value, dose, step=1e-4) -> np.ndarray:
    found = np.empty(dose.size)
    for n in range(dose.size):
        up, down = dose.copy(), dose.copy()
        up[n] += step
        down[n] -= step
        found[n] = (value(up) - value(down)) / (2 * step)
    return found


@pytest.mark.parametrize("weighted", [False, True], ids=["even", "weighted"])
@pytest.mark.parametrize("objective", ALL, ids=names)
def test_gradient_is_the_derivative(objective, weighted):
    rng = np.random.default_rng(3)
    dose = rng.uniform(10.0, 70.0, 40)
    if weighted:
        objective = replace(objective, voxel_weights=rng.uniform(0.2, 5.0, 40))
    gradient = objective.gradient(dose)
    assert np.abs(gradient).max() > 0
    assert gradient == pytest.approx(slopes(objective.value, dose), abs=1e-6)
    value, same = objective.value_and_gradient(dose)
    assert value == objective.value(dose)
    assert (same == gradient).all()


@pytest.mark.parametrize("objective", ALL, ids=names)
def test_value_does_not_depend_on_the_number_of_voxels(objective):
    dose = np.random.default_rng(4).uniform(10.0, 70.0, 30)
    assert objective.value(np.repeat(dose, 5)) == pytest.approx(objective.value(dose), rel=1e-12)


@pytest.mark.parametrize("objective", ALL, ids=names)
def test_a_voxel_of_weight_three_counts_as_three_voxels(objective):
    rng = np.random.default_rng(5)
    dose, count = rng.uniform(10.0, 70.0, 25), rng.integers(1, 4, 25)
    weighted = replace(objective, voxel_weights=10.0 * count)
    assert weighted.value(dose) == pytest.approx(objective.value(np.repeat(dose, count)), rel=1e-12)
    repeated = objective.gradient(np.repeat(dose, count))
    summed = np.add.reduceat(repeated, np.cumsum(count) - count)
    assert weighted.gradient(dose) == pytest.approx(summed, rel=1e-9, abs=1e-15)


CONVEX = [o for o in ALL if not isinstance(o, (MaxDVH, MinDVH))]


@pytest.mark.parametrize("objective", CONVEX, ids=names)
def test_all_but_the_dose_volume_objectives_are_convex(objective):
    rng = np.random.default_rng(6)
    for _ in range(50):
        one, other = rng.uniform(0.0, 70.0, (2, 20))
        chord = 0.5 * (objective.value(one) + objective.value(other))
        assert objective.value(0.5 * (one + other)) <= chord + 1e-9 * abs(chord)


@pytest.mark.parametrize("objective", ALL, ids=names)
def test_a_start_without_dose_has_finite_values_and_slopes(objective):
    for dose in (np.zeros(10), np.concatenate((np.zeros(3), np.full(7, 60.0)))):
        assert math.isfinite(objective.value(dose))
        assert np.isfinite(objective.gradient(dose)).all()
    if isinstance(objective, (EUDUnderdose, MinDVH, SquaredUnderdose, MinimumDose)) and objective.structure == "PTV":
        assert objective.gradient(np.zeros(10)).max() < 0


def test_bias_of_the_smoothed_extremes_is_bounded():
    dose = np.full(10_000, 20.0)
    dose[0] = 60.0
    highest = MaximumDose("Cord", softness_Gy=0.5).value(dose)
    assert 60.0 - 0.5 * math.log(10_000) - 1e-9 <= highest <= 60.0
    dose[0] = 5.0
    lowest = -MinimumDose("PTV", softness_Gy=0.5).value(dose)
    assert 5.0 <= lowest <= 5.0 + 0.5 * math.log(10_000) + 1e-9
    assert MaximumDose("Cord").value(np.full(7, 33.0)) == pytest.approx(33.0)


def test_gEUD_follows_its_extremes_and_stays_right_at_high_doses():
    dose = np.linspace(20.0, 70.0, 500)
    assert EquivalentUniformDose("Cord", 400.0).value(dose) == pytest.approx(70.0, rel=0.02)
    assert -EquivalentUniformDose("PTV", -400.0).value(dose) == pytest.approx(20.0, rel=0.02)
    # the shift that keeps slopes finite changes nothing that matters
    exact = np.mean(dose**-10.0) ** (-0.1)
    assert -EquivalentUniformDose("PTV", -10.0).value(dose) == pytest.approx(exact, abs=0.01)


def test_dose_volume_objectives_are_continuous_where_voxels_change_places():
    dose = np.array([10.0, 30.0, 40.0, 50.0])
    for objective in (MaxDVH("L", 20.0, volume_percent=50.0), MinDVH("P", 45.0, volume_percent=50.0)):
        values = [objective.value(np.array([10.0, 30.0, 40.0, d])) for d in np.linspace(25.0, 55.0, 3001)]
        assert np.abs(np.diff(values)).max() < 0.5
    ties = np.full(4, 30.0)
    assert MaxDVH("L", 20.0, volume_percent=50.0).value(ties) == pytest.approx(50.0)
    assert MaxDVH("L", 20.0, volume_percent=50.0).gradient(ties).sum() == pytest.approx(10.0)
    assert MinDVH("P", 45.0, volume_percent=75.0).gradient(dose).sum() < 0


@pytest.mark.parametrize("number", [-1.0, float("nan"), float("inf"), "fifty", None])
def test_a_level_or_weight_that_is_no_number_is_refused(number):
    with pytest.raises(OptimizationError, match="dose_Gy"):
        SquaredOverdose("Core", number)
    with pytest.raises(OptimizationError, match="weight"):
        MeanDose("Core", number)


def test_what_is_not_convex_or_has_no_meaning_is_refused():
    with pytest.raises(OptimizationError, match="name the structure"):
        SquaredDeviation("", 50.0)
    with pytest.raises(OptimizationError, match="non-convex; give 1 or more"):
        EUDOverdose("Cord", 20.0, a=0.5)
    with pytest.raises(OptimizationError, match="non-convex; give 1 or less"):
        EUDUnderdose("PTV", 20.0, a=2.0)
    with pytest.raises(OptimizationError, match="finite and not zero"):
        EquivalentUniformDose("PTV", 0.0)
    with pytest.raises(OptimizationError, match="softness_Gy must be above zero"):
        MaximumDose("Cord", softness_Gy=0.0)
    with pytest.raises(OptimizationError, match="no more than 100 %"):
        MaxDVH("Lung", 20.0, volume_percent=120.0)
    with pytest.raises(OptimizationError, match="voxel weights are volumes"):
        MeanDose("Lung", voxel_weights=np.zeros(3))
    with pytest.raises(OptimizationError, match="do not fit"):
        MeanDose("Lung", voxel_weights=np.ones(3)).value(np.ones(4))


def ball_case():
    grid = Grid.from_spacing((30, 40, 40), (2.0, 2.0, 2.5), (-39.0, -39.0, -36.25))
    radius = np.linalg.norm(grid.centres_RAS_mm(), axis=-1)
    points = np.stack((np.linspace(0.0, 120.0, 241), np.zeros(241), np.zeros(241)), axis=1)
    return Structure("PTV", radius <= 15.0, grid, "PTV"), points


@pytest.mark.parametrize("shape", ["linear", "exponential"])
def test_falloff_levels_follow_the_distance_from_the_target(shape):
    target, points = ball_case()
    objective = DoseFalloff.of_target("Body", target, points, 60.0, 20.0, 30.0, shape, weight=2.0)
    distance = points[:, 0] - 15.0
    outside = distance > 2.0
    if shape == "linear":
        exact = np.where(distance < 30.0, 60.0 - 40.0 * distance / 30.0, 20.0)
    else:
        exact = 20.0 + 40.0 * np.exp(-3.0 * distance / 30.0)
    # half a voxel of 2.5 mm in distance, times the steepest slope
    assert objective.levels_Gy[outside] == pytest.approx(exact[outside], abs=1.25 * (4 / 3 if shape == "linear" else 4))
    assert objective.levels_Gy[-1] == pytest.approx(20.0, abs=0.03)
    assert np.isinf(objective.levels_Gy[distance < -2.0]).all()
    assert (np.diff(objective.levels_Gy[outside]) <= 1e-6).all()


def test_falloff_gradient_is_the_derivative():
    target, points = ball_case()
    dose = np.random.default_rng(8).uniform(0.0, 80.0, len(points))
    for weights in (None, np.random.default_rng(9).uniform(0.5, 4.0, len(points))):
        objective = DoseFalloff.of_target("Body", target, points, 60.0, 20.0, 30.0, weight=2.0, voxel_weights=weights)
        assert objective.gradient(dose) == pytest.approx(slopes(objective.value, dose), abs=1e-6)
        assert not objective.gradient(dose)[:20].any()


def test_falloff_refuses_what_does_not_fall():
    target, points = ball_case()
    with pytest.raises(OptimizationError, match="from a higher to a lower"):
        DoseFalloff.of_target("Body", target, points, 20.0, 60.0, 30.0)
    with pytest.raises(OptimizationError, match="reach must be positive"):
        DoseFalloff.of_target("Body", target, points, 60.0, 20.0, 0.0)
    with pytest.raises(OptimizationError, match="linear or exponential"):
        DoseFalloff.of_target("Body", target, points, 60.0, 20.0, 30.0, "steep")
    with pytest.raises(OptimizationError, match="levels do not fit"):
        DoseFalloff("Body", np.ones(4)).value(np.ones(5))
