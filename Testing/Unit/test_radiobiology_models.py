"""Models of tumour control and complications, oxygen, gEUD, and the drawing of uncertain parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DoseEngineLib.dose_metrics import generalized_eud_Gy
from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError
from RTPlanningLib.radiobiology.dose_volume import DoseVolume
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.ntcp import LogisticNtcp, LymanKutcherBurman, RelativeSeriality
from RTPlanningLib.radiobiology.oxygen import BindingConversion, LinearConversion, OxygenEffect
from RTPlanningLib.radiobiology.tcp import LogisticTcp, PoissonD50Tcp, PoissonTcp
from RTPlanningLib.radiobiology.uncertainty import Estimate, draw_models, probability_band

SAMPLES = st.lists(st.floats(0.5, 90.0), min_size=2, max_size=30)
CONVENTIONAL = Fractionation(30)


def dose_volume(samples, volume_cm3=50.0):
    return DoseVolume("organ", np.array(samples), np.ones(len(samples)), volume_cm3)


# --- dose and volume


@given(SAMPLES, st.sampled_from([-10.0, -1.0, 0.5, 1.0, 4.0, 12.0]))
def test_geud_of_samples_is_that_of_the_metric_grammar(samples, a):
    dvh = Dvh("organ", 50.0, np.array(samples))
    expected = generalized_eud_Gy(dvh.dose_samples_Gy, a)
    assert DoseVolume.from_dvh(dvh).generalized_eud_Gy(a) == pytest.approx(expected, rel=1e-6)


@given(SAMPLES)
def test_geud_rises_from_the_minimum_by_the_mean_to_the_maximum(samples):
    organ = dose_volume(samples)
    values = [organ.generalized_eud_Gy(a) for a in (-math.inf, -50.0, -2.0, 1.0, 3.0, 50.0, math.inf)]
    assert (np.diff(values) >= -1e-9 * max(samples)).all()
    assert values[0] == pytest.approx(min(samples))
    assert values[3] == pytest.approx(float(np.mean(samples)))
    assert values[-1] == pytest.approx(max(samples))
    assert organ.generalized_eud_Gy(2000.0) == pytest.approx(max(samples), rel=2e-3)


def test_geud_of_large_exponents_neither_overflows_nor_vanishes():
    organ = DoseVolume("organ", np.array([1e-3, 80.0]), np.array([0.999, 0.001]))
    assert organ.generalized_eud_Gy(400.0) == pytest.approx(80.0 * 0.001 ** (1.0 / 400.0))
    assert organ.generalized_eud_Gy(-400.0) == pytest.approx(1e-3 * 0.999 ** (-1.0 / 400.0))
    assert DoseVolume.uniform(0.0).generalized_eud_Gy(-8.0) == 0.0
    with pytest.raises(EvaluationError, match="other than 0"):
        organ.generalized_eud_Gy(0.0)


def test_weights_count_as_repeated_samples():
    weighted = DoseVolume("organ", np.array([30.0, 10.0]), np.array([1.0, 3.0]))
    assert weighted.dose_Gy.tolist() == [10.0, 30.0]
    assert weighted.fraction.tolist() == [0.75, 0.25]
    assert weighted.generalized_eud_Gy(3.0) == pytest.approx(dose_volume([10, 10, 10, 30]).generalized_eud_Gy(3.0))


def test_a_cumulative_curve_gives_its_volume_to_the_middle_of_its_steps():
    organ = DoseVolume.from_cumulative("organ", [0.0, 20.0, 40.0], [100.0, 40.0, 10.0])
    assert organ.dose_Gy.tolist() == [10.0, 30.0, 40.0]
    assert organ.fraction.tolist() == pytest.approx([0.6, 0.3, 0.1])
    dvh = Dvh("organ", 10.0, np.linspace(0.0, 60.0, 5001))
    again = DoseVolume.from_cumulative("organ", *dvh.curve(0.1))
    assert again.generalized_eud_Gy(5.0) == pytest.approx(DoseVolume.from_dvh(dvh).generalized_eud_Gy(5.0), rel=1e-3)


@given(SAMPLES, st.integers(1, 8))
def test_joined_groups_keep_volume_and_mean(samples, points):
    organ = dose_volume(samples)
    joined = organ.grouped(points)
    assert joined.dose_Gy.size <= max(points, 1) or joined is organ
    assert joined.fraction.sum() == pytest.approx(1.0)
    assert joined.mean_Gy == pytest.approx(organ.mean_Gy)
    assert joined.volume_cm3 == organ.volume_cm3


def test_groups_are_as_good_as_all_samples():
    """To 1e-3 in probability also for a volume parameter near 0, enough for a band."""
    samples = np.minimum(np.random.default_rng(3).gamma(6.0, 8.0, 100_000), 74.0)
    whole = DoseVolume.from_dvh(Dvh("organ", 300.0, samples))
    joined = whole.grouped(10_000)
    for model in (LymanKutcherBurman(66.5, 0.175, 0.05), LymanKutcherBurman(24.5, 0.18, 0.87)):
        assert model.ntcp(joined) == pytest.approx(model.ntcp(whole), abs=1e-3)
    tumour = PoissonTcp(0.3, 10.0, clonogens_per_cm3=1e7, alpha_sd_per_Gy=0.04)
    target = DoseVolume("GTV", np.random.default_rng(4).normal(70.0, 2.0, 100_000), np.ones(100_000), 80.0)
    assert tumour.tcp(target.grouped(2000), CONVENTIONAL) == pytest.approx(tumour.tcp(target, CONVENTIONAL), abs=1e-4)


def test_dose_volumes_that_cannot_be_are_refused():
    with pytest.raises(EvaluationError, match=r"62\.0 % of organ lie inside the dose grid"):
        DoseVolume.from_dvh(Dvh("organ", 10.0, np.ones(3), 0.62))
    with pytest.raises(EvaluationError, match="negative"):
        dose_volume([-1.0, 2.0])
    with pytest.raises(EvaluationError, match="not all 0"):
        DoseVolume("organ", np.ones(2), np.zeros(2))
    with pytest.raises(EvaluationError, match="as many"):
        DoseVolume("organ", np.ones(2), np.ones(3))
    with pytest.raises(EvaluationError, match="a cumulative volume cannot"):
        DoseVolume.from_cumulative("organ", [0.0, 1.0], [50.0, 60.0])


# --- complications

MODELS = [
    LymanKutcherBurman(50.0, 0.2, 0.3),
    LymanKutcherBurman(50.0, 0.2, 0.0),
    RelativeSeriality(50.0, 2.0, 0.3),
    RelativeSeriality(50.0, 2.0, 1e-3),
    LogisticNtcp(50.0, 2.0, a=3.0),
    LogisticNtcp(50.0, 2.0, a=math.inf, form="dose"),
]


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_half_of_the_patients_at_D50_and_uniform_dose_is_the_curve(model):
    assert float(model.uniform(50.0)) == pytest.approx(0.5)
    for dose in (0.0, 20.0, 50.0, 80.0, 300.0):
        assert model.ntcp(DoseVolume.uniform(dose)) == pytest.approx(float(model.uniform(dose)), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("model", MODELS, ids=str)
@given(samples=SAMPLES, factor=st.floats(1.0, 1.5))
@settings(max_examples=30, deadline=None)
def test_complications_rise_with_dose_and_stay_probabilities(model, samples, factor):
    organ = dose_volume(samples)
    lower, higher = model.ntcp(organ), model.ntcp(organ.scaled(factor))
    assert 0.0 <= lower <= higher + 1e-12 <= 1.0 + 1e-12


@given(SAMPLES)
def test_lkb_of_n_1_is_that_of_the_mean_and_of_n_0_that_of_the_maximum(samples):
    organ = dose_volume(samples)
    mean, maximum = LymanKutcherBurman(40.0, 0.2, 1.0), LymanKutcherBurman(40.0, 0.2, 0.0)
    assert mean.ntcp(organ) == pytest.approx(float(mean.uniform(organ.mean_Gy)))
    assert maximum.ntcp(organ) == pytest.approx(float(maximum.uniform(max(samples))))
    small = LymanKutcherBurman(40.0, 0.2, 1e-4)
    assert small.ntcp(organ) == pytest.approx(maximum.ntcp(organ), abs=2e-3)


def test_lkb_of_a_partial_volume_is_kutchers_effective_volume():
    model = LymanKutcherBurman(24.5, 0.18, 0.87)
    part = DoseVolume("lung", np.array([0.0, 40.0]), np.array([2.0, 1.0]))
    tolerance = 24.5 / (1.0 / 3.0) ** 0.87
    expected = 0.5 * math.erfc(-(40.0 - tolerance) / (0.18 * tolerance) / math.sqrt(2.0))
    assert model.ntcp(part) == pytest.approx(expected)
    assert model.tolerance_dose_Gy(0.5, 1.0 / 3.0) == pytest.approx(tolerance)
    assert model.ntcp(part.with_dose(np.array([0.0, model.tolerance_dose_Gy(0.05, 1 / 3)]))) == pytest.approx(0.05)


@given(SAMPLES)
def test_a_serial_organ_is_spared_where_all_its_parts_are(samples):
    model = RelativeSeriality(50.0, 2.0, 1.0)
    local = model.uniform(np.array(samples))
    expected = 1.0 - np.prod((1.0 - local) ** (1.0 / len(samples)))
    assert model.ntcp(dose_volume(samples)) == pytest.approx(float(expected), rel=1e-6, abs=1e-12)


def test_seriality_tells_a_hot_spot_from_a_bath():
    hot = DoseVolume("organ", np.array([0.0, 70.0]), np.array([0.9, 0.1]))
    bath = DoseVolume.uniform(hot.mean_Gy * 4.0)
    serial, parallel = RelativeSeriality(50.0, 2.0, 1.0), RelativeSeriality(50.0, 2.0, 0.01)
    assert serial.ntcp(hot) > 50.0 * parallel.ntcp(hot)
    assert serial.ntcp(bath) == pytest.approx(parallel.ntcp(bath), rel=1e-6)


def test_slope_of_the_logistic_curves_is_gamma50():
    for form in ("dose", "log-dose"):
        curve = LogisticNtcp(50.0, 2.3, form=form)
        step = 1e-4
        slope = (float(curve.uniform(50.0 + step)) - float(curve.uniform(50.0 - step))) / (2 * step)
        assert 50.0 * slope == pytest.approx(2.3, rel=1e-6)
    assert float(LogisticNtcp(50.0, 2.3).uniform(0.0)) == 0.0


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: LymanKutcherBurman(0.0, 0.1, 0.5), "TD50_Gy must be"),
        (lambda: LymanKutcherBurman(50.0, -0.1, 0.5), "m must be"),
        (lambda: LymanKutcherBurman(50.0, 0.1, -0.5), "n must be"),
        (lambda: LymanKutcherBurman(50.0, math.nan, 0.5), "finite"),
        (lambda: RelativeSeriality(50.0, 2.0, 0.0), "seriality must be"),
        (lambda: LogisticNtcp(50.0, 2.0, a=-4.0), "above 0 for a normal tissue"),
        (lambda: LogisticNtcp(50.0, 2.0, form="probit"), "unknown"),
        (lambda: LymanKutcherBurman(50.0, 0.1, 0.5).uniform(np.array([-1.0])), "negative"),
        (lambda: LymanKutcherBurman(50.0, 0.1, 0.5).tolerance_dose_Gy(1.0), "inside 0..1"),
        (lambda: LogisticTcp(50.0, 2.0, 10.0, a=4.0), "below 0 for a tumour"),
        (lambda: PoissonTcp(0.3, 10.0), "either"),
        (lambda: PoissonTcp(0.3, 10.0, clonogens_per_cm3=1e7, clonogens=1e9), "either"),
        (lambda: PoissonTcp(-0.3, 10.0, clonogens=1e9), "alpha_per_Gy must be"),
        (lambda: PoissonTcp(0.3, 10.0, clonogens=1e9, alpha_sd_per_Gy=-1.0), "0 or more"),
    ],
)
def test_parameters_that_are_not_physical_are_refused(call, text):
    with pytest.raises(EvaluationError, match=text):
        call()


# --- control


def test_poisson_control_is_that_no_clonogen_survives():
    tumour = PoissonTcp(0.3, 10.0, clonogens_per_cm3=1e7)
    target = DoseVolume("GTV", np.array([60.0, 70.0]), np.array([0.2, 0.8]), 50.0)
    survivors = 5e8 * (0.2 * math.exp(-0.3 * 60.0 * 1.2) + 0.8 * math.exp(-0.3 * 70.0 * (1.0 + 70.0 / 300.0)))
    assert tumour.tcp(target, CONVENTIONAL) == pytest.approx(math.exp(-survivors))
    same = PoissonTcp(0.3, 10.0, clonogens=5e8)
    assert same.tcp(target, CONVENTIONAL) == pytest.approx(tumour.tcp(target, CONVENTIONAL))


def test_average_over_patients_is_converged():
    tumour = PoissonTcp(0.30, 10.0, clonogens=1e9, alpha_sd_per_Gy=0.06)
    target = dose_volume([66.0, 68.0, 70.0])
    alpha = np.linspace(0.0, 0.30 + 9 * 0.06, 200_001)
    weight = np.exp(-0.5 * ((alpha - 0.30) / 0.06) ** 2)
    bed = target.dose_Gy * (1.0 + target.dose_Gy / 300.0)
    control = np.exp(-1e9 * np.exp(-np.outer(alpha, bed)).mean(axis=1))
    expected = float(np.sum(weight * control) / weight.sum())
    assert tumour.tcp(target, CONVENTIONAL) == pytest.approx(expected, abs=2e-6)


def test_different_patients_make_the_curve_shallower():
    doses = np.array([40.0, 55.0, 70.0, 85.0])
    one = PoissonTcp(0.3, 10.0, clonogens=1e9).uniform(doses, CONVENTIONAL)
    many = PoissonTcp(0.3, 10.0, clonogens=1e9, alpha_sd_per_Gy=0.08).uniform(doses, CONVENTIONAL)
    assert many[0] > one[0]
    assert many[-1] < one[-1]
    assert (np.diff(one) >= 0.0).all()
    assert (np.diff(many) > 0.0).all()


def test_growth_costs_control_and_needs_the_time():
    grows = PoissonTcp(0.3, 10.0, clonogens=1e9, doubling_days=4.0, kick_off_days=21.0)
    target = DoseVolume.uniform(70.0)
    short = grows.tcp(target, Fractionation(35, overall_days=46.0))
    split = grows.tcp(target, Fractionation(35, overall_days=60.0))
    assert split < short
    # the BED that growth takes back is what makes up for it
    lost = math.log(2.0) / (0.3 * 4.0) * 25.0
    bed = 70.0 * 1.2 - lost
    assert short == pytest.approx(math.exp(-1e9 * math.exp(-0.3 * bed)))
    with pytest.raises(EvaluationError, match="overall_days"):
        grows.tcp(target, Fractionation(35))


@given(SAMPLES, st.floats(20.0, 80.0), st.floats(0.5, 4.0), st.floats(1.0, 15.0))
def test_both_forms_of_the_task_groups_poisson_model_agree(samples, D50_Gy, gamma, alpha_beta):
    model = PoissonD50Tcp(D50_Gy, gamma, alpha_beta)
    alpha, beta = model.cell_kill()
    dose = np.array(samples)
    log_control = -np.exp(math.e * gamma - alpha * dose - beta * dose**2 / 30.0)
    expected = math.exp(float(log_control.mean()))
    assert model.tcp(dose_volume(samples), CONVENTIONAL) == pytest.approx(expected, rel=1e-6, abs=1e-300)


@pytest.mark.parametrize(
    "model",
    [
        LogisticTcp(60.0, 2.0, 10.0),
        LogisticTcp(60.0, 2.0, 10.0, a=-8.0),
        LogisticTcp(60.0, 2.0, 10.0, form="dose"),
        PoissonD50Tcp(60.0, 2.0, 10.0),
    ],
    ids=str,
)
def test_half_of_the_tumours_are_controlled_at_D50_and_a_cold_spot_costs(model):
    assert model.tcp(DoseVolume.uniform(60.0), CONVENTIONAL) == pytest.approx(0.5)
    # the same EQD2 in other fractions
    other = 60.0 * 12.0 / 13.0
    assert model.tcp(DoseVolume.uniform(54.0), Fractionation(int(54.0 / 2.0))) < 0.5
    assert model.tcp(DoseVolume.uniform(other), Fractionation(1)) > 0.5
    cold = DoseVolume("PTV", np.array([30.0, 60.0]), np.array([0.05, 0.95]))
    assert model.tcp(cold, CONVENTIONAL) < 0.5
    assert model.tcp(DoseVolume.uniform(0.0), CONVENTIONAL) < 0.01


# --- oxygen


@given(st.floats(0.0, 200.0))
def test_oxygen_enhances_between_1_and_its_maximum(pressure):
    effect = OxygenEffect()
    enhancement = float(effect.enhancement(pressure))
    assert 1.0 <= enhancement < 3.0
    assert effect.enhancement(pressure + 1.0) > enhancement
    assert float(effect.relative_sensitivity(pressure)) == pytest.approx(enhancement / 3.0)


def test_hypoxic_voxels_count_less():
    dose = np.full((2, 2, 2), 60.0)
    pressure = np.full((2, 2, 2), 1e9)
    pressure[0, 0, 0], pressure[1, 1, 1] = 0.0, 3.0
    effective = OxygenEffect().effective_dose_Gy(dose, pressure)
    assert effective[0, 0, 0] == pytest.approx(20.0)
    assert effective[1, 1, 1] == pytest.approx(40.0)
    assert effective[0, 1, 0] == pytest.approx(60.0)
    reference = OxygenEffect(reference_mmHg=20.0)
    assert float(reference.effective_dose_Gy(60.0, 20.0)) == pytest.approx(60.0)
    with pytest.raises(EvaluationError, match="shape"):
        OxygenEffect().effective_dose_Gy(dose, np.ones((2, 2)))
    with pytest.raises(EvaluationError, match="oxygen sensitizes"):
        OxygenEffect(maximum=0.5)
    with pytest.raises(EvaluationError, match="0 mmHg or more"):
        OxygenEffect().enhancement(np.array([-1.0]))


def test_uptake_becomes_pressure():
    binding = BindingConversion(anoxic_uptake=4.0, oxic_uptake=1.0)
    pressure = binding.pressure_mmHg(np.array([0.5, 1.0, 2.5, 4.0, 6.0]))
    assert pressure.tolist() == pytest.approx([60.0, 60.0, 1.4, 0.0, 0.0])
    assert (np.diff(binding.pressure_mmHg(np.linspace(1.1, 4.0, 20))) < 0.0).all()
    line = LinearConversion(1.0, 40.0, 3.0, 0.0)
    assert line.pressure_mmHg(np.array([0.0, 1.0, 2.0, 9.0])).tolist() == pytest.approx([40.0, 40.0, 20.0, 0.0])
    with pytest.raises(EvaluationError, match="below the anoxic uptake"):
        BindingConversion(anoxic_uptake=2.0, oxic_uptake=2.0)
    with pytest.raises(EvaluationError, match="must be below high_uptake"):
        LinearConversion(3.0, 40.0, 3.0, 0.0)
    with pytest.raises(EvaluationError, match="repair the PET image"):
        line.pressure_mmHg(np.array([np.nan]))


def test_control_of_a_hypoxic_tumour_is_worse():
    tumour = PoissonTcp(0.3, 10.0, clonogens=1e9)
    dose = np.full(100, 70.0)
    pressure = np.full(100, 40.0)
    pressure[:5] = 1.0
    effective = OxygenEffect(reference_mmHg=40.0).effective_dose_Gy(dose, pressure)
    schedule = Fractionation(35)
    assert tumour.tcp(dose_volume(effective), schedule) < 0.1 * tumour.tcp(dose_volume(dose), schedule)


# --- uncertainty


def test_draws_have_the_published_limits():
    estimate = Estimate(76.9, 73.7, 80.5)
    values = estimate.draw(np.random.default_rng(1).standard_normal(200_000))
    assert np.percentile(values, [2.5, 50.0, 97.5]).tolist() == pytest.approx([73.7, 76.9, 80.5], abs=0.05)
    narrow = Estimate(4.8, 0.6, 9.0, 68.0).draw(np.random.default_rng(1).standard_normal(200_000))
    assert np.percentile(narrow, [16.0, 84.0]).tolist() == pytest.approx([0.6, 9.0], abs=0.1)
    assert Estimate(3.0).draw(np.array([-1.0, 2.0])).tolist() == [3.0, 3.0]


RECTUM = {"TD50_Gy": Estimate(76.9, 73.7, 80.1), "m": Estimate(0.13, 0.10, 0.17), "n": Estimate(0.09, 0.04, 0.14)}


def test_the_same_seed_gives_the_same_band():
    organ = dose_volume(np.linspace(20.0, 78.0, 50))
    first, again = (
        probability_band(lambda model: model.ntcp(organ), LymanKutcherBurman, RECTUM, samples=200, seed=7)
        for _ in range(2)
    )
    other = probability_band(lambda model: model.ntcp(organ), LymanKutcherBurman, RECTUM, samples=200, seed=8)
    assert np.array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)
    assert first.varied == ("TD50_Gy", "m", "n")
    assert (np.diff(first.values) > 0.0).all()
    assert first.at(2.5) < float(first.best) < first.at(97.5)
    with pytest.raises(EvaluationError, match="not 10"):
        first.at(10.0)


def test_bands_of_TD50_alone_are_those_of_its_limits():
    organ = dose_volume(np.linspace(20.0, 78.0, 50))
    estimates = RECTUM | {"m": Estimate(0.13), "n": Estimate(0.09)}
    band = probability_band(lambda model: model.ntcp(organ), LymanKutcherBurman, estimates, samples=4000)
    for percentile, TD50_Gy in ((2.5, 80.1), (97.5, 73.7)):
        assert band.at(percentile) == pytest.approx(LymanKutcherBurman(TD50_Gy, 0.13, 0.09).ntcp(organ), rel=0.04)


def test_draws_that_are_not_physical_are_drawn_again():
    models = draw_models(LymanKutcherBurman, RECTUM | {"n": Estimate(0.02, 0.0, 0.2)}, samples=300)
    assert len(models) == 300
    assert min(model.n for model in models) >= 0.0
    with pytest.raises(EvaluationError, match="Hardly any draw"):
        draw_models(LymanKutcherBurman, RECTUM | {"m": Estimate(-1.0, -1.1, -0.9)}, samples=10)


def test_no_band_is_made_up():
    with pytest.raises(EvaluationError, match="confidence limits"):
        probability_band(lambda model: 0.5, LymanKutcherBurman, {"TD50_Gy": Estimate(50.0)})
    with pytest.raises(EvaluationError, match="both or neither"):
        Estimate(1.0, 0.5)
    with pytest.raises(EvaluationError, match="do not enclose"):
        Estimate(1.0, 1.5, 2.0)
    with pytest.raises(EvaluationError, match="95 or 68"):
        Estimate(1.0, 0.5, 2.0, 90.0)
