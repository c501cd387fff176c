"""The Plan Optimizer panel with the real logic on a real scene."""

from __future__ import annotations

import time

import numpy as np
import pytest
from held_search import hold_at

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


def test_stop_ends_the_search_and_a_row_that_cannot_be_read_is_shown(load, desktop, plan_node, monkeypatch) -> None:
    _module, widget = load("Optimizer")
    ui, logic = widget.ui, widget.panel.session.logic
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


def node_ids(scene) -> list[str]:
    """All nodes but the panel's own views, which come when there is something to show and stay."""
    nodes = [scene.GetNthNode(n) for n in range(scene.GetNumberOfNodes())]
    return sorted(
        node.GetID() for node in nodes if not node.GetName().startswith(("OptimizerConvergence", "OptimizerDvh"))
    )


def turn_events() -> None:
    from PySide6.QtWidgets import QApplication

    for _ in range(3):
        QApplication.processEvents()


def opened(load, plan_node, rows: str = "PTV uniform 20 Gy, weight 100\nOrgan Mean <= 2 Gy, weight 20"):
    """The panel with the plan, wide bixels, no corrections, and rows."""
    _module, widget = load("Optimizer")
    widget.ui.planSelector.setCurrentNode(plan_node)
    widget.ui.bixelSpinBox.setValue(10.0)
    widget.ui.correctionsSpinBox.setValue(0)
    widget.ui.rowsEdit.setPlainText(rows)
    return widget


def test_table_and_text_are_two_views_of_the_same_objectives(load, plan_node, picture) -> None:
    from OptimizerLib.mrml.objective_list_nodes import objectiveLines

    widget = opened(load, plan_node)
    ui, table = widget.ui, widget.ui.rowsTable

    def lines() -> list[str]:
        assert list(objectiveLines(plan_node)) == widget.panel.objectives.editor.lines
        return ui.rowsEdit.toPlainText().splitlines()

    # from the text to the table
    kept = [
        "PTV Coverage >= 95 %, weight 2",
        "Organ falloff 20 Gy -> 5 Gy in 30 mm from PTV, weight 5",
        "Organ Max <= 19 Gy, constraint",
    ]
    ui.rowsEdit.setPlainText("\n".join(["PTV D95% >= 19.125 Gy, weight 0.00625, level 2", *kept]))
    assert table.rowCount() == 4
    assert table.cellWidget(0, 0).currentText() == "PTV"
    assert table.cellWidget(0, 1).currentText() == "DVH at least"
    assert [table.cellWidget(0, column).value() for column in (2, 3, 5)] == pytest.approx([19.12, 95.0, 2], 0.001)
    assert table.cellWidget(0, 4).text() == "0.00625"
    for row, text in enumerate(kept, start=1):
        assert table.columnSpan(row, 0) == 6
        assert table.cellWidget(row, 0).text() == text
    # from the table to the text; what was not touched keeps its digits
    table.cellWidget(0, 3).setValue(90.0)
    assert lines() == ["PTV D90% >= 19.125 Gy, level 2, weight 0.00625", *kept]
    table.cellWidget(0, 1).setCurrentIndex(table.cellWidget(0, 1).findData("uniform"))
    table.cellWidget(0, 0).setCurrentIndex(table.cellWidget(0, 0).findText("Organ"))
    assert lines()[0] == "Organ uniform 19.125 Gy, level 2, weight 0.00625"
    assert not table.cellWidget(0, 3).isEnabled()
    weight = table.cellWidget(0, 4)
    weight.setText("much")
    weight.editingFinished.emit()
    assert "is no number" in ui.rowsLabel.text()
    # as long as it stands there
    widget.panel.update()
    assert "is no number" in ui.rowsLabel.text()
    weight.setText("250")
    weight.editingFinished.emit()
    assert lines()[0] == "Organ uniform 19.125 Gy, level 2, weight 250"
    assert not ui.rowsLabel.isVisible()
    # a text of the table becomes a row of the table where it can
    edit = table.cellWidget(1, 0)
    edit.setText("PTV Min >= 95 %, weight 3")
    edit.editingFinished.emit()
    turn_events()
    assert lines()[1] == "PTV Min >= 95 %, weight 3"
    assert table.cellWidget(1, 2).suffix() == " %"
    # buttons
    table.selectRow(0)
    ui.duplicateRowButton.click()
    assert lines()[:2] == ["Organ uniform 19.125 Gy, level 2, weight 250"] * 2
    ui.addRowButton.click()
    ui.addTextRowButton.click()
    assert lines()[-2:] == ["PTV Max <= 20 Gy", "fluence smoothness, weight 0.01"]
    assert picture(widget, "OptimizerRows").stat().st_size > 5000
    ui.removeRowButton.click()
    assert lines()[-1] == "PTV Max <= 20 Gy"
    for _ in range(6):
        table.selectRow(0)
        ui.removeRowButton.click()
    assert lines() == []
    assert not ui.removeRowButton.isEnabled()
    assert not ui.fluenceButton.isEnabled()


def test_a_structure_that_is_gone_is_named_and_its_row_kept(load, plan_node) -> None:
    widget = opened(load, plan_node, "Heart Mean <= 3 Gy\nPTV uniform 20 Gy")
    assert "no structure Heart" in widget.ui.rowsLabel.text()
    assert "not there" in widget.ui.rowsTable.cellWidget(0, 0).currentText()
    widget.ui.rowsTable.cellWidget(0, 2).setValue(4.0)
    assert widget.ui.rowsEdit.toPlainText().splitlines()[0] == "Heart Mean <= 4 Gy"


def test_rows_come_from_goals_and_from_shipped_sets(load, plan_node) -> None:
    from DoseEngineLib.mrml.plan_node import setGoals

    setGoals(plan_node, ["PTV D95% >= 20 Gy", "Organ Mean <= 2 Gy", "PTV HI <= 0.1"])
    widget = opened(load, plan_node)
    ui = widget.ui
    ui.replaceRowsButton.click()
    assert ui.rowsEdit.toPlainText().splitlines() == [
        "PTV uniform 20.6 Gy, weight 100",
        "PTV D95% >= 20 Gy, weight 100",
        "Organ Mean <= 2 Gy, weight 20",
        "fluence smoothness, weight 0.01",
    ]
    assert "PTV HI <= 0.1 is left out" in ui.statusLabel.text()
    ui.templateCombo.setCurrentIndex(ui.templateCombo.findData("tg119-cshape"))
    ui.appendRowsButton.click()
    assert ui.rowsEdit.toPlainText().splitlines()[4:6] == [
        "PTV uniform 51.5 Gy, weight 100",
        "Core Max <= 15 Gy, weight 20",
    ]
    assert "no structure Core" in ui.rowsLabel.text()
    # the source stays to be read when the panel follows the change
    turn_events()
    assert "TG-119" in ui.statusLabel.text()


def test_solvers_and_engines_that_cannot_run_say_why(load, plan_node, monkeypatch) -> None:
    import OptimizerLib.solvers.registry as registry

    real = registry.importlib.util.find_spec
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None if name == "highspy" else real(name))
    widget = opened(load, plan_node)
    combo = widget.ui.solverCombo
    at = combo.findData("highs")
    assert "not available" in combo.itemText(at)
    assert not combo.model().item(at).isEnabled()
    assert "pip install highspy" in combo.itemData(at, 3)
    assert combo.currentData() == "quasi-newton"
    assert widget.ui.engineCombo.itemData(0) == ""


def test_memory_is_estimated_before_anything_is_computed(load, plan_node, desktop) -> None:
    widget = opened(load, plan_node)
    ui, before = widget.ui, node_ids(desktop.scene)
    ui.estimateButton.click()
    text = ui.estimateLabel.text()
    assert "bixels" in text, ui.statusLabel.text()
    assert "MB" in text
    assert node_ids(desktop.scene) == before
    assert widget.panel.session.logic._influence is None
    ui.bixelSpinBox.setValue(5.0)
    assert "not estimated" in ui.estimateLabel.text()
    ui.estimateButton.click()
    assert "bixels" in ui.estimateLabel.text(), (ui.estimateLabel.text(), ui.statusLabel.text())
    finer = int(ui.estimateLabel.text().split(":")[1].split("bixels")[0].replace(",", ""))
    assert finer > 2 * int(text.split(":")[1].split("bixels")[0].replace(",", ""))


def test_convergence_and_dvh_are_seen_live_and_kept_at_the_end(load, plan_node, desktop, monkeypatch, picture) -> None:
    from OptimizerLib.mrml.objective_history_nodes import HISTORY_CHART
    from OptimizerLib.mrml.optimization_result_nodes import BEAMS_TABLE, OUTCOME_TABLE, RESULT_CHART

    widget = opened(load, plan_node)
    ui, scene = widget.ui, desktop.scene
    seen = {}

    def chart(name: str):
        view = scene.GetSingletonNode(name, "vtkMRMLPlotViewNode")
        return None if view is None else view.GetPlotChartNode()

    def look() -> None:
        until = time.monotonic() + 5.0
        while time.monotonic() < until and chart("OptimizerConvergence") is None:
            desktop.slicer.app.processEvents()
        live = chart("OptimizerConvergence")
        seen["names"] = [live.GetNthPlotSeriesNode(n).GetName() for n in range(live.GetNumberOfPlotSeriesNodes())]
        seen["rows"] = live.GetNthPlotSeriesNode(0).GetTableNode().GetNumberOfRows()
        dvh = chart("OptimizerDvh").GetNthPlotSeriesNode(0).GetTableNode().GetTable()
        column = dvh.GetColumnByName("PTV")
        seen["dvh"] = [column.GetValue(n) for n in range(column.GetNumberOfTuples())]
        seen["saved"] = live.GetSaveWithScene() or live.GetNthPlotSeriesNode(0).GetSaveWithScene()
        seen["ids"] = {live.GetID(), chart("OptimizerDvh").GetID()}

    # every iteration is drawn
    monkeypatch.setattr("OptimizerLib.live_search.LEAST_INTERVAL_S", 0.0)
    monkeypatch.setattr(
        "OptimizerLib.live_search.LiveSearch.__init__.__defaults__", (0.0, __import__("time").monotonic)
    )
    hold_at(widget.panel.session.logic, monkeypatch, 3, look)
    ui.fluenceButton.click()
    assert "with leaves" in ui.statusLabel.text(), ui.statusLabel.text()
    assert seen["names"][0] == "Total"
    assert seen["rows"] >= 1
    assert seen["dvh"][0] == 100.0
    assert seen["dvh"] == sorted(seen["dvh"], reverse=True)
    assert not seen["saved"]
    # what was live is gone, what is kept is shown
    assert not seen["ids"] & set(node_ids(scene))
    assert chart("OptimizerConvergence") is plan_node.GetNodeReference(HISTORY_CHART)
    assert chart("OptimizerDvh") is plan_node.GetNodeReference(RESULT_CHART)
    names = [chart("OptimizerDvh").GetNthPlotSeriesNode(n).GetName() for n in range(4)]
    assert names == ["PTV, delivered", "Organ, delivered", "PTV, ideal", "Organ, ideal"]
    assert plan_node.GetNodeReference(OUTCOME_TABLE).GetNumberOfRows() == 2
    assert plan_node.GetNodeReference(BEAMS_TABLE).GetNumberOfRows() == 3
    assert ui.outcomeTable.item(1, 0).text() == "Organ Mean <= 2 Gy, weight 20"
    assert ui.outcomeTable.item(1, 2).text().endswith(" Gy")
    assert picture(widget, "OptimizerResult").stat().st_size > 5000
    assert ui.resultLabel.text() == "What the optimized plan reaches:"
    # another run replaces its nodes
    before = len(node_ids(scene))
    monkeypatch.undo()
    ui.continueButton.click()
    assert len(node_ids(scene)) == before


def test_results_of_a_plan_that_was_changed_are_marked(load, plan_node) -> None:
    from dataclasses import replace

    from DoseEngineLib.logic import DoseEngineLogic
    from DoseEngineLib.mrml.plan_node import planFromNode, setPlan

    widget = opened(load, plan_node)
    label = widget.ui.resultLabel
    assert label.text() == "not optimized yet"
    widget.ui.fluenceButton.click()
    assert label.text() == "What the optimized plan reaches:"
    plan = planFromNode(plan_node)
    setPlan(plan_node, replace(plan, prescription=replace(plan.prescription, dose_Gy=22.0)))
    turn_events()
    assert "changed since" in label.text()
    # a dose of the changed plan is not that of the results
    DoseEngineLogic(plan_node.GetScene()).calculateDose(plan_node)
    turn_events()
    assert "changed since" in label.text()
    setPlan(plan_node, plan)
    turn_events()
    assert "changed since" in label.text()


def test_the_panel_stays_alive_while_it_optimizes(load, plan_node, heartbeat) -> None:
    widget = opened(load, plan_node)
    # kernels that are compiled on the way hold the interpreter
    widget.ui.fluenceButton.click()
    with heartbeat() as beat:
        widget.ui.fluenceButton.click()
    assert "with leaves" in widget.ui.statusLabel.text(), widget.ui.statusLabel.text()
    assert beat.turns > 5
    assert beat.longest_cpu_s < 0.2, beat.where
    calmest = heartbeat.calmest(widget.ui.fluenceButton.click, 0.2)
    assert "with leaves" in widget.ui.statusLabel.text(), widget.ui.statusLabel.text()
    assert calmest.longest_s <= 0.2, calmest.where


def test_cancel_leaves_scene_and_engine_as_they_were(load, plan_node, desktop, monkeypatch) -> None:
    from DoseEngineLib.mrml.plan_node import planFromNode

    widget = opened(load, plan_node)
    ui = widget.ui
    ui.engineCombo.setCurrentIndex(ui.engineCombo.findData("photon-collapsed-cone"))
    before, plan, pressed = node_ids(desktop.scene), planFromNode(plan_node), []
    assert plan.engine != "photon-collapsed-cone"

    def press() -> None:
        assert planFromNode(plan_node).engine == "photon-collapsed-cone"
        pressed.append(time.monotonic())
        ui.cancelButton.click()

    hold_at(widget.panel.session.logic, monkeypatch, 1, press)
    ui.fluenceButton.click()
    assert time.monotonic() - pressed[0] < 1.0
    assert "Cancelled" in ui.statusLabel.text()
    assert node_ids(desktop.scene) == before
    assert planFromNode(plan_node) == plan
    assert ui.fluenceButton.isEnabled()
    assert not ui.continueButton.isEnabled()


@pytest.mark.parametrize("what", ["the scene is closed", "the plan is removed", "the module is left for good"])
def test_what_vanishes_in_mid_run_leaves_nothing_dangling(load, plan_node, desktop, monkeypatch, what) -> None:
    widget = opened(load, plan_node)
    ui, scene = widget.ui, desktop.scene

    def vanish() -> None:
        if what == "the scene is closed":
            scene.Clear(0)
        elif what == "the plan is removed":
            scene.RemoveNode(plan_node)
        else:
            widget.cleanup()

    hold_at(widget.panel.session.logic, monkeypatch, 2, vanish)
    ui.fluenceButton.click()
    turn_events()
    names = [scene.GetNthNode(n).GetName() for n in range(scene.GetNumberOfNodes())]
    assert not [name for name in names if "Objective" in name or "DVH" in name or "Fluence" in name]
    if what == "the module is left for good":
        assert "OptimizerConvergence" not in names
        assert plan_node.GetParameter("OptimizedFluence") == ""
    else:
        assert ui.rowsEdit.toPlainText() == ""
        said = "Cancelled" if what == "the scene is closed" else "no longer in a scene"
        assert said in ui.statusLabel.text(), ui.statusLabel.text()
        assert not ui.fluenceButton.isEnabled()
        assert ui.planSelector.currentNode() is None


def test_a_saved_scene_reopens_with_rows_settings_and_plots(load, plan_node, desktop, tmp_path) -> None:
    from DoseEngineLib.mrml.plan_node import planNodes
    from OptimizerLib.mrml.optimization_result_nodes import RESULT_CHART
    from RTPlanningLib.logic import RTPlanningLogic

    widget = opened(load, plan_node)
    ui, scene = widget.ui, desktop.scene
    ui.iterationsSpinBox.setValue(12)
    ui.deliveryCombo.setCurrentIndex(ui.deliveryCombo.findData("sliding_window"))
    assert not ui.levelsSpinBox.isEnabled()
    ui.spacingCheckBox.setChecked(True)
    ui.spacingSpinBox.setValue(7.0)
    ui.rowsTabs.setCurrentIndex(1)
    ui.paretoSection.setProperty("collapsed", False)
    ui.fluenceButton.click()
    assert "with leaves" in ui.statusLabel.text(), ui.statusLabel.text()
    assert "moving" in ui.beamsTable.item(2, 3).text()
    rows = [*ui.rowsEdit.toPlainText().splitlines(), "PTV about"]
    ui.rowsEdit.setPlainText("\n".join(rows))
    shown = [ui.outcomeTable.item(row, 2).text() for row in range(2)]
    logic = RTPlanningLogic(scene)
    logic.saveScene(tmp_path / "plan.mrb")
    scene.Clear(0)
    turn_events()
    assert ui.outcomeTable.rowCount() == 0
    ui.iterationsSpinBox.setValue(99)
    assert (ui.rowsTabs.currentIndex(), ui.paretoSection.property("collapsed")) == (0, True)
    logic.loadScene(tmp_path / "plan.mrb")
    turn_events()
    (again,) = planNodes(scene)
    assert ui.planSelector.currentNode() is again
    assert ui.rowsEdit.toPlainText().splitlines() == rows
    boxes = (ui.iterationsSpinBox, ui.bixelSpinBox, ui.spacingSpinBox)
    assert [box.property("value") for box in boxes] == [12, 10.0, 7.0]
    assert ui.deliveryCombo.currentData() == "sliding_window"
    assert (ui.rowsTabs.currentIndex(), ui.paretoSection.property("collapsed")) == (1, False)
    assert [ui.outcomeTable.item(row, 2).text() for row in range(2)] == shown
    view = scene.GetSingletonNode("OptimizerDvh", "vtkMRMLPlotViewNode")
    assert view.GetPlotChartNode() is again.GetNodeReference(RESULT_CHART)
    assert ui.continueButton.isEnabled()


def test_scripts_change_rows_and_settings_and_the_panel_follows(load, plan_node) -> None:
    from OptimizerLib.mrml.objective_list_nodes import setObjectiveLines

    widget = opened(load, plan_node)
    setObjectiveLines(plan_node, ["PTV uniform 21 Gy"])
    turn_events()
    assert widget.ui.rowsEdit.toPlainText() == "PTV uniform 21 Gy"
    widget.panel.session.settings.levels = 7
    turn_events()
    assert widget.ui.levelsSpinBox.value() == 7


def test_leaves_only_keeps_the_fluence(load, plan_node) -> None:
    widget = opened(load, plan_node)
    ui, logic = widget.ui, widget.panel.session.logic
    ui.fluenceButton.click()
    first = logic.optimizedFluence(plan_node)
    ui.levelsSpinBox.setValue(3)
    ui.leavesButton.click()
    second = logic.optimizedFluence(plan_node)
    assert "without a search" in ui.statusLabel.text()
    np.testing.assert_allclose(second.weights_MU, first.weights_MU)
    assert np.abs(second.delivered_MU - first.delivered_MU).max() > 0.0


def test_sliders_navigate_between_pareto_plans_and_make_one(load, plan_node, desktop, picture) -> None:
    from dataclasses import replace

    from DoseEngineLib.mrml.plan_node import isDoseCurrent, planFromNode, setPlan

    rows = "PTV uniform 20 Gy, weight 100\nOrgan Mean <= 1 Gy, weight 20\nfluence smoothness, weight 0.01"
    widget = opened(load, plan_node, rows)
    ui, panel, scene = widget.ui, widget.panel, desktop.scene
    ui.paretoSection.setProperty("collapsed", False)
    assert [ui.goalsTable.item(row, 0).text() for row in range(ui.goalsTable.rowCount())] == ["PTV", "Organ"]
    panel.tradeOff.goalsTable.numberOf("Organ").setValue(1)
    ui.paretoButton.click()
    assert "Two to four goals" in ui.statusLabel.text()
    panel.tradeOff.goalsTable.numberOf("Organ").setValue(2)
    assert not ui.makePlanButton.isEnabled()
    ui.plansSpinBox.setValue(4)
    ui.paretoButton.click()
    assert "plans." in ui.statusLabel.text(), ui.statusLabel.text()
    plans = panel.tradeOff.sliders.plans
    assert plans.front.goals == ("PTV", "Organ")
    # the mixture stays in view when the panel follows what changed meanwhile
    turn_events()

    def dvh_of(name: str) -> np.ndarray:
        chart = scene.GetSingletonNode("OptimizerDvh", "vtkMRMLPlotViewNode").GetPlotChartNode()
        column = chart.GetNthPlotSeriesNode(0).GetTableNode().GetTable().GetColumnByName(name)
        dose = chart.GetNthPlotSeriesNode(0).GetTableNode().GetTable().GetColumnByName("Dose")
        return -sum(
            (dose.GetValue(n + 1) - dose.GetValue(n)) * (column.GetValue(n + 1) + column.GetValue(n)) / 200.0
            for n in range(column.GetNumberOfTuples() - 1)
        )

    before = -dvh_of("Organ")
    slider = panel.tradeOff.sliders.sliderOf("Organ")
    others = panel.tradeOff.sliders.sliderOf("PTV").value()
    begun = time.perf_counter()
    slider.setValue(slider.minimum())
    assert time.perf_counter() - begun < 0.2
    shares = panel.tradeOff.sliders.navigator.position.shares
    # the area under the curve is the mean dose, exactly that of the mixture
    assert -dvh_of("Organ") == pytest.approx(plans.mean_Gy(shares, "Organ"), rel=0.03)
    assert -dvh_of("Organ") < before
    assert panel.tradeOff.sliders.sliderOf("PTV").value() > others
    assert "to" in panel.tradeOff.sliders.textOf("PTV")
    # held: the other one cannot make it worse any more
    panel.tradeOff.sliders.holdOf("Organ").setChecked(True)
    held = panel.tradeOff.sliders.navigator.position.values[1]
    panel.tradeOff.sliders.sliderOf("PTV").setValue(0)
    assert panel.tradeOff.sliders.navigator.position.values[1] <= held + 1e-5 * np.ptp(plans.front.values[:, 1])
    assert panel.tradeOff.sliders.sliderOf("PTV").value() > 0
    panel.tradeOff.sliders.holdOf("Organ").setChecked(False)
    panel.tradeOff.sliders.sliderOf("PTV").setValue(300)
    assert picture(widget, "OptimizerTradeOff").stat().st_size > 5000
    fluence = plans.fluence(panel.tradeOff.sliders.navigator)
    ui.makePlanButton.click()
    assert "without a search" in ui.statusLabel.text(), ui.statusLabel.text()
    assert isDoseCurrent(plan_node)
    np.testing.assert_allclose(panel.session.logic.optimizedFluence(plan_node).weights_MU, fluence.weights_MU)
    # the rows are those of the person, not those of the mixture
    assert ui.rowsEdit.toPlainText() == rows
    # more plans are added to those that are there
    ui.plansSpinBox.setValue(6)
    ui.morePlansButton.click()
    assert panel.tradeOff.sliders.plans.front.plans >= plans.front.plans
    # of other objectives, and of other beams, they are no plans
    ui.rowsEdit.setPlainText(rows.replace("20 Gy", "21 Gy"))
    assert "no longer those" in ui.paretoLabel.text()
    plan = planFromNode(plan_node)
    turned = replace(plan.beams[0].control_points[0], gantry_deg=30.0)
    beam = replace(plan.beams[0], control_points=(turned, replace(turned, cumulative_meterset_weight=1.0)))
    setPlan(plan_node, replace(plan, beams=(beam, *plan.beams[1:])))
    ui.makePlanButton.click()
    assert "something else" in ui.statusLabel.text() or "no earlier fluence" in ui.statusLabel.text()
    # of a closed scene nothing is left
    scene.Clear(0)
    turn_events()
    assert panel.tradeOff.sliders.plans is None
    assert not ui.makePlanButton.isEnabled()


def test_trade_offs_come_back_with_the_scene(load, plan_node, desktop, tmp_path) -> None:
    import slicer

    from DoseEngineLib.mrml.plan_node import isDoseCurrent, planNodes
    from OptimizerLib.mrml.pareto_nodes import PARETO_PLANS
    from RTPlanningLib.logic import RTPlanningLogic

    rows = "PTV uniform 20 Gy, weight 100\nOrgan Mean <= 1 Gy, weight 20\nfluence smoothness, weight 0.01"
    widget = opened(load, plan_node, rows)
    ui, form, scene = widget.ui, widget.panel.tradeOff, desktop.scene
    ui.plansSpinBox.setValue(4)
    ui.paretoButton.click()
    assert "plans." in ui.statusLabel.text(), ui.statusLabel.text()
    form.sliders.sliderOf("Organ").setValue(200)
    form.sliders.holdOf("Organ").setChecked(True)
    form.sliders.sliderOf("PTV").setValue(500)

    def shown() -> list:
        sliders = form.sliders
        goals = ("PTV", "Organ")
        texts = [sliders.textOf(goal) for goal in goals]
        return [*texts, *(sliders.holdOf(goal).isChecked() for goal in goals), ui.paretoLabel.text()]

    before, weights = shown(), form.sliders.navigator.weights()
    # what others change beside leaves the sliders where they are
    plan_node.Modified()
    turn_events()
    assert shown() == before
    logic = RTPlanningLogic(scene)
    logic.saveScene(tmp_path / "plan.mrb")
    scene.Clear(0)
    turn_events()
    assert form.sliders.plans is None
    logic.loadScene(tmp_path / "plan.mrb")
    turn_events()
    assert shown() == before
    np.testing.assert_array_equal(form.sliders.navigator.weights(), weights)
    assert "no longer those" not in ui.paretoLabel.text()
    ui.makePlanButton.click()
    (again,) = planNodes(scene)
    assert isDoseCurrent(again), ui.statusLabel.text()
    np.testing.assert_allclose(widget.panel.session.logic.optimizedFluence(again).weights_MU, weights)
    # damaged plans are said, and the rest of the panel goes on
    again.GetNodeReference(PARETO_PLANS).SetText("bm90aGluZw==")
    again.GetNodeReference(PARETO_PLANS).SetAttribute("RTPlanning.ParetoDigest", "other")
    again.Modified()
    slicer.app.processEvents()
    assert form.sliders.plans is None
    assert "is damaged" in ui.statusLabel.text()
    assert ui.rowsEdit.toPlainText() == rows
    assert ui.fluenceButton.isEnabled()
    assert not ui.makePlanButton.isEnabled()


TRADED = "PTV uniform 20 Gy, weight 100\nOrgan Mean <= 1 Gy, weight 20\nfluence smoothness, weight 0.01"


def with_trade_offs(load, plan_node):
    """The panel with three Pareto plans, and a slider moved."""
    widget = opened(load, plan_node, TRADED)
    widget.ui.plansSpinBox.setValue(3)
    widget.ui.paretoButton.click()
    widget.panel.tradeOff.sliders.sliderOf("Organ").setValue(300)
    turn_events()
    return widget


@pytest.mark.parametrize("how", ["none is chosen", "the scene is closed", "the plan is removed"])
def test_without_a_plan_nothing_of_its_trade_offs_stays(load, plan_node, desktop, how) -> None:
    from DoseEngineLib.logic import DoseEngineLogic

    DoseEngineLogic(plan_node.GetScene()).calculateDose(plan_node)
    widget = with_trade_offs(load, plan_node)
    ui = widget.ui
    assert ui.optimizeButton.isEnabled()
    assert ui.makePlanButton.isEnabled()
    if how == "none is chosen":
        ui.planSelector.setCurrentNode(None)
    elif how == "the scene is closed":
        desktop.scene.Clear(0)
    else:
        desktop.scene.RemoveNode(plan_node)
    turn_events()
    assert not ui.optimizeButton.isEnabled()
    assert not ui.makePlanButton.isEnabled()
    assert not ui.addButton.isEnabled()
    assert ui.paretoLabel.text() == ""
    assert widget.panel.beamWeights.rows == 0
    assert widget.panel.tradeOff.sliders.plans is None
    assert ui.statusLabel.text().startswith("Choose a plan")


def test_trade_offs_that_are_removed_take_their_dvh_along(load, plan_node, desktop) -> None:
    from OptimizerLib.mrml.pareto_nodes import PARETO_PLANS

    def dvhs() -> list[str]:
        names = [desktop.scene.GetNthNode(n).GetName() for n in range(desktop.scene.GetNumberOfNodes())]
        return [name for name in names if "DVH" in name]

    widget = with_trade_offs(load, plan_node)
    assert dvhs()
    desktop.scene.RemoveNode(plan_node.GetNodeReference(PARETO_PLANS))
    turn_events()
    assert widget.panel.tradeOff.sliders.plans is None
    assert dvhs() == []


def test_sliders_that_cannot_be_read_leave_the_plans(load, plan_node) -> None:
    from OptimizerLib.mrml.pareto_nodes import PARETO_PLANS

    widget = with_trade_offs(load, plan_node)
    ui, kept = widget.ui, plan_node.GetNodeReference(PARETO_PLANS)
    for damaged, said in (("{bad", "move them anew"), ('{"shares": [1], "bounds": [null, null]}', "a share of each")):
        kept.SetAttribute("RTPlanning.ParetoSliders", damaged)
        ui.planSelector.setCurrentNode(None)
        ui.planSelector.setCurrentNode(plan_node)
        turn_events()
        assert said in ui.statusLabel.text()
        assert widget.panel.tradeOff.sliders.plans is not None
        assert ui.makePlanButton.isEnabled()


@pytest.mark.parametrize("how", ["the panel goes", "another plan is chosen"])
def test_trade_offs_end_quietly_when_nobody_looks_any_more(load, plan_node, monkeypatch, how) -> None:
    from OptimizerLib.mrml.pareto_nodes import paretoPlans
    from RTPlanningLib.mrml.plan_copy import copyPlanNode

    widget = opened(load, plan_node, TRADED)
    session, other = widget.panel.session, copyPlanNode(plan_node)
    former = session.background

    def background(function, progress=None):
        result = former(function, progress)
        if how == "the panel goes":
            widget.cleanup()
        else:
            session.settings.planNode = other
        return result

    # while the plans are made ready to be kept
    monkeypatch.setattr(session, "background", background)
    widget.ui.plansSpinBox.setValue(3)
    widget.ui.paretoButton.click()
    turn_events()
    assert widget.panel.tradeOff.sliders.plans is None
    assert paretoPlans(plan_node).front.plans >= 2
    assert paretoPlans(other) is None


def test_a_plan_that_cannot_be_read_leaves_no_word_behind(load, plan_node) -> None:
    import json

    from DoseEngineLib.logic import DoseEngineLogic
    from RTPlanningLib.mrml.plan_copy import copyPlanNode

    newer, without_dose = copyPlanNode(plan_node), copyPlanNode(plan_node)
    for node in (plan_node, newer):
        DoseEngineLogic(plan_node.GetScene()).calculateDose(node)
    for node in (newer, without_dose):
        node.SetParameter("Plan", json.dumps(json.loads(node.GetParameter("Plan")) | {"schema_version": 99}))
    _module, widget = load("Optimizer")
    ui = widget.ui
    for node in (newer, without_dose):
        ui.planSelector.setCurrentNode(plan_node)
        turn_events()
        assert ui.statusLabel.text() == "Ready."
        assert ui.optimizeButton.isEnabled()
        ui.planSelector.setCurrentNode(node)
        turn_events()
        assert "99" in ui.statusLabel.text()
        assert not ui.optimizeButton.isEnabled()
        assert widget.panel.beamWeights.rows == 0
    ui.planSelector.setCurrentNode(plan_node)
    turn_events()
    assert ui.statusLabel.text() == "Ready."


def test_structures_that_change_are_followed(load, plan_node) -> None:
    import slicer

    from DoseEngineLib.mrml.plan_node import SEGMENTATION

    _module, widget = load("Optimizer")
    ui = widget.ui
    ui.planSelector.setCurrentNode(plan_node)
    segmentation = plan_node.GetNodeReference(SEGMENTATION).GetSegmentation()
    segmentation.GetNthSegment(0).SetName("Tumour")
    slicer.app.processEvents()
    assert "no structure PTV" in ui.rowsLabel.text()
    segmentation.GetNthSegment(0).SetName("PTV")
    slicer.app.processEvents()
    assert ui.rowsLabel.text() == ""
    widget.cleanup()


def test_a_cell_that_goes_changes_no_other_line(load, plan_node) -> None:
    """A cell that loses its place ends its editing then: what stands in it is not for the line that comes there."""
    _module, widget = load("Optimizer")
    ui, editor = widget.ui, widget.panel.objectives.editor
    ui.planSelector.setCurrentNode(plan_node)
    editor.replaceAll(["Organ Mean <= 2 Gy, weight 20", "fluence smoothness, weight 0.01"])
    cells = [ui.rowsTable.cellWidget(0, 4), ui.rowsTable.cellWidget(1, 0)]
    cells[0].setText("7")
    cells[1].setText("fluence smoothness, weight 7")
    for lines in (["PTV uniform 20 Gy, weight 100", "fluence smoothness, weight 3"], ()):
        editor.replaceAll(lines)
        for cell in cells:
            cell.editingFinished.emit()
        assert editor.lines == list(lines)
    widget.cleanup()
