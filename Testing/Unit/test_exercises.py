"""Exercises: the shipped files follow their schema, the vocabulary of checks finds what it should and says it."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from DoseEngineLib.dvh import Dvh
from DoseEngineLib.errors import EvaluationError, SchemaError
from DoseEngineLib.plan import Aperture, Beam, ControlPoint, Plan, Prescription
from RTPlanningLib.exercises.check import Comparison, PlanKind, check_kinds, read_check
from RTPlanningLib.exercises.exercise import available_exercises, judge_step, load_exercise, read_exercise
from RTPlanningLib.exercises.learner_work import LearnerPlan, LearnerWork
from RTPlanningLib.samples import load_sample, sample_plan

FILES = resources.files("RTPlanningLib.exercises")


def field(name: str, gantry_deg: float, couch_deg: float = 0.0, MU: float = 100.0) -> Beam:
    return Beam.open_field(name, gantry_deg=gantry_deg, couch_deg=couch_deg, meterset_MU=MU)


def learner(name: str, plan: Plan, dvhs: dict[str, Dvh] | None = None) -> LearnerPlan:
    def dvh_of(structure: str) -> Dvh:
        if dvhs is None:
            raise EvaluationError(f"Plan {name} has no dose; calculate it.")
        return dvhs[structure]

    return LearnerPlan(name, plan, dvhs is not None, dvhs is not None, dvh_of)


def even(structure: str, dose_Gy: float) -> Dvh:
    return Dvh(structure, 100.0, np.linspace(dose_Gy - 1.0, dose_Gy + 1.0, 1001))


TWO = Plan("Two", (field("AP", 0.0), field("PA", 180.0)), Prescription(50.0, 25, "PTV", "none"))


def find(entry: dict, plan: Plan = TWO, dvhs: dict | None = None, other: LearnerPlan | None = None):
    kind = PlanKind("other", "a plan of one field", (read_check({"check": "fields", "maximum": 1}, "test"),))
    others = (other,) if other is not None else ()
    work = LearnerWork("case", ("PTV",), learner("Mine", plan, dvhs), others)
    finding = read_check(entry, "test").find(work, {"other": kind})
    assert bool(finding.to_do) != finding.passed
    return finding


@pytest.mark.parametrize("name", available_exercises())
def test_shipped_exercises_follow_the_schema_and_their_sample(name: str, tmp_path) -> None:
    file = tmp_path / f"{name}.json"
    file.write_text(FILES.joinpath(f"{name}.json").read_text(encoding="utf-8"), encoding="utf-8")
    exercise = read_exercise(file)
    assert exercise == load_exercise(name)
    assert exercise.name == name
    structures = {structure.name for structure in load_sample(exercise.case, 5.0).structures}
    assert sample_plan(exercise.case).target in structures
    for step in exercise.steps:
        for check in step.checks:
            named = {getattr(check, "structure", None), getattr(check, "target", None)} - {None}
            named |= {check.goal.split()[0]} if check.kind == "goal" else set()
            named |= set(check.structures) if check.kind == "case" else set()
            assert named <= structures, (step.title, named)
    assert exercise.steps[0].checks[0].kind == "case"
    assert exercise.steps[0].checks[0].name == exercise.case
    # every plan that is named is compared with
    compared = {check.other for step in exercise.steps for check in step.checks if isinstance(check, Comparison)}
    assert compared == set(exercise.plans)


def test_the_schema_is_the_vocabulary() -> None:
    schema = json.loads(FILES.joinpath("exercise.schema.json").read_text(encoding="utf-8"))
    check = schema["$defs"]["check"]
    described = {
        entry["if"]["properties"]["check"]["const"]: set(entry["then"]["properties"]) - {"check"}
        for entry in check["allOf"]
    }
    assert set(check["properties"]["check"]["enum"]) == set(described)
    assert described == {kind: {f.name for f in fields(cls)} for kind, cls in check_kinds().items()}
    used = {c.kind for name in available_exercises() for s in load_exercise(name).steps for c in s.checks}
    assert used <= set(described)
    assert len(used) > 9


def test_the_page_for_teachers_names_the_vocabulary_and_the_exercises() -> None:
    page = Path(__file__).resolve().parents[2] / "RTPlanning" / "Documentation" / "Exercises.md"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.read_text(encoding="utf-8").splitlines()]
    first = {row[0].strip("`"): row for row in rows if len(row) == 3 and row[0].startswith("`")}
    kinds = check_kinds()
    assert set(first) == set(kinds) | set(available_exercises())
    for kind, cls in kinds.items():
        assert {key.strip().strip("`") for key in first[kind][2].split(",")} - {""} == {f.name for f in fields(cls)}


def test_five_exercises_are_listed_and_no_file_is_forgotten() -> None:
    names = available_exercises()
    assert len(names) == 5
    files = {entry.name for entry in FILES.iterdir() if entry.name.endswith(".json")}
    assert files == {f"{name}.json" for name in names} | {"exercise.schema.json"}
    with pytest.raises(SchemaError, match="no exercise 'box'; choose one of: four-field-box"):
        load_exercise("box")
    with pytest.raises(SchemaError, match="has 4 steps; there is none numbered 5"):
        judge_step(load_exercise("four-field-box"), 4, LearnerWork())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"schema_version": 9}, "newer than 1; update"),
        ({"title": ""}, "title"),
        ({"steps": []}, "steps"),
        ({"hints": "x"}, "hints"),
        ({"plans": [{"id": "a", "title": "b", "recognized_by": [{"check": "dose"}]}]}, "'dose' is not one of"),
        ({"plans": [{"id": "a", "title": "b", "recognized_by": [{"check": "fields", "number": 1}]}]}, "'number' was"),
    ],
)
def test_files_that_break_the_schema_are_refused(tmp_path, change: dict, text: str) -> None:
    data = json.loads(FILES.joinpath("four-field-box.json").read_text(encoding="utf-8")) | change
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(SchemaError, match=r"mine\.json") as error:
        read_exercise(file)
    assert text in str(error.value)


def test_a_comparison_with_a_plan_that_is_not_declared_is_refused(tmp_path) -> None:
    data = json.loads(FILES.joinpath("lung-heterogeneity.json").read_text(encoding="utf-8"))
    data["plans"][0]["id"] = "elsewhere"
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(SchemaError, match="step 3: there is no plan 'water'; it has: elsewhere"):
        read_exercise(file)
    with pytest.raises(SchemaError, match="cannot be read"):
        read_exercise(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"check": "magic"}, "there is no check 'magic'; choose one of: apertures, case"),
        ({"check": "fields", "number": 3}, "has no number; it has: minimum, maximum"),
        ({"check": "gantry_angles"}, "needs angles_deg"),
        ({"check": "fields", "minimum": 3, "maximum": 2}, "must rise"),
        ({"check": "goal", "goal": "PTV is good"}, "PTV is good"),
        ({"check": "goal", "goal": "PTV D95% >= 95 %", "alpha_beta_Gy": 3.0}, "write it in Gy"),
        ({"check": "goal", "goal": "PTV CI(Paddick) >= 0.8"}, "isodose volumes"),
        ({"check": "goal", "goal": "PTV Mean >= 50 Gy", "alpha_beta_Gy": 0.0}, "alpha"),
        ({"check": "eqd2_compared", "other": "x", "alpha_beta_Gy": 3, "direction": "same"}, "within_Gy"),
        ({"check": "metric_compared", "other": "x", "structure": "P", "metric": "Mean", "direction": "up"}, "lower or"),
        ({"check": "same_as", "other": "x", "parts": ["beams"]}, "prescription, directions, apertures"),
        ({"check": "fraction_dose", "minimum_Gy": 3, "maximum_Gy": 2}, "no range"),
    ],
)
def test_checks_that_make_no_sense_are_refused(entry: dict, text: str) -> None:
    with pytest.raises(SchemaError, match=r"mine: (check|there is)") as error:
        read_check(entry, "mine")
    assert text in str(error.value)


def test_fields_and_their_angles() -> None:
    assert find({"check": "fields", "minimum": 2, "maximum": 2}).passed
    assert find({"check": "fields", "minimum": 4}).to_do == "Add 2 more."
    assert find({"check": "fields", "maximum": 1}).to_do == "Remove 1."
    assert find({"check": "gantry_angles", "angles_deg": [180, 360]}).passed
    assert find({"check": "gantry_angles", "angles_deg": [0.9, 179.1]}).passed
    missed = find({"check": "gantry_angles", "angles_deg": [0, 90]})
    assert missed.found == "Mine has gantry angles of 0 and 180 degrees."
    assert missed.to_do == "Add a field at 90 degrees. Remove the field at 180 degrees."
    # a field counts once
    assert not find({"check": "gantry_angles", "angles_deg": [0, 0, 180]}).passed
    assert find({"check": "opposed_pairs", "number": 1}).passed
    assert not find({"check": "opposed_pairs", "number": 2}).passed
    turned = replace(TWO, beams=(field("a", 0.0), field("b", 180.0, couch_deg=90.0)))
    assert "0 opposed pairs" in find({"check": "opposed_pairs", "number": 1}, turned).found


def test_prescription_engine_and_apertures() -> None:
    assert find({"check": "prescription", "dose_Gy": 50, "fractions": 25, "target": "PTV"}).passed
    assert find({"check": "prescription", "fractions": 25}).passed
    assert find({"check": "prescription", "dose_Gy": 60}).to_do == "Prescribe 60 Gy."
    bare = replace(TWO, prescription=None)
    assert "no prescription" in find({"check": "prescription", "dose_Gy": 60}, bare).found
    assert find({"check": "engine", "labels": ["photon-pencil-beam"]}).passed
    assert "Choose photon-collapsed-cone" in find({"check": "engine", "labels": ["photon-collapsed-cone"]}).to_do
    option = {"check": "engine_option", "name": "heterogeneity", "value": False}
    assert find(option).to_do == "Set Heterogeneity correction to off."
    assert find(option, replace(TWO, engine_options={"heterogeneity": False})).passed
    assert "has no option rings" in find({"check": "engine_option", "name": "rings", "value": 8}).found
    assert "no-such" in find(option, replace(TWO, engine="no-such")).found
    assert find({"check": "apertures", "maximum": 1}).passed
    assert "Optimize the fluence: AP and PA should" in find({"check": "apertures", "minimum": 3}).to_do
    slits = [Aperture((x, x + 10.0), (-50.0, 50.0)) for x in (0.0, 10.0, 20.0)]
    points = tuple(ControlPoint(0.0, 0.0, 0.0, slit, n / 2) for n, slit in enumerate(slits))
    window = replace(TWO, beams=(Beam("window", points, (0.0, 0.0, 0.0), meterset_MU=90.0),))
    assert find({"check": "apertures", "minimum": 3}, window).found == "Mine has 3 apertures in every field."
    mostly = replace(window, beams=(*window.beams, replace(window.beams[0], name="second"), field("plain", 0.0)))
    assert find({"check": "apertures", "minimum": 3}, mostly).found == "Mine has 1 to 3 apertures a field."
    assert find({"check": "apertures", "minimum": 3}, mostly).passed
    half = replace(window, beams=(*window.beams, field("plain", 0.0)))
    assert "plain should have 3" in find({"check": "apertures", "minimum": 3}, half).to_do
    assert "Give window and second" in find({"check": "apertures", "maximum": 1}, mostly).to_do
    assert find({"check": "fraction_dose", "minimum_Gy": 2, "maximum_Gy": 2}).passed
    assert "2 Gy a fraction" in find({"check": "fraction_dose", "minimum_Gy": 3, "maximum_Gy": 4}).found


def test_goals_in_dose_and_in_eqd2() -> None:
    dvhs = {"PTV": even("PTV", 60.0)}
    in_20 = replace(TWO, prescription=Prescription(60.0, 20, "PTV", "none"))
    assert find({"check": "goal", "goal": "PTV D95% >= 95 %"}, in_20, dvhs).passed
    low = find({"check": "goal", "goal": "PTV Mean >= 61 Gy"}, in_20, dvhs)
    assert low.found == "Mine: PTV Mean is 60 Gy."
    # 60 Gy in 20 fractions: 60 (3 + 3) / (2 + 3) = 72 Gy
    assert find({"check": "goal", "goal": "PTV D50% >= 71.99 Gy", "alpha_beta_Gy": 3}, in_20, dvhs).passed
    assert not find({"check": "goal", "goal": "PTV D50% >= 72.01 Gy", "alpha_beta_Gy": 3}, in_20, dvhs).passed
    assert "no dose; calculate it" in find({"check": "goal", "goal": "PTV Mean >= 1 Gy"}).found
    unprescribed = replace(TWO, prescription=None)
    assert "cannot be judged" in find({"check": "goal", "goal": "PTV Mean >= 95 %"}, unprescribed, dvhs).found


def test_comparisons() -> None:
    one = replace(TWO, name="One", beams=(field("AP", 0.0, MU=250.0),))
    lower = {"check": "metric_compared", "other": "other", "structure": "PTV", "metric": "Mean", "direction": "lower"}
    alone = find(lower, TWO, {"PTV": even("PTV", 40.0)})
    assert "none is a plan of one field" in alone.found
    # the plan that is judged is not its own rival
    assert "none is a plan of one field" in find(lower, one, {"PTV": even("PTV", 40.0)}).found
    rival = learner("One", one, {"PTV": even("PTV", 50.0)})
    mine = {"PTV": even("PTV", 40.0)}
    assert find(lower, TWO, mine, rival).found == "PTV Mean: 40 Gy in Mine, 50 Gy in One (-20.0 %)."
    assert find(lower | {"by_percent": 19.9}, TWO, mine, rival).passed
    assert not find(lower | {"by_percent": 20.1}, TWO, mine, rival).passed
    assert not find(lower | {"direction": "higher"}, TWO, mine, rival).passed
    assert not find(lower, TWO, {"PTV": even("PTV", 50.0)}, rival).passed
    assert "One has no dose" in find(lower, TWO, mine, learner("One", one)).found
    # in EQD2 with 3 Gy: 40 Gy of 25 fractions 36.8 Gy, 50 Gy 50 Gy
    assert "(-26.4 %)" in find(lower | {"alpha_beta_Gy": 3}, TWO, mine, rival).found
    MU = {"check": "monitor_units_compared", "other": "other", "direction": "lower", "by_percent": 15}
    assert find(MU, TWO, mine, rival).found == "The MU of a fraction: 200 MU in Mine, 250 MU in One (-20.0 %)."
    assert "not known" in find(MU, TWO, None, rival).found
    same = {"check": "same_as", "other": "other"}
    assert find(same | {"parts": ["prescription"]}, TWO, mine, rival).passed
    assert (
        "differ in directions and apertures"
        in find(same | {"parts": ["prescription", "directions", "apertures"]}, TWO, mine, rival).found
    )


def test_apertures_of_a_field_do_not_change_its_direction() -> None:
    slits = [Aperture((x, x + 10.0), (-50.0, 50.0)) for x in (0.0, 10.0, 20.0)]
    points = tuple(ControlPoint(40.0, 0.0, 0.0, slit, n / 2) for n, slit in enumerate(slits))
    window = replace(TWO, beams=(Beam("window", points, (0.0, 0.0, 0.0), meterset_MU=90.0),))
    same = {"check": "same_as", "other": "other", "parts": ["directions"]}
    assert find(same, window, None, learner("One", replace(TWO, beams=(field("plain", 400.0),)))).passed
    assert not find(same, window, None, learner("One", replace(TWO, beams=(field("plain", 41.0),)))).passed


def test_eqd2_of_what_is_prescribed() -> None:
    short = replace(TWO, prescription=Prescription(60.0, 20, "PTV", "none"))
    one = replace(TWO, beams=(field("AP", 0.0),), prescription=Prescription(74.0, 37, "PTV", "none"))
    rival = learner("One", one)
    entry = {"check": "eqd2_compared", "other": "other", "alpha_beta_Gy": 3.0}
    result = find(entry | {"direction": "lower"}, short, None, rival)
    assert result.found.endswith("72 Gy in Mine, 74 Gy in One (-2.7 %).")
    assert find(entry | {"direction": "same", "within_Gy": 2.1}, short, None, rival).passed
    near = find(entry | {"direction": "same", "within_Gy": 1.9}, short, None, rival)
    assert "raise the dose of Mine" in near.to_do
    bare = learner("One", replace(one, prescription=None))
    assert "One has no prescription" in find(entry | {"direction": "lower"}, short, None, bare).found
    # the latest of several is compared with
    kind = PlanKind("other", "a plan", (read_check({"check": "fields", "maximum": 1}, "test"),))
    later = learner("Later", one)
    work = LearnerWork("case", (), learner("Mine", short), (rival, later, learner("Two", TWO)))
    assert kind.found_in(work) is later
