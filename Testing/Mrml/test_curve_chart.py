"""Curves as plot charts: drawn anew in place, and gone without a trace."""

from __future__ import annotations

import numpy as np
import pytest

KINDS = ("vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode", "vtkMRMLTableNode")


def counts(scene) -> list[int]:
    return [scene.GetNumberOfNodesByClass(kind) for kind in KINDS]


def test_charts_are_drawn_anew_in_place(scene) -> None:
    from vtk.util.numpy_support import vtk_to_numpy

    from DoseEngineLib.mrml.curve_chart import ChartCurve, curveChart, removeCurveChart, setCurveChart

    x = np.linspace(0.0, 300.0, 7)
    many = [ChartCurve(f"{n}", x, n * x) for n in range(9)]
    chart = setCurveChart(scene, "one", "Title", "x (mm)", "y (%)", many)
    assert counts(scene) == [1, 9, 9]
    assert (chart.GetTitle(), chart.GetXAxisTitle(), chart.GetYAxisTitle()) == ("Title", "x (mm)", "y (%)")
    few = [ChartCurve("points", x, x**2, "points"), ChartCurve("dashes", x, -x, "dashes", (1.0, 0.0, 0.0))]
    assert setCurveChart(scene, "one", "Other", "x", "y", few) is chart
    assert counts(scene) == [1, 2, 2]
    points, dashes = (chart.GetNthPlotSeriesNode(n) for n in range(2))
    table = points.GetTableNode().GetTable()
    np.testing.assert_array_equal(vtk_to_numpy(table.GetColumnByName("y")), x**2)
    assert points.GetLineStyle() == points.LineStyleNone
    assert points.GetMarkerStyle() != points.MarkerStyleNone
    assert dashes.GetLineStyle() == dashes.LineStyleDash
    assert dashes.GetColor() == pytest.approx((1.0, 0.0, 0.0))
    other = setCurveChart(scene, "two", "", "", "", few[:1])
    assert other is not chart
    assert curveChart(scene, "one") is chart
    for node in (chart, points, points.GetTableNode()):
        assert not node.GetSaveWithScene()
        assert node.GetHideFromEditors()
    removeCurveChart(scene, "one")
    assert counts(scene) == [1, 1, 1]
    removeCurveChart(scene, "one")
    removeCurveChart(scene, "two")
    assert counts(scene) == [0, 0, 0]


def test_structures_are_read_in_turn(scene) -> None:
    import slicer

    from DoseEngineLib.geometry import Grid
    from DoseEngineLib.mrml.segmentations import setStructures, structuresFromSegmentation
    from DoseEngineLib.mrml.structures_in_turn import structuresInTurn
    from DoseEngineLib.plan import Structure

    grid = Grid.from_spacing((8, 9, 10), 3.0, (0.0, 0.0, 0.0))
    structures = []
    for number in range(3):
        mask = np.zeros(grid.shape, bool)
        mask[number : number + 3, 2:5, 2:5] = True
        structures.append(Structure(f"S{number}", mask, grid, "ORGAN"))
    node = slicer.vtkMRMLSegmentationNode()
    scene.AddNode(node)
    setStructures(node, structures)
    told = []
    found = structuresInTurn(node, grid, lambda fraction, text: told.append(text))
    assert told == ["Reading S0", "Reading S1", "Reading S2", "Structures read"]
    for one, other in zip(found, structuresFromSegmentation(node, grid), strict=True):
        assert one.name == other.name
        np.testing.assert_array_equal(one.mask, other.mask)
