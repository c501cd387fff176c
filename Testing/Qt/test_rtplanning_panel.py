"""The RT Planning panel: a sample case to judged goals, by pressing its buttons."""

from __future__ import annotations

import pytest


@pytest.fixture
def panel(load, monkeypatch):
    """The panel, with samples on a coarse grid."""
    module, widget = load("RTPlanning")
    assert module.parent.title == "RT Planning"
    assert "not for clinical use" in module.parent.helpText
    import RTPlanningLib.widget.panel as panel_module

    fine = panel_module.load_sample
    monkeypatch.setattr(panel_module, "load_sample", lambda name: fine(name, 5.0))
    return widget


def choose(combo, data: str) -> None:
    index = combo.findData(data)
    assert index >= 0
    combo.setCurrentIndex(index)


def test_nothing_can_be_pressed_too_early(panel) -> None:
    ui = panel.ui
    assert not ui.createPlanButton.isEnabled()
    assert not ui.calculateButton.isEnabled()
    assert ui.loadCaseButton.isEnabled()
    assert ui.caseCombo.count() == 6
    choose(ui.caseCombo, "thorax")
    assert "tumour" in ui.caseText.toPlainText()
    assert ui.machineCombo.currentText() == "generic_6mv"


def test_four_field_box_from_case_to_goals(panel, desktop, picture) -> None:
    from DoseEngineLib.mrml.plan_node import planFromNode

    ui = panel.ui
    choose(ui.caseCombo, "tg119-prostate")
    ui.loadCaseButton.click()
    assert ui.statusLabel.text().startswith("Loaded"), ui.statusLabel.text()
    assert ui.targetCombo.currentText() == "PTV"
    assert (ui.doseSpin.value(), ui.fractionsSpin.value()) == (75.6, 42)
    ui.marginSpin.setValue(8.0)
    ui.createPlanButton.click()
    assert ui.statusLabel.text().startswith("Made plan"), ui.statusLabel.text()
    plan_node = ui.planSelector.currentNode()
    plan = planFromNode(plan_node)
    assert [beam.control_points[0].gantry_deg for beam in plan.beams] == [0.0, 90.0, 180.0, 270.0]
    assert ui.goalsTable.rowCount() == 0
    panel.logic.updatePlan(plan_node, plan.__class__(**{**vars(plan), "dose_grid_spacing_mm": 6.0}))
    ui.calculateButton.click()
    assert "goals are met" in ui.statusLabel.text(), ui.statusLabel.text()
    assert not desktop.errors
    rows = ui.goalsTable.rowCount()
    assert rows == len(panel.logic.evaluateGoals(plan_node)) > 0
    verdicts = [ui.goalsTable.item(row, 2).text() for row in range(rows)]
    assert "passed" in verdicts
    assert ui.goalsTable.item(0, 1).text().endswith(" Gy")
    assert set(verdicts) <= {"passed", "failed"}
    assert picture(panel, "RTPlanning").stat().st_size > 5000
    # leaving and coming back shows the same goals without a new calculation
    ui.planSelector.setCurrentNode(None)
    assert ui.goalsTable.rowCount() == 0
    ui.planSelector.setCurrentNode(plan_node)
    assert [ui.goalsTable.item(row, 2).text() for row in range(rows)] == verdicts


def test_a_target_the_machine_cannot_cover_is_refused_in_words(panel, desktop) -> None:
    ui = panel.ui
    choose(ui.caseCombo, "water-tank")
    ui.loadCaseButton.click()
    nodes = desktop.scene.GetNumberOfNodes()
    external = [ui.targetCombo.itemText(n) for n in range(ui.targetCombo.count())]
    assert "External" in external
    ui.targetCombo.setCurrentIndex(external.index("External"))
    ui.marginSpin.setValue(50.0)
    ui.createPlanButton.click()
    assert desktop.errors
    assert ui.statusLabel.text() == desktop.errors[0]
    assert desktop.scene.GetNumberOfNodes() == nodes
    assert not ui.calculateButton.isEnabled()


def test_closing_the_scene_empties_the_panel(panel, desktop) -> None:
    ui = panel.ui
    choose(ui.caseCombo, "water-tank")
    ui.loadCaseButton.click()
    assert ui.createPlanButton.isEnabled()
    desktop.scene.Clear(False)
    assert ui.ctSelector.currentNode() is None
    assert ui.targetCombo.count() == 0
    assert not ui.createPlanButton.isEnabled()


def test_a_plan_goes_out_and_comes_back(panel, desktop, picture, tmp_path) -> None:
    ui = panel.ui
    assert not ui.exportDicomButton.isEnabled()
    ui.importDicomButton.click()
    assert "Choose the folder that holds the DICOM files" in ui.statusLabel.text()
    choose(ui.caseCombo, "tg119-prostate")
    ui.loadCaseButton.click()
    ui.createPlanButton.click()
    plan_node = ui.planSelector.currentNode()
    plan = panel.logic.planFromNode(plan_node)
    ui.exportDicomButton.click()
    assert "Choose the folder that the DICOM files" in ui.statusLabel.text()
    folder = tmp_path / "dicom"
    ui.exportFolderEdit.setCurrentPath(str(folder))
    ui.exportDicomButton.click()
    assert "calculate the dose first" in desktop.errors.pop()
    assert not folder.exists()
    panel.logic.updatePlan(plan_node, plan.__class__(**{**vars(plan), "dose_grid_spacing_mm": 8.0}))
    ui.calculateButton.click()
    ui.exportBeamsCheck.setChecked(True)
    ui.exportDicomButton.click()
    assert not desktop.errors
    assert ui.statusLabel.text().startswith("Wrote "), ui.statusLabel.text()
    assert len(list(folder.glob("RTDOSE*.dcm"))) == 5
    ui.importFolderEdit.setCurrentPath(str(folder))
    ui.importDicomButton.click()
    assert not desktop.errors
    structures = len(
        panel.logic.caseFromNodes(ui.ctSelector.currentNode(), ui.segmentationSelector.currentNode()).structures
    )
    assert f"structures {structures}, plans 1, doses 5" in ui.statusLabel.text()
    assert "Files that are not DICOM were skipped" in ui.statusLabel.text()
    imported = ui.planSelector.currentNode()
    assert imported.GetID() != plan_node.GetID()
    beams, read = panel.logic.deliveredPlan(plan_node).beams, panel.logic.planFromNode(imported).beams
    assert [beam.name for beam in read] == [beam.name for beam in beams]
    assert [beam.meterset_MU for beam in read] == pytest.approx([beam.meterset_MU for beam in beams], rel=1e-9)
    assert picture(panel, "RTPlanning_dicom").stat().st_size > 5000
    # without a CT doses and structures come alone, and that is said
    for file in folder.glob("CT_*.dcm"):
        file.unlink()
    ui.importDicomButton.click()
    assert not desktop.errors
    assert f"structures {structures}, plans 0, doses 5" in ui.statusLabel.text()
    assert "There is no CT: " in ui.statusLabel.text()
    # with neither nothing is added
    nodes = desktop.scene.GetNumberOfNodes()
    for file in folder.glob("RTDOSE*.dcm"):
        file.unlink()
    ui.importDicomButton.click()
    assert "no CT series" in desktop.errors.pop()
    assert desktop.scene.GetNumberOfNodes() == nodes
    assert ui.planSelector.currentNode().GetID() == imported.GetID()
