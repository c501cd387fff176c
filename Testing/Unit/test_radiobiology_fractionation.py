"""Biologically effective doses: fractions, repair, proliferation, large fractions, maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.radiobiology.biological_dose import alpha_beta_map, bed_map_Gy, eqd2_map_Gy
from RTPlanningLib.radiobiology.chemoradiation import Chemoradiation
from RTPlanningLib.radiobiology.fractionation import Fractionation, weekday_overall_days
from RTPlanningLib.radiobiology.fractionation_comparison import (
    Schedule,
    compare_fractionations,
    load_schedules,
    schedules_of,
)
from RTPlanningLib.radiobiology.linear_quadratic import (
    biologically_effective_dose_Gy,
    dose_of_bed_Gy,
    eqd2_Gy,
    equivalent_dose_Gy,
)
from RTPlanningLib.radiobiology.linear_quadratic_linear import LargeFractions
from RTPlanningLib.radiobiology.proliferation import Proliferation
from RTPlanningLib.radiobiology.repair import Repair, lea_catcheside, protraction_factor, thames_hm
from RTPlanningLib.radiobiology.tissue import Tissue

DOSES = st.floats(0.0, 150.0)
ALPHA_BETAS = st.floats(0.5, 20.0)
FRACTIONS = st.integers(1, 45)
HALF_TIMES = st.floats(0.1, 12.0)


@given(DOSES, FRACTIONS, ALPHA_BETAS)
def test_eqd2_is_the_dose_where_fractions_are_of_2_Gy_and_bed_inverts(dose, fractions, alpha_beta):
    assert eqd2_Gy(2.0 * fractions, fractions, alpha_beta) == pytest.approx(2.0 * fractions)
    bed = biologically_effective_dose_Gy(dose, fractions, alpha_beta, 0.8)
    assert dose_of_bed_Gy(bed, fractions, alpha_beta, 0.8) == pytest.approx(dose, rel=1e-9, abs=1e-9)
    assert bed >= dose


@given(st.lists(DOSES, min_size=2, max_size=8), FRACTIONS, ALPHA_BETAS)
def test_bed_rises_with_dose_and_falls_with_fractions_and_alpha_beta(doses, fractions, alpha_beta):
    dose = np.sort(np.array(doses))
    bed = biologically_effective_dose_Gy(dose, fractions, alpha_beta)
    assert (np.diff(bed) >= 0.0).all()
    assert (biologically_effective_dose_Gy(dose, fractions + 1, alpha_beta) <= bed + 1e-12).all()
    assert (biologically_effective_dose_Gy(dose, fractions, 2.0 * alpha_beta) <= bed + 1e-12).all()


def test_doses_may_have_any_shape_and_their_own_alpha_beta():
    dose = np.arange(24.0).reshape(2, 3, 4)
    alpha_beta = np.full((2, 3, 4), 3.0)
    alpha_beta[0] = 10.0
    bed = biologically_effective_dose_Gy(dose, 10, alpha_beta)
    assert bed.shape == dose.shape
    assert bed[0, 2, 1] == pytest.approx(9.0 * (1.0 + 0.9 / 10.0))
    assert bed[1, 2, 1] == pytest.approx(21.0 * (1.0 + 2.1 / 3.0))


@pytest.mark.parametrize(
    ("dose", "fractions", "alpha_beta", "text"),
    [
        (-1.0, 10, 3.0, "negative"),
        (np.nan, 10, 3.0, "NaN"),
        (60.0, 0, 3.0, "whole number"),
        (60.0, 2.5, 3.0, "whole number"),
        (60.0, True, 3.0, "whole number"),
        (60.0, 10, 0.0, "above 0"),
        (60.0, 10, -3.0, "above 0"),
        (60.0, 10, math.inf, "finite"),
    ],
)
def test_what_is_not_physical_is_refused(dose, fractions, alpha_beta, text):
    with pytest.raises(EvaluationError, match=text):
        biologically_effective_dose_Gy(dose, fractions, alpha_beta)


@given(st.integers(1, 6), st.floats(0.5, 4.0), HALF_TIMES)
@settings(deadline=None)
def test_thames_factor_is_the_lea_catcheside_factor_of_acute_fractions(per_day, interval, half_time):
    starts = [interval * number for number in range(per_day)]
    factor = lea_catcheside([1.7] * per_day, starts, [0.0] * per_day, half_time)
    assert per_day * factor == pytest.approx(1.0 + thames_hm(per_day, interval, half_time), rel=1e-9)


def test_thames_factor_at_its_ends():
    assert thames_hm(1, 6.0, 2.0) == 0.0
    assert thames_hm(3, 1000.0, 1.0) == pytest.approx(0.0, abs=1e-12)
    assert thames_hm(3, 0.0, 1.0) == 2.0  # three at once are one of thrice the dose


@given(st.floats(0.0, 200.0), HALF_TIMES)
def test_protraction_factor_is_between_0_and_1_and_falls_with_time(duration, half_time):
    factor = protraction_factor(duration, half_time)
    assert 0.0 < factor <= 1.0
    assert protraction_factor(duration + 1.0, half_time) < factor


@given(st.floats(0.2, 5.0), st.integers(2, 5), HALF_TIMES)
@settings(deadline=None)
def test_pieces_of_a_continuous_irradiation_are_the_whole(duration, pieces, half_time):
    starts = np.arange(pieces) * duration
    factor = lea_catcheside([2.0] * pieces, starts, [duration] * pieces, half_time)
    assert factor == pytest.approx(protraction_factor(duration * pieces, half_time), rel=1e-9)


def test_protraction_factor_against_the_integral():
    half_time, duration, steps = 1.5, 4.0, 2000
    mu, time = math.log(2.0) / half_time, (np.arange(steps) + 0.5) * duration / steps
    apart = np.abs(time[:, None] - time[None, :])
    assert protraction_factor(duration, half_time) == pytest.approx(float(np.exp(-mu * apart).mean()), rel=1e-5)


def test_repair_with_two_half_times_is_their_weighted_sum():
    schedule = Fractionation(20, 2, 6.0, delivery_min=15.0)
    one, two = Repair((0.4,)).quadratic_factor(schedule), Repair((3.5,)).quadratic_factor(schedule)
    both = Repair((0.4, 3.5), (0.3, 0.7)).quadratic_factor(schedule)
    assert both == pytest.approx(0.3 * one + 0.7 * two)
    assert one < 1.0 < two


def test_last_day_with_fewer_fractions_is_counted_as_it_is():
    repair = Repair((3.0,))
    full, single = repair.quadratic_factor(Fractionation(4, 2, 6.0)), 1.0
    assert repair.quadratic_factor(Fractionation(5, 2, 6.0)) == pytest.approx((4 * full + single) / 5)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"fractions": 30, "fractions_per_day": 2}, "interval_h"),
        ({"fractions": 30, "fractions_per_day": 5, "interval_h": 7.0}, "do not fit in a day"),
        ({"fractions": 30, "fractions_per_day": 2, "interval_h": 0.5, "delivery_min": 40.0}, "does not end"),
        ({"fractions": 30, "overall_days": 20.0}, "at least 29 days"),
        ({"fractions": 3, "delivery_min": 2000.0}, "longer than a day"),
        ({"fractions": 30, "delivery_min": -1.0}, "0 or more"),
    ],
)
def test_schedules_that_cannot_be_are_refused(arguments, text):
    with pytest.raises(EvaluationError, match=text):
        Fractionation(**arguments)


def test_overall_time_of_courses_on_weekdays():
    assert weekday_overall_days(35) == 46.0
    assert weekday_overall_days(5) == 4.0
    assert weekday_overall_days(36, 3, 7) == 11.0
    with pytest.raises(EvaluationError, match="7 days"):
        weekday_overall_days(10, 1, 8)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: Repair((1.0, 2.0)), "one weight for each"),
        (lambda: Repair((1.0, 2.0), (0.5, 0.6)), "add up to 1"),
        (lambda: Repair((0.0,)), "above 0"),
        (lambda: lea_catcheside([1.0, 1.0], [0.0, 0.5], [1.0, 1.0], 1.0), "follow one another"),
        (lambda: lea_catcheside([1.0], [0.0, 0.5], [1.0], 1.0), "as many"),
        (lambda: lea_catcheside([0.0], [0.0], [1.0], 1.0), "nor all doses zero"),
    ],
)
def test_repair_that_cannot_be_is_refused(call, text):
    with pytest.raises(EvaluationError, match=text):
        call()


def test_proliferation_takes_nothing_before_the_kick_off_and_needs_the_time():
    growth = Proliferation.from_doubling_time(3.0, 0.35, 28.0)
    assert growth.lost_Gy_per_day == pytest.approx(math.log(2.0) / 1.05)
    assert growth.lost_bed_Gy(Fractionation(20, overall_days=25.0)) == 0.0
    assert growth.lost_bed_Gy(Fractionation(35, overall_days=46.0)) == pytest.approx(18.0 * 0.660, abs=0.01)
    with pytest.raises(EvaluationError, match="overall_days"):
        growth.lost_bed_Gy(Fractionation(35))


def test_bed_does_not_go_below_zero():
    tissue = Tissue("tumour", 10.0, proliferation=Proliferation(0.9, 0.0))
    bed = tissue.bed_Gy(np.array([0.0, 10.0, 70.0]), Fractionation(35, overall_days=46.0))
    assert bed.tolist() == pytest.approx([0.0, 0.0, 84.0 - 41.4])


@given(st.floats(0.0, 30.0), FRACTIONS, ALPHA_BETAS, st.floats(2.0, 12.0))
def test_lql_is_lq_up_to_the_transition_and_below_it_beyond(each, fractions, alpha_beta, transition):
    dose = each * fractions
    straight = LargeFractions(transition).bed_Gy(dose, fractions, alpha_beta)
    curved = biologically_effective_dose_Gy(dose, fractions, alpha_beta)
    if each <= transition:
        assert straight == pytest.approx(curved, rel=1e-12)
    else:
        assert straight < curved


def test_lql_joins_with_the_same_slope_and_is_straight_after_it():
    model, alpha_beta, step = LargeFractions(6.0), 3.0, 1e-5
    before = model.bed_Gy(6.0, 1, alpha_beta) - model.bed_Gy(6.0 - step, 1, alpha_beta)
    after = model.bed_Gy(6.0 + step, 1, alpha_beta) - model.bed_Gy(6.0, 1, alpha_beta)
    assert before == pytest.approx(after, rel=1e-5)
    assert after / step == pytest.approx(1.0 + 2.0 * 6.0 / 3.0)
    far = model.bed_Gy(np.array([10.0, 12.0, 14.0]), 1, alpha_beta)
    assert far[2] - far[1] == pytest.approx(far[1] - far[0])
    assert LargeFractions(6.0, 2.0).bed_Gy(8.0, 1, 3.0) == pytest.approx(6.0 * 3.0 + 2.0 * 2.0)


def test_lql_parameters_that_cannot_be_are_refused():
    with pytest.raises(EvaluationError, match="above 0"):
        LargeFractions(0.0)
    with pytest.raises(EvaluationError, match="final slope"):
        LargeFractions(6.0, 0.5)
    with pytest.raises(EvaluationError, match="not defined together"):
        Tissue("lung", 3.0, repair=Repair((1.5,)), large_fractions=LargeFractions(6.0))
    with pytest.raises(EvaluationError, match="2 Gy or more"):
        Tissue("lung", 3.0, large_fractions=LargeFractions(1.5))


def test_dvhs_of_bed_and_eqd2_keep_volume_and_order():
    dvh = Dvh("Rectum", 80.0, np.linspace(0.0, 60.0, 121))
    tissue = Tissue("Rectum", 3.0)
    schedule = Fractionation(20)
    converted = tissue.eqd2_dvh(dvh, schedule)
    assert converted.volume_cm3 == 80.0
    assert converted.max_Gy == pytest.approx(60.0 * (3.0 + 3.0) / 5.0)
    assert converted.dose_at_volume_percent(50.0) == pytest.approx(30.0 * (1.5 + 3.0) / 5.0, rel=1e-6)
    assert tissue.bed_dvh(dvh, schedule).max_Gy == pytest.approx(120.0)


def test_continuous_irradiation_needs_a_repair_half_time():
    tissue = Tissue("tongue", 10.0, repair=Repair((1.5,)), proliferation=Proliferation(0.6, 2.0))
    without = Tissue("tongue", 10.0, repair=Repair((1.5,)))
    assert without.continuous_bed_Gy(60.0, 144.0) - tissue.continuous_bed_Gy(60.0, 144.0) == pytest.approx(0.6 * 4.0)
    with pytest.raises(EvaluationError, match="repair half time"):
        Tissue("tongue", 10.0).continuous_bed_Gy(60.0, 144.0)


@pytest.fixture
def two_structures():
    grid = Grid.from_spacing((4, 4, 4), (2.0, 2.0, 2.0))
    first, second = np.zeros((2, 4, 4, 4), bool)
    first[:2] = True
    second[1:3] = True
    return grid, [Structure("Rectum", first, grid), Structure("PTV", second, grid, role="PTV")]


@pytest.mark.parametrize(("rule", "in_overlap"), [("first", 3.0), ("smallest", 1.5), ("largest", 3.0)])
def test_overlapping_structures_follow_the_stated_rule(two_structures, rule, in_overlap):
    grid, structures = two_structures
    values = alpha_beta_map(grid, structures, {"Rectum": 3.0, "PTV": 1.5}, elsewhere_Gy=10.0, overlap=rule)
    assert values[:, 0, 0].tolist() == pytest.approx([3.0, in_overlap, 1.5, 10.0])
    reverse = alpha_beta_map(grid, structures[::-1], {"Rectum": 3.0, "PTV": 1.5}, elsewhere_Gy=10.0, overlap=rule)
    assert reverse[1, 0, 0] == pytest.approx(1.5 if rule == "first" else in_overlap)


def test_maps_of_bed_and_eqd2(two_structures):
    grid, structures = two_structures
    alpha_beta = alpha_beta_map(grid, structures, {"Rectum": 3.0, "PTV": 1.5}, elsewhere_Gy=10.0)
    dose = np.full(grid.shape, 60.0, np.float32)
    schedule = Fractionation(20)
    assert bed_map_Gy(dose, alpha_beta, schedule)[:, 0, 0].tolist() == pytest.approx([120.0, 120.0, 180.0, 78.0])
    eqd2 = eqd2_map_Gy(dose, alpha_beta, schedule)
    assert eqd2.dtype == np.float32
    assert eqd2[:, 0, 0].tolist() == pytest.approx([72.0, 72.0, 540.0 / 7.0, 65.0])


def test_a_finer_structure_is_taken_at_the_voxel_centres(two_structures):
    grid, _ = two_structures
    fine = Grid.from_spacing((8, 8, 8), (1.0, 1.0, 1.0), (-0.5, -0.5, -0.5))
    mask = np.zeros((8, 8, 8), bool)
    mask[:4] = True
    values = alpha_beta_map(grid, [Structure("half", mask, fine)], {"half": 2.0}, elsewhere_Gy=10.0)
    assert values[:, 1, 1].tolist() == pytest.approx([2.0, 2.0, 10.0, 10.0])


def test_maps_refuse_what_they_cannot_tell(two_structures):
    grid, structures = two_structures
    with pytest.raises(EvaluationError, match="Overlap rule"):
        alpha_beta_map(grid, structures, {"Rectum": 3.0, "PTV": 1.5}, elsewhere_Gy=3.0, overlap="mean")
    with pytest.raises(EvaluationError, match="PTV has no alpha/beta"):
        alpha_beta_map(grid, structures, {"Rectum": 3.0}, elsewhere_Gy=3.0)
    with pytest.raises(EvaluationError, match="no structure named Bladder"):
        alpha_beta_map(grid, structures, {"Rectum": 3.0, "PTV": 1.5, "Bladder": 5.0}, elsewhere_Gy=3.0)
    with pytest.raises(EvaluationError, match="shape"):
        bed_map_Gy(np.zeros((4, 4, 4)), np.ones((4, 4, 3)), Fractionation(20))
    with pytest.raises(EvaluationError, match="acute fractions once a day"):
        bed_map_Gy(np.zeros((4, 4, 4)), 3.0, Fractionation(20, 2, 6.0))


def test_comparison_of_schedules():
    tissues = [Tissue("prostate cancer", 1.5), Tissue("rectum", 3.0)]
    rows = compare_fractionations(schedules_of("prostate"), tissues)
    assert len(rows) == 8
    assert [row.kind for row in rows[:4]] == ["standard", "moderate", "ultra", "ultra"]
    table = {(row.tissue, row.schedule): row for row in rows}
    moderate = table["prostate cancer", "moderate hypofractionation"]
    assert moderate.bed_Gy == pytest.approx(180.0)
    assert moderate.eqd2_Gy == pytest.approx(180.0 / (1.0 + 2.0 / 1.5))
    assert moderate.relative_to_first == pytest.approx(180.0 / (74.0 * (1.0 + 2.0 / 1.5)))
    assert table["rectum", "standard"].relative_to_first == 1.0
    assert rows[1].as_dict()["fraction_Gy"] == pytest.approx(3.0)


def test_schedules_that_ship_have_sources_and_know_their_time():
    assert {schedule.site for schedule in load_schedules()} == {"prostate", "breast", "lung"}
    for schedule in load_schedules():
        assert schedule.source
        assert schedule.fractionation.overall_days is not None
    kinds = {schedule.site: set() for schedule in load_schedules()}
    for schedule in load_schedules():
        kinds[schedule.site].add(schedule.kind)
    assert all({"standard", "ultra"} <= found for found in kinds.values())


def test_comparison_of_nothing_and_of_unknown_sites_is_refused():
    with pytest.raises(EvaluationError, match="at least one"):
        compare_fractionations([], [Tissue("rectum", 3.0)])
    with pytest.raises(EvaluationError, match="prostate, breast, lung"):
        schedules_of("toe")
    with pytest.raises(EvaluationError, match="overall_days"):
        compare_fractionations(
            [Schedule("plain", 70.0, Fractionation(35))],
            [Tissue("tumour", 10.0, proliferation=Proliferation(0.6, 21.0))],
        )


def test_a_sensitizer_multiplies_the_dose_of_every_fraction():
    tissue, schedule = Tissue("tumour", 10.0), Fractionation(30)
    drug = Chemoradiation(dose_modifying_factor=1.1, independent_bed_Gy=5.0)
    assert drug.bed_Gy(60.0, tissue, schedule) == pytest.approx(66.0 * (1.0 + 2.2 / 10.0) + 5.0)
    assert drug.eqd2_Gy(60.0, tissue, schedule) == pytest.approx((66.0 * 1.22 + 5.0) / 1.2)
    assert Chemoradiation().bed_Gy(60.0, tissue, schedule) == pytest.approx(72.0)
    with pytest.raises(EvaluationError, match="above 0"):
        Chemoradiation(dose_modifying_factor=0.0)
    with pytest.raises(EvaluationError, match="0 or more"):
        Chemoradiation(independent_bed_Gy=-1.0)


def test_equivalent_dose_in_another_fraction_size():
    assert equivalent_dose_Gy(120.0, 3.0, 3.0) == pytest.approx(60.0)
    with pytest.raises(EvaluationError, match="above 0"):
        equivalent_dose_Gy(120.0, 3.0, 0.0)
