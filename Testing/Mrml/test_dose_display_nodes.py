"""Isodose levels that are set, the dose as a colour wash, and what the DVH chart shows."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
from vtk.util.numpy_support import vtk_to_numpy

from DoseEngineLib.errors import EvaluationError
from DoseEngineLib.mrml.plan_node import REFERENCE_VOLUME, referencedNodes
from RTPlanningLib.display.isodose_settings import IsodoseSetting, default_settings
from RTPlanningLib.logic import RTPlanningLogic
from RTPlanningLib.mrml.dose_wash import DoseWash, hideDoseWash, showDoseWash, showLegend, showOverlay
from RTPlanningLib.mrml.dvh_chart import chartStructures, showDvhChart
from RTPlanningLib.mrml.dvh_nodes import AXES_TABLE, DVH_TABLE, SERIES
from RTPlanningLib.mrml.isodose_node import isodoseModel

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


@pytest.fixture
def planned(scene, case, plan):
    """Logic and a plan node with a dose and DVHs."""
    logic = RTPlanningLogic(scene)
    planNode = logic.createPlan(plan, *logic.loadCase(case), case.goals)
    logic.calculateDose(planNode)
    logic.calculateDvh(planNode)
    return logic, planNode


def drawn_Gy(model) -> set[float]:
    return set(np.unique(vtk_to_numpy(model.GetPolyData().GetPointData().GetArray("isolevels"))).tolist())


def test_levels_are_the_clinical_ones_until_they_are_set(planned) -> None:
    logic, planNode = planned
    assert logic.isodoseSettings(planNode) == default_settings(60.0, 60.0)
    model = logic.setIsodoseSettings(planNode, [IsodoseSetting(50.0, "%", RED), IsodoseSetting(10.0, "Gy", BLUE)])
    assert drawn_Gy(model) == {30.0, 10.0}
    table = model.GetDisplayNode().GetColorNode()
    assert [table.GetColorName(n) for n in range(2)] == ["10", "30"]
    # a dose that is drawn anew keeps them
    logic.calculateDose(planNode)
    assert drawn_Gy(logic.evaluatePlan(planNode).isodoseNode) == {30.0, 10.0}
    logic.setIsodoseSettings(planNode, None)
    assert logic.isodoseSettings(planNode) == default_settings(60.0, 60.0)
    assert len(drawn_Gy(isodoseModel(logic.doseVolume(planNode)))) > 2


def test_levels_that_cannot_be_drawn_change_nothing(planned) -> None:
    logic, planNode = planned
    kept = (IsodoseSetting(50.0, "%", RED),)
    logic.setIsodoseSettings(planNode, kept)
    with pytest.raises(EvaluationError, match="same dose"):
        logic.setIsodoseSettings(planNode, [*kept, IsodoseSetting(30.0, "Gy", BLUE)])
    assert logic.isodoseSettings(planNode) == kept
    assert drawn_Gy(isodoseModel(logic.doseVolume(planNode))) == {30.0}
    hidden = (IsodoseSetting(50.0, "%", RED, visible=False),)
    assert logic.setIsodoseSettings(planNode, hidden).GetPolyData().GetNumberOfPoints() == 0
    assert logic.isodoseSettings(planNode) == hidden


def test_levels_are_there_in_the_scene_read_back(planned, tmp_path) -> None:
    logic, planNode = planned
    kept = (IsodoseSetting(33.3, "%", RED, visible=False), IsodoseSetting(12.5, "Gy", BLUE))
    logic.setIsodoseSettings(planNode, kept)
    logic.saveScene(tmp_path / "scene.mrb")
    logic.loadScene(tmp_path / "scene.mrb")
    assert logic.isodoseSettings(logic.planNodes()[0]) == kept


def test_the_wash_colours_what_it_was_told_to(planned, scene) -> None:
    logic, planNode = planned
    dose, volume = logic.doseVolume(planNode), planNode.GetNodeReference(REFERENCE_VOLUME)
    views = [scene.AddNode(slicer.vtkMRMLSliceCompositeNode()) for _ in range(2)]
    showDoseWash(dose, volume, DoseWash(5.0, 66.0, 6.0, 0.3))
    for view in views:
        assert view.GetForegroundVolumeID() == dose.GetID()
        assert view.GetBackgroundVolumeID() == volume.GetID()
        assert view.GetForegroundOpacity() == pytest.approx(0.3)
    display = dose.GetScalarVolumeDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx((5.0, 66.0))
    assert display.GetLowerThreshold() == pytest.approx(6.0)
    assert display.GetApplyThreshold()
    legend = showLegend(dose, True, "Dose (Gy)")
    assert legend.GetVisibility()
    assert showLegend(dose, True) is legend
    # another volume in its place takes the colour bar away
    showOverlay(volume, None, 0.5)
    assert not legend.GetVisibility()
    showDoseWash(dose, volume, DoseWash(5.0, 66.0, 6.0, 0.3))
    showLegend(dose, True)
    views[1].SetForegroundVolumeID(volume.GetID())
    hideDoseWash(dose)
    assert not legend.GetVisibility()
    assert views[0].GetForegroundVolumeID() is None
    assert views[1].GetForegroundVolumeID() == volume.GetID()


@pytest.mark.parametrize("values", [(10.0, 10.0, 0.0, 0.5), (-1.0, 5.0, 0.0, 0.5), (0.0, 5.0, 0.0, 1.5)])
def test_a_wash_that_is_none_is_refused(values) -> None:
    with pytest.raises(EvaluationError):
        DoseWash(*values)


def test_the_chart_shows_the_structures_and_units_that_are_chosen(planned) -> None:
    logic, planNode = planned
    chart = logic.dvhChart(planNode)
    names = chartStructures(planNode)
    assert "PTV" in names
    all_series = chart.GetNumberOfPlotSeriesNodes()
    assert all_series == len(names)
    showDvhChart(planNode, ["PTV"], relativeDose=True, absoluteVolume=True)
    assert chart.GetNumberOfPlotSeriesNodes() == all_series - 1
    assert chart.GetXAxisTitle() == "Dose [% of the prescription]"
    assert chart.GetYAxisTitle() == "Volume [cc]"
    series = referencedNodes(planNode, SERIES)
    tables = referencedNodes(planNode, DVH_TABLE)
    for number, name in enumerate(names):
        table = series[number].GetTableNode().GetTable()
        dose = vtk_to_numpy(table.GetColumnByName(series[number].GetXColumnName()))
        volume = vtk_to_numpy(table.GetColumnByName(series[number].GetYColumnName()))
        own = vtk_to_numpy(tables[number].GetTable().GetColumnByName("Dose"))
        assert dose[: own.size] == pytest.approx(own / 0.6)
        if name == "PTV":
            assert volume[0] == pytest.approx(float(tables[number].GetAttribute("DoseVolumeHistogram.Volume (cc)")))
        assert np.all(np.diff(volume) <= 0.0)
    # the tables that others read are as they were
    assert all(table.GetNumberOfColumns() == 2 for table in tables)
    showDvhChart(planNode)
    assert chart.GetNumberOfPlotSeriesNodes() == all_series
    assert planNode.GetNodeReference(AXES_TABLE) is None
    assert [node.GetXColumnName() for node in series] == ["Dose"] * all_series
    assert chart.GetXAxisTitle() == "Dose [Gy]"
