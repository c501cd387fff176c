"""The case step: samples, DICOM folders and nodes in; the status of the case as a clinic would want it."""

from __future__ import annotations

import numpy as np
import pytest
from planning_steps import choose, make_step


@pytest.fixture
def made(desktop, monkeypatch):
    """The step alone, with samples on a coarse grid."""
    from RTPlanningLib.widget import case_step

    fine = case_step.load_sample
    monkeypatch.setattr(case_step, "load_sample", lambda name: fine(name, (5.0, 5.0, 3.0)))
    made = make_step(desktop, case_step.CaseStep)
    yield made
    made.session.release()


def rows(ui) -> dict[str, tuple[str, str]]:
    table = ui.statusTable
    return {
        table.item(row, 1).text(): (table.item(row, 0).text(), table.item(row, 2).text())
        for row in range(table.rowCount())
    }


def test_a_sample_is_one_click(made, desktop, picture) -> None:
    ui, session = made.ui, made.session
    assert "Load a sample" in ui.summaryText.text()
    assert not ui.checkCaseButton.isEnabled()
    assert ui.sampleCombo.count() == 6
    assert "rectum" in ui.sampleText.toPlainText()
    composite = desktop.slicer.app.layoutManager().sliceWidget("Red").sliceLogic().GetSliceCompositeNode()
    ui.loadSampleButton.click()
    assert made.statusLabel.text() == "Loaded tg119-prostate_CT."
    assert session.volumeNode is ui.ctSelector.currentNode()
    assert session.segmentationNode is ui.segmentationSelector.currentNode()
    settings = session.settings
    assert (settings.target, settings.prescribedDose_Gy, settings.fractions) == ("PTV", 75.6, 42)
    assert "PTV D95% >= 75.6 Gy" in settings.goals
    assert composite.GetBackgroundVolumeID() == session.volumeNode.GetID()
    found = rows(ui)
    assert ui.statusTable.isVisibleTo(made.parent)
    assert found["Targets"][0] == "✓"
    assert found["Density overrides"][0] == "!"
    assert ui.summaryText.text().startswith("Ready, after a look at: Density overrides")
    assert picture(made, "CaseStep").stat().st_size > 5000
    assert not desktop.errors


def test_another_sample_replaces_the_proposal(made) -> None:
    ui, session = made.ui, made.session
    ui.loadSampleButton.click()
    choose(ui.sampleCombo, "thorax")
    assert "tumour" in ui.sampleText.toPlainText()
    assert made.step.parameters.sample == "thorax"
    ui.loadSampleButton.click()
    assert session.volumeNode.GetName() == "thorax_CT"
    assert (session.settings.prescribedDose_Gy, session.settings.fractions) == (60.0, 30)
    assert ui.summaryText.text() == "Ready for planning."


def test_nodes_of_the_scene_are_chosen_and_looked_over(made, desktop) -> None:
    from RTPlanningLib.samples import load_sample

    ui, session = made.ui, made.session
    volume, structures = made.logic.loadCase(load_sample("water-tank", 10.0))
    assert session.volumeNode is None
    ui.ctSelector.setCurrentNode(volume)
    assert session.volumeNode is volume
    # what was drawn on it comes along, and can be put aside
    assert session.segmentationNode is structures
    assert rows(ui)["Targets"][0] == "✓"
    ui.segmentationSelector.setCurrentNode(None)
    assert session.segmentationNode is None
    assert rows(ui)["Targets"][0] == "✗"
    assert "contour a target" in rows(ui)["Targets"][1]
    assert ui.summaryText.text() == "Not ready: Targets."
    ui.segmentationSelector.setCurrentNode(structures)
    assert rows(ui)["Targets"][0] == "✓"
    assert session.settings.target == "PTV"
    # a role that a person sets counts at the next check, and the panel says that it is due
    structures.GetSegmentation().GetSegment("PTV").SetTag("RTPlanning.Role", "ORGAN")
    session.update()
    assert "Changed since" in ui.summaryText.text()
    ui.checkCaseButton.click()
    assert rows(ui)["Targets"][0] == "✗"
    desktop.scene.Clear(False)
    assert session.volumeNode is None
    assert ui.statusTable.rowCount() == 0
    assert "Load a sample" in ui.summaryText.text()


def test_structures_that_cannot_be_read_are_a_line_not_a_failure(made, desktop) -> None:
    import slicer

    ui = made.ui
    ui.loadSampleButton.click()
    structures = made.session.segmentationNode
    transform = desktop.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    aside = np.eye(4)
    aside[0, 3] = 160.0
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(aside))
    structures.SetAndObserveTransformNodeID(transform.GetID())
    ui.checkCaseButton.click()
    assert not desktop.errors
    mark, text = rows(ui)["Structures"]
    assert mark == "✗"
    assert "lies outside the image" in text


def test_a_curve_from_a_file_is_kept_with_the_ct(made, desktop, tmp_path) -> None:
    from DoseEngineLib.calibration import calibration_from_points
    from DoseEngineLib.mrml.ct_calibration import ctCalibration

    ui, session = made.ui, made.session
    assert not ui.calibrationEdit.isEnabled()
    ui.loadSampleButton.click()
    assert "Schneider 2000" in ui.calibrationText.text()
    curve = calibration_from_points("Our scanner", [(-1000, 0.001), (0, 1.0), (3000, 2.8)])
    file = tmp_path / "curve.json"
    file.write_text(curve.to_json(), encoding="utf-8")
    ui.calibrationEdit.setCurrentPath(str(tmp_path / "cur"))
    assert "There is no file" in ui.calibrationText.text()
    # as long as the path stands there
    session.update()
    assert "There is no file" in ui.calibrationText.text()
    path = ui.calibrationEdit.property("currentPath")
    ui.calibrationEdit.setCurrentPath("")
    assert ui.calibrationText.text().startswith("In use")
    ui.calibrationEdit.setCurrentPath(path)
    ui.calibrationEdit.setCurrentPath(str(file))
    assert ctCalibration(session.volumeNode) == curve
    assert "Our scanner" in ui.calibrationText.text()
    assert "Our scanner" in rows(ui)["CT calibration"][1]
    assert "former curve" in made.statusLabel.text()
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    ui.calibrationEdit.setCurrentPath(str(tmp_path / "bad.json"))
    assert "is not a CT calibration" in ui.calibrationText.text()
    assert ctCalibration(session.volumeNode) == curve
    ui.defaultCalibrationButton.click()
    assert ctCalibration(session.volumeNode) is None
    assert "Schneider 2000" in ui.calibrationText.text()
    assert not desktop.errors


def test_a_dicom_folder_comes_in(made, desktop, tmp_path) -> None:
    from RTPlanningLib.samples import load_sample

    ui, session = made.ui, made.session
    ui.importDicomButton.click()
    assert "Choose the folder that holds the DICOM files" in made.statusLabel.text()
    nodes = made.logic.loadCase(load_sample("tg119-prostate", 8.0))
    made.logic.exportDicom(nodes[0], tmp_path / "dicom", nodes[1])
    ui.importFolderEdit.setCurrentPath(str(tmp_path / "dicom"))
    assert made.step.parameters.importFolder == str(tmp_path / "dicom")
    ui.importDicomButton.click()
    assert not desktop.errors
    assert "structures 5, plans 0, doses 0" in made.statusLabel.text()
    assert session.volumeNode is not nodes[0]
    assert session.settings.target == "PTV"
    assert rows(ui)["Patient position"][0] == "✓"
    ui.importFolderEdit.setCurrentPath(str(tmp_path / "nowhere"))
    ui.importDicomButton.click()
    assert len(desktop.errors) == 1


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_an_import_that_is_stopped_while_nodes_are_made_leaves_none(made, desktop, tmp_path, monkeypatch, how) -> None:
    from RTPlanningLib.mrml import dicom_import
    from RTPlanningLib.samples import load_sample

    ui, scene = made.ui, desktop.scene
    nodes = made.logic.loadCase(load_sample("tg119-prostate", 8.0))
    made.logic.exportDicom(nodes[0], tmp_path / "dicom", nodes[1])
    ui.importFolderEdit.setCurrentPath(str(tmp_path / "dicom"))
    count, create = scene.GetNumberOfNodes(), dicom_import.createCaseNodes

    def stopped(*arguments):
        created = create(*arguments)
        made.cancelButton.click() if how == "cancel" else scene.Clear(False)
        return created

    monkeypatch.setattr(dicom_import, "createCaseNodes", stopped)
    ui.importDicomButton.click()
    assert not desktop.errors
    assert made.statusLabel.text() == "Cancelled; the scene is as it was."
    assert made.session.volumeNode is None
    volumes = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    assert volumes == (1 if how == "cancel" else 0)
    if how == "cancel":
        assert scene.GetNumberOfNodes() == count


def test_loading_never_blocks_and_can_be_cancelled(desktop, heartbeat) -> None:
    import qt

    from RTPlanningLib.widget.case_step import CaseStep

    made = make_step(desktop, CaseStep)
    # the first press also imports what making a case needs
    made.ui.loadSampleButton.click()
    with heartbeat() as beat:
        made.ui.loadSampleButton.click()
    assert made.session.volumeNode is not None
    assert beat.longest_cpu_s <= 0.2, beat.where
    nodes = desktop.scene.GetNumberOfNodes()
    chosen = made.session.volumeNode
    qt.QTimer.singleShot(0, made.cancelButton.click)
    made.ui.loadSampleButton.click()
    assert made.statusLabel.text() == "Cancelled; the scene is as it was."
    assert desktop.scene.GetNumberOfNodes() == nodes
    assert made.session.volumeNode is chosen
    made.session.release()
