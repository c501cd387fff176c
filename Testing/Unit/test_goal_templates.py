"""Published goals as templates: what they hold, and how they find the structures of a case."""

from __future__ import annotations

import json
import sys
from importlib import resources

import numpy as np
import pytest

from DoseEngineLib.errors import EvaluationError, SchemaError
from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Structure
from RTPlanningLib.evaluation.goal_templates import (
    apply_goal_template,
    available_goal_templates,
    load_goal_template,
    parse_goal_template,
)
from RTPlanningLib.samples import load_sample
from RTPlanningLib.structure_names import match_name

GRID = Grid.from_spacing((2, 2, 4), 10.0)
TEMPLATES = {template.name: template for template in available_goal_templates()}


def structure(name: str, *voxels: int, role: str = "ORGAN") -> Structure:
    mask = np.zeros(GRID.size, bool)
    mask[list(voxels)] = True
    return Structure(name, mask.reshape(GRID.shape), GRID, role)


def filled(*names: str) -> list[Structure]:
    return [structure(name, number) for number, name in enumerate(names)]


def template(*goals: str, target: bool = False, **more):
    entry = {"source": "A", "where": "table 1", "note": "", "checked": "the book"}
    data = {
        "schema_version": 1,
        "name": "mine",
        "title": "Mine",
        "description": "",
        "fractions": None,
        "fraction_dose_Gy": None,
        "sources": {"A": "A. Author, A Journal 1 (2000) 1"},
        "left_out": [],
        "goals": [{"goal": goal, "target": target, **entry} for goal in goals],
        **more,
    }
    return parse_goal_template(json.dumps(data))


def applied(goals: str, structures: list[Structure], **settings) -> list[str]:
    return [str(one.goal) for one in apply_goal_template(template(goals), structures, **settings).goals]


# --- the templates that come with the package


def test_the_protocols_are_there():
    assert {"quantec", "tg101-1fx", "tg101-3fx", "tg101-5fx", "rtog-0617", "teaching"} <= set(TEMPLATES)
    assert {"rtog-0915-34gy-1fx", "rtog-0915-48gy-4fx", "hytec-1fx", "hytec-3fx", "hytec-5fx"} <= set(TEMPLATES)


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_shipped_template_obeys_the_schema(name):
    path = resources.files("RTPlanningLib.evaluation").joinpath("goal_templates", f"{name}.json")
    assert parse_goal_template(path.read_text(encoding="utf-8"), name) == load_goal_template(name)


def test_shipped_templates_need_no_package(monkeypatch):
    from RTPlanningLib.evaluation import goal_templates

    monkeypatch.setitem(sys.modules, "jsonschema", None)
    goal_templates._load_shipped.cache_clear()
    assert {template.name: template for template in available_goal_templates()} == TEMPLATES


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_goal_has_its_source_and_a_structure_with_a_known_name(name):
    for published in TEMPLATES[name].goals:
        assert len(published.source) > 20
        assert published.checked
        wanted = published.goal.structure
        phantom_part = name.startswith("tg119") and wanted in ("Core", "PTV_Central", "PTV_Superior", "PTV_Inferior")
        assert published.is_target or phantom_part or match_name(wanted).by == "TG-263 name", wanted


def test_teaching_limits_are_the_four_given():
    assert [str(published.goal) for published in TEMPLATES["teaching"].goals] == [
        "Brain Max < 60 Gy",
        "SpinalCord Max < 45 Gy",
        "Heart Mean < 26 Gy",
        "Kidneys V20Gy[%] < 30 %",
    ]


@pytest.mark.parametrize(
    ("name", "goal"),
    [
        ("tg101-1fx", "SpinalCord V10Gy[cc] < 0.35 cc"),
        ("tg101-1fx", "SpinalCord D0.035cc <= 14 Gy"),
        ("tg101-1fx", "Ribs V22Gy[cc] < 1 cc"),
        ("tg101-3fx", "Chestwall V30Gy[cc] < 30 cc"),
        ("tg101-3fx", "SpinalCord D0.035cc <= 21.9 Gy"),
        ("tg101-5fx", "Esophagus V19.5Gy[cc] < 5 cc"),
        ("tg101-3fx", "Liver CV19.2Gy[cc] >= 700 cc"),
        ("rtog-0617", "Lungs V20Gy[%] <= 37 %"),
        ("rtog-0915-48gy-4fx", "SpinalCord D0.035cc <= 26 Gy"),
        ("hytec-1fx", "SpinalCord D0.035cc <= 12.4 Gy (14 Gy)"),
        ("quantec", "Kidneys Mean < 15 Gy (18 Gy)"),
    ],
)
def test_published_figures(name, goal):
    assert goal in [str(published.goal) for published in TEMPLATES[name].goals]


@pytest.mark.parametrize("case", ["prostate", "headneck", "multitarget", "cshape"])
def test_goals_of_tg119_are_those_of_the_built_in_cases(case):
    sample = load_sample(f"tg119-{case}")
    result = apply_goal_template(TEMPLATES[f"tg119-{case}"], sample.structures)
    assert result.unmatched == ()
    expected = {goal.replace("Core D10% <= 25 Gy", "Core D10% <= 10 Gy (25 Gy)") for goal in sample.goals}
    assert {str(one.goal) for one in result.goals} == expected


def test_a_template_for_other_fractions_says_so():
    assert "is for 3 fractions" in TEMPLATES["tg101-3fx"].fractionation_note(30, 60.0)
    assert TEMPLATES["tg101-3fx"].fractionation_note(3, 54.0) == ""
    assert "was not said" in TEMPLATES["tg101-3fx"].fractionation_note(None, None)
    assert TEMPLATES["quantec"].fractionation_note(30, 60.0) == ""
    assert "the plan has 12 Gy" in TEMPLATES["quantec"].fractionation_note(4, 48.0)
    assert template("Heart Mean < 26 Gy").fractionation_note(None, None) == ""


# --- on a case


def test_the_organ_is_found_by_other_names_and_that_is_said():
    result = apply_goal_template(template("Esophagus Mean < 34 Gy"), filled("Oesophagus", "Heart"))
    assert [str(one.goal) for one in result.goals] == ["Oesophagus Mean < 34 Gy"]
    assert "name in use" in result.goals[0].note


def test_a_goal_for_one_of_a_pair_is_asked_of_each():
    assert applied("Parotid Mean <= 20 Gy", filled("PAROTID RT", "Parotid_L")) == [
        "Parotid_L Mean <= 20 Gy",
        "PAROTID RT Mean <= 20 Gy",
    ]
    assert applied("Parotid_R Mean <= 20 Gy", filled("Right Parotid", "Parotid_L")) == ["Right Parotid Mean <= 20 Gy"]


def test_both_of_a_pair_are_taken_together():
    left, right = structure("Lung_L", 0, 1, 2), structure("Rt Lung", 2, 5)
    result = apply_goal_template(template("Lungs V20Gy[%] <= 30 %", "Lungs Mean <= 20 Gy"), [left, right])
    assert [str(one.goal) for one in result.goals] == [
        "Lung_L + Rt Lung V20Gy[%] <= 30 %",
        "Lung_L + Rt Lung Mean <= 20 Gy",
    ]
    (both,) = result.combined
    assert both.name == "Lung_L + Rt Lung"
    np.testing.assert_array_equal(both.mask, left.mask | right.mask)
    assert "together" in result.goals[0].note


def test_the_pair_contoured_as_one_comes_before_the_union():
    assert applied("Lungs Mean <= 20 Gy", filled("Lung_L", "Lung_R", "Lungs")) == ["Lungs Mean <= 20 Gy"]


def test_one_of_a_pair_is_not_both():
    result = apply_goal_template(template("Kidneys Mean < 15 Gy"), filled("Kidney_L"))
    assert result.goals == ()
    assert result.missing == ("Kidneys",)
    assert "only Kidney_L" in result.unmatched[0].reason


@pytest.mark.parametrize(
    ("goal", "names"),
    [
        ("Lungs Mean <= 20 Gy", ("Lungs-GTV", "Total Lung")),
        ("Parotid_L Mean <= 20 Gy", ("Left Parotid", "Parotid LT")),
        ("Heart Mean < 26 Gy", ("heart", "HEART")),
        ("Kidneys Mean < 15 Gy", ("Kidney_L", "Kidney_R", "Left Kidney")),
        ("Lens D0.035cc < 10 Gy", ("Eye lens", "Linse L")),
    ],
)
def test_what_may_be_several_is_reported_not_chosen(goal, names):
    result = apply_goal_template(template(goal), filled(*names))
    assert result.goals == ()
    assert result.ambiguous == (goal.split()[0],)
    for name in names:
        assert name in result.unmatched[0].reason


def test_a_name_of_several_organs_is_no_silent_match():
    result = apply_goal_template(template("Colon V25Gy[cc] < 20 cc"), filled("Bowel"))
    assert result.goals == ()
    assert result.ambiguous == ("Colon",)
    assert "Bowel may be it, or something else" in result.unmatched[0].reason


def test_the_very_name_comes_first_and_the_other_is_told():
    result = apply_goal_template(template("Lungs Mean <= 20 Gy"), filled("Lungs-GTV", "Lungs"))
    assert [str(one.goal) for one in result.goals] == ["Lungs Mean <= 20 Gy"]
    assert "Lungs-GTV" in result.goals[0].note


def test_names_settle_what_is_ambiguous():
    structures = filled("Lungs-GTV", "Total Lung")
    assert applied("Lungs Mean <= 20 Gy", structures, names={"Lungs": "Lungs-GTV"}) == ["Lungs-GTV Mean <= 20 Gy"]
    with pytest.raises(EvaluationError, match="'Lung' does not exist; the case has: Lungs-GTV"):
        applied("Lungs Mean <= 20 Gy", structures, names={"Lungs": "Lung"})
    with pytest.raises(EvaluationError, match="asks for no structure Heart"):
        applied("Lungs Mean <= 20 Gy", structures, names={"Heart": "Total Lung"})


def test_the_target_is_the_one_named_or_the_only_one():
    goals = template("PTV D95% >= 95 %", target=True)
    ptvs = [structure("PTV_70", 0, role="PTV"), structure("PTV_56", 1, role="PTV")]
    assert str(apply_goal_template(goals, ptvs, target="PTV_56").goals[0].goal) == "PTV_56 D95% >= 95 %"
    assert str(apply_goal_template(goals, ptvs[:1]).goals[0].goal) == "PTV_70 D95% >= 95 %"
    assert apply_goal_template(goals, ptvs).ambiguous == ("PTV",)
    assert apply_goal_template(goals, filled("Heart")).missing == ("PTV",)


def test_a_body_outline_called_skin_is_not_the_organ():
    skin = template("Skin V23Gy[cc] < 10 cc")
    outline = structure("SKIN", 0, 1, role="EXTERNAL")
    result = apply_goal_template(skin, [outline])
    assert result.ambiguous == ("Skin",)
    assert "SKIN is the outline of the body" in result.unmatched[0].reason
    meant = apply_goal_template(skin, [outline], names={"Skin": "SKIN"})
    assert [str(one.goal) for one in meant.goals] == ["SKIN V23Gy[cc] < 10 cc"]
    assert applied("Skin V23Gy[cc] < 10 cc", [structure("Skin", 0)]) == ["Skin V23Gy[cc] < 10 cc"]


def test_an_empty_structure_is_missing_and_said_to_be_empty():
    result = apply_goal_template(template("Heart Mean < 26 Gy"), [structure("Heart"), structure("Liver", 1)])
    assert result.missing == ("Heart",)
    assert "Heart is empty" in result.unmatched[0].reason


# --- files


def test_a_template_is_read_from_a_file(tmp_path):
    text = resources.files("RTPlanningLib.evaluation").joinpath("goal_templates", "teaching.json").read_text("utf-8")
    (tmp_path / "own.json").write_text(text.replace('"teaching"', '"own"'), encoding="utf-8")
    assert load_goal_template(tmp_path / "own.json").name == "own"
    with pytest.raises(EvaluationError, match="cannot be read"):
        load_goal_template(tmp_path / "none.json")
    with pytest.raises(EvaluationError, match=r"choose one of: .*quantec"):
        load_goal_template("quantek")


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"schema_version": 2}, SchemaError, "newer than 1"),
        ({"fractions": [0]}, SchemaError, "fractions"),
        ({"colour": "red"}, SchemaError, "colour"),
        ({"sources": {"B": "B. Author, A Journal 1 (2000)"}}, SchemaError, "goals/0: source 'A'"),
    ],
)
def test_a_template_with_gaps_is_refused(change, error, text):
    template("Heart Mean < 26 Gy")
    with pytest.raises(error, match=text):
        template("Heart Mean < 26 Gy", **change)


@pytest.mark.parametrize("text", ["{", '{"schema_version": 1, "goals": [NaN]}'])
def test_what_is_no_json_is_refused(text):
    with pytest.raises(SchemaError, match=r"own\.json is not JSON"):
        parse_goal_template(text, "own.json")


def test_a_goal_that_cannot_be_read_is_shown():
    with pytest.raises(EvaluationError, match=r"goals/1:\n.*Hart"):
        template("Heart Mean < 26 Gy", "Hart Moan < 26 Gy")
