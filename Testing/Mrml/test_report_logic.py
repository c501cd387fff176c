"""A plan of the scene as files: report, DVHs, goals, plan."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest

from DoseEngineLib.errors import Cancelled, PlanError
from DoseEngineLib.mrml.plan_node import setPlan
from DoseEngineLib.plan import plan_to_dict
from RTPlanningLib.logic import RTPlanningLogic
from RTPlanningLib.output_folder import OutputError
from RTPlanningLib.report_logic import ReportLogic


@pytest.fixture
def planned(scene, case, plan):
    """The logics and a plan node with a dose."""
    logic = RTPlanningLogic(scene)
    planNode = logic.createPlan(plan, *logic.loadCase(case), case.goals)
    logic.calculateDose(planNode)
    return logic, ReportLogic(scene), planNode


def test_the_report_of_a_plan_in_the_scene(planned, tmp_path, scene) -> None:
    logic, reports, planNode = planned
    nodes = scene.GetNumberOfNodes()
    told = []
    path = reports.writeReport(
        planNode, tmp_path / "report.html", progress=lambda fraction, text: told.append((fraction, text))
    )
    text = path.read_text(encoding="utf-8")
    assert scene.GetNumberOfNodes() == nodes
    delivered = logic.deliveredPlan(planNode)
    for beam in delivered.beams:
        assert beam.name in text
        assert f"{beam.meterset_MU:.1f}" in text
    goals = logic.evaluateGoals(planNode)
    assert f"{goals[0].value:.2f}" in text
    assert "Rectum &lt;1&gt;" in text
    assert "not for clinical use" in text.lower()
    assert text.count("data:image/") >= 4
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)
    assert told[-1][0] == 1.0


def test_csv_files_hold_what_the_scene_shows(planned, tmp_path) -> None:
    logic, reports, planNode = planned
    goals = logic.evaluateGoals(planNode)
    rows = list(csv.DictReader(reports.writeGoals(planNode, tmp_path / "goals.csv").open(encoding="utf-8")))
    assert [row["Goal"] for row in rows] == [str(goal.goal) for goal in goals]
    assert float(rows[0]["Achieved"]) == pytest.approx(goals[0].value, abs=1e-4)
    assert rows[0]["Result"] == goals[0].verdict
    dvhs = logic.calculateDvh(planNode)
    header = reports.writeDvhs(planNode, tmp_path / "dvh.csv").read_text(encoding="utf-8").splitlines()[0]
    assert all(f"{name} Dose (Gy)" in header for name in dvhs)
    plan = json.loads(reports.writePlan(planNode, tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert plan == json.loads(json.dumps(plan_to_dict(logic.deliveredPlan(planNode))))


def test_nothing_is_written_of_a_plan_that_changed_since_its_dose(planned, tmp_path, plan) -> None:
    _, reports, planNode = planned
    setPlan(planNode, replace(plan, dose_grid_spacing_mm=4.0))
    for write in (reports.writeReport, reports.writeDvhs, reports.writeGoals, reports.writePlan):
        with pytest.raises(PlanError, match="changed after its dose"):
            write(planNode, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_cancel_and_a_missing_folder_leave_no_file(planned, tmp_path) -> None:
    _, reports, planNode = planned

    def cancel(fraction: float, text: str) -> None:
        if fraction > 0.6:
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        reports.writeReport(planNode, tmp_path / "report.html", progress=cancel)
    with pytest.raises(OutputError, match="choose another folder"):
        reports.writeGoals(planNode, tmp_path / "none" / "goals.csv")
    assert list(tmp_path.iterdir()) == []
