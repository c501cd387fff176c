"""What the optimizer's logic offers a panel: memory estimated, Pareto plans, and results that stay with the plan."""

from __future__ import annotations

import pytest

from DoseEngineLib.errors import Cancelled, PlanError, SchemaError
from DoseEngineLib.plan import Beam, Plan, Prescription
from OptimizerLib.errors import OptimizationError
from OptimizerLib.fluence_planning import FluenceSettings
from OptimizerLib.multicriteria import Navigator
from OptimizerLib.planning_goals import PlanningGoals
from RTPlanningLib.samples import load_sample

ROWS = ("PTV uniform 50 Gy, weight 100", "Core Max <= 30 Gy, weight 10", "fluence smoothness, weight 0.1")
GOALS = PlanningGoals.from_entries(ROWS)
SETTINGS = FluenceSettings(bixel_mm=10.0, spacing_mm=8.0, iterations=20, levels=4, corrections=0)


@pytest.fixture(scope="module")
def case():
    """The C-shape, coarse."""
    return load_sample("tg119-cshape", 5.0)


@pytest.fixture
def planning(scene):
    from RTPlanningLib.logic import RTPlanningLogic

    return RTPlanningLogic(scene)


@pytest.fixture
def logic(planning):
    return planning.optimizerLogic


@pytest.fixture
def planNode(planning, case):
    """Two open fields around the C-shape."""
    beams = tuple(Beam.open_field(f"G{g:g}", gantry_deg=g, isocenter_RAS_mm=(0.0, 12.0, 0.0)) for g in (0.0, 130.0))
    plan = Plan("Two", beams, Prescription(50.0, 25, "PTV", "mean"), dose_grid_spacing_mm=8.0)
    return planning.createPlan(plan, *planning.loadCase(case), ["PTV D95% >= 30 Gy", "Core Max <= 60 Gy"])


def nodeIDs(scene) -> list[str]:
    return [scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())]


def test_the_estimate_is_that_of_the_influence_and_changes_nothing(scene, logic, planNode):
    before = nodeIDs(scene)
    estimate = logic.estimateInfluence(planNode, GOALS, SETTINGS)
    assert nodeIDs(scene) == before
    matrix = logic.optimizeFluence(planNode, GOALS, SETTINGS).influence.matrix
    assert (estimate.voxels, estimate.bixels) == matrix.shape
    assert estimate.matrix_bytes == pytest.approx(matrix.data.nbytes + matrix.indices.nbytes, rel=0.1)


def columns_of(tableNode) -> dict[str, list[str]]:
    from DoseEngineLib.mrml.table_columns import tableTexts

    names, rows = tableTexts(tableNode)
    return {name: [row[n] for row in rows] for n, name in enumerate(names)}


def test_results_stay_with_the_plan_and_replace_former_ones(scene, planning, logic, planNode, tmp_path):
    from DoseEngineLib.mrml.plan_node import deliveredPlan
    from OptimizerLib.mrml.optimization_result_nodes import BEAMS_TABLE, OUTCOME_TABLE, RESULT_CHART

    before = planning.planFromNode(planNode)
    found = logic.optimizeFluence(planNode, GOALS, SETTINGS)
    logic.reportFluence(planNode, found, before)
    outcome = columns_of(planNode.GetNodeReference(OUTCOME_TABLE))
    assert outcome["Objective"] == list(ROWS)
    dvhs = planning.calculateDvh(planNode)
    assert outcome["Delivered"][1] == f"{dvhs['Core'].max_Gy:.4g} Gy"
    assert outcome["Reached"][1] == ("yes" if dvhs["Core"].max_Gy <= 30.0 else "no")
    assert outcome["Reached"][0] == ""
    beams = columns_of(planNode.GetNodeReference(BEAMS_TABLE))
    assert beams["MU after"] == [f"{beam.meterset_MU:.1f}" for beam in deliveredPlan(planNode).beams]
    assert all(int(count) >= 1 for count in beams["Segments"])
    chart = planNode.GetNodeReference(RESULT_CHART)
    names = [chart.GetNthPlotSeriesNode(n).GetName() for n in range(chart.GetNumberOfPlotSeriesNodes())]
    assert names == ["PTV, delivered", "Core, delivered", "PTV, ideal", "Core, ideal"]
    table = columns_of(chart.GetNthPlotSeriesNode(0).GetTableNode())
    at = [float(dose) for dose in table["Dose"]].index(pytest.approx(float(table["Dose"][60])))
    expected = dvhs["PTV"].volume_percent_at_dose(float(table["Dose"][60]))
    assert float(table["PTV, delivered"][at]) == pytest.approx(expected, abs=0.5)

    count = len(nodeIDs(scene))
    logic.reportFluence(planNode, found, before)
    assert len(nodeIDs(scene)) == count
    planning.saveScene(tmp_path / "plan.mrb")
    planning.loadScene(tmp_path / "plan.mrb")
    (again,) = planning.planNodes()
    assert columns_of(again.GetNodeReference(OUTCOME_TABLE)) == outcome
    assert again.GetNodeReference(RESULT_CHART).GetNumberOfPlotSeriesNodes() == 4


def test_a_report_needs_a_dose_and_a_cancelled_one_changes_nothing(scene, logic, planNode):
    found = logic.optimizeFluence(planNode, GOALS, SETTINGS)
    before = nodeIDs(scene)

    def cancel(fraction, text):
        raise Cancelled("by hand")

    with pytest.raises(Cancelled):
        logic.reportFluence(planNode, found, found.plan, cancel)
    assert nodeIDs(scene) == before
    other = logic.scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "No plan")
    with pytest.raises(PlanError, match="not a plan node"):
        logic.deliveredDvhs(other, ["PTV"])


def test_pareto_plans_lead_to_a_plan_that_is_their_mixture(logic, planNode):
    plans = logic.planPareto(planNode, GOALS, [("PTV",), ("Core",)], SETTINGS, maxPlans=3, gap=0.2)
    assert plans.front.goals == ("PTV", "Core")
    navigator = Navigator(plans.front)
    wanted = plans.fluence(navigator)
    goals = plans.weighted_goals(navigator.position.shares)
    found = logic.optimizeFluence(planNode, goals, SETTINGS, start=wanted, search=False)
    assert found.solution.weights == pytest.approx(wanted.weights_MU)
    more = logic.planPareto(planNode, GOALS, (), SETTINGS, maxPlans=4, gap=0.01, previous=plans)
    assert more.front.plans >= plans.front.plans
    with pytest.raises(OptimizationError, match="Two to four goals"):
        logic.planPareto(planNode, GOALS, [("PTV", "Core")], SETTINGS)


def test_objectives_of_a_plan_stay_as_typed(planning, planNode):
    from OptimizerLib.mrml.objective_list_nodes import objectiveLines, setObjectiveLines
    from OptimizerLib.mrml.plan_goal_rows import rowsOfPlanGoals

    assert objectiveLines(planNode) == ("PTV uniform 50 Gy, weight 100", "fluence smoothness, weight 0.01")
    setObjectiveLines(planNode, ["PTV about", "Kern Größe <= 3"])
    assert objectiveLines(planNode) == ("PTV about", "Kern Größe <= 3")
    setObjectiveLines(planNode, [])
    assert objectiveLines(planNode) == ()
    planNode.SetParameter("Objectives", "{")
    with pytest.raises(SchemaError, match="damaged"):
        objectiveLines(planNode)
    rows = [str(row) for row in rowsOfPlanGoals(planNode).rows]
    # the body is told by its role, the target by the prescription
    assert rows[0] == "PTV uniform 50 Gy, weight 100"
    assert rows[3].startswith("External falloff 50 Gy")
