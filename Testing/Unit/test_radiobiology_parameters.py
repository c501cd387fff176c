"""The shipped parameters, the matching of structures to them, and a plan's probabilities with their figure."""

from __future__ import annotations

import copy
import json
import math
from importlib import resources

import numpy as np
import pytest

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError, SchemaError
from RTPlanningLib.display.figure_bytes import png_bytes
from RTPlanningLib.display.radiobiology_plot import draw_dose_response
from RTPlanningLib.radiobiology.dose_response import ntcp_response, tcp_response
from RTPlanningLib.radiobiology.dose_volume import DoseVolume
from RTPlanningLib.radiobiology.fractionation import Fractionation
from RTPlanningLib.radiobiology.linear_quadratic import eqd2_Gy
from RTPlanningLib.radiobiology.parameters import load_parameters, parse_parameters
from RTPlanningLib.radiobiology.plan_radiobiology import dose_in_terms_of, evaluate_ntcp, evaluate_tcp
from RTPlanningLib.radiobiology.structure_matching import match_tissue, match_tissues

TABLE = load_parameters()
CONVENTIONAL = Fractionation(35)


@pytest.fixture
def raw():
    text = resources.files("RTPlanningLib.radiobiology").joinpath("parameters.json").read_text(encoding="utf-8")
    return json.loads(text)


def dvh(name, low=20.0, high=70.0, covered=1.0, samples=400):
    return Dvh(name, 100.0, np.linspace(low, high, samples), covered)


# --- the table


@pytest.mark.parametrize("entry", TABLE.ntcp.values(), ids=lambda entry: entry.id)
def test_every_complication_set_is_complete(entry):
    model = entry.build()
    assert len(entry.source) > 20
    assert entry.endpoint
    assert entry.dose in ("physical", "EQD2")
    assert 1.0 <= entry.fraction_Gy[0] <= entry.fraction_Gy[1] <= 3.0
    assert 0.5 <= entry.alpha_beta_Gy <= 15.0
    assert float(model.uniform(5.0)) < 0.12
    assert 0.5 < float(model.uniform(85.0)) <= 1.0
    for name, estimate in entry.estimates.items():
        assert name in vars(model)
        assert math.isfinite(estimate.value)


@pytest.mark.parametrize("entry", TABLE.tcp.values(), ids=lambda entry: entry.id)
def test_every_control_set_is_complete(entry):
    model = entry.build()
    assert len(entry.source) > 20
    schedule = Fractionation(40, overall_days=53.0)
    low, high = (model.tcp(DoseVolume.uniform(dose, volume_cm3=50.0), schedule) for dose in (20.0, 110.0))
    assert low < 0.2
    assert high > 0.75


def test_defaults_are_checked_and_the_unchecked_say_so():
    assert all(entry.checked for entry in TABLE.ntcp.values() if entry.default)
    unchecked = {entry.id for entry in (*TABLE.ntcp.values(), *TABLE.tcp.values()) if not entry.checked}
    assert unchecked == {"heart_mortality_rs", "nsclc_logistic"}
    result = evaluate_ntcp({"Heart": dvh("Heart")}, CONVENTIONAL, 70.0, chosen={"Heart": "heart_mortality_rs"})
    assert "not checked" in result[0].note


def test_alpha_beta_of_the_table_have_sources_and_limits_around_them():
    assert len(TABLE.alpha_beta) >= 10
    for entry in TABLE.alpha_beta:
        assert entry.kind in ("tumour", "late", "early")
        assert entry.source
        assert entry.checked


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda raw: raw.update(schema_version=99), "schema version 99"),
        (lambda raw: raw.pop("tissues"), "lack 'tissues'"),
        (lambda raw: raw["ntcp"][0].pop("parameters"), "lack 'parameters'"),
        (lambda raw: raw["ntcp"][0].update(source="hearsay"), "list of sources"),
        (lambda raw: raw["ntcp"][0].update(tissue="elbow"), "not in the table"),
        (lambda raw: raw["ntcp"][0].update(checked=None), "was not checked"),
    ],
)
def test_a_table_with_gaps_is_refused(raw, change, text):
    parse_parameters(copy.deepcopy(raw))
    change(raw)
    with pytest.raises(SchemaError, match=text):
        parse_parameters(raw)


def test_a_set_that_is_not_physical_is_refused(raw):
    raw["ntcp"][0]["parameters"]["TD50_Gy"]["value"] = -80.0
    with pytest.raises(EvaluationError, match="TD50_Gy"):
        parse_parameters(raw)


def test_unknown_sets_are_answered_with_the_known():
    with pytest.raises(EvaluationError, match="rectum_late_g2"):
        TABLE.ntcp_set("rectum")
    with pytest.raises(EvaluationError, match="nsclc_marsden"):
        TABLE.tcp_set("lung")


# --- names


@pytest.mark.parametrize(
    ("structure", "tissue", "side"),
    [
        ("Lungs", "lungs", ""),
        ("Lungs-GTV", "lungs", ""),
        ("Lung_L", "lung", "L"),
        ("Left Lung", "lung", "L"),
        ("lung_rt", "lung", "R"),
        ("PAROTID RT", "parotid", "R"),
        ("ParotidLeft", "parotid", "L"),
        ("SpinalCord", "spinal_cord", ""),
        ("spinal cord", "spinal_cord", ""),
        ("Rückenmark", "spinal_cord", ""),
        ("Femur_Head_L", "femoral_head", "L"),
        ("FemoralHead_R", "femoral_head", "R"),
        ("RECTUM", "rectum", ""),
        ("Bowel_Small", "small_bowel", ""),
        ("OpticChiasm", "optic_chiasm", ""),
        ("OpticNrv_L", "optic_nerve", "L"),
    ],
)
def test_names_in_use_are_matched(structure, tissue, side):
    match = match_tissue(structure)
    assert match.tissue is not None
    assert (match.tissue.id, match.side, match.note) == (tissue, side, "")


@pytest.mark.parametrize(
    "structure", ["SpinalCord_PRV05", "Duodenum", "PTV_70", "zRing", "Rectum-PTV", "Heartburn", "L"]
)
def test_a_part_of_a_name_is_no_match(structure):
    match = match_tissue(structure)
    assert match.tissues == ()
    assert "choose a set" in match.note


@pytest.mark.parametrize(
    ("structure", "tissues"),
    [
        ("Eye_R", {"lens", "retina"}),
        ("Bowel", {"colon", "small_bowel"}),
        ("Optics", {"optic_nerve", "optic_chiasm"}),
    ],
)
def test_a_name_of_several_tissues_is_reported_with_all(structure, tissues):
    match = match_tissue(structure)
    assert {tissue.id for tissue in match.tissues} == tissues
    assert match.tissue is None
    assert "may be any of" in match.note


def test_no_name_stands_for_two_tissues_unless_it_is_said_to():
    names = [
        (name, tissue.id) for tissue in TABLE.tissues.values() for name in (*tissue.organ.tg263, *tissue.organ.aliases)
    ]
    for (name, tissue), match in zip(names, match_tissues(name for name, _ in names).values(), strict=True):
        assert match.tissue is not None, name
        assert match.tissue.id == tissue


# --- a plan


def test_every_structure_gets_an_answer():
    organs = {name: dvh(name) for name in ("Rectum", "Eye_R", "PTV", "Lung_L", "Lungs")}
    results = {result.structure: result for result in evaluate_ntcp(organs, CONVENTIONAL, 70.0)}
    assert set(results) == set(organs)
    assert 0.0 < results["Rectum"].low < results["Rectum"].probability < results["Rectum"].high < 1.0
    assert "76" in results["Rectum"].source
    assert results["Rectum"].dose_terms == "physical dose"
    assert results["Rectum"].geud_Gy > results["Rectum"].mean_Gy == pytest.approx(45.0)
    assert results["Lungs"].probability > 0.5
    assert results["Lungs"].low is None
    for name, text in (("Eye_R", "may be any of"), ("PTV", "no name of a tissue"), ("Lung_L", "has no default set")):
        assert results[name].probability is None
        assert text in results[name].note
    assert results["Rectum"].as_dict()["set_id"] == "rectum_late_g2"


def test_probability_is_that_of_the_model_on_all_samples():
    rectum = dvh("Rectum", samples=5000)
    (result,) = evaluate_ntcp({"Rectum": rectum}, CONVENTIONAL, 70.0)
    model = TABLE.ntcp_set("rectum_late_g2").build()
    assert result.probability == model.ntcp(DoseVolume.from_dvh(rectum))


def test_a_set_can_be_chosen():
    organs = {"anything": dvh("anything")}
    chosen = {"anything": "rectum_bleeding_rt01"}
    (result,) = evaluate_ntcp(organs, CONVENTIONAL, 70.0, chosen=chosen)
    assert result.set_id == "rectum_bleeding_rt01"
    assert result.probability is not None
    with pytest.raises(EvaluationError, match="no DVH of Rectum"):
        evaluate_ntcp(organs, CONVENTIONAL, 70.0, chosen={"Rectum": "rectum_late_g2"})
    with pytest.raises(EvaluationError, match="There is no NTCP set"):
        evaluate_ntcp(organs, CONVENTIONAL, 70.0, chosen={"anything": "none"})


def test_a_structure_cut_by_the_dose_grid_gets_no_probability():
    (result,) = evaluate_ntcp({"Lungs": dvh("Lungs", covered=0.8)}, CONVENTIONAL, 70.0)
    assert result.probability is None
    assert "80.0 %" in result.note
    assert result.set_id == "lungs_pneumonitis_quantec"


def test_other_fractions_are_converted_and_said_to_be():
    entry = TABLE.ntcp_set("rectum_late_g2")
    organ = DoseVolume.from_dvh(dvh("Rectum", 10.0, 60.0))
    same, terms, note = dose_in_terms_of(entry, organ, 39, 78.0)
    assert (terms, note) == ("physical dose", "")
    assert same is organ
    hypo, terms, note = dose_in_terms_of(entry, organ, 20, 60.0)
    assert terms == "EQD2, alpha/beta 3 Gy"
    assert "3 Gy" in note
    np.testing.assert_allclose(hypo.dose_Gy, eqd2_Gy(organ.dose_Gy, 20, 3.0))
    kept, terms, note = dose_in_terms_of(entry, organ, 20, 60.0, "physical")
    assert terms == "physical dose"
    assert "other terms" in note
    np.testing.assert_allclose(kept.dose_Gy, organ.dose_Gy)
    always, terms, _ = dose_in_terms_of(entry, organ, 39, 78.0, "EQD2")
    assert terms.startswith("EQD2")
    assert always.mean_Gy < organ.mean_Gy
    fitted = TABLE.ntcp_set("lungs_pneumonitis_pooled")
    assert dose_in_terms_of(fitted, organ, 35, 70.0)[1].startswith("EQD2")
    with pytest.raises(EvaluationError, match="unknown"):
        dose_in_terms_of(entry, organ, 35, 70.0, "BED")


def test_several_fractions_a_day_are_noted():
    twice = Fractionation(60, fractions_per_day=2, interval_h=6.0)
    (result,) = evaluate_ntcp({"SpinalCord": dvh("SpinalCord", 5.0, 40.0)}, twice, 69.0)
    assert "incomplete repair is not in" in result.note


def test_control_of_a_target():
    target = Dvh("GTV", 60.0, np.random.default_rng(1).normal(66.0, 1.0, 3000))
    result = evaluate_tcp(target, Fractionation(33, overall_days=44.0), TABLE.tcp_set("nsclc_marsden"))
    assert result.quantity == "TCP"
    assert 0.2 < result.probability < 0.6
    assert result.low is None
    banded = evaluate_tcp(target, Fractionation(33, overall_days=44.0), TABLE.tcp_set("cervix_huang"), samples=200)
    assert banded.low < banded.probability < banded.high
    cut = evaluate_tcp(dvh("GTV", covered=0.5), Fractionation(33, overall_days=44.0), TABLE.tcp_set("nsclc_marsden"))
    assert cut.probability is None
    with pytest.raises(EvaluationError, match="overall_days"):
        evaluate_tcp(target, Fractionation(33), TABLE.tcp_set("nsclc_marsden"))


def test_work_on_many_structures_is_reported():
    seen = []
    organs = {name: dvh(name) for name in ("Rectum", "Bladder")}
    evaluate_ntcp(organs, CONVENTIONAL, 70.0, samples=20, progress=lambda part, text: seen.append((part, text)))
    assert [part for part, _ in seen] == [0.0, 0.5, 1.0]


# --- dose response and its figure


@pytest.fixture(scope="module")
def responses():
    schedule = Fractionation(33, overall_days=44.0)
    doses = np.linspace(40.0, 100.0, 13)
    gtv = DoseVolume("GTV", np.linspace(64.0, 68.0, 50), np.ones(50), 90.0)
    organ = DoseVolume("Rectum", np.linspace(20.0, 68.0, 200), np.ones(200))
    rectum = TABLE.ntcp_set("rectum_late_g2")
    return [
        tcp_response(TABLE.tcp_set("nsclc_marsden"), gtv, schedule, 66.0, doses),
        ntcp_response(rectum, organ, schedule, 66.0, doses, samples=100),
    ]


def test_dose_response_is_the_plan_scaled(responses):
    tcp, ntcp = responses
    assert (np.diff(tcp.probability) >= 0.0).all()
    assert (np.diff(ntcp.probability) >= 0.0).all()
    assert tcp.band is None
    assert ntcp.band.values.shape == (5, 13)
    assert ((ntcp.band.at(2.5) <= ntcp.probability) & (ntcp.probability <= ntcp.band.at(97.5))).all()
    organ = DoseVolume("Rectum", np.linspace(20.0, 68.0, 200), np.ones(200))
    model = TABLE.ntcp_set("rectum_late_g2").build()
    assert ntcp.planned_probability == pytest.approx(model.ntcp(organ))
    assert ntcp.probability[8] == pytest.approx(model.ntcp(organ.scaled(80.0 / 66.0)))
    with pytest.raises(EvaluationError, match="rising prescribed doses"):
        ntcp_response(TABLE.ntcp_set("rectum_late_g2"), organ, Fractionation(33), 66.0, np.array([60.0, 50.0]))


def test_figure_shows_curves_bands_and_the_plan(responses):
    figure = draw_dose_response(responses)
    (axes,) = figure.axes
    curves = [line for line in axes.get_lines() if len(line.get_xydata()) > 1]
    assert len(curves) == 2
    np.testing.assert_allclose(curves[1].get_ydata(), 100.0 * responses[1].probability)
    dots = [line.get_xydata()[0] for line in axes.get_lines() if len(line.get_xydata()) == 1]
    assert [float(dot[0]) for dot in dots] == [66.0, 66.0]
    assert len(axes.collections) == 2
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0].startswith("TCP  GTV: local control")
    assert "95 %:" in labels[1]
    assert "95 %:" not in labels[0]
    assert any("published limits" in text.get_text() for text in figure.texts)
    assert not draw_dose_response(responses[:1]).texts
    assert png_bytes(figure) == png_bytes(draw_dose_response(responses))


def test_figure_refuses_none_and_too_many(responses):
    with pytest.raises(EvaluationError, match="at least one"):
        draw_dose_response([])
    with pytest.raises(EvaluationError, match="at most 7"):
        draw_dose_response(responses * 4)
