"""Fluence optimized on a plan node: plan, images, history and dose in the scene, and a scene left alone otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from DoseEngineLib.errors import Cancelled, SchemaError
from DoseEngineLib.plan import Beam, Plan, Prescription
from OptimizerLib.errors import OptimizationError
from OptimizerLib.fluence_planning import FluenceSettings
from OptimizerLib.planning_goals import PlanningGoals
from RTPlanningLib.samples import load_sample

ROWS = ("PTV uniform 50 Gy, weight 100", "Core Max <= 30 Gy, weight 10", "fluence smoothness, weight 0.1")
GOALS = PlanningGoals.from_entries(ROWS)
SETTINGS = FluenceSettings(bixel_mm=10.0, spacing_mm=8.0, iterations=30, levels=4, corrections=0, tolerance=1e-6)


@pytest.fixture(scope="module")
def case():
    """The C-shape, coarse."""
    return load_sample("tg119-cshape", 5.0)


@pytest.fixture
def logic(scene):
    from RTPlanningLib.logic import RTPlanningLogic

    return RTPlanningLogic(scene)


@pytest.fixture
def planNode(logic, case):
    """Three open fields around the C-shape."""
    beams = tuple(
        Beam.open_field(f"G{g:g}", gantry_deg=g, collimator_deg=10.0, isocenter_RAS_mm=(0.0, 12.0, 0.0))
        for g in (0.0, 120.0, 240.0)
    )
    plan = Plan("Three", beams, Prescription(50.0, 25, "PTV", "mean"), dose_grid_spacing_mm=8.0)
    return logic.createPlan(plan, *logic.loadCase(case), ["PTV D95% >= 30 Gy", "Core Max <= 60 Gy"])


def nodeIDs(scene) -> list[str]:
    return [scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())]


def test_plan_fluence_history_and_dose_are_in_the_scene(scene, logic, planNode, tmp_path):
    from DoseEngineLib.mrml.plan_node import referencedNodes
    from DoseEngineLib.mrml.volumes import arrayFromVolume, gridFromVolume
    from OptimizerLib.mrml.fluence_nodes import BEAM_FLUENCE
    from OptimizerLib.mrml.objective_history_nodes import HISTORY_CHART, HISTORY_TABLE

    steps = []
    found = logic.optimizeFluence(planNode, GOALS, SETTINGS, lambda fraction, text: steps.append(fraction))
    assert steps == sorted(steps)
    delivered = logic.deliveredPlan(planNode)
    assert all(len(beam.control_points) > 2 for beam in delivered.beams)
    dvhs = logic.calculateDvh(planNode)
    assert dvhs["PTV"].mean_Gy == pytest.approx(50.0, rel=1e-3)
    assert [result.verdict for result in logic.evaluateGoals(planNode, dvhs=dvhs)] == ["passed", "passed"]

    images = referencedNodes(planNode, BEAM_FLUENCE)
    assert [node.GetAttribute("RTPlanning.BeamName") for node in images] == ["G0", "G120", "G240"]
    ends = np.cumsum([0] + [beam.size for beam in found.influence.beams])
    for node, beam, start, stop in zip(images, found.influence.beams, ends[:-1], ends[1:], strict=True):
        grid, values = gridFromVolume(node), arrayFromVolume(node)
        weights = found.solution.weights[start:stop]
        assert values.shape[0] == 1
        # every bixel's centre, brought into RAS by the beam's frame, lies in the voxel that has its weight
        centres = beam.frame("HFS").to_ras(np.stack((beam.x_mm, beam.y_mm, np.zeros(beam.size)), axis=1))
        i, j, k = np.round(grid.ras_to_index(centres)).astype(int).T
        np.testing.assert_allclose(values[k, j, i], weights, rtol=1e-6)
        np.testing.assert_allclose(grid.ras_to_index(centres), np.stack((i, j, k), axis=1), atol=1e-6)

    table, chart = planNode.GetNodeReference(HISTORY_TABLE), planNode.GetNodeReference(HISTORY_CHART)
    assert table.GetNumberOfRows() == len(found.history)
    assert [table.GetColumnName(n) for n in range(2)] == ["Iteration", "Total"]
    last = float(table.GetCellText(table.GetNumberOfRows() - 1, 1))
    assert last == pytest.approx(found.solution.value, rel=1e-4)
    assert chart.GetNumberOfPlotSeriesNodes() == 1 + len(GOALS.rows)

    # saved and opened again, the plan has its fluence
    logic.saveScene(tmp_path / "plan.mrb")
    logic.loadScene(tmp_path / "plan.mrb")
    (again,) = logic.planNodes()
    kept = logic.optimizerLogic.optimizedFluence(again)
    np.testing.assert_array_equal(kept.weights_MU, found.solution.weights)
    assert kept.objectives == ROWS
    assert kept.settings == SETTINGS
    assert len(referencedNodes(again, BEAM_FLUENCE)) == 3
    assert again.GetNodeReference(HISTORY_CHART).GetNumberOfPlotSeriesNodes() == 1 + len(ROWS)


def test_a_changed_weight_goes_on_from_the_last_fluence(scene, logic, planNode, monkeypatch):
    import OptimizerLib.logic as module

    first = logic.optimizeFluence(planNode, GOALS, SETTINGS)
    count = len(nodeIDs(scene))
    monkeypatch.setattr(module, "fluence_influence", lambda *_: pytest.fail("the influence was calculated again"))
    changed = PlanningGoals.from_entries([ROWS[0], "Core Max <= 30 Gy, weight 12", ROWS[2]])
    kept = logic.optimizerLogic.optimizedFluence(planNode)
    second = logic.optimizeFluence(planNode, changed, SETTINGS, start=kept)
    assert second.influence is first.influence
    assert second.history[0].value < 1.2 * first.history[-1].value < first.history[0].value
    # nodes of the former run are replaced, not added to
    assert len(nodeIDs(scene)) == count


@pytest.mark.parametrize("stop_at", [0.1, 0.4, 0.9])
def test_a_cancelled_optimization_leaves_the_scene(scene, logic, planNode, stop_at):
    plan, before = logic.planFromNode(planNode), nodeIDs(scene)

    def cancel(fraction, text):
        if fraction >= stop_at:
            raise Cancelled("stopped by the user")

    with pytest.raises(Cancelled):
        logic.optimizeFluence(planNode, GOALS, SETTINGS, cancel)
    assert logic.planFromNode(planNode) == plan
    assert nodeIDs(scene) == before
    assert logic.optimizerLogic.optimizedFluence(planNode) is None


@pytest.mark.parametrize(
    ("rows", "settings", "expected"),
    [
        (["Heart Max <= 3 Gy"], SETTINGS, "'Heart'"),
        ([], SETTINGS, "at least one row"),
        (["PTV uniform 50 Gy"], FluenceSettings(delivery="ideal"), "step_and_shoot"),
    ],
)
def test_what_cannot_be_optimized_is_refused(scene, logic, planNode, rows, settings, expected):
    before = nodeIDs(scene)
    with pytest.raises(OptimizationError, match=expected):
        logic.optimizeFluence(planNode, PlanningGoals.from_entries(rows), settings)
    assert nodeIDs(scene) == before


def test_fluence_of_a_newer_version_is_refused(logic, planNode):
    planNode.SetParameter("OptimizedFluence", '{"schema_version": 99}')
    with pytest.raises(SchemaError, match=r"plan Three.*version 99"):
        logic.optimizerLogic.optimizedFluence(planNode)
