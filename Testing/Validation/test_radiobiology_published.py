"""Radiobiology against published worked values: every test names where its numbers come from and the tolerance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from RTPlanningLib.radiobiology.dose_volume import DoseVolume
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.linear_quadratic import biologically_effective_dose_Gy, eqd2_Gy
from RTPlanningLib.radiobiology.linear_quadratic_linear import LargeFractions
from RTPlanningLib.radiobiology.ntcp import LymanKutcherBurman
from RTPlanningLib.radiobiology.oxygen import OxygenEffect
from RTPlanningLib.radiobiology.parameters import load_parameters
from RTPlanningLib.radiobiology.proliferation import Proliferation
from RTPlanningLib.radiobiology.repair import Repair, protraction_factor, thames_hm
from RTPlanningLib.radiobiology.tcp import PoissonTcp
from RTPlanningLib.radiobiology.tissue import Tissue

TABLE = load_parameters()


def ntcp_percent(identifier, organ):
    return 100.0 * TABLE.ntcp_set(identifier).build().ntcp(organ)


# --- linear-quadratic


@pytest.mark.parametrize(
    ("dose", "fractions", "bed10", "eqd2_10", "bed2", "eqd2_2"),
    [
        (30.0, 5, 48.0, 40.0, 120.0, 60.0),
        (25.0, 5, 37.5, 31.25, 87.5, 43.75),
        (27.0, 3, 51.3, 42.75, 148.5, 74.25),
        (24.0, 3, 43.2, 36.0, 120.0, 60.0),
        (20.0, 1, 60.0, 50.0, 220.0, 110.0),
        (18.0, 1, 50.4, 42.0, 180.0, 90.0),
        (16.0, 1, 41.6, 34.67, 144.0, 72.0),
        (14.0, 1, 33.6, 28.0, 112.0, 56.0),
        (12.0, 1, 26.4, 22.0, 84.0, 42.0),
    ],
)
def test_radiosurgery_schedules(dose, fractions, bed10, eqd2_10, bed2, eqd2_2):
    """Radiat. Oncol. 16 (2021) 73 (PMC8051036), table 3: to the table's last digit, 0.006 Gy."""
    for alpha_beta, bed, equivalent in ((10.0, bed10, eqd2_10), (2.0, bed2, eqd2_2)):
        assert float(biologically_effective_dose_Gy(dose, fractions, alpha_beta)) == pytest.approx(bed, abs=0.006)
        assert float(eqd2_Gy(dose, fractions, alpha_beta)) == pytest.approx(equivalent, abs=0.006)


@pytest.mark.parametrize(
    ("dose", "fractions", "alpha_beta", "bed", "equivalent"),
    [
        (66.0, 33, 1.5, 154.0, 66.0),
        (66.0, 33, 10.0, 79.2, 66.0),
        (66.0, 33, 3.0, 110.0, 66.0),
        (65.0, 26, 1.5, 173.33, 74.29),
        (65.0, 26, 10.0, 81.25, 67.71),
        (65.0, 26, 3.0, 119.17, 71.5),
    ],
)
def test_prostate_schedules_of_a_trial(dose, fractions, alpha_beta, bed, equivalent):
    """Protocol of a trial of hypofractionation, Trials 22 (2021), s13063-021-05708-5, table 3: to its last digit."""
    assert float(biologically_effective_dose_Gy(dose, fractions, alpha_beta)) == pytest.approx(bed, abs=0.006)
    assert float(eqd2_Gy(dose, fractions, alpha_beta)) == pytest.approx(equivalent, abs=0.006)


@pytest.mark.parametrize(
    ("fractions", "each", "tumour", "organ_90", "organ_70"),
    [
        (4, 7.0, 83.9, 90.1, 74.2),
        (5, 6.0, 84.3, 88.6, 73.4),
        (6, 5.0, 81.8, 83.7, 70.5),
        (5, 5.5, 79.8, 82.6, 69.6),
    ],
)
def test_cervix_brachytherapy_with_external_beams(fractions, each, tumour, organ_90, organ_70):
    """American Brachytherapy Society, A. N. Viswanathan et al. (2012; PMC3489267), table 1: to 0.1 Gy, its last digit.

    25 fractions of 1.8 Gy, then the insertions; organs get 90 or 70 % of the brachytherapy dose.
    """

    def total(alpha_beta, part):
        return float(eqd2_Gy(45.0, 25, alpha_beta) + eqd2_Gy(part * fractions * each, fractions, alpha_beta))

    assert total(10.0, 1.0) == pytest.approx(tumour, abs=0.1)
    assert total(3.0, 0.9) == pytest.approx(organ_90, abs=0.1)
    assert total(3.0, 0.7) == pytest.approx(organ_70, abs=0.1)


@pytest.mark.parametrize(
    ("fractions_per_day", "values"),
    [
        (2, [0.0002, 0.0156, 0.0625, 0.1250, 0.1895, 0.2500, 0.3536]),
        (3, [0.0003, 0.0210, 0.0859, 0.1771, 0.2766, 0.3750, 0.5547]),
    ],
)
def test_incomplete_repair_factors(fractions_per_day, values):
    """Table of h_m of M. C. Joiner and A. van der Kogel, Basic Clinical Radiobiology, 6 h between fractions: 5e-5.

    The rows were written down from memory of that table, and two fractions are exp(-mu 6 h) by hand.
    """
    for half_time, expected in zip((0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0), values, strict=True):
        assert thames_hm(fractions_per_day, 6.0, half_time) == pytest.approx(expected, abs=6e-5)
        if fractions_per_day == 2:
            assert expected == pytest.approx(2.0 ** (-6.0 / half_time), abs=6e-5)


def test_low_dose_rate_brachytherapy():
    """40 Gy at 0.55 Gy/h, mu 0.46 1/h, alpha/beta 10 Gy: BED 49.6 Gy in E. J. Hall's textbook formula for long times.

    It leaves out the last term, which makes 0.6 % here: 1 %.
    """
    tissue = Tissue("tumour", 10.0, repair=Repair((math.log(2.0) / 0.46,)))
    assert float(tissue.continuous_bed_Gy(40.0, 40.0 / 0.55)) == pytest.approx(49.6, rel=0.01)


@pytest.mark.parametrize("half_time", [0.5, 1.0, 1.5, 2.0])
def test_fractions_that_are_worth_a_long_irradiation(half_time):
    """GEC-ESTRO Handbook of Brachytherapy: dose a fraction of the same effect is 2.9 T dose rate for long times.

    From the Liversage formula N = mu t / (2 (1 - (1 - exp(-mu t)) / (mu t))) = 1 / G. At 100 h: 3.5 %.
    """
    mu_t = math.log(2.0) / half_time * 100.0
    liversage = mu_t / (2.0 * (1.0 - (1.0 - math.exp(-mu_t)) / mu_t))
    assert 1.0 / protraction_factor(100.0, half_time) == pytest.approx(liversage, rel=1e-12)
    dose_rate = 0.5
    assert dose_rate * 100.0 / liversage == pytest.approx(2.9 * half_time * dose_rate, rel=0.035)


def test_dose_lost_to_repopulation():
    """J. F. Fowler, Br. J. Radiol. 62 (1989) 679: ln 2 / (0.35 1/Gy 3 days) = 0.66 Gy a day, to the last digit."""
    assert Proliferation.from_doubling_time(3.0, 0.35).lost_Gy_per_day == pytest.approx(0.66, abs=0.005)


@pytest.mark.parametrize(("transition", "alpha_beta"), [(6.0, 10.0), (12.0, 3.0), (14.0, 2.0)])
def test_final_slope_of_the_lql_model_is_the_tangent(transition, alpha_beta):
    """M. Astrahan, Med. Phys. 35 (2008) 4161: gamma/alpha = 1 + 2 d_T / (alpha/beta), and BED above d_T in its form.

    A formula, no table: to rounding. The slope is that of the linear-quadratic curve just below d_T.
    """
    model = LargeFractions(transition)
    step = 1e-6
    ends = biologically_effective_dose_Gy(np.array([transition - step, transition]), 1, alpha_beta)
    assert float(model.slope(alpha_beta)) == pytest.approx(float(np.diff(ends)[0]) / step, rel=1e-6)
    dose = transition + 8.0
    by_hand = transition * (1.0 + transition / alpha_beta) + (1.0 + 2.0 * transition / alpha_beta) * 8.0
    assert float(model.bed_Gy(dose, 1, alpha_beta)) == pytest.approx(by_hand)


# --- complications: whole and partial organs of Emami, as fitted by Burman

# Gy for 5 % and 50 % in five years, whole organ
WHOLE = {
    "bladder_contraction": (65.0, 80.0),
    "brachial_plexus_injury": (60.0, 75.0),
    "brain_necrosis": (45.0, 60.0),
    "brainstem_necrosis": (50.0, 65.0),
    "cauda_equina_injury": (60.0, 75.0),
    "colon_obstruction": (45.0, 55.0),
    "esophagus_stricture": (55.0, 68.0),
    "femoral_head_necrosis": (52.0, 65.0),
    "heart_pericarditis": (40.0, 50.0),
    "kidney_nephritis": (23.0, 28.0),
    "larynx_necrosis": (70.0, 80.0),
    "lens_cataract": (10.0, 18.0),
    "liver_failure": (30.0, 40.0),
    "lungs_pneumonitis_burman": (17.5, 24.5),
    "optic_chiasm_blindness": (50.0, 65.0),
    "optic_nerve_blindness": (50.0, 65.0),
    "parotid_xerostomia": (32.0, 46.0),
    "rectum_severe": (60.0, 80.0),
    "retina_blindness": (45.0, 65.0),
    "small_bowel_obstruction": (40.0, 55.0),
    "spinal_cord_myelitis": (47.0, 70.0),
    "stomach_ulceration": (50.0, 65.0),
    "thyroid_thyroiditis": (45.0, 80.0),
    "tm_joint_limitation": (60.0, 72.0),
}
# Burman's curve is not through Emami's TD50/5 there
REFITTED = {"heart_pericarditis": 48.0, "spinal_cord_myelitis": 66.5}


@pytest.mark.parametrize("identifier", WHOLE)
def test_whole_organs(identifier):
    """B. Emami et al., Int. J. Radiat. Oncol. Biol. Phys. 21 (1991) 109: 1 Gy at TD5/5, 0.1 Gy at TD50/5.

    C. Burman et al. drew the curves of heart and spinal cord at 48 and 66.5 Gy, where Emami has 50 and 70 Gy.
    """
    model = TABLE.ntcp_set(identifier).build()
    low, half = WHOLE[identifier]
    assert model.tolerance_dose_Gy(0.05) == pytest.approx(low, abs=1.0)
    assert model.tolerance_dose_Gy(0.50) == pytest.approx(REFITTED.get(identifier, half), abs=0.1)


# TD5/5 and TD50/5 of 2/3 and of 1/3 of the organ
PARTIAL = {
    "brain_necrosis": ((50.0, 60.0), (65.0, 75.0)),
    "esophagus_stricture": ((58.0, 60.0), (70.0, 72.0)),
    "heart_pericarditis": ((45.0, 60.0), (55.0, 70.0)),
    "kidney_nephritis": ((30.0, 50.0), (40.0, None)),
    "liver_failure": ((35.0, 50.0), (45.0, 55.0)),
    "lungs_pneumonitis_burman": ((30.0, 45.0), (40.0, 65.0)),
    "stomach_ulceration": ((55.0, 60.0), (67.0, 70.0)),
}


def test_partial_organs():
    """Emami 1991, two thirds and one third of the organ: each within 7.5 Gy, 3 Gy root mean square.

    One exponent n fits four numbers only so well: the largest residuals are those of Burman's own fits of liver
    (50 Gy to a third: 42.8) and lung (30 and 40 Gy to two thirds: 24.5 and 34.9).
    """
    residuals = []
    for identifier, (low, half) in PARTIAL.items():
        model = TABLE.ntcp_set(identifier).build()
        for probability, row in ((0.05, low), (0.50, half)):
            for part, published in zip((2.0 / 3.0, 1.0 / 3.0), row, strict=True):
                if published is not None:
                    residuals.append(model.tolerance_dose_Gy(probability, part) - published)
    assert len(residuals) == 27
    assert max(map(abs, residuals)) < 7.5
    assert math.sqrt(np.mean(np.square(residuals))) < 3.0


# --- complications: QUANTEC and what it rests on


@pytest.mark.parametrize(("mean", "percent"), [(7, 5), (13, 10), (20, 20), (24, 30), (27, 40)])
def test_pneumonitis_and_mean_lung_dose(mean, percent):
    """L. B. Marks et al. (QUANTEC), Int. J. Radiat. Oncol. Biol. Phys. 76 suppl. (2010) S10, table 1: 2 points."""
    assert ntcp_percent("lungs_pneumonitis_quantec", DoseVolume.uniform(mean)) == pytest.approx(percent, abs=2.0)


@pytest.mark.parametrize(("mean", "percent"), [(25.0, 17.0), (30.0, 26.0)])
def test_parotid_flow_and_mean_dose(mean, percent):
    """T. Dijkema et al., Int. J. Radiat. Oncol. Biol. Phys. 78 (2010) 449: 17 to 26 % for 25 to 30 Gy, 1 point."""
    spread = DoseVolume("Parotid_L", np.array([0.0, 2.0 * mean]), np.ones(2))
    assert ntcp_percent("parotid_flow", spread) == pytest.approx(percent, abs=1.0)


@pytest.mark.parametrize(
    ("identifier", "mean", "below"),
    [
        ("parotid_flow", 25.0, 20.0),
        ("parotid_flow", 39.0, 50.0),
        ("kidney_nephritis", 18.0, 5.0),
        ("kidney_nephritis", 28.0, 50.1),
        ("liver_rild_primary", 28.0, 5.0),
        ("liver_rild_metastases", 32.0, 5.0),
        ("heart_pericarditis", 26.0, 15.0),
    ],
)
def test_limits_of_mean_dose_keep_below_their_rates(identifier, mean, below):
    """QUANTEC, table 1 of S10: limits of mean dose and the rate below which they keep; for uniform dose, no slack."""
    assert ntcp_percent(identifier, DoseVolume.uniform(mean)) < below


def test_late_rectal_toxicity_at_the_limits_of_the_review():
    """J. M. Michalski et al. (QUANTEC), ibid. S123: V50 50 %, V60 35 %, V65 25 %, V70 20 %, V75 15 % keep it to 15 %.

    A DVH on all five limits at once, straight to 100 % at 0 Gy and to none at the prescribed 79.2 Gy: within 1 point.
    """
    dose = [0.0, 50.0, 60.0, 65.0, 70.0, 75.0, 79.2]
    fine = np.linspace(0.0, 79.2, 793)
    organ = DoseVolume.from_cumulative(
        "Rectum", fine, np.interp(fine, dose, [100.0, 50.0, 35.0, 25.0, 20.0, 15.0, 0.0])
    )
    assert ntcp_percent("rectum_late_g2", organ) == pytest.approx(15.0, abs=1.0)
    assert ntcp_percent("rectum_late_g2", DoseVolume.uniform(76.9)) == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("dose", "percent", "within"), [(50, 0.2, 0.05), (59.3, 5.0, 0.1), (60, 6.0, 0.6), (69, 50.0, 3.0)]
)
def test_myelopathy_of_the_cervical_cord(dose, percent, within):
    """T. E. Schultheiss, Int. J. Radiat. Oncol. Biol. Phys. 71 (2008) 1455 (50 and 59.3 Gy); QUANTEC S10 (60, 69 Gy).

    In points; 45 Gy is 0.03 % and the limits of 54 Gy (1 %) and 61 Gy (10 %) hold.
    """
    assert ntcp_percent("spinal_cord_myelopathy", DoseVolume.uniform(dose)) == pytest.approx(percent, abs=within)
    assert ntcp_percent("spinal_cord_myelopathy", DoseVolume.uniform(45.0)) == pytest.approx(0.03, abs=0.01)
    assert ntcp_percent("spinal_cord_myelopathy", DoseVolume.uniform(54.0)) < 1.0
    assert ntcp_percent("spinal_cord_myelopathy", DoseVolume.uniform(61.0)) < 10.0


def test_bands_of_the_cord_are_those_of_its_limits():
    """Schultheiss 2008: D50 is 69.4 Gy with 95 % limits of 66.4 and 72.6 Gy."""
    estimate = TABLE.ntcp_set("spinal_cord_myelopathy").estimates["D50_Gy"]
    assert (estimate.value, estimate.low, estimate.high) == (69.4, 66.4, 72.6)


@pytest.mark.parametrize(
    ("identifier", "dose", "published_percent", "ours_percent"),
    [("brainstem_necrosis", 54.0, 5.0, 11.3), ("optic_chiasm_blindness", 55.0, 3.0, 13.6)],
)
def test_where_burmans_fits_say_more_than_quantec(identifier, dose, published_percent, ours_percent):
    """QUANTEC, S10, has fewer complications of brainstem and chiasm than Emami 1991: a known difference, said in notes.

    For uniform dose, to 0.1 points of our own value.
    """
    value = ntcp_percent(identifier, DoseVolume.uniform(dose))
    assert value == pytest.approx(ours_percent, abs=0.1)
    assert value > published_percent
    assert "QUANTEC" in TABLE.ntcp_set(identifier).note


def test_pneumonitis_of_two_other_fits():
    """Y. Seppenwoolde et al., Int. J. Radiat. Oncol. Biol. Phys. 55 (2003) 724: n 1, TD50 30.8 Gy, m 0.37, of EQD2.

    The shipped set is that, and agrees with the review's logistic curve within 4 points from 10 to 30 Gy.
    """
    entry = TABLE.ntcp_set("lungs_pneumonitis_swog2")
    assert entry.build() == LymanKutcherBurman(30.8, 0.37, 1.0)
    assert entry.dose == "EQD2"
    for mean in np.linspace(10.0, 30.0, 9):
        review = ntcp_percent("lungs_pneumonitis_quantec", DoseVolume.uniform(mean))
        assert ntcp_percent("lungs_pneumonitis_swog2", DoseVolume.uniform(mean)) == pytest.approx(review, abs=4.0)


# --- control, oxygen


def test_one_clonogen_left_on_average():
    """T. R. Munro and C. W. Gilbert, Br. J. Radiol. 34 (1961) 246: one left on average cures 37 %; 0.1 points."""
    alpha_beta, dose = 10.0, 60.0
    alpha = math.log(1e9) / (dose * 1.2)
    tumour = PoissonTcp(alpha, alpha_beta, clonogens=1e9)
    assert tumour.tcp(DoseVolume.uniform(dose), Fractionation(30)) == pytest.approx(0.368, abs=0.001)


def test_half_survive_every_fraction_of_2_Gy():
    """The textbook's tumour of 10**9 clonogens with SF2 0.5 after 30 fractions: 0.93 left, 39 % cured; 0.5 points."""
    alpha = math.log(2.0) / (2.0 * 1.2)
    tumour = PoissonTcp(alpha, 10.0, clonogens=1e9)
    assert tumour.tcp(DoseVolume.uniform(60.0), Fractionation(30)) == pytest.approx(0.39, abs=0.005)


def test_oxygen_enhancement():
    """T. Alper and P. Howard-Flanders, Nature 178 (1956) 978, with m = K = 3: 1 in anoxia, 2 at 3 mmHg, 3 in oxygen.

    At the 30 mmHg of venous blood more than 90 % of the full enhancement, as textbooks have it.
    """
    effect = OxygenEffect()
    assert effect.enhancement(np.array([0.0, 3.0, 1e9])).tolist() == pytest.approx([1.0, 2.0, 3.0])
    assert float(effect.relative_sensitivity(30.0)) > 0.9
