"""The inverse plans of TG-119: published goals, bars, and page and table of a plan made here in seconds."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from report_page import Page

from DoseEngineLib.errors import CaseError
from RTPlanningLib.evaluation.dvh import Dvh
from RTPlanningLib.evaluation.goals import evaluate_goals, parse_goal
from RTPlanningLib.report.inverse_validation_report import inverse_validation_csv, render_inverse_validation_report
from RTPlanningLib.samples import load_sample
from RTPlanningLib.validation import inverse_plans
from RTPlanningLib.validation.inverse_plans import (
    InversePlan,
    PublishedCase,
    PublishedGoal,
    make_inverse_plan,
    published_cases,
    published_source,
    validate_inverse_plans_to_folder,
)

COARSE_PLAN = """\
name = "C-shape, coarse"

[prescription]
dose_Gy = 50
fractions = 25
target = "PTV"
normalization = "D95"

[beams]
gantry = [0, 120, 240]

[optimization]
objectives = ["PTV uniform 51.5 Gy, weight 100", "Core Max <= 15 Gy, weight 20"]
bixel_mm = 20
spacing_mm = 10
levels = 3
iterations = 10
corrections = 1

[dose]
spacing_mm = 10
"""


def case_of(sample: str) -> PublishedCase:
    (case,) = (case for case in published_cases() if case.sample == sample)
    return case


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three coarse beams on the C-shape, planned and written; and what was said on the way."""
    folder = tmp_path_factory.mktemp("inverse")
    (folder / "coarse.toml").write_text(COARSE_PLAN, encoding="utf-8")
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inverse_plans, "find_plan_file", lambda name: folder / "coarse.toml")
        patch.setattr(inverse_plans, "load_sample", lambda name: load_sample(name, 5.0))
        output = validate_inverse_plans_to_folder(
            folder / "out", cases=["tg119-cshape"], progress=lambda fraction, text: said.append((fraction, text))
        )
    return output, said


# What the report says

TABLE_NAMES = {
    "tg119-multitarget": "MultiTarget",
    "tg119-prostate": "Prostate",
    "tg119-headneck": "H&N",
    "tg119-cshape": "CShape easy",
}
STRUCTURES = {
    "central": ["PTV_Central"],
    "superior": ["PTV_Superior"],
    "inferior": ["PTV_Inferior"],
    "PTV": ["PTV"],
    "rectum": ["Rectum"],
    "bladder": ["Bladder"],
    "cord": ["SpinalCord"],
    "parotid": ["Parotid_L", "Parotid_R"],
    "core": ["Core"],
}


@pytest.mark.reference
def test_the_published_goals_are_those_of_another_transcription(shared_data):
    """Limits, means and deviations of every goal are those of the table of benchmarks, in cGy there."""
    table = json.loads((shared_data / "tables" / "benchmarks.json").read_text(encoding="utf-8"))
    table = table["TG119"]["goals_results_cGy (mean,sd)"]
    for case in published_cases():
        expected = set()
        for key, (mean, sd) in table[TABLE_NAMES[case.sample]].items():
            name, metric, sign, limit = re.fullmatch(r"(\w+) (D\d+|max)([<>=])(\d+)", key).groups()
            metric = "Max" if metric == "max" else f"{metric}%"
            # "=" is that the plans were normalized so: at least the dose
            operator = "<=" if sign == "<" else ">="
            expected |= {(s, metric, operator, float(limit), mean, sd) for s in STRUCTURES[name]}
        found = [
            (goal.structure, str(goal.metric), goal.operator, 100 * goal.limit, 100 * p.mean, 100 * p.sd)
            for p in case.goals
            for goal in [parse_goal(p.goal)]
        ]
        assert len(found) == len(expected)
        for line in found:
            (same,) = (e for e in expected if e[:3] == line[:3])
            assert line[3:] == pytest.approx(same[3:]), line


def test_every_goal_is_of_a_structure_of_its_sample_and_in_Gy():
    cases = published_cases()
    assert [case.sample for case in cases] == list(TABLE_NAMES)
    assert [len(case.goals) for case in cases] == [6, 6, 6, 3]
    for case in cases:
        names = {structure.name for structure in load_sample(case.sample).structures}
        goals = [parse_goal(goal.goal) for goal in case.goals]
        assert {goal.structure for goal in goals} <= names
        assert {goal.unit for goal in goals} == {"Gy"}
    assert "Ezzell" in published_source()


# Bars


def test_a_goal_is_a_bar_where_institutions_met_it_on_average():
    assert PublishedGoal("PTV D95% >= 50 Gy", 50.1, 0.2).met_on_average
    assert PublishedGoal("PTV D95% >= 50 Gy", 50.0, 0.2).met_on_average
    assert not PublishedGoal("PTV D95% >= 50 Gy", 49.9, 0.2).met_on_average
    assert PublishedGoal("Core D10% <= 25 Gy", 24.9, 3.0).met_on_average
    assert not PublishedGoal("Core D10% <= 25 Gy", 25.1, 3.0).met_on_average
    # of the report, only the central target of the multi-target case was not brought where it was wanted
    asked_too_much = [goal.goal for case in published_cases() for goal in case.goals if not goal.met_on_average]
    assert asked_too_much == ["PTV_Central D99% >= 50 Gy", "PTV_Central D10% <= 53 Gy"]


def judged(case: PublishedCase, doses_Gy: dict[str, float], made: InversePlan) -> InversePlan:
    """The plan as if every structure had one dose."""
    dvhs = {name: Dvh(name, 8.0, np.full(1000, dose_Gy, np.float32)) for name, dose_Gy in doses_Gy.items()}
    return replace(made, case=case, dvhs=dvhs, results=tuple(evaluate_goals([g.goal for g in case.goals], dvhs)))


@pytest.mark.parametrize(
    ("doses_Gy", "missed"),
    [
        ({"PTV": 50.1, "Core": 24.9}, []),
        ({"PTV": 49.9, "Core": 24.9}, ["PTV D95% >= 50 Gy"]),
        ({"PTV": 54.9, "Core": 25.1}, ["Core D10% <= 25 Gy"]),
        ({"PTV": 55.1, "Core": 25.1}, ["PTV D10% <= 55 Gy", "Core D10% <= 25 Gy"]),
        # a goal that could not be evaluated is not reached
        ({"PTV": 50.1}, ["Core D10% <= 25 Gy"]),
    ],
)
def test_a_value_is_on_the_right_side_of_its_bar(made, doses_Gy, missed):
    assert judged(case_of("tg119-cshape"), doses_Gy, made[0].plans[0]).missed == tuple(missed)


def test_a_goal_that_institutions_missed_is_no_bar(made):
    doses_Gy = {"PTV_Central": 45.0, "PTV_Superior": 26.0, "PTV_Inferior": 14.0}
    plan = judged(case_of("tg119-multitarget"), doses_Gy, made[0].plans[0])
    assert [result.passed for result in plan.results] == [False, True, True, True, True, True]
    assert plan.missed == ()
    (line,) = replace(made[0], plans=(plan,)).headlines()
    assert "Multi-target: all 4 bars reached;" in line


# A plan made here


def test_a_small_plan_is_judged_by_its_deliverable_dose(made):
    """Normalized to 50 Gy to 95 %: that goal is met just so; three coarse beams miss the others."""
    output, said = made
    (plan,) = output.plans
    values = [result.value for result in plan.results]
    assert values[0] == pytest.approx(50.0, abs=1e-3)
    assert [result.passed for result in plan.results] == [True, False, False]
    assert values == [dvh_value(plan, goal.goal) for goal in plan.case.goals]
    assert all(beam.meterset_MU > 0 and len(beam.control_points) > 2 for beam in plan.plan.beams)
    (line,) = output.headlines()
    meterset = sum(beam.meterset_MU for beam in plan.plan.beams)
    assert f"missed: PTV D10% <= 55 Gy; Core D10% <= 25 Gy; {meterset:.0f} MU" in line
    fractions = [fraction for fraction, _ in said]
    assert fractions == sorted(fractions)
    assert said[-1] == (1.0, "Done")
    assert all(text.startswith("C-shape, easier version: ") for _, text in said[:-1])


def dvh_value(plan: InversePlan, goal: str) -> float:
    read = parse_goal(goal)
    return read.metric.evaluate(plan.dvhs[read.structure], 50.0)[0]


def test_the_table_holds_every_goal(made):
    """As written to the folder; where a goal was not evaluated, value and verdict are empty."""
    output, _ = made
    (plan,) = output.plans
    text = (output.folder / "validation-imrt.csv").read_text(encoding="utf-8")
    assert text == inverse_validation_csv(output.plans)
    rows = list(csv.DictReader(StringIO(text)))
    assert [tuple(row.values()) for row in rows] == [
        ("tg119-cshape", "PTV D95% >= 50 Gy", "50.1", "0.17", "yes", f"{plan.results[0].value:.3f}", "Gy", "yes"),
        ("tg119-cshape", "PTV D10% <= 55 Gy", "54.4", "0.52", "yes", f"{plan.results[1].value:.3f}", "Gy", "no"),
        ("tg119-cshape", "Core D10% <= 25 Gy", "22.0", "3.14", "yes", f"{plan.results[2].value:.3f}", "Gy", "no"),
    ]
    open_goal = judged(plan.case, {"PTV": 50.1}, plan)
    last = list(csv.DictReader(StringIO(inverse_validation_csv([open_goal]))))[-1]
    assert (last["goal"], last["value"], last["passed"]) == ("Core D10% <= 25 Gy", "", "")


class TablePage(Page):
    """With its cells row by row."""

    def __init__(self, text: str) -> None:
        self.rows: list[list[str]] = []
        self._cell = False
        super().__init__(text)

    def handle_starttag(self, tag, attrs):
        super().handle_starttag(tag, attrs)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data):
        super().handle_data(data)
        if self._cell:
            self.rows[-1][-1] += data


def test_the_page_shows_what_was_published_and_what_was_reached(made):
    output, _ = made
    (plan,) = output.plans
    page = TablePage((output.folder / "validation-imrt.html").read_text(encoding="utf-8"))
    assert "Not for clinical use" in page.text
    assert "Bars reached1 of 3" in page.text
    assert published_source() in page.text
    values = [f"{result.value:.2f}" for result in plan.results]
    assert page.rows[1:4] == [
        ["PTV D95% >= 50 Gy", "50.10 ± 0.17", "yes", values[0], "passed"],
        ["PTV D10% <= 55 Gy", "54.40 ± 0.52", "yes", values[1], "failed"],
        ["Core D10% <= 25 Gy", "22.00 ± 3.14", "yes", values[2], "failed"],
    ]
    facts = dict(row for row in page.rows if len(row) == 2)
    assert facts["Beams"] == "3"
    assert facts["Engine"] == plan.plan.engine
    assert facts["MU a fraction"] == f"{sum(beam.meterset_MU for beam in plan.plan.beams):.0f}"
    assert facts["Segments"] == str(sum(len(beam.control_points) // 2 for beam in plan.plan.beams))
    assert len(facts["Objectives by the engine's dose"].split(" → ")) == 2
    page.assert_one_file(pictures=1)
    assert not any("href" in attributes for _, attributes in page.tags)


def test_the_page_marks_what_was_not_evaluated_and_what_is_no_bar(made):
    plan = judged(case_of("tg119-multitarget"), {"PTV_Central": 45.0, "PTV_Superior": 26.0}, made[0].plans[0])
    plan = replace(plan, colors={})
    text = render_inverse_validation_report([plan], "A source & more.", {"rtplanning": "0.1.0"})
    page = TablePage(text)
    assert "A source & more." in page.text
    assert "rtplanning 0.1.0" in page.text
    assert page.rows[1] == ["PTV_Central D99% >= 50 Gy", "49.55 ± 1.62", "no", "45.00", "failed"]
    assert page.rows[3][2:] == ["yes", "26.00", "passed"]
    assert page.rows[5][2:4] == ["yes", "–"]
    assert page.rows[5][4].startswith("not evaluated")
    assert "no DVH of a structure named PTV_Inferior" in page.rows[5][4]
    assert "Bars reached2 of 4" in page.text
    assert text == render_inverse_validation_report([plan], "A source & more.", {"rtplanning": "0.1.0"})


# What is refused


@pytest.mark.parametrize("name", ["thorax", "tg119-nothing"])
def test_a_case_that_is_not_of_the_report_is_refused(tmp_path, name):
    with pytest.raises(CaseError, match=rf"no case '{name}'; choose of: tg119-multitarget, tg119-prostate"):
        validate_inverse_plans_to_folder(tmp_path / "out", cases=["tg119-cshape", name])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("emptied", [True, False])
def test_a_goal_without_its_structure_is_refused_before_anything_is_planned(monkeypatch, emptied):
    def without_core(name):
        sample = load_sample(name, 5.0)
        core = sample.structures.index(next(s for s in sample.structures if s.name == "Core"))
        others = sample.structures[:core] + sample.structures[core + 1 :]
        if not emptied:
            return replace(sample, structures=others)
        empty = replace(sample.structures[core], mask=np.zeros(sample.grid.shape, bool))
        return replace(sample, structures=(*others, empty))

    def planned(*arguments, **options):
        pytest.fail("planning began")

    monkeypatch.setattr(inverse_plans, "load_sample", without_core)
    monkeypatch.setattr(inverse_plans, "plan_fluence", planned)
    with pytest.raises(CaseError, match=r"Goal 'Core D10% <= 25 Gy' of C-shape.* has no structure Core, it has"):
        make_inverse_plan(case_of("tg119-cshape"))
