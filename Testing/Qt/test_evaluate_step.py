"""Evaluate, used as a person does: goals, DVHs, isodoses, colours, another plan, checks, probabilities."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planning_steps import make_step
from vtk.util.numpy_support import vtk_to_numpy


@pytest.fixture
def planned(desktop):
    """The step with a plan on the prostate phantom whose dose falls off from its isocentre, on a coarse grid."""
    from sphere_engine import LABEL

    from DoseEngineLib.engine import register_engine, unregister_engine
    from RTPlanningLib.plan_templates import four_field_box
    from RTPlanningLib.samples import load_sample, sample_plan
    from RTPlanningLib.widget.evaluate_step import EvaluateStep

    register_engine(LABEL, "Sphere (test)", "sphere_engine", "SphereEngine")
    made = make_step(desktop, EvaluateStep)
    case, sample = load_sample("tg119-prostate", 5.0), sample_plan("tg119-prostate")
    volumeNode, segmentationNode = made.logic.loadCase(case)
    box = four_field_box(case, sample.target, sample.dose_Gy, sample.fractions, spacing_mm=5.0)
    made.plan = replace(box, engine=LABEL)
    made.planNode = made.logic.createPlan(made.plan, volumeNode, segmentationNode, case.goals)
    made.logic.calculateDose(made.planNode)
    made.case = case
    made.session.choosePlan(made.planNode)
    yield made
    made.session.release()
    unregister_engine(LABEL)


def texts(table, column: int) -> list[str]:
    return [table.item(row, column).text() for row in range(table.rowCount())]


def header(table) -> list[str]:
    return [table.horizontalHeaderItem(n).text() for n in range(table.columnCount())]


def add_plan(made, name: str):
    """A plan whose isocentre lies 8 mm further back, nearer to the rectum."""
    beams = []
    for beam in made.plan.beams:
        right, front, up = beam.isocenter_RAS_mm
        beams.append(replace(beam, isocenter_RAS_mm=(right, front - 8.0, up)))
    plan = replace(made.plan, name=name, beams=tuple(beams))
    node = made.logic.createPlan(plan, made.session.volumeNode, made.session.segmentationNode, made.case.goals)
    made.logic.calculateDose(node)
    return node


def open_all(ui) -> None:
    for section in (ui.doseDisplaySection, ui.compareSection, ui.checksSection, ui.radiobiologySection):
        section.setProperty("collapsed", False)


def test_from_nothing_to_an_evaluated_plan(planned, desktop, picture) -> None:
    ui, logic = planned.ui, planned.logic
    assert "press Evaluate" in ui.evaluationStateLabel.text()
    assert ui.goalsTable.rowCount() == 0
    assert ui.metricsTable.rowCount() == 0
    ui.evaluateButton.click()
    assert not desktop.errors
    assert "goals are met" in planned.statusLabel.text(), planned.statusLabel.text()
    assert ui.evaluationStateLabel.text() == "This is the evaluation of the plan as it stands."
    results = logic.evaluateGoals(planned.planNode)
    assert texts(ui.goalsTable, 3) == [result.verdict for result in results]
    assert {"passed", "failed"} <= set(texts(ui.goalsTable, 3))
    value = float(texts(ui.goalsTable, 1)[0].split()[0])
    assert value == pytest.approx(results[0].value, rel=1e-4)
    passed = texts(ui.goalsTable, 3).index("passed")
    failed = texts(ui.goalsTable, 3).index("failed")
    green = ui.goalsTable.item(passed, 3).foreground().color()
    red = ui.goalsTable.item(failed, 3).foreground().color()
    assert green.green() > green.red()
    assert red.red() > red.green()
    dvhs = logic.calculateDvh(planned.planNode)
    row = texts(ui.metricsTable, 0).index("PTV")
    column = header(ui.metricsTable).index("D95% (Gy)")
    assert float(ui.metricsTable.item(row, column).text()) == pytest.approx(
        dvhs["PTV"].dose_at_volume_percent(95.0), abs=0.006
    )
    planned.session.update()
    open_all(ui)
    assert picture(planned, "EvaluateStep").stat().st_size > 20000


def test_colours_stand_out_in_a_dark_theme(planned, desktop, picture) -> None:
    import qt

    application = qt.QApplication.instance()
    former = application.palette()
    dark = qt.QPalette(qt.QColor(53, 53, 53))
    application.setPalette(dark)
    try:
        planned.ui.evaluateButton.click()
        verdicts = texts(planned.ui.goalsTable, 3)
        green = planned.ui.goalsTable.item(verdicts.index("passed"), 3).foreground().color()
        assert green.lightness() > 128
        assert picture(planned, "EvaluateStep_dark").stat().st_size > 5000
    finally:
        application.setPalette(former)


def test_nothing_stale_is_shown_as_current(planned, desktop) -> None:
    ui, logic = planned.ui, planned.logic
    ui.evaluateButton.click()
    chart = logic.dvhChart(planned.planNode)
    assert planned.step.dvh.plot.chart() is chart
    logic.updatePlan(planned.planNode, replace(planned.plan, dose_grid_spacing_mm=9.0))
    planned.session.update()
    assert "Changed since the dose was calculated: plan" in ui.evaluationStateLabel.text()
    assert "font-weight: bold" in ui.evaluationStateLabel.styleSheet()
    assert ui.goalsTable.rowCount() == ui.metricsTable.rowCount() == ui.dvhStructuresList.count() == 0
    assert planned.step.dvh.plot.chart() is None
    for button in (ui.evaluateButton, ui.compareButton, ui.radiobiologyButton, ui.metricsButton, ui.addLevelButton):
        assert not button.isEnabled()
    # the plan as it was: what was evaluated stands again
    logic.updatePlan(planned.planNode, planned.plan)
    planned.session.update()
    assert ui.goalsTable.rowCount() > 0
    assert planned.step.dvh.plot.chart() is chart
    logic.setGoals(planned.planNode, ["PTV D95% >= 70 Gy"])
    planned.session.update()
    assert "The goals have changed" in ui.evaluationStateLabel.text()
    assert ui.goalsTable.rowCount() == 0
    assert ui.metricsTable.rowCount() > 0
    ui.evaluateButton.click()
    assert texts(ui.goalsTable, 0) == ["PTV D95%"]


def test_strokes_of_a_brush_are_said_when_it_rests(planned) -> None:
    """A brush changes voxels and nothing else; goals of the former structure are not left standing."""
    import time

    import slicer
    from vtk.util.numpy_support import vtk_to_numpy

    ui = planned.ui
    ui.evaluateButton.click()
    assert ui.goalsTable.rowCount() > 0
    segmentation = planned.session.segmentationNode.GetSegmentation()
    rectum = segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName("Rectum"))
    image = rectum.GetRepresentation("Binary labelmap")
    voxels = vtk_to_numpy(image.GetPointData().GetScalars())
    voxels[np.flatnonzero(voxels == rectum.GetLabelValue())[:40]] = 0
    image.Modified()
    until = time.monotonic() + 10.0
    while ui.goalsTable.rowCount() and time.monotonic() < until:
        slicer.app.processEvents()
    assert ui.goalsTable.rowCount() == 0
    assert "structures have changed" in ui.evaluationStateLabel.text()


def test_structures_edited_since_are_said(planned, desktop) -> None:
    from DoseEngineLib.mrml.segmentations import storeStructure

    ui = planned.ui
    ui.evaluateButton.click()
    rectum = next(structure for structure in planned.case.structures if structure.name == "Rectum")
    mask = rectum.mask.copy()
    mask[: np.argwhere(mask)[:, 0].min() + 2] = False
    storeStructure(planned.session.segmentationNode, replace(rectum, mask=mask, outline=None))
    planned.session.update()
    assert "structures have changed" in ui.evaluationStateLabel.text()
    assert ui.goalsTable.rowCount() == 0
    ui.evaluateButton.click()
    assert ui.goalsTable.rowCount() > 0


def test_dvh_chart_by_structures_and_units(planned, desktop) -> None:
    import qt

    ui, logic = planned.ui, planned.logic
    ui.evaluateButton.click()
    chart = logic.dvhChart(planned.planNode)
    names = [ui.dvhStructuresList.item(n).text() for n in range(ui.dvhStructuresList.count())]
    assert names == ["External", "PTV", "CTV", "Rectum", "Bladder"]
    ui.dvhStructuresList.item(0).setCheckState(qt.Qt.Unchecked)
    assert chart.GetNumberOfPlotSeriesNodes() == 4
    ui.relativeDoseCheck.setChecked(True)
    ui.absoluteVolumeCheck.setChecked(True)
    assert chart.GetXAxisTitle() == "Dose [% of the prescription]"
    # the first one shown is the PTV
    series = chart.GetNthPlotSeriesNode(0)
    dose = vtk_to_numpy(series.GetTableNode().GetTable().GetColumnByName(series.GetXColumnName()))
    largest = max(dvh.max_Gy for dvh in logic.calculateDvh(planned.planNode).values())
    assert dose.max() == pytest.approx(100.0 * largest / 75.6, rel=0.01)
    # a dose that is evaluated anew is shown in the same way
    ui.evaluateButton.click()
    again = logic.dvhChart(planned.planNode)
    assert again is not chart
    assert again.GetNumberOfPlotSeriesNodes() == 4
    assert again.GetYAxisTitle() == "Volume [cc]"
    ui.showNoneButton.click()
    assert again.GetNumberOfPlotSeriesNodes() == 0
    ui.showAllButton.click()
    assert again.GetNumberOfPlotSeriesNodes() == 5


def test_further_metrics(planned, desktop) -> None:
    ui = planned.ui
    ui.evaluateButton.click()
    ui.metricsEdit.setText("D2cc, V50Gy[%]; HI")
    ui.metricsButton.click()
    assert not desktop.errors
    assert header(ui.metricsTable)[-3:] == ["D2cc (Gy)", "V50Gy[%] (%)", "HI"]
    dvhs = planned.logic.calculateDvh(planned.planNode)
    row = texts(ui.metricsTable, 0).index("Rectum")
    expected = dvhs["Rectum"].volume_percent_at_dose(50.0)
    found = float(ui.metricsTable.item(row, ui.metricsTable.columnCount() - 2).text())
    assert found == pytest.approx(expected, abs=0.006)
    # they are there again after an evaluation
    ui.evaluateButton.click()
    assert header(ui.metricsTable)[-1] == "HI"
    ui.metricsEdit.setText("V95")
    ui.metricsButton.click()
    assert len(desktop.errors) == 1
    assert header(ui.metricsTable)[-1] == "HI"


def test_isodose_levels(planned, desktop) -> None:
    import qt

    from RTPlanningLib.mrml.isodose_node import isodoseModel

    ui, logic = planned.ui, planned.logic
    ui.evaluateButton.click()
    table = ui.isodoseTable
    assert [table.item(row, 1).text() for row in range(3)] == ["110", "107", "105"]
    count = table.rowCount()
    table.item(0, 1).setText("50.5")
    assert logic.isodoseSettings(planned.planNode)[0].value == 50.5
    assert table.item(0, 4).text() == f"{0.505 * 75.6:.4g} Gy"
    table.item(1, 0).setCheckState(qt.Qt.Unchecked)
    assert not logic.isodoseSettings(planned.planNode)[1].visible
    table.cellWidget(2, 2).setCurrentIndex(1)
    assert (logic.isodoseSettings(planned.planNode)[2].unit, table.item(2, 1).text()) == ("Gy", "79.38")
    table.cellWidget(3, 3).setColor(qt.QColor(10, 20, 30))
    assert logic.isodoseSettings(planned.planNode)[3].color == pytest.approx((10 / 255, 20 / 255, 30 / 255), abs=1e-4)
    ui.addLevelButton.click()
    assert table.rowCount() == count + 1
    assert table.item(count, 1).text() == "15"
    table.selectRow(count)
    ui.removeLevelButton.click()
    assert table.rowCount() == count
    # what is no level is refused, and the table shows what is drawn
    table.item(0, 1).setText("many")
    assert "is no level" in planned.statusLabel.text()
    assert table.item(0, 1).text() == "50.5"
    table.item(0, 1).setText("95")
    assert "same dose" in desktop.errors.pop()
    assert table.item(0, 1).text() == "50.5"
    # a new calculation keeps the levels
    logic.calculateDose(planned.planNode)
    ui.evaluateButton.click()
    assert table.item(0, 1).text() == "50.5"
    model = isodoseModel(logic.doseVolume(planned.planNode))
    levels = np.unique(vtk_to_numpy(model.GetPolyData().GetPointData().GetArray("isolevels")))
    assert np.isclose(levels, 0.505 * 75.6, atol=1e-4).any()
    ui.isodosesShownCheck.setChecked(False)
    assert not model.GetDisplayNode().GetVisibility()
    ui.resetLevelsButton.click()
    assert table.item(0, 1).text() == "110"
    assert not desktop.errors


def test_colour_wash(planned, desktop) -> None:
    import slicer

    ui, logic = planned.ui, planned.logic
    slicer.app.layoutManager().mrmlSliceLogics()
    ui.washShownCheck.setChecked(False)
    ui.washShownCheck.setChecked(True)
    dose = logic.doseVolume(planned.planNode)
    view = desktop.scene.GetNthNodeByClass(0, "vtkMRMLSliceCompositeNode")
    display = dose.GetScalarVolumeDisplayNode()
    assert view.GetForegroundVolumeID() == dose.GetID()
    assert display.GetWindowLevelMax() == pytest.approx(1.1 * 75.6)
    ui.washOpacitySlider.setValue(0.7)
    assert view.GetForegroundOpacity() == pytest.approx(0.7)
    ui.washFromSpin.setValue(50.0)
    ui.washThresholdSpin.setValue(20.0)
    assert display.GetWindowLevelMin() == pytest.approx(37.8)
    assert display.GetLowerThreshold() == pytest.approx(15.12)
    # in Gy the doses stay the same
    ui.washUnitCombo.setCurrentIndex(1)
    ui.washUnitCombo.activated.emit(1)
    assert (ui.washFromSpin.value(), ui.washFromSpin.suffix()) == (pytest.approx(37.8), " Gy")
    assert display.GetWindowLevelMin() == pytest.approx(37.8)
    ui.washToSpin.setValue(30.0)
    assert "the larger one" in ui.doseDisplayLabel.text()
    assert display.GetWindowLevelMax() == pytest.approx(1.1 * 75.6)
    ui.washToSpin.setValue(60.0)
    assert ui.doseDisplayLabel.text() == ""
    assert display.GetWindowLevelMax() == pytest.approx(60.0)
    ui.legendShownCheck.setChecked(True)
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(dose)
    assert legend.GetVisibility()
    # a dose calculated anew is coloured in the same way
    logic.calculateDose(planned.planNode)
    planned.session.update()
    assert display.GetWindowLevelMax() == pytest.approx(60.0)
    ui.washShownCheck.setChecked(False)
    assert view.GetForegroundVolumeID() is None
    assert not legend.GetVisibility()


def test_another_plan_beside_it(planned, desktop, picture) -> None:
    from RTPlanningLib.mrml.derived_nodes import statisticsOf

    ui = planned.ui
    other = add_plan(planned, "Back")
    planned.session.update()
    assert "Choose another plan" in ui.comparisonLabel.text()
    ui.otherPlanSelector.setCurrentNode(planned.planNode)
    assert "the plan itself" in ui.comparisonLabel.text()
    assert not ui.compareButton.isEnabled()
    ui.otherPlanSelector.setCurrentNode(other)
    assert "Press Compare" in ui.comparisonLabel.text()
    ui.compareButton.click()
    assert not desktop.errors
    assert ui.comparisonLabel.text() == ""
    assert "Back" in header(ui.comparedGoalsTable)
    assert ui.comparedGoalsTable.rowCount() == len(planned.case.goals)
    assert planned.step.comparison.plot.chart().GetNumberOfPlotSeriesNodes() == 10
    names = header(ui.comparedMetricsTable)
    row = next(
        n
        for n in range(ui.comparedMetricsTable.rowCount())
        if (ui.comparedMetricsTable.item(n, 0).text(), ui.comparedMetricsTable.item(n, 1).text()) == ("Rectum", "Mean")
    )
    difference = float(ui.comparedMetricsTable.item(row, len(names) - 1).text())
    dvhs = [planned.logic.calculateDvh(node)["Rectum"].mean_Gy for node in (planned.planNode, other)]
    assert difference == pytest.approx(dvhs[1] - dvhs[0], abs=0.006)
    assert difference > 0.0
    ui.differenceButton.click()
    assert "Back minus" in ui.mapLabel.text()
    assert "Gy" in ui.mapLabel.text()
    ui.gammaDoseSpin.setValue(2.0)
    ui.gammaButton.click()
    assert not desktop.errors
    gamma = desktop.scene.GetFirstNodeByName(": ".join(ui.mapLabel.text().split(": ")[:2]))
    rate = statisticsOf(gamma)["pass_rate_percent"]
    assert f"{rate:.2f} % of the voxels pass" in ui.mapLabel.text()
    assert 0.0 < rate < 100.0
    open_all(ui)
    assert picture(planned, "EvaluateStep_compare").stat().st_size > 20000
    # the other plan is changed: nothing of the comparison stands
    plan = planned.logic.planFromNode(other)
    planned.logic.updatePlan(other, replace(plan, dose_grid_spacing_mm=9.0))
    planned.session.update()
    assert "no current dose" in ui.comparisonLabel.text()
    assert ui.comparedGoalsTable.rowCount() == ui.comparedMetricsTable.rowCount() == 0
    assert planned.step.comparison.plot.chart() is None


def test_checks_with_what_to_do(planned, desktop) -> None:
    ui = planned.ui
    ui.checkButton.click()
    assert not desktop.errors
    _, results = planned.step.evaluation.checkPlan(planned.planNode)
    assert ui.checksTable.rowCount() == len(results)
    assert set(texts(ui.checksTable, 0)) == {result.verdict for result in results}
    assert {(row, text) for row, text in zip(texts(ui.checksTable, 1), texts(ui.checksTable, 2), strict=True)} == {
        (result.name, result.text) for result in results
    }
    assert "passed" in ui.checksLabel.text()
    planned.logic.updatePlan(planned.planNode, replace(planned.plan, dose_grid_spacing_mm=9.0))
    planned.session.update()
    assert ui.checksTable.rowCount() == 0
    assert "check it again" in ui.checksLabel.text()
    ui.checkButton.click()
    assert "not applicable" in texts(ui.checksTable, 0)


def test_probabilities(planned, desktop) -> None:
    ui = planned.ui
    ui.radiobiologyButton.click()
    assert not desktop.errors
    assert "Rectum" in texts(ui.radiobiologyTable, 0)
    assert all(text.startswith("NTCP") for text in texts(ui.radiobiologyTable, 1))
    prostate = next(n for n in range(ui.tumourCombo.count()) if "prostate" in str(ui.tumourCombo.itemData(n)).lower())
    ui.tumourCombo.setCurrentIndex(prostate)
    ui.radiobiologyButton.click()
    assert not desktop.errors, desktop.errors
    row = next(n for n, text in enumerate(texts(ui.radiobiologyTable, 1)) if text.startswith("TCP"))
    assert texts(ui.radiobiologyTable, 0)[row] == "PTV"
    assert "42 fractions on weekdays, in 57 days" in planned.statusLabel.text()
    table = planned.step.evaluation.radiobiologyTable(planned.planNode)
    stored = [table.GetCellText(n, 3) for n in range(table.GetNumberOfRows()) if table.GetCellText(n, 1) == "TCP"]
    # 42 fractions of 60 Gy at most leave the PTV's rim far too cold
    assert [texts(ui.radiobiologyTable, 2)[row]] == stored == ["0"]
    assert ui.eqd2Table.isHidden()
    ui.alphaBetaSpin.setValue(2.0)
    ui.eqd2TableButton.click()
    rectum = texts(ui.eqd2Table, 0).index("Rectum")
    assert (texts(ui.eqd2Table, 1)[rectum], texts(ui.eqd2Table, 1)[0]) == ("3", "2")
    samples = planned.logic.calculateDvh(planned.planNode)["Rectum"].dose_samples_Gy.astype(float)
    expected = np.mean(samples * (samples / 42.0 + 3.0) / 5.0)
    assert float(texts(ui.eqd2Table, 2)[rectum]) == pytest.approx(expected, abs=0.006)
    ui.eqd2Button.click()
    assert "EQD2 is in the scene" in planned.statusLabel.text()
    assert not desktop.errors


def test_the_scene_reopens_as_it_was(planned, desktop, tmp_path) -> None:
    ui, logic = planned.ui, planned.logic
    ui.evaluateButton.click()
    ui.relativeDoseCheck.setChecked(True)
    ui.isodoseTable.item(0, 1).setText("50.5")
    ui.washOpacitySlider.setValue(0.25)
    ui.checksSection.setProperty("collapsed", False)
    ui.checkButton.click()
    before = [texts(ui.goalsTable, column) for column in range(4)], texts(ui.checksTable, 2), header(ui.metricsTable)
    logic.saveScene(tmp_path / "scene.mrb")
    desktop.scene.Clear(False)
    assert ui.goalsTable.rowCount() == 0
    assert not ui.relativeDoseCheck.isChecked()
    logic.loadScene(tmp_path / "scene.mrb")
    planned.session.update()
    assert planned.session.planNode is not None
    after = [texts(ui.goalsTable, column) for column in range(4)], texts(ui.checksTable, 2), header(ui.metricsTable)
    assert after == before
    assert ui.relativeDoseCheck.isChecked()
    assert ui.washOpacitySlider.property("value") == pytest.approx(0.25)
    assert not ui.checksSection.property("collapsed")
    assert ui.isodoseTable.item(0, 1).text() == "50.5"
    assert planned.step.dvh.plot.chart() is logic.dvhChart(planned.session.planNode)


def test_a_cancelled_evaluation_leaves_the_scene_as_it_was(planned, desktop) -> None:
    ui = planned.ui
    ui.evaluateButton.click()
    before = [texts(ui.goalsTable, column) for column in range(4)]
    nodes = desktop.scene.GetNumberOfNodes()
    background = planned.logic.background

    def cancelled(function, progress=None):
        planned.cancelButton.click()
        return background(function, progress)

    planned.logic.background = cancelled
    ui.evaluateButton.click()
    assert "Cancelled" in planned.statusLabel.text()
    assert desktop.scene.GetNumberOfNodes() == nodes
    assert [texts(ui.goalsTable, column) for column in range(4)] == before


def test_the_panel_stays_alive_meanwhile(planned, desktop, heartbeat) -> None:
    from RTPlanningLib.samples import load_sample

    ui, logic = planned.ui, planned.logic
    planned.case = load_sample("tg119-prostate")
    volumeNode, segmentationNode = logic.loadCase(planned.case)
    planned.plan = replace(planned.plan, dose_grid_spacing_mm=2.5)
    node = logic.createPlan(planned.plan, volumeNode, segmentationNode, planned.case.goals)
    logic.calculateDose(node)
    planned.session.choosePlan(node)
    ui.otherPlanSelector.setCurrentNode(add_plan(planned, "Back"))
    for button in (ui.evaluateButton, ui.compareButton, ui.gammaButton, ui.checkButton, ui.radiobiologyButton):
        with heartbeat() as beat:
            button.click()
        assert beat.longest_cpu_s < 0.2, f"{button.text()}\n{beat.where}"
    assert not desktop.errors
    assert "of the voxels pass" in ui.mapLabel.text()


@pytest.mark.parametrize(
    ("button", "what"),
    [("evaluateButton", "plan"), ("checkButton", "scene"), ("radiobiologyButton", "plan"), ("metricsButton", "scene")],
)
def test_what_is_removed_in_mid_work_leaves_nothing_behind(planned, desktop, button, what) -> None:
    ui = planned.ui
    ui.evaluateButton.click()
    ui.metricsEdit.setText("D2cc")
    background = planned.logic.background

    def removing(function, progress=None):
        result = background(function, progress)
        if what == "plan":
            desktop.scene.RemoveNode(planned.planNode)
        else:
            desktop.scene.Clear(False)
        return result

    planned.logic.background = removing
    getattr(ui, button).click()
    planned.logic.background = background
    planned.session.update()
    assert not planned.session.isRunning
    if what == "plan":
        assert len(desktop.errors) == 1
        assert planned.session.planNode is None
    else:
        assert "Cancelled" in planned.statusLabel.text() or desktop.errors
    assert ui.goalsTable.rowCount() == ui.checksTable.rowCount() == ui.radiobiologyTable.rowCount() == 0
    assert not ui.evaluateButton.isEnabled()
    assert planned.step.dvh.plot.chart() is None
    # the step goes on with the next plan
    case = planned.case
    node = planned.logic.createPlan(planned.plan, *planned.logic.loadCase(case), case.goals)
    planned.logic.calculateDose(node)
    planned.session.choosePlan(node)
    ui.evaluateButton.click()
    assert ui.goalsTable.rowCount() == len(case.goals)
