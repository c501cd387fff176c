"""The Plan Optimizer panel with the real logic on a real scene."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from DoseEngineLib.geometry import Grid
from DoseEngineLib.plan import Beam, Plan, Prescription, Structure


@pytest.fixture
def plan_node(desktop):
    """A water cube with a target off centre, three open fields of unequal use and a prescription."""
    import slicer

    from DoseEngineLib.mrml.plan_node import createPlanNode
    from DoseEngineLib.mrml.segmentations import setStructures
    from DoseEngineLib.mrml.volumes import setVolumeFromArray

    grid = Grid.from_spacing((24, 24, 24), 6.0, (-69.0, -69.0, -69.0))
    hu = np.full(grid.shape, -1000, np.int16)
    hu[3:-3, 3:-3, 3:-3] = 0
    centres = grid.centres_RAS_mm()
    target = np.linalg.norm(centres - (0.0, 25.0, 0.0), axis=-1) < 16.0
    organ = np.linalg.norm(centres - (0.0, -30.0, 0.0), axis=-1) < 14.0
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Water cube")
    setVolumeFromArray(volume, hu, grid)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Structures")
    structures = [Structure("PTV", target, grid, "PTV"), Structure("Organ", organ, grid)]
    setStructures(segmentation, structures, volume)
    beams = tuple(
        Beam.open_field(
            name,
            gantry_deg=gantry,
            jaw_x_mm=(-20.0, 20.0),
            jaw_y_mm=(-20.0, 20.0),
            isocenter_RAS_mm=(0.0, 25.0, 0.0),
            meterset_MU=None,
        )
        for name, gantry in (("AP", 0.0), ("PA", 180.0), ("Left", 90.0))
    )
    plan = Plan("Three fields", beams, Prescription(20.0, 10, "PTV", "mean"), dose_grid_spacing_mm=6.0)
    return createPlanNode(slicer.mrmlScene, plan, volume, segmentation)


def test_optimize_needs_a_dose(load, plan_node) -> None:
    _module, widget = load("Optimizer")
    assert not widget.ui.optimizeButton.isEnabled()
    widget.ui.planSelector.setCurrentNode(plan_node)
    assert "dose first" in widget.ui.statusLabel.text()
    assert not widget.ui.optimizeButton.isEnabled()
    (objective,) = widget.panel.beamWeights.objectives()
    assert (objective.structure, objective.dose_Gy) == ("PTV", 20.0)


def test_objectives_are_edited_in_the_table(load, plan_node) -> None:
    from OptimizerLib.objectives import EUDOverdose, MaximumDose, MeanDose, SquaredDeviation, SquaredOverdose

    _module, widget = load("Optimizer")
    ui, panel = widget.ui, widget.panel
    ui.planSelector.setCurrentNode(plan_node)
    panel.beamWeights.addObjective("Organ", "at most", 5.0, 2.0)
    panel.beamWeights.addObjective("Organ", "low mean dose", 0.0, 0.5)
    assert panel.beamWeights.objectives() == [
        SquaredDeviation("PTV", 20.0),
        SquaredOverdose("Organ", 5.0, 2.0),
        MeanDose("Organ", 0.5),
    ]
    panel.beamWeights.addObjective("Organ", "mean at most", 4.0, 3.0)
    panel.beamWeights.addObjective("Organ", "low maximum dose", 0.0, 2.0)
    assert panel.beamWeights.objectives()[3:] == [EUDOverdose("Organ", 4.0, 3.0), MaximumDose("Organ", 2.0)]
    for _ in range(2):
        ui.objectivesTable.selectRow(3)
        ui.removeButton.click()
    ui.objectivesTable.selectRow(1)
    ui.removeButton.click()
    assert panel.beamWeights.objectives() == [SquaredDeviation("PTV", 20.0), MeanDose("Organ", 0.5)]
    ui.addButton.click()
    assert len(panel.beamWeights.objectives()) == 3
    for _ in range(3):
        ui.removeButton.click()
    assert not ui.removeButton.isEnabled()


def test_optimized_weights_spare_the_organ(load, plan_node, picture) -> None:
    from DoseEngineLib.logic import DoseEngineLogic
    from DoseEngineLib.mrml.plan_node import deliveredPlan

    DoseEngineLogic(plan_node.GetScene()).calculateDose(plan_node)
    before = deliveredPlan(plan_node)
    _module, widget = load("Optimizer")
    ui = widget.ui
    ui.planSelector.setCurrentNode(plan_node)
    assert ui.statusLabel.text() == "Ready."
    widget.panel.beamWeights.addObjective("Organ", "at most", 2.0, 1.0)
    ui.optimizeButton.click()
    assert ui.statusLabel.text().startswith("Objectives from"), ui.statusLabel.text()
    after = deliveredPlan(plan_node)
    # the posterior beam enters through the organ, the lateral one passes it by
    assert after.beams[1].meterset_MU < 0.5 * before.beams[1].meterset_MU
    assert after.beams[2].meterset_MU > before.beams[2].meterset_MU
    shown = [ui.weightsTable.item(row, 2).text() for row in range(3)]
    assert shown == [f"{beam.meterset_MU:.1f}" for beam in after.beams]
    assert picture(widget, "Optimizer").stat().st_size > 5000


def test_fluence_is_optimized_from_rows(load, plan_node, picture) -> None:
    from DoseEngineLib.mrml.plan_node import deliveredPlan, isDoseCurrent

    _module, widget = load("Optimizer")
    ui = widget.ui
    assert not ui.fluenceButton.isEnabled()
    ui.planSelector.setCurrentNode(plan_node)
    assert ui.rowsEdit.toPlainText() == "PTV uniform 20 Gy, weight 100\nfluence smoothness, weight 0.01"
    assert not ui.stopButton.isEnabled()
    ui.rowsEdit.setPlainText("")
    assert not ui.fluenceButton.isEnabled()
    rows = "PTV uniform 20 Gy, weight 100\n\nOrgan Mean <= 2 Gy, weight 20\nfluence smoothness, weight 0.01"
    ui.rowsEdit.setPlainText(rows)
    ui.bixelSpinBox.setValue(10.0)
    ui.fluenceButton.click()
    assert "with leaves" in ui.statusLabel.text(), ui.statusLabel.text()
    assert isDoseCurrent(plan_node)
    delivered = deliveredPlan(plan_node)
    assert max(len(beam.control_points) for beam in delivered.beams) > 2
    # the posterior beam enters through the organ
    assert delivered.beams[1].meterset_MU < 0.5 * delivered.beams[2].meterset_MU
    assert [ui.beamsTable.item(row, 2).text() for row in range(3)] == [
        f"{beam.meterset_MU:.1f}" for beam in delivered.beams
    ]
    assert picture(widget, "OptimizerFluence").stat().st_size > 5000
    # another visit finds the rows that were optimized
    ui.planSelector.setCurrentNode(None)
    assert ui.rowsEdit.toPlainText() == ""
    ui.planSelector.setCurrentNode(plan_node)
    assert ui.rowsEdit.toPlainText() == rows.replace("\n\n", "\n")


def hold_at(logic, monkeypatch, iteration: int, on_held):
    """Let the search wait at an iteration until ``on_held`` was called on the main thread; return iterations seen."""
    import qt

    seen, reached, go_on = [], threading.Event(), threading.Event()
    former = logic.optimizeFluence

    def held(planNode, goals, settings, progress, callback, **options):
        def watch(state):
            if state.iteration == iteration:
                reached.set()
                assert go_on.wait(20)
            callback(state)
            seen.append(state.iteration)

        return former(planNode, goals, settings, progress, watch, **options)

    def look() -> None:
        if reached.is_set():
            timer.stop()
            on_held()
            go_on.set()

    timer = qt.QTimer()
    timer.timeout.connect(look)
    timer.start(5)
    monkeypatch.setattr(logic, "optimizeFluence", held)
    return seen


def test_stop_ends_the_search_and_a_row_that_cannot_be_read_is_shown(load, desktop, plan_node, monkeypatch) -> None:
    _module, widget = load("Optimizer")
    ui, logic = widget.ui, widget.panel.logic
    ui.planSelector.setCurrentNode(plan_node)
    answers = []

    def press_stop() -> None:
        assert not ui.fluenceButton.isEnabled()
        assert ui.stopButton.isEnabled()
        ui.stopButton.click()
        answers.append(ui.statusLabel.text())

    seen = hold_at(logic, monkeypatch, 2, press_stop)
    ui.rowsEdit.setPlainText("PTV uniform 20 Gy, weight 100\nOrgan Mean <= 2 Gy, weight 20")
    ui.bixelSpinBox.setValue(10.0)
    ui.fluenceButton.click()
    assert seen == [0, 1, 2]
    assert "Stopping" in answers[0]
    assert "with leaves" in ui.statusLabel.text()
    assert not ui.stopButton.isEnabled()
    assert ui.fluenceButton.isEnabled()
    ui.rowsEdit.setPlainText("PTV about 20 Gy")
    assert "cannot be read" in ui.rowsLabel.text()
    ui.fluenceButton.click()
    assert "cannot be read" in ui.statusLabel.text()
