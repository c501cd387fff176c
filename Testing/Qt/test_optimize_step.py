"""The step Optimize, as a person drives it: objectives from the goals, go, stop, cancel, and what came of it."""

from __future__ import annotations

import time

import numpy as np
import pytest
from held_search import hold_at
from planning_steps import make_step

from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Beam, Plan, Prescription, Structure

GOALS = ("PTV D95% >= 18 Gy", "Organ Mean <= 8 Gy")


@pytest.fixture
def made(desktop):
    """The step with a water cube, a target, an organ and three beams."""
    from DoseEngineLib.mrml.plan_node import setGoals
    from DoseEngineLib.mrml.segmentations import setStructures
    from DoseEngineLib.mrml.volumes import setVolumeFromArray
    from RTPlanningLib.widget.optimize_step import OptimizeStep

    grid = Grid.from_spacing((24, 24, 24), 6.0, (-69.0, -69.0, -69.0))
    hu = np.full(grid.shape, -1000, np.int16)
    hu[3:-3, 3:-3, 3:-3] = 0
    centres = grid.centres_RAS_mm()
    structures = [
        Structure("PTV", np.linalg.norm(centres - (0.0, 25.0, 0.0), axis=-1) < 16.0, grid, "PTV"),
        Structure("Organ", np.linalg.norm(centres - (0.0, -30.0, 0.0), axis=-1) < 14.0, grid),
        Structure("External", hu > -500, grid, "EXTERNAL"),
    ]
    scene = desktop.scene
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Water cube")
    setVolumeFromArray(volume, hu, grid)
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Structures")
    setStructures(segmentation, structures, volume)
    made = make_step(desktop, OptimizeStep)
    made.session.chooseCase(volume, segmentation)
    beams = tuple(
        Beam.open_field(f"G{g:g}", gantry_deg=g, isocenter_RAS_mm=(0.0, 25.0, 0.0), meterset_MU=None)
        for g in (0.0, 100.0, 260.0)
    )
    made.planNode = made.session.setPlan(
        Plan("Three", beams, Prescription(20.0, 10, "PTV", "mean"), dose_grid_spacing_mm=6.0)
    )
    setGoals(made.planNode, GOALS)
    made.settings = optimizer_settings(scene)
    made.settings.bixel_mm = 10.0
    made.settings.corrections = 0
    yield made
    made.session.release()


def optimizer_settings(scene):
    from DoseEngineLib.widget.module_parameters import moduleParameterNode
    from OptimizerLib.widget.optimizer_parameters import OptimizerParameters

    return OptimizerParameters(moduleParameterNode(scene, "Optimizer"))


def node_ids(scene) -> list[str]:
    return sorted(scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes()))


def test_from_goals_to_a_judged_plan_in_two_presses(made, picture, heartbeat) -> None:
    from DoseEngineLib.mrml.plan_node import deliveredPlan, isDoseCurrent

    ui = made.ui
    assert "Not optimized" in ui.outcomeLabel.text()
    ui.goalRowsButton.click()
    assert ui.rowsEdit.toPlainText().splitlines() == [
        "PTV uniform 20 Gy, weight 100",
        "PTV D95% >= 18 Gy, weight 100",
        "Organ Mean <= 8 Gy, weight 20",
        "External falloff 20 Gy -> 6 Gy in 40 mm from PTV, weight 5",
        "fluence smoothness, weight 0.01",
    ]
    # kernels that are compiled while it runs would hold the interpreter
    ui.optimizeButton.click()
    with heartbeat() as beat:
        ui.optimizeButton.click()
    assert "with leaves" in made.statusLabel.text(), made.statusLabel.text()
    assert beat.turns > 5
    assert beat.longest_cpu_s < 0.2, beat.where
    assert isDoseCurrent(made.planNode)
    assert max(len(beam.control_points) for beam in deliveredPlan(made.planNode).beams) > 2
    assert [ui.outcomeTable.item(row, 0).text() for row in range(5)] == ui.rowsEdit.toPlainText().splitlines()
    assert [ui.outcomeTable.item(row, 3).text() for row in range(1, 3)] == ["yes", "yes"]
    assert "reaches" in ui.outcomeLabel.text()
    assert ui.optimizeButton.isEnabled()
    assert not ui.stopButton.isEnabled()
    assert picture(made, "OptimizeStep").stat().st_size > 5000


def test_stop_takes_what_there_is_and_going_on_begins_there(made, monkeypatch) -> None:
    ui, logic = made.ui, made.logic.optimizerLogic
    ui.rowsEdit.setPlainText("PTV uniform 20 Gy, weight 100\nOrgan Mean <= 2 Gy, weight 20")
    assert not ui.goOnCheck.isEnabled()

    def press_stop() -> None:
        assert not ui.optimizeButton.isEnabled()
        assert ui.stopButton.isEnabled()
        ui.stopButton.click()
        assert "Stopping" in made.statusLabel.text()
        assert not ui.stopButton.isEnabled()

    seen = hold_at(made.logic.optimizerLogic, monkeypatch, 2, press_stop)
    ui.optimizeButton.click()
    assert seen == [0, 1, 2]
    assert "with leaves" in made.statusLabel.text()
    monkeypatch.undo()
    stopped = logic.optimizedFluence(made.planNode)
    ui.goOnCheck.setChecked(True)
    assert made.step.parameters.goOn
    ui.optimizeButton.click()
    assert logic.optimizedFluence(made.planNode).history[0].value == pytest.approx(stopped.history[-1].value, rel=1e-6)


def test_cancel_leaves_the_scene_as_it_was(made, monkeypatch, desktop) -> None:
    ui = made.ui
    ui.rowsEdit.setPlainText("PTV uniform 20 Gy, weight 100")
    before, plan = node_ids(desktop.scene), made.session.plan
    pressed = []

    def press_cancel() -> None:
        pressed.append(time.monotonic())
        made.cancelButton.click()

    hold_at(made.logic.optimizerLogic, monkeypatch, 1, press_cancel)
    ui.optimizeButton.click()
    assert time.monotonic() - pressed[0] < 1.0
    assert "Cancelled" in made.statusLabel.text()
    assert node_ids(desktop.scene) == before
    assert made.session.plan == plan
    assert ui.optimizeButton.isEnabled()


def test_objectives_that_cannot_be_used_are_told_where_they_stand(made, desktop) -> None:
    ui = made.ui
    ui.rowsEdit.setPlainText("PTV about 20 Gy\nHeart Mean <= 3 Gy")
    assert "Line 1" in ui.rowsLabel.text()
    assert "no structure Heart" in ui.rowsLabel.text()
    ui.optimizeButton.click()
    assert "cannot be read" in made.statusLabel.text()
    ui.rowsEdit.setPlainText("")
    assert not ui.optimizeButton.isEnabled()
    made.session.choosePlan(None)
    assert not ui.rowsEdit.isEnabled()
    assert "plan first" in ui.outcomeLabel.text()


def test_objectives_follow_the_plan_from_scripts_and_from_the_optimizer(made) -> None:
    from OptimizerLib.mrml.objective_list_nodes import objectiveLines, setObjectiveLines

    setObjectiveLines(made.planNode, ["PTV uniform 21 Gy"])
    made.session.update()
    assert made.ui.rowsEdit.toPlainText() == "PTV uniform 21 Gy"
    made.ui.rowsEdit.setPlainText("PTV uniform 22 Gy\nPTV about")
    assert objectiveLines(made.planNode) == ("PTV uniform 22 Gy", "PTV about")


def test_more_opens_the_optimizer_with_this_plan(made, monkeypatch) -> None:
    import slicer

    opened = []
    monkeypatch.setattr(slicer.util, "selectModule", opened.append, raising=False)
    made.ui.moreButton.click()
    assert opened == ["Optimizer"]
    assert made.settings.planNode is made.planNode
